//! What keeps one caller of a listener from holding up the others: places that are counted by address, buckets
//! of what each may ask for, and streams that give up on a caller who takes nothing.

mod bucket;
mod patience;
mod slots;

pub use bucket::{Bucket, Buckets, Rate};
pub use patience::Patient;
pub use slots::{Caller, Slot, Slots};
