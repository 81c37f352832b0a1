//! `qecnet hub run`, `node run` and `fibre run`: one part alone.

use std::future::Future;

use hub::files::StoreError;
use hub::{HubConfig, StartError};
use link::fibre::{FibreConfig, FibreError};
use node::{CounterError, FilesError, NodeConfig, NodeError};
use store::OpenError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::{Run, RunPart};
use crate::exit::{Exit, Fault, OrExit};
use crate::places;

pub(crate) async fn hub(part: RunPart) -> Result<Exit, Fault> {
    let RunPart::Run(run) = part;
    let config = HubConfig::load(&run.config).or_exit(Exit::Config, "the hub cannot start")?;
    places::are_free(&places::of_hub(&run.config, &config)).await?;
    hub::run(config, stopped(run.supervised)?).await.map_err(|error| Fault::new(hub_exit(&error), error))?;
    Ok(Exit::Ok)
}

fn hub_exit(error: &StartError) -> Exit {
    match error {
        StartError::Listen { .. } => Exit::Address,
        StartError::Recover(_) => Exit::Store,
        StartError::Store(error) => match error {
            StoreError::Master(_) => Exit::Config,
            StoreError::Open(error) => open_exit(error),
            StoreError::Create(_) => Exit::Disk,
        },
        StartError::Files(_)
        | StartError::Genesis(_)
        | StartError::Trust(_)
        | StartError::OtherBoundary { .. }
        | StartError::Endpoint(_) => Exit::Config,
        _ => Exit::Failed,
    }
}

fn node_exit(error: &NodeError) -> Exit {
    match error {
        NodeError::Listen { .. } | NodeError::Counter(CounterError::Listen { .. }) => Exit::Address,
        NodeError::Load(_) => Exit::Store,
        NodeError::Write(_) => Exit::Disk,
        NodeError::Files(FilesError::Open(error)) => open_exit(error),
        NodeError::Files(_)
        | NodeError::Trust(_)
        | NodeError::OtherBoundary { .. }
        | NodeError::NotTrusted(_)
        | NodeError::Endpoint(_) => Exit::Config,
        _ => Exit::Failed,
    }
}

/// A store that is damaged is one thing, a disk that fails another.
fn open_exit(error: &OpenError) -> Exit {
    match error {
        OpenError::Fault(store::Fault::DiskFull | store::Fault::Io(_)) => Exit::Disk,
        _ => Exit::Store,
    }
}

pub(crate) async fn node(part: RunPart) -> Result<Exit, Fault> {
    let RunPart::Run(run) = part;
    let config = NodeConfig::load(&run.config).or_exit(Exit::Config, "the node cannot start")?;
    places::are_free(&places::of_node(&run.config, &config)).await?;
    node::run(config, stopped(run.supervised)?).await.map_err(|error| Fault::new(node_exit(&error), error))?;
    Ok(Exit::Ok)
}

pub(crate) async fn fibre(run: Run) -> Result<Exit, Fault> {
    let config = FibreConfig::load(&run.config).or_exit(Exit::Config, "the fibre cannot start")?;
    places::are_free(&places::of_fibre(&run.config, &config)).await?;
    link::fibre::run(config, stopped(run.supervised)?).await.map_err(|error| {
        let exit = match &error {
            FibreError::Config(_) => Exit::Config,
            FibreError::Listen { .. } => Exit::Address,
            FibreError::Entropy(_) => Exit::Failed,
        };
        Fault::new(exit, error)
    })?;
    Ok(Exit::Ok)
}

/// Ready when the part shall stop: on a signal or, under a supervisor, when standard input ends.
fn stopped(supervised: bool) -> Result<impl Future<Output = ()> + Send + 'static, Fault> {
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Failed, "cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Failed, "cannot wait for a stop")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = input_ended(), if supervised => {}
        }
    })
}

/// Ready when standard input ends. A thread of its own reads it: a read cannot be given up.
async fn input_ended() {
    let (ended, told) = oneshot::channel();
    std::thread::spawn(move || {
        // What is read is of no interest, nor why it ends.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = told.await;
}
