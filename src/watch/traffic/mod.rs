//! Made-up traffic: what a vault of a middling company sees in some weeks, with attacks in it. The same seed gives the same
//! events, on every machine.
//!
//! It is no proof that the rules work on anybody's real traffic: its habits are our guesses, written down. They are meant to be
//! hard: bursts, deployments, address changes, late evenings, crash loops, codes typed twice. `vault audit replay` shows what the
//! rules say to your own.

mod attacks;
mod benign;
mod rng;

use core::net::Ipv4Addr;

use super::Event;
use super::trace::Labelled;
use crate::audit::Act;
use crate::names::{Principal, RequestId, Timestamp};
use rng::Rng;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// 2026-01-05, a Monday.
const START: i64 = 1_767_571_200_000;

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Another seed, another company.
    pub seed: u64,
    /// Days; attacks come in the last two thirds.
    pub days: u32,
    /// Attacks of each kind.
    pub attacks: u32,
    /// How big the company is, in percent.
    pub percent: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, days: 45, attacks: 2, percent: 100 }
    }
}

/// A thing that is read.
#[derive(Clone, Debug)]
struct Artifact {
    name: String,
    size: u64,
}

/// One of those who read.
#[derive(Clone, Debug)]
struct Actor {
    principal: Principal,
    kind: ActorKind,
    /// What it usually reads, as places in the world's list.
    reads: Vec<usize>,
    /// Where it comes from.
    network: [u8; 2],
    /// For people: when their day begins (UTC), in hours.
    morning: f64,
    /// What changed: from which day on it reads what, from where.
    history: Vec<(i64, Vec<usize>, [u8; 2])>,
}

impl Actor {
    /// As it is on a day; `None` before it is there.
    fn on(&self, day: i64) -> Option<Self> {
        let (_, reads, network) = self.history.iter().rev().find(|(since, ..)| *since <= day)?;
        Some(Self { reads: reads.clone(), network: *network, ..self.clone() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ActorKind {
    Serving,
    Training,
    Ci,
    Evaluation,
    Person,
}

/// The company, and what has happened in it.
struct World {
    rng: Rng,
    days: i64,
    artifacts: Vec<Artifact>,
    actors: Vec<Actor>,
    events: Vec<Labelled>,
}

/// Makes the events, in order, with numbers.
pub fn generate(plan: Plan) -> Vec<Labelled> {
    let mut world = benign::company(plan);
    benign::live(&mut world);
    attacks::strike(&mut world, plan.attacks);
    let mut events = world.events;
    events.sort_by_key(|labelled| labelled.event.time);
    let mut seq = 0;
    for labelled in &mut events {
        seq += 1;
        // What was done to the log is visible in one row: numbers are missing before it, or its time is hours back.
        match (&labelled.label, labelled.event.act) {
            (Some(_), Act::VaultCheck) => seq += 3,
            (Some(_), Act::DaemonReload) => {
                labelled.event.time = Timestamp::from_millis(labelled.event.time.as_millis() - 2 * HOUR);
            }
            _ => {}
        }
        labelled.event.seq = seq;
    }
    events
}

impl World {
    fn push(&mut self, event: Event, label: Option<&str>) {
        self.events.push(Labelled { event, label: label.map(Into::into) });
    }

    fn event(&self, at: i64, principal: &Principal, act: Act) -> Event {
        Event::new(0, Timestamp::from_millis(START + at), principal.clone(), act)
    }

    /// An address in a network.
    fn address(&mut self, network: [u8; 2]) -> Ipv4Addr {
        let [third, fourth] = [self.rng.below(250) as u8, self.rng.below(250) as u8 + 1];
        Ipv4Addr::new(network[0], network[1], third, fourth)
    }

    /// A stream: its two rows. It takes a while for each byte.
    fn read(&mut self, at: i64, who: &Principal, artifact: usize, bytes: u64, from: Ipv4Addr, label: Option<&str>) {
        let Artifact { name, size } = self.artifacts[artifact].clone();
        let mut start = self.event(at, who, Act::ArtifactFetchStart);
        start.request = RequestId(self.rng.bytes());
        (start.object, start.size, start.peer) = (Some(name), Some(size), Some(from.into()));
        let seconds = bytes / (400 * MIB) + self.rng.below(3);
        let mut end = start.clone();
        end.time = Timestamp::from_millis(START + at + 200 + seconds as i64 * 1000);
        (end.act, end.bytes) = (Act::ArtifactFetchEnd, bytes);
        self.push(start, label);
        self.push(end, label);
    }

    /// A refusal.
    fn refused(&mut self, at: i64, who: &Principal, object: &str, reason: &str, from: Ipv4Addr, label: Option<&str>) {
        let mut event = self.event(at, who, Act::ArtifactFetchStart);
        (event.object, event.refused, event.peer) = (Some(object.into()), Some(reason.into()), Some(from.into()));
        self.push(event, label);
    }

    /// An operator grants an artifact to a workload.
    fn grant(&mut self, at: i64, workload: &Principal, artifact: usize) {
        let admin = Principal::unix_operator(1000);
        let mut event = self.event(at, &admin, Act::GrantAdd);
        event.object = Some(self.artifacts[artifact].name.clone());
        event.grantee = workload.namespace.as_ref().map(|namespace| format!("{namespace}/{}", workload.subject));
        self.push(event, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_traffic_in_order_and_another_seed_another() {
        let plan = Plan { days: 12, percent: 40, ..Plan::default() };
        let events = generate(plan);
        assert_eq!(events, generate(plan));
        assert_ne!(events, generate(Plan { seed: 2, ..plan }));
        assert!(events.windows(2).all(|w| w[0].event.seq < w[1].event.seq));
        assert!(events.iter().all(|l| l.label.is_none() || l.event.time.as_millis() >= START + 4 * DAY));
    }
}
