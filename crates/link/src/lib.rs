//! One quantum link.
