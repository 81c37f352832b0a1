//! Two ends of one link and the fibre between them, over loopback.

use std::sync::Arc;
use std::time::Duration;

use crypto::{AuthKey, Entropy, MasterKey, Secret32};
use link::fibre::{BoundFibre, FibreAddresses, FibreConfig};
use link::{Engine, Link, LinkSpec, PadError, ParamsSection, Preset, Protocol};
use store::{Store, StoreHandle};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use types::mesh::LinkAlarm;

const WAIT: Duration = Duration::from_secs(120);

struct Bench {
    engine: Engine,
    addresses: FibreAddresses,
    dir: tempfile::TempDir,
    entropy: Arc<Entropy>,
    params: ParamsSection,
    _stop: oneshot::Sender<()>,
}

fn rate() -> ParamsSection {
    ParamsSection {
        pulse_rate_hz: Some(2_000_000),
        frame_pulses: Some(100_000),
        ..ParamsSection::of(Protocol::Bb84, Preset::Short)
    }
}

impl Bench {
    async fn new() -> Self {
        Self::of(rate()).await
    }

    async fn of(params: ParamsSection) -> Self {
        let config = FibreConfig {
            a: "n1".parse().unwrap(),
            b: "n2".parse().unwrap(),
            listen_a: "127.0.0.1:0".to_owned(),
            listen_b: "127.0.0.1:0".to_owned(),
            control: "127.0.0.1:0".to_owned(),
            params: params.clone(),
        };
        let fibre = BoundFibre::bind(config).await.unwrap();
        let addresses = fibre.addresses().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(fibre.run(async move { drop(stopped.await) }));
        Self {
            engine: Engine::new(2).unwrap(),
            addresses,
            dir: tempfile::tempdir().unwrap(),
            entropy: Arc::new(Entropy::system().unwrap()),
            params,
            _stop: stop,
        }
    }

    /// Opens, or makes, the store of `me`, as a process that starts does.
    fn store(&self, me: &str) -> StoreHandle {
        let path = self.dir.path().join(format!("{me}.db"));
        let boundary = "demo".parse().unwrap();
        let master = || MasterKey::from_bytes(&[7; 32]);
        let entropy = Arc::clone(&self.entropy);
        let store = if path.exists() {
            Store::open(&path, &boundary, master(), entropy).unwrap()
        } else {
            Store::create(&path, &boundary, master(), entropy).unwrap()
        };
        StoreHandle::spawn(store).unwrap()
    }

    async fn end(&self, me: &str, peer: &str, store: StoreHandle) -> Link {
        let fibre = if me < peer { self.addresses.a } else { self.addresses.b };
        let spec = LinkSpec {
            me: me.parse().unwrap(),
            peer: peer.parse().unwrap(),
            fibre: fibre.to_string(),
            kme: None,
            params: self.params.params(),
        };
        Link::start(&self.engine, spec, store, Arc::clone(&self.entropy)).await.unwrap()
    }

    async fn control(&self, line: &str) -> String {
        let mut stream = BufReader::new(TcpStream::connect(self.addresses.control).await.unwrap());
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).await.unwrap();
        answer.trim().to_owned()
    }
}

async fn connect(a: &Link, b: &Link, auth: u8) {
    let (to_b, from_a) = mpsc::channel(16);
    let (to_a, from_b) = mpsc::channel(16);
    a.attach(AuthKey::from_bytes(&[auth; 32]), to_b, from_b).await;
    b.attach(AuthKey::from_bytes(&[auth; 32]), to_a, from_a).await;
}

async fn until(link: &Link, what: impl Fn(&types::mesh::LinkReport) -> bool) -> types::mesh::LinkReport {
    let mut reports = link.subscribe();
    let report = tokio::time::timeout(WAIT, reports.wait_for(|report| what(report))).await;
    report.unwrap_or_else(|_| panic!("{:?}", link.state())).unwrap().clone()
}

/// KM-09, SM-06b: two ends make equal bits over a fibre; an eavesdropper on half of the pulses is
/// seen in the error rate, both ends stop using the link, and it comes back when she leaves.
#[tokio::test(flavor = "multi_thread")]
async fn bits_are_equal_and_a_tap_is_seen() {
    let bench = Bench::new().await;
    let (a, b) = (bench.end("n1", "n2", bench.store("n1")).await, bench.end("n2", "n1", bench.store("n2")).await);
    assert!(matches!(a.reserve(256).await, Err(PadError::Unusable)));
    connect(&a, &b, 1).await;
    let report = until(&b, |report| report.usable && report.pool_bits > 20_000).await;
    assert!(report.qber_ppm < 40_000 && report.secret_bps > 1_000, "{report:?}");
    until(&a, |report| report.usable).await;
    for bits in [256, 512, 8 * 1_000] {
        let pad = a.reserve(bits).await.unwrap();
        let theirs = b.take(pad.range).await.unwrap();
        assert_eq!(pad.bits.expose(), theirs.expose());
        assert_eq!(pad.bits.expose().len() as u64 * 8, bits);
        assert!(b.take(pad.range).await.is_err());
    }

    assert_eq!(bench.control("tap 0.5").await, "ok tap 0.5");
    let report = until(&b, |report| !report.usable).await;
    assert!(report.qber_ppm >= 110_000, "{report:?}");
    let kept = (report.blocks, report.discarded);
    until(&a, |report| !report.usable).await;
    assert!(matches!(a.reserve(256).await, Err(PadError::Unusable)));
    let later = until(&b, |report| report.discarded > kept.1 + 1).await;
    assert_eq!(later.blocks, kept.0, "no block becomes key while the fibre is tapped");

    assert_eq!(bench.control("untap").await, "ok untap");
    until(&b, |report| report.usable).await;
    let status: serde_json::Value = serde_json::from_str(&bench.control("status").await).unwrap();
    assert!(status["intercepted"].as_u64() > Some(0) && status["tap"].is_null(), "{status}");
    assert!(bench.control("tap 2").await.starts_with("error"));
}

/// SM-06b: every protocol makes equal bits over a fibre, each attack is seen by what theory says it
/// disturbs, both ends stop using the link, and it comes back when the attacker leaves.
async fn caught(params: ParamsSection, attacks: &[(&str, LinkAlarm)]) {
    let entangled = params.protocol.is_entangled();
    let bench = Bench::of(params).await;
    let (a, b) = (bench.end("n1", "n2", bench.store("n1")).await, bench.end("n2", "n1", bench.store("n2")).await);
    connect(&a, &b, 1).await;
    for (attack, alarm) in attacks {
        let report = until(&b, |report| report.usable && report.pool_bits > 2_000).await;
        assert!(report.carries_key() && report.figures.alarm.is_none(), "{report:?}");
        assert!(report.qber_ppm < 60_000 && report.secret_bps >= 1_000, "{report:?}");
        assert!((1_500..2_500).contains(&report.figures.loss_mdb), "2 dB of fibre: {report:?}");
        assert_eq!(entangled, report.figures.s_lower_milli > 2_000, "{report:?}");
        until(&a, |report| report.usable).await;
        let pad = a.reserve(512).await.unwrap();
        assert_eq!(pad.bits.expose(), b.take(pad.range).await.unwrap().expose());

        assert_eq!(bench.control(&format!("tap {attack}")).await, format!("ok tap {attack}"));
        let report = until(&b, |report| report.figures.alarm == Some(*alarm)).await;
        assert!(report.is_attacked() && !report.carries_key(), "{report:?}");
        until(&a, |report| report.figures.alarm == Some(*alarm) && !report.usable).await;
        assert!(matches!(a.reserve(256).await, Err(PadError::Unusable)));
        assert_eq!(bench.control("untap").await, "ok untap");
    }
    until(&b, |report| report.usable).await;
}

/// SM-06b: decoy states: photon-number splitting shows in the decoys, blinding in the clicks at half
/// efficiency, interception in the error rate.
#[tokio::test(flavor = "multi_thread")]
async fn decoy_states_catch_photon_number_splitting() {
    let params = ParamsSection::of(Protocol::DecoyBb84, Preset::Metro);
    caught(params, &[("1 pns", LinkAlarm::Decoy), ("1 blind", LinkAlarm::Blinding), ("0.6", LinkAlarm::Qber)]).await;
}

/// SM-06b: entangled pairs: whoever measures them on the way takes the violation away; only a
/// receiver that varies its efficiency sees that its clicks are faked.
#[tokio::test(flavor = "multi_thread")]
async fn a_bell_test_catches_interception() {
    let params = ParamsSection::of(Protocol::Bbm92, Preset::Metro);
    caught(params, &[("1", LinkAlarm::Bell), ("1 blind", LinkAlarm::Blinding)]).await;
}

/// S14: whoever blinds Alice's detectors in the fibre and lets Bob's real photons pass is seen at both ends,
/// by the efficiency of Alice's: both stop using the link, and both reports name blinding.
#[tokio::test(flavor = "multi_thread")]
async fn s14_blinding_alice_stops_an_entangled_link_at_both_ends() {
    for protocol in [Protocol::Bbm92, Protocol::E91] {
        caught(ParamsSection::of(protocol, Preset::Metro), &[("1 blind-alice", LinkAlarm::Blinding)]).await;
    }
}

/// SM-06b: there is nothing to split in single photons, and blinding is caught there too.
#[tokio::test(flavor = "multi_thread")]
async fn single_photons_cannot_be_split_and_blinding_is_caught() {
    let bench = Bench::new().await;
    assert!(bench.control("tap 1 pns").await.starts_with("error: there are no photon numbers"));
    assert!(bench.control("tap 1 blind-alice").await.starts_with("error: there are no detectors to blind"));
    assert!(bench.control("tap 1 guess").await.contains("one of: intercept-resend, pns, blind, blind-alice, loss"));
    caught(rate(), &[("1 blind", LinkAlarm::Blinding)]).await;
}

/// KM-09: a fibre that lets nothing through gives no bits, and no alarm names a wrong cause.
#[tokio::test(flavor = "multi_thread")]
async fn denial_by_loss_stops_the_link() {
    let bench = Bench::new().await;
    let (a, b) = (bench.end("n1", "n2", bench.store("n1")).await, bench.end("n2", "n1", bench.store("n2")).await);
    connect(&a, &b, 1).await;
    until(&b, |report| report.usable).await;
    assert_eq!(bench.control("tap 1 loss").await, "ok tap 1 loss");
    let report = until(&b, |report| !report.usable).await;
    assert_eq!((report.secret_bps, report.figures.alarm), (0, None));
}

/// KM-09: an end that restarts comes back with an empty pool and its old cursor; both ends agree
/// again, ranges drawn before are refused, and names of new ranges lie above the old ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_wastes_bits_and_repeats_none() {
    let bench = Bench::new().await;
    let store = bench.store("n1");
    let a = bench.end("n1", "n2", store.clone()).await;
    let b = bench.end("n2", "n1", bench.store("n2")).await;
    connect(&a, &b, 1).await;
    until(&a, |report| report.usable && report.pool_bits > 20_000).await;
    let used = a.reserve(256).await.unwrap();
    b.take(used.range).await.unwrap();
    let lost = a.reserve(256).await.unwrap();
    drop(a);
    store.close().await.unwrap();

    let a = bench.end("n1", "n2", bench.store("n1")).await;
    connect(&a, &b, 2).await;
    until(&a, |report| report.usable && report.pool_bits > 20_000).await;
    assert!(b.take(used.range).await.is_err());
    assert!(b.take(lost.range).await.is_err());
    let fresh = a.reserve(256).await.unwrap();
    assert!(fresh.range.offset > lost.range.offset, "{:?} after {:?}", fresh.range, lost.range);
    assert_eq!(b.take(fresh.range).await.unwrap().expose(), fresh.bits.expose());
}

/// SM-02: a severed link gives and takes nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_severed_link_gives_nothing() {
    let bench = Bench::new().await;
    let (a, b) = (bench.end("n1", "n2", bench.store("n1")).await, bench.end("n2", "n1", bench.store("n2")).await);
    connect(&a, &b, 1).await;
    until(&a, |report| report.usable && report.pool_bits > 0).await;
    let pad = a.reserve(256).await.unwrap();
    b.sever();
    a.sever();
    assert!(matches!(b.take(pad.range).await, Err(PadError::Severed)));
    assert!(a.reserve(256).await.is_err());
    assert_eq!((a.state().pool_bits, a.state().usable), (0, false));
}

/// A peer that sends nonsense to the fibre loses its connection; the fibre and the other side go on.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_drops_the_connection_only() {
    let bench = Bench::new().await;
    let mut bad = TcpStream::connect(bench.addresses.a).await.unwrap();
    bad.write_all(&[0xff; 64]).await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut bad, &mut rest).await;
    assert!(matches!(closed, Ok(0) | Err(_)));
    let (a, b) = (bench.end("n1", "n2", bench.store("n1")).await, bench.end("n2", "n1", bench.store("n2")).await);
    connect(&a, &b, 1).await;
    until(&b, |report| report.usable).await;
    until(&a, |report| report.usable).await;
}
