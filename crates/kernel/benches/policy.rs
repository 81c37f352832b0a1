//! Decisions per second: the indexed set beside Cedar's own scan of the same set, in the same run.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // printing is what a bench is for

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kernel::policy::{
    Action, Actor, DEFAULT_POLICY, Decision, Facts, PolicySet, Request, Resource, decide, decide_by_scan,
};
use types::{IncidentId, Timestamp, mesh::Severity};

const SPAN: Duration = Duration::from_millis(500);

fn request(number: usize) -> Request {
    let actor = Actor::Operator {
        id: "op1".parse().unwrap(),
        groups: vec!["duty".to_owned(), "operators".to_owned()],
        revoked: false,
    };
    Request {
        actor,
        action: Action::ReviewIncident,
        resource: Resource::Incident { id: IncidentId::new(number as u64), severity: Severity::High },
        now: Timestamp::from_millis(1_790_000_000_000),
        assisted: false,
        facts: Facts::None,
    }
}

/// The shipped policies and `more` of teams that this operator is not in.
fn policies(more: usize) -> PolicySet {
    let mut text = DEFAULT_POLICY.to_owned();
    for team in 0..more {
        writeln!(
            text,
            "@id(\"team-{team}\") permit (principal in Group::\"team-{team}\", action, resource) when {{ context.now > 0 }};"
        )
        .unwrap();
    }
    PolicySet::parse(&text).unwrap()
}

fn per_second(set: &PolicySet, decide: impl Fn(&PolicySet, &Request) -> Decision) -> f64 {
    let requests: Vec<Request> = (0..64).map(request).collect();
    let start = Instant::now();
    let mut decided = 0_u32;
    while start.elapsed() < SPAN {
        for request in &requests {
            assert!(matches!(black_box(decide(set, request)), Decision::Permit(_)));
        }
        decided += requests.len() as u32;
    }
    f64::from(decided) / start.elapsed().as_secs_f64()
}

fn main() {
    println!("{:>9} {:>14} {:>14} {:>8}", "policies", "indexed /s", "scanned /s", "ratio");
    for more in [0, 10, 100, 1_000] {
        let set = policies(more);
        let (indexed, scanned) = (per_second(&set, decide), per_second(&set, decide_by_scan));
        println!("{:>9} {indexed:>14.0} {scanned:>14.0} {:>8.1}", set.ids().count(), indexed / scanned);
    }
}
