//! The product as its users run it: real processes, real sockets, real files.

mod auditing;
mod bad_input;
mod compromise;
mod console;
mod deployment;
mod forwarding;
mod handing;
mod keying;
mod killing;
mod tapping;
