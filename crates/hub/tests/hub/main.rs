//! The running hub, from outside: over its sockets and on its files.

mod authority;
mod clock;
mod console;
mod endpoints;
mod evidence_out;
mod mesh;
mod recovery;
mod requests;
mod stalls;
