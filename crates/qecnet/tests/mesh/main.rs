//! The product as its users run it: real processes, real sockets, real files.

mod auditing;
mod bad_disk;
mod bad_input;
mod bad_parts;
mod bad_peers;
mod browser;
mod busy_port;
mod compromise;
mod console;
mod deploying;
mod deployment;
mod forwarding;
mod handing;
mod history;
mod keying;
mod killing;
mod quiet;
mod tapping;
