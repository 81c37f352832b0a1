//! Two KMEs with real stores, real TLS and real sockets.

mod clients;
mod conformance;
mod delivery;
mod exchange;
mod faults;
mod fixture;
mod restart;
mod slow;
