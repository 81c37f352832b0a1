//! One module a command.

pub(crate) mod approvals;
pub(crate) mod assist;
pub(crate) mod audit;
pub(crate) mod break_glass;
pub(crate) mod console;
pub(crate) mod doctor;
pub(crate) mod fibre;
pub(crate) mod forward;
pub(crate) mod incidents;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod links;
pub(crate) mod nodes;
pub(crate) mod operators;
pub(crate) mod part;
pub(crate) mod rules;
pub(crate) mod sae;
pub(crate) mod signal;
pub(crate) mod status;
pub(crate) mod up;
