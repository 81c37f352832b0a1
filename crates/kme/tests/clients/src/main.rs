//! `etsi-clients CLIENT HOST PORT CA MASTER-CERT MASTER-KEY SLAVE-CERT SLAVE-KEY MASTER SLAVE` takes three keys as
//! the master and fetches them again as the slave, with the client named, and fails where the two differ.

use std::path::PathBuf;

use etsi014::{Endpoint, KeyId, KeyIdRequest, KeyRequest};
use etsi014_client::ETSI014Client;

type Outcome = Result<(), Box<dyn std::error::Error>>;

struct Party {
    cert: PathBuf,
    key: PathBuf,
    name: String,
}

struct Plan {
    host: String,
    port: u16,
    ca: PathBuf,
    master: Party,
    slave: Party,
}

fn plan(args: &[String]) -> Result<Plan, Box<dyn std::error::Error>> {
    let [host, port, ca, mc, mk, sc, sk, master, slave] = args else {
        return Err("usage: etsi-clients CLIENT HOST PORT CA MASTER-CERT MASTER-KEY SLAVE-CERT SLAVE-KEY MASTER SLAVE".into());
    };
    Ok(Plan {
        host: host.clone(),
        port: port.parse()?,
        ca: ca.into(),
        master: Party { cert: mc.into(), key: mk.into(), name: master.clone() },
        slave: Party { cert: sc.into(), key: sk.into(), name: slave.clone() },
    })
}

fn check(ok: bool, what: &str) -> Outcome {
    if ok { Ok(()) } else { Err(what.to_owned().into()) }
}

async fn with_etsi014(plan: &Plan) -> Outcome {
    let endpoint = |party: &Party| {
        Endpoint::builder(format!("https://{}:{}", plan.host, plan.port))
            .root_ca_file(&plan.ca)
            .identity_files(&party.cert, &party.key)
            .build()
    };
    let (master, slave) = (endpoint(&plan.master)?, endpoint(&plan.slave)?);
    let status = master.status(&plan.slave.name).await?;
    check(status.master_SAE_ID == plan.master.name && status.slave_SAE_ID == plan.slave.name, "status names others")?;
    let made = master.get_key(&plan.slave.name, &KeyRequest::new(Some(3), Some(512))).await?;
    check(made.keys.len() == 3, "not three keys")?;
    let ids = || KeyIdRequest::new(made.keys.iter().map(|key| KeyId { key_ID: key.key_ID.clone() }).collect());
    let got = slave.get_key_with_id(&plan.master.name, &ids()).await?;
    for (a, b) in made.keys.iter().zip(&got.keys) {
        check(a.key_ID == b.key_ID && a.key == b.key, "the slave got other keys")?;
    }
    let again = slave.get_key_with_id(&plan.master.name, &ids()).await.err().ok_or("delivered twice")?;
    check(again.kind() == Some(etsi014::ApiErrorKind::KeysNotFound), &format!("unexpected refusal: {again}"))?;
    let odd = master.get_key(&plan.slave.name, &KeyRequest::new(None, Some(257))).await.err().ok_or("257 bits")?;
    check(odd.kind() == Some(etsi014::ApiErrorKind::SizeNotMultipleOf8), &format!("unexpected refusal: {odd}"))
}

async fn with_etsi014_client(plan: &Plan) -> Outcome {
    let client = |party: &Party| {
        ETSI014Client::new(&plan.host, plan.port, &party.cert, &party.key, &plan.ca).map_err(|error| error.to_string())
    };
    let (master, slave) = (client(&plan.master)?, client(&plan.slave)?);
    let status = master.get_status(&plan.slave.name).await.map_err(|error| error.to_string())?;
    check(status.target_sae_id == plan.slave.name, "status names another slave")?;
    let made = master.get_keys(256, &plan.slave.name, &[], 3).await.map_err(|error| error.to_string())?;
    check(made.len() == 3, "not three keys")?;
    let ids: Vec<&str> = made.iter().map(|(id, _)| id.as_str()).collect();
    let got = slave.get_keys_by_ids(&plan.master.name, &ids).await.map_err(|error| error.to_string())?;
    for ((a, x), (b, y)) in made.iter().zip(&got) {
        check(a == b && *x.borrow() == *y.borrow(), "the slave got other keys")?;
    }
    check(slave.get_keys_by_ids(&plan.master.name, &ids).await.is_err(), "delivered twice")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (client, rest) = args.split_first().ok_or("name a client: etsi014 or etsi014-client")?;
    let plan = plan(rest)?;
    match client.as_str() {
        "etsi014" => with_etsi014(&plan).await,
        "etsi014-client" => with_etsi014_client(&plan).await,
        other => Err(format!("no client `{other}`").into()),
    }
}
