//! Which events go before which.

use kernel::event::Event;
use kernel::sentinel::classify::severity;
use types::mesh::Severity;

/// A queue of the sequencer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Revocations and what confirms them, and people's word on them: they have room of their own in the queue,
    /// in a batch and on the disk, which nothing else takes.
    Reserved,
    /// Everything that is not another lane's.
    Normal,
    /// Keys on their way, and figures: worth nothing sooner, and there are many of them. Everything else goes
    /// before them, so that a revocation never waits behind the keys that will replace what it revokes.
    Bulk,
}

impl Lane {
    pub(super) fn of(event: &Event) -> Self {
        match event {
            Event::Request(signed) if signed.request.command.is_urgent() => Self::Reserved,
            Event::Purged { .. } | Event::IsolationConfirmed { .. } => Self::Reserved,
            Event::Detected { kind, confidence_ppm, .. } if severity(*kind, *confidence_ppm) == Severity::Critical => {
                Self::Reserved
            }
            Event::Made { .. }
            | Event::MakeFailed { .. }
            | Event::Delivered { .. }
            | Event::DeliveryFailed { .. }
            | Event::Receipts { .. }
            | Event::Links(_)
            | Event::Usage { .. }
            | Event::HandedOut { .. } => Self::Bulk,
            Event::Create(_)
            | Event::Tick
            | Event::Request(_)
            | Event::NodeUp { .. }
            | Event::NodeDown { .. }
            | Event::KmeUp { .. }
            | Event::HubStarted { .. }
            | Event::NodeStarted { .. }
            | Event::Activated { .. }
            | Event::Refusals { .. }
            | Event::Signal { .. }
            | Event::Detected { .. }
            | Event::Resumed { .. } => Self::Normal,
        }
    }
}
