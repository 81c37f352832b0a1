//! How fast a mesh responds and rotates: a real hub, real sessions over TLS on the loopback, real
//! stores, in one process.
//!
//! `cargo bench --profile dev -p qecnet --bench mesh -- deadlines [NODES] [SAMPLES]`
//! `cargo bench --profile dev -p qecnet --bench mesh -- rotation [NODES] …`
//! `cargo bench --profile dev -p qecnet --bench mesh -- audit`
//! `cargo bench --profile dev -p qecnet --bench mesh -- rest`
//!
//! Without arguments: the deadlines with 5 nodes, rotation with 5 and 50, and the audit.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)] // printing is what a bench is for

mod audit;
mod deadlines;
mod deployment;
mod figures;
mod light;
mod log;
mod rest;
mod rotation;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // cargo hands `--bench` to every bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    match arguments.first().map(String::as_str) {
        Some("deadlines") => {
            let of = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
            runtime.block_on(deadlines::run(of(0, 5), of(1, 20)));
        }
        Some("rotation") => numbers.iter().for_each(|nodes| runtime.block_on(rotation::run(*nodes))),
        Some("rest") => rest::run(),
        Some("audit") => runtime.block_on(audit::run()),
        Some(other) => panic!("`{other}` is none of `deadlines`, `rotation`, `audit` and `rest`"),
        None => {
            runtime.block_on(deadlines::run(5, 20));
            [5, 50].into_iter().for_each(|nodes| runtime.block_on(rotation::run(nodes)));
            runtime.block_on(audit::run());
        }
    }
}
