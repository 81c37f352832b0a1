//! `qecnet`: hub, node, fibre and the operators' command line in one program.

mod cli;
mod command;
mod context;
mod deployment;
mod exit;
mod history;
mod output;
mod places;
mod render;
mod supervise;
mod table;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, DoctorWhat};
use exit::{Exit, Fault};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Secrets must not reach a core file; a system that cannot promise it is worth a warning only.
    if let Err(error) = crypto::harden_process() {
        complain(&format!("warning: {error}"));
    }
    let filter =
        EnvFilter::try_from_env("QECNET_LOG").unwrap_or_else(|_| EnvFilter::new("warn,hub=info,node=info,link=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return finish(Err(error.into())),
    };
    let result = runtime.block_on(dispatch(cli));
    // A read of standard input that is under way would hold an orderly shutdown up for ever.
    runtime.shutdown_background();
    finish(result)
}

async fn dispatch(cli: Cli) -> Result<Exit, Fault> {
    let context = context::Context::new(cli.global);
    match cli.command {
        Command::Up(up) => command::up::run(&context, &up).await,
        Command::Init(init) => command::init::run(&context, init.part),
        Command::Hub(part) => command::part::hub(part.run).await,
        Command::Node(part) => command::part::node(part.run).await,
        Command::Fibre(fibre) => command::fibre::run(&context, fibre).await,
        Command::Status(status) => command::status::run(&context, &status).await,
        Command::Nodes(nodes) => command::nodes::run(&context, nodes).await,
        Command::Keys(keys) => command::keys::run(&context, keys).await,
        Command::Links(links) => command::links::run(&context, links).await,
        Command::Incidents(incidents) => command::incidents::run(&context, incidents).await,
        Command::Signal(signal) => command::signal::run(&context, signal).await,
        Command::BreakGlass(glass) => command::break_glass::run(&context, glass).await,
        Command::Rules(rules) => command::rules::run(&context, &rules).await,
        Command::Assist(assist) => command::assist::run(&context, &assist).await,
        Command::Approvals(approvals) => command::approvals::run(&context, approvals).await,
        Command::Forward(forward) => command::forward::run(&context, forward).await,
        Command::Operators(operators) => command::operators::run(&context, operators).await,
        Command::Sae(sae) => command::sae::run(&context, sae).await,
        Command::Audit(audit) => command::audit::run(&context, audit).await,
        Command::Console => command::console::run(&context).await,
        Command::Doctor(doctor) => match doctor.what {
            None => command::doctor::run(&context).await,
            Some(DoctorWhat::Kme(kme)) => command::doctor::kme::run(&context, &kme).await,
        },
    }
}

fn finish(result: Result<Exit, Fault>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(fault) => {
            complain(&format!("qecnet: {}", output::sentence(&fault.error)));
            fault.exit.into()
        }
    }
}

fn complain(text: &str) {
    // Nothing is left to do where even standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
