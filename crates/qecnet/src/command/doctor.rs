//! `qecnet doctor`: looks at a deployment the way a person with a problem would, and says what to do.

pub(crate) mod kme;

use std::time::Duration;

use api::ClientConfig;
use api::view::{Topic, View};
use serde::Serialize;
use session::TrustStore;
use tokio::net::TcpStream;
use tokio::time::timeout;
use types::mesh::{Delivery, NodeState};

use crate::context::Context;
use crate::exit::{Exit, Fault};
use crate::output;

/// One thing looked at.
#[derive(Serialize)]
struct Finding {
    check: String,
    fine: bool,
    advice: String,
}

impl Finding {
    fn new(check: impl Into<String>, outcome: Result<String, String>) -> Self {
        let (fine, advice) = match outcome {
            Ok(found) => (true, found),
            Err(advice) => (false, advice),
        };
        Self { check: check.into(), fine, advice }
    }
}

pub(crate) async fn run(context: &Context) -> Result<Exit, Fault> {
    let mut findings = vec![entropy(), client_config(context), operator_key(context), trust(context)];
    findings.push(hub_answers(context).await);
    if findings.iter().all(|finding| finding.fine) {
        findings.extend(mesh(context).await);
    }
    let fine = findings.iter().all(|finding| finding.fine);
    if context.global.json {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            let mark = if finding.fine { "ok  " } else { "look" };
            output::text(&format!("{mark}  {}: {}\n", finding.check, finding.advice))?;
        }
    }
    Ok(if fine { Exit::Ok } else { Exit::Failed })
}

fn entropy() -> Finding {
    let found = crypto::Entropy::system().map(|source| source.report().to_string());
    Finding::new("entropy", found.map_err(|error| error.to_string()))
}

fn client_config(context: &Context) -> Finding {
    let path = context.deployment.client_config();
    let found = ClientConfig::load(&path).map(|client| format!("boundary {} at {}", client.boundary, client.address));
    Finding::new("hub's description", found.map_err(|error| error.to_string()))
}

fn operator_key(context: &Context) -> Finding {
    let operator = &context.global.operator;
    let found = crypto::IdentityKey::load(&context.deployment.operator_key(operator));
    let found = found.map(|key| format!("{operator}, fingerprint {:.16}…", key.public().fingerprint().to_string()));
    Finding::new("operator's key", found.map_err(|error| error.to_string()))
}

fn trust(context: &Context) -> Finding {
    let path = context.deployment.hub().join("trust.toml");
    if !path.exists() {
        return Finding::new("trust", Ok("no hub in this folder".to_owned()));
    }
    let found = TrustStore::load(&path).map(|trust| format!("{} participants", trust.iter().count()));
    Finding::new("trust", found.map_err(|error| error.to_string()))
}

async fn hub_answers(context: &Context) -> Finding {
    let check = "hub";
    let Ok(client) = ClientConfig::load(&context.deployment.client_config()) else {
        return Finding::new(check, Err("not looked at: its description is missing".to_owned()));
    };
    let outcome = match timeout(Duration::from_secs(5), TcpStream::connect(&client.address)).await {
        Ok(Ok(_)) => Ok(format!("answers at {}", client.address)),
        Ok(Err(error)) => Err(format!("does not answer at {} ({error}): start it with `qecnet up`", client.address)),
        Err(_) => Err(format!("does not answer at {} in time: look at its log", client.address)),
    };
    Finding::new(check, outcome)
}

async fn mesh(context: &Context) -> Vec<Finding> {
    let status = match context.read(Topic::Status).await {
        Ok(View::Status(status)) => *status,
        Ok(_) => return vec![Finding::new("status", Err("the hub answers in another version".to_owned()))],
        Err(fault) => return vec![Finding::new("status", Err(output::sentence(&fault.error)))],
    };
    let mut findings = vec![Finding::new("log", Ok(format!("{} entries", status.log.size)))];
    for node in &status.nodes {
        let outcome = match node.state {
            NodeState::Online => Ok("online".to_owned()),
            NodeState::Offline => Err("offline: look at its log".to_owned()),
            NodeState::Isolated => Err(format!(
                "isolated: see `qecnet incidents list`, then `qecnet nodes restore {} --reason TEXT`",
                node.id
            )),
        };
        findings.push(Finding::new(format!("node {}", node.id), outcome));
    }
    for link in &status.links {
        let outcome = match (link.qber, link.delivery) {
            (None, _) => Err("not measured: does its fibre run?".to_owned()),
            (Some(qber), Delivery::QkdKem) => Ok(format!("error rate {:.2} %", qber * 100.0)),
            (Some(qber), Delivery::Kem) => {
                Err(format!("error rate {:.2} %, not used: see `qecnet incidents list`", qber * 100.0))
            }
        };
        findings.push(Finding::new(format!("link {}~{}", link.a, link.b), outcome));
    }
    if status.incidents.open > 0 {
        let advice = format!("{} open: see `qecnet incidents list`", status.incidents.open);
        findings.push(Finding::new("incidents", Err(advice)));
    }
    findings
}
