//! Operators' commands as they ship, against a hub that lies and against one that does not.

mod folder;
mod honest;
mod lies;
mod stopped;
