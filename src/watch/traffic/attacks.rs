//! Attacks, each in several strengths, by those who are in the company or hold what they stole from it.

use super::{Act, Actor, ActorKind, DAY, GIB, HOUR, MINUTE, Principal, RequestId, Timestamp, World};
use core::net::Ipv4Addr;

type Attack = fn(&mut World, i64, &str);

/// What each kind is called, and is.
const KINDS: &[(&str, Attack)] = &[
    ("stolen-credential", stolen),
    ("stolen-nearby", stolen_nearby),
    ("bulk", bulk),
    ("slow-ranges", slow),
    ("insider-night", night),
    ("probing", probing),
    ("replay", replay),
    ("sweep", sweep),
    ("unannounced", unannounced),
    ("patient", patient),
    ("rows-removed", rows_removed),
    ("clock-back", clock_back),
    ("reused-ids", reused_ids),
];

/// So many of each kind, in the last two thirds of the time.
pub(super) fn strike(world: &mut World, each: u32) {
    for (name, attack) in KINDS {
        for instance in 0..each {
            let from = world.days / 3 * DAY;
            // Slow ones need time to get anywhere.
            let until = (world.days * DAY * 2 / 3).max(from + 1);
            let at = world.rng.between(from, until);
            attack(world, at, &format!("{name}#{instance}"));
        }
    }
}

/// Somebody who has been there for a while.
fn somebody(world: &mut World, at: i64, kinds: &[ActorKind]) -> Actor {
    let day = at / DAY;
    let of_kind = || world.actors.iter().filter(|a| kinds.contains(&a.kind));
    let settled = of_kind().filter(|a| a.on(day - 8).is_some()).filter_map(|a| a.on(day));
    let mut fitting: Vec<_> = settled.collect();
    if fitting.is_empty() {
        fitting.extend(of_kind().filter_map(|a| a.on(i64::MAX)));
    }
    world.rng.pick(&fitting).clone()
}

fn abroad(world: &mut World) -> Ipv4Addr {
    let first = 100 + world.rng.below(90) as u8;
    let second = world.rng.below(250) as u8;
    world.address([first, second])
}

/// A workload's credential, used from elsewhere, for what it may read.
fn stolen(world: &mut World, at: i64, label: &str) {
    let (of, from) = (somebody(world, at, &[ActorKind::Serving, ActorKind::Training, ActorKind::Ci]), abroad(world));
    for i in 0..world.rng.between(1, 4) {
        let artifact = *world.rng.pick(&of.reads);
        world.read(at + i * 20 * MINUTE, &of.principal, artifact, world.artifacts[artifact].size, from, Some(label));
    }
}

/// The same from another machine of the same cluster, with moderation: no rule is expected to see it.
fn stolen_nearby(world: &mut World, at: i64, label: &str) {
    let of = somebody(world, at, &[ActorKind::Serving]);
    let from = world.address(of.network);
    world.read(at, &of.principal, of.reads[0], world.artifacts[of.reads[0]].size, from, Some(label));
}

/// As much as the line gives, from the usual place: everything it may read, again and again or one after the other.
fn bulk(world: &mut World, at: i64, label: &str) {
    let of = somebody(world, at, &[ActorKind::Ci, ActorKind::Person, ActorKind::Serving]);
    let from = world.address(of.network);
    let wanted = (world.rng.around(400.0, 0.6) * GIB as f64) as u64;
    let (mut taken, mut when) = (0, at);
    while taken < wanted && when < at + 12 * HOUR {
        let artifact = if of.kind == ActorKind::Serving {
            of.reads[0]
        } else {
            world.rng.below(world.artifacts.len() as u64) as usize
        };
        let size = world.artifacts[artifact].size;
        world.read(when, &of.principal, artifact, size, from, Some(label));
        taken += size;
        when += 30_000 + (size / GIB) as i64 * 2_500;
    }
}

/// A model in small ranges, a few each day, during its usual hours.
fn slow(world: &mut World, at: i64, label: &str) {
    let of = somebody(world, at, &[ActorKind::Person]);
    let from = world.address(of.network);
    // People look into models; whoever reads one whole anyway needs no pieces.
    let artifact = *world.rng.pick(&of.reads[5..]);
    let size = world.artifacts[artifact].size;
    let (pieces, days) = (world.rng.between(20, 120), world.rng.between(3, 14));
    for piece in 0..=pieces {
        let day = (at / DAY) + piece * days / pieces;
        let when = day * DAY + ((of.morning + world.rng.share() * 8.0) * HOUR as f64) as i64;
        world.read(when, &of.principal, artifact, size / pieces as u64, from, Some(label));
    }
}

/// Small ranges again, all under one request id, with another stream in each so that their rows look like one another's.
fn reused_ids(world: &mut World, at: i64, label: &str) {
    let before = world.events.len();
    slow(world, at, label);
    let id = RequestId(world.rng.bytes());
    let mut hiding = Vec::new();
    for labelled in &mut world.events[before..] {
        labelled.event.request = id;
        let mut other = labelled.clone();
        other.event.bytes = other.event.bytes.min(1);
        if other.event.act == Act::ArtifactFetchEnd {
            other.event.time = Timestamp::from_millis(other.event.time.as_millis() - 100);
        }
        hiding.push(other);
    }
    world.events.append(&mut hiding);
}

/// Somebody with office hours reads at night what it reads by day.
fn night(world: &mut World, at: i64, label: &str) {
    let of = somebody(world, at, &[ActorKind::Person]);
    let from = world.address(of.network);
    let begin = (at / DAY) * DAY + ((of.morning + 17.0 + world.rng.share() * 4.0) * HOUR as f64) as i64;
    for i in 0..world.rng.between(1, 4) {
        let artifact = *world.rng.pick(&of.reads);
        world.read(begin + i * 9 * MINUTE, &of.principal, artifact, world.artifacts[artifact].size, from, Some(label));
    }
}

/// What may this credential read? Names are tried, quickly or with pauses.
fn probing(world: &mut World, at: i64, label: &str) {
    let of = somebody(world, at, &[ActorKind::Serving, ActorKind::Ci, ActorKind::Training]);
    let from = world.address(of.network);
    let pause = world.rng.between(1, 150) * 1000;
    for i in 0..world.rng.between(6, 40) {
        let name = format!("prod/guess-{}", world.rng.below(1000));
        world.refused(at + i * pause, &of.principal, &name, "NotFound", from, Some(label));
    }
}

/// A recorded token or code, tried again.
fn replay(world: &mut World, at: i64, label: &str) {
    let (of, from) = (somebody(world, at, &[ActorKind::Person, ActorKind::Training]), abroad(world));
    let pause = world.rng.between(2, 240) * 1000;
    for i in 0..world.rng.between(3, 12) {
        let mut event = world.event(at + i * pause, &of.principal, Act::SessionLogin);
        event.refused = Some("BadCredential: the token was used before".into());
        event.peer = Some(from.into());
        world.push(event, Some(label));
    }
}

/// Many small things that it may read and never did.
fn sweep(world: &mut World, at: i64, label: &str) {
    let of = somebody(world, at, &[ActorKind::Person, ActorKind::Ci]);
    let from = world.address(of.network);
    let pause = world.rng.between(1, 15) * MINUTE;
    let first = world.rng.below(world.artifacts.len() as u64) as usize;
    for i in 0..world.rng.between(14, 40) {
        let artifact = (first + i as usize) % world.artifacts.len();
        let part = world.artifacts[artifact].size / 100;
        world.read(at + i * pause, &of.principal, artifact, part, from, Some(label));
    }
}

/// A principal that nobody enrolled by name: a policy on groups lets it in.
fn unannounced(world: &mut World, at: i64, label: &str) {
    let name = format!("job-{}", world.rng.below(1_000_000));
    let who = Principal::workload("prod".parse().expect("a name"), &name.parse().expect("a name"));
    let from = world.address([10, 20]);
    let artifact = world.rng.below(world.artifacts.len() as u64) as usize;
    world.read(at, &who, artifact, world.artifacts[artifact].size, from, Some(label));
}

/// A little more each day, so that a lot looks usual in the end: doubling every two days, then as much as it wants.
fn patient(world: &mut World, at: i64, label: &str) {
    let of = somebody(world, at, &[ActorKind::Ci, ActorKind::Person]);
    let from = world.address(of.network);
    let artifact = *world.rng.pick(&of.reads);
    let mut daily = 512.0 * 1024.0 * 1024.0;
    for day in 0..14 {
        let begin = (at / DAY + day) * DAY;
        for hour in 0..9 {
            let when = begin + ((of.morning + f64::from(hour)) * HOUR as f64) as i64;
            world.read(when, &of.principal, artifact, daily as u64, from, Some(label));
        }
        daily *= 1.5;
    }
}

/// Rows are taken out of the log.
fn rows_removed(world: &mut World, at: i64, label: &str) {
    // The next row shows it: its number is not the next one.
    let event = world.event(at, &Principal::unix_operator(1000), Act::VaultCheck);
    world.push(event, Some(label));
}

/// The clock is set back by some hours, to make what follows look older.
fn clock_back(world: &mut World, at: i64, label: &str) {
    let event = world.event(at, &Principal::unix_operator(1000), Act::DaemonReload);
    world.push(event, Some(label));
}
