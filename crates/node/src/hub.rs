//! The two sessions with the hub: urgent, on which a revocation never waits, and bulk.

use std::sync::Arc;
use std::time::Duration;

use session::mesh::HubMessage;
use session::{Channel, EnvelopeError, RecvError, SessionReceiver};
use tokio::sync::mpsc;
use types::{NodeId, cbor};
use zeroize::Zeroizing;

use crate::agent::Input;
use crate::counter::Counter;
use crate::network::Network;
use crate::peer::{Outbox, refused};

const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Where what the hub says goes: first what is urgent.
pub(crate) struct Inputs {
    pub(crate) urgent: mpsc::Sender<Input>,
    pub(crate) bulk: mpsc::Sender<Input>,
}

/// Keeps both sessions with the hub up.
pub(crate) async fn keep(network: Arc<Network>, longest: Duration, counter: Option<Arc<Counter>>, inputs: Inputs) {
    let hub = NodeId::hub();
    let mut wait = FIRST_WAIT;
    loop {
        match tokio::try_join!(network.dial(&hub, Channel::Urgent), network.dial(&hub, Channel::Bulk)) {
            Ok((urgent, bulk)) => {
                wait = FIRST_WAIT;
                tracing::info!("connected to the hub");
                let (urgent_sender, urgent) = urgent.split();
                let (bulk_sender, bulk) = bulk.split();
                let (urgent_out, bulk_out) = (Outbox::start(urgent_sender), Outbox::start(bulk_sender));
                // Before either is read, so that the agent knows what it held when the hub spoke first.
                let up = Input::HubUp { urgent: urgent_out.clone(), bulk: bulk_out.clone() };
                if inputs.urgent.send(up).await.is_err() {
                    return;
                }
                if let Some(counter) = &counter {
                    counter.hub_up(&bulk_out);
                }
                tokio::select! {
                    () = read(urgent, counter.as_ref(), &inputs.urgent) => {}
                    () = read(bulk, counter.as_ref(), &inputs.bulk) => {}
                }
                if let Some(counter) = &counter {
                    counter.hub_down();
                }
                urgent_out.end();
                bulk_out.end();
                tracing::warn!("the hub is gone: going on with the keys there are");
                if inputs.urgent.send(Input::HubDown).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot reach the hub");
                wait = (wait * 2).min(longest);
            }
        }
        tokio::time::sleep(wait).await;
    }
}

async fn read(mut receiver: SessionReceiver, counter: Option<&Arc<Counter>>, inputs: &mpsc::Sender<Input>) {
    loop {
        let bytes = match receiver.recv().await {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(RecvError::Envelope(error)) => {
                let _ = inputs.send(refused(&NodeId::hub(), error)).await;
                if matches!(error, EnvelopeError::TooLarge { .. } | EnvelopeError::Exhausted) {
                    return;
                }
                continue;
            }
            Err(_) => return,
        };
        match cbor::from_slice::<HubMessage>(&bytes) {
            Ok(HubMessage::Saes(list)) => {
                if let Some(counter) = counter {
                    counter.serve_only(list).await;
                }
            }
            Ok(HubMessage::HandoutsKept { number }) => {
                if let Some(counter) = counter {
                    counter.kept(number).await;
                }
            }
            Ok(HubMessage::Kme(frame)) => {
                if let Some(counter) = counter {
                    counter.frame(&NodeId::hub(), frame);
                }
            }
            Ok(message) => {
                if inputs.send(Input::Hub(message)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the hub sent a message that is not understood: are both of one version?");
                return;
            }
        }
    }
}
