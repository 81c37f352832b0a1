//! `qecnet fibre`: run a simulated fibre, or tap one. Tapping asks the hub nothing: an eavesdropper
//! does not either.

use std::time::Duration;

use link::Attack;
use link::fibre::FibreConfig;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use types::{LinkId, NodeId};

use crate::cli::Fibre;
use crate::command::part;
use crate::context::{Context, no_such};
use crate::exit::{Exit, Fault, OrExit};
use crate::output;

/// A fibre answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(context: &Context, fibre: Fibre) -> Result<Exit, Fault> {
    match fibre {
        Fibre::Run(run) => part::fibre(run).await,
        Fibre::Tap { a, b, fraction, attack } => {
            if !(0.0..=1.0).contains(&fraction) {
                return Err(Fault::new(Exit::Usage, anyhow::anyhow!("`--fraction` is a number from 0 to 1")));
            }
            let line = match attack {
                Attack::InterceptResend => format!("tap {fraction}"),
                attack => format!("tap {fraction} {attack}"),
            };
            say(context, a, b, &line).await
        }
        Fibre::Untap { a, b } => say(context, a, b, "untap").await,
    }
}

async fn say(context: &Context, a: NodeId, b: NodeId, line: &str) -> Result<Exit, Fault> {
    let name = format!("fibre between {a} and {b}");
    let link = LinkId::new(a, b).ok_or_else(|| no_such(&name, "links"))?;
    let path = context.deployment.fibre_config(&link);
    let config = FibreConfig::load(&path).or_exit(Exit::Config, &format!("cannot find the {name}"))?;
    let answer = timeout(PATIENCE, ask(&config.control, line))
        .await
        .map_err(anyhow::Error::from)
        .and_then(|answer| answer.map_err(anyhow::Error::from))
        .or_exit(Exit::Unreachable, &format!("the {name} does not answer at {}", config.control))?;
    let accepted = answer.starts_with("ok");
    if context.global.json {
        output::json(&serde_json::json!({ "fibre": link, "answer": answer }))?;
    } else {
        output::text(&format!("{link}: {answer}\n"))?;
    }
    Ok(if accepted { Exit::Ok } else { Exit::Refused })
}

async fn ask(control: &str, line: &str) -> std::io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(control).await?);
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}
