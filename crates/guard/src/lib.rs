//! What keeps one caller of a listener from holding up the others: places that are counted by address, and
//! streams that give up on a caller who takes nothing.

mod patience;
mod slots;

pub use patience::Patient;
pub use slots::{Slot, Slots};
