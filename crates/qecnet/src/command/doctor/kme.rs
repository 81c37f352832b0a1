//! `qecnet doctor kme`: looks at a key management entity from outside, as an application does.

use std::time::Duration;

use kme::client::{Client, ClientSettings, examine};

use crate::cli::DoctorKme;
use crate::context::Context;
use crate::exit::{Exit, Fault, OrExit};
use crate::output;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(context: &Context, kme: &DoctorKme) -> Result<Exit, Fault> {
    let settings = ClientSettings {
        url: kme.url.clone(),
        authority: kme.cacert.clone(),
        certificate: kme.cert.clone(),
        key: kme.key.clone(),
    };
    let client = Client::new(&settings, PATIENCE).or_exit(Exit::Config, "cannot ask the KME")?;
    let seen = examine(&client, &kme.slave, kme.take).await;
    if context.global.json {
        output::json(&seen.findings)?;
    } else {
        for finding in &seen.findings {
            let mark = if finding.good { "ok  " } else { "look" };
            output::text(&format!("{mark}  {}: {}\n", finding.what, finding.detail))?;
        }
    }
    Ok(if seen.is_good() { Exit::Ok } else { Exit::Failed })
}
