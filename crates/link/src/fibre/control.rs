//! The control port of a fibre: one command a line, one answer a line.
//!
//! `tap F [ATTACK]` attacks the fraction F of the pulses (by intercepting and resending where no
//! attack is named), `untap` stops that, `status` tells what is going on as JSON. The port asks for no
//! permission: it stands for physical access.

use std::sync::Arc;
use std::time::Duration;

use qkd::{Attack, Protocol, Tap};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Shared;

const MAX_LINE: u64 = 256;
const IDLE: Duration = Duration::from_secs(60);

/// Answers commands until the connection ends, idles or talks nonsense at length.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(MAX_LINE);
        let read = bounded.read_until(b'\n', &mut line);
        match tokio::time::timeout(IDLE, read).await {
            Ok(Ok(len)) if len > 0 && line.ends_with(b"\n") => {}
            _ => return,
        }
        let mut answer = answer(&String::from_utf8_lossy(&line), &shared);
        answer.push('\n');
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(line: &str, shared: &Shared) -> String {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("tap"), Some(fraction), attack) if words.next().is_none() => {
            let fraction = fraction.parse::<f64>().ok().filter(|fraction| (0.0..=1.0).contains(fraction));
            let Some(fraction) = fraction else { return "error: the fraction is a number from 0 to 1".to_owned() };
            match attack.map_or(Ok(Attack::default()), str::parse) {
                Ok(Attack::SplitPhotons) if shared.config.params.protocol != Protocol::DecoyBb84 => {
                    "error: there are no photon numbers to split: only decoy-bb84 sends weak pulses".to_owned()
                }
                Ok(Attack::BlindAlice) if !shared.config.params.protocol.is_entangled() => {
                    "error: there are no detectors to blind at Alice's end: only bbm92 and e91 measure pairs".to_owned()
                }
                Ok(named) => {
                    shared.set_tap(Some(Tap { attack: named, fraction }));
                    attack.map_or_else(|| format!("ok tap {fraction}"), |_| format!("ok tap {fraction} {named}"))
                }
                Err(error) => format!("error: {error}"),
            }
        }
        (Some("untap"), None, None) => {
            shared.set_tap(None);
            "ok untap".to_owned()
        }
        (Some("status"), None, None) => shared.status().to_json(),
        _ => "error: say `tap FRACTION [ATTACK]`, `untap` or `status`".to_owned(),
    }
}
