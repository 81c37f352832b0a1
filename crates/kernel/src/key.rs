//! The life of a key (KM-01): every transition there is, and no other.

use types::mesh::KeyState;

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What can happen to a key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum KeyEvent { $($(#[$doc])* $variant,)* }

        impl KeyEvent {
            /// Every event, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The event as it is drawn in the grid.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

events! {
    /// Its material exists.
    Made = "made",
    /// Its material could not be made.
    MakeFailed = "generation failure",
    /// It was sent to every participant.
    Sent = "sent to all",
    /// A participant could not be reached, did not confirm in time, or confirmed another key.
    DistributionFailed = "distribution failure",
    /// Every participant confirmed it and it is wanted in use.
    Activate = "activate",
    /// Its replacement is wanted.
    Replace = "replace",
    /// Its replacement is in use everywhere and the overlap is over.
    Retire = "overlap over",
    /// Its retention is over.
    Expire = "retention over",
    /// It may be known to an adversary.
    Compromised = "compromise",
    /// Every participant that still belongs to the mesh erased it.
    PurgedEverywhere = "purged everywhere",
}

/// What an event does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It moves to this state.
    To(KeyState),
    /// There is no key and no record of one (KM-02).
    NoRecord,
    /// Nothing: the transition is not drawn.
    Refused,
}

/// The state machine. `None` is a key that is wanted and not made.
#[allow(clippy::too_many_lines, reason = "the whole life cycle is one match that a reviewer reads in a minute")]
pub const fn next(state: Option<KeyState>, event: KeyEvent) -> Outcome {
    use KeyEvent as E;
    use KeyState as S;
    use Outcome::{NoRecord, Refused, To};
    match (state, event) {
        (None, E::Made) => To(S::Generated),
        (None, E::MakeFailed) => NoRecord,
        (
            None,
            E::Sent
            | E::DistributionFailed
            | E::Activate
            | E::Replace
            | E::Retire
            | E::Expire
            | E::Compromised
            | E::PurgedEverywhere,
        ) => Refused,

        (Some(S::Generated), E::Sent) => To(S::Distributed),
        (Some(S::Generated), E::DistributionFailed) => To(S::Destroyed),
        (
            Some(S::Generated),
            E::Made
            | E::MakeFailed
            | E::Activate
            | E::Replace
            | E::Retire
            | E::Expire
            | E::Compromised
            | E::PurgedEverywhere,
        ) => Refused,

        (Some(S::Distributed), E::Activate) => To(S::Active),
        (Some(S::Distributed), E::DistributionFailed) => To(S::Destroyed),
        (
            Some(S::Distributed),
            E::Made
            | E::MakeFailed
            | E::Sent
            | E::Replace
            | E::Retire
            | E::Expire
            | E::Compromised
            | E::PurgedEverywhere,
        ) => Refused,

        (Some(S::Active), E::Replace) => To(S::Rotating),
        (Some(S::Active), E::Compromised) => To(S::Revoked),
        (
            Some(S::Active),
            E::Made
            | E::MakeFailed
            | E::Sent
            | E::DistributionFailed
            | E::Activate
            | E::Retire
            | E::Expire
            | E::PurgedEverywhere,
        ) => Refused,

        (Some(S::Rotating), E::Retire) => To(S::Retired),
        (Some(S::Rotating), E::Compromised) => To(S::Revoked),
        (
            Some(S::Rotating),
            E::Made
            | E::MakeFailed
            | E::Sent
            | E::DistributionFailed
            | E::Activate
            | E::Replace
            | E::Expire
            | E::PurgedEverywhere,
        ) => Refused,

        // An archived key that may be known is of no use to anyone: it goes before its time.
        (Some(S::Retired), E::Expire | E::Compromised) => To(S::Destroyed),
        (
            Some(S::Retired),
            E::Made
            | E::MakeFailed
            | E::Sent
            | E::DistributionFailed
            | E::Activate
            | E::Replace
            | E::Retire
            | E::PurgedEverywhere,
        ) => Refused,

        (Some(S::Revoked), E::PurgedEverywhere) => To(S::Destroyed),
        (
            Some(S::Revoked),
            E::Made
            | E::MakeFailed
            | E::Sent
            | E::DistributionFailed
            | E::Activate
            | E::Replace
            | E::Retire
            | E::Expire
            | E::Compromised,
        ) => Refused,

        (
            Some(S::Destroyed),
            E::Made
            | E::MakeFailed
            | E::Sent
            | E::DistributionFailed
            | E::Activate
            | E::Replace
            | E::Retire
            | E::Expire
            | E::Compromised
            | E::PurgedEverywhere,
        ) => Refused,
    }
}
