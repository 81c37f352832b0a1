//! What keeps one caller of a listener from holding up the others: places that are counted by address, buckets
//! of what each may ask for, streams that give up on a caller who takes nothing, and a close that lets the last
//! answer arrive.

mod bucket;
mod linger;
mod patience;
mod slots;

pub use bucket::{Bucket, Buckets, Rate};
pub use linger::{LINGER, LINGER_BYTES, linger};
pub use patience::Patient;
pub use slots::{Caller, Slot, Slots};
