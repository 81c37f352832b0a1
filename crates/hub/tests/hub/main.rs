//! The running hub, from outside: over its sockets and on its files.

mod authority;
mod browser;
mod clock;
mod console;
mod cut_off;
mod endpoints;
mod evidence_out;
mod mesh;
mod once;
mod public;
mod recovery;
mod requests;
mod stalls;
