//! Everyday life: serving fleets, training, tests, evaluations, people; deployments, moves, mistakes.

use super::{Act, Actor, ActorKind, Artifact, DAY, GIB, HOUR, MIB, MINUTE, Plan, Principal, Rng, World};

/// Who is there and what there is to read.
pub(super) fn company(plan: Plan) -> World {
    let mut rng = Rng::new(plan.seed);
    let many = |n: u32| (n * plan.percent).div_ceil(100).max(1);
    let mut artifacts = Vec::new();
    let mut add = |what: &str, n: u32, middle: f64, spread: f64, rng: &mut Rng| {
        let first = artifacts.len();
        for i in 0..many(n) {
            let size = (rng.around(middle, spread) as u64).clamp(4 * MIB, 4096 * GIB);
            artifacts.push(Artifact { name: format!("prod/{what}-{i}"), size });
        }
        first..artifacts.len()
    };
    let models = add("model", 24, 12.0 * GIB as f64, 0.9, &mut rng);
    let sets = add("dataset", 10, 80.0 * GIB as f64, 1.0, &mut rng);
    let small = add("part", 20, 200.0 * MIB as f64, 0.8, &mut rng);
    let mut actors = Vec::new();
    let mut hire = |kind: ActorKind, name: String, reads: Vec<usize>, rng: &mut Rng| {
        let principal = match kind {
            ActorKind::Person => Principal { subject: name, ..Principal::unix_operator(0) },
            _ => Principal::workload("prod".parse().expect("a name"), &name.parse().expect("a name")),
        };
        // Clusters have a network each; people come from an office or from home.
        let network = match kind {
            ActorKind::Person => *rng.pick(&[[192, 168], [192, 168], [172, 20], [172, 21]]),
            _ => [10, 20 + rng.below(4) as u8],
        };
        let morning = 6.5 + rng.share() * 3.0;
        actors.push(Actor { principal, kind, reads, network, morning, history: Vec::new() });
    };
    let some = |rng: &mut Rng, of: &std::ops::Range<usize>, n: u64| -> Vec<usize> {
        (0..n).map(|_| of.start + rng.below(of.len() as u64) as usize).collect()
    };
    for i in 0..many(10) {
        let reads = some(&mut rng, &models, 1);
        hire(ActorKind::Serving, format!("serve-{i}"), reads, &mut rng);
    }
    for i in 0..many(8) {
        let mut reads = some(&mut rng, &sets, 2);
        reads.extend(some(&mut rng, &models, 1));
        hire(ActorKind::Training, format!("train-{i}"), reads, &mut rng);
    }
    for i in 0..many(5) {
        let reads = some(&mut rng, &small, 8);
        hire(ActorKind::Ci, format!("ci-{i}"), reads, &mut rng);
    }
    for i in 0..many(3) {
        let reads = some(&mut rng, &models, 5);
        hire(ActorKind::Evaluation, format!("eval-{i}"), reads, &mut rng);
    }
    for i in 0..many(14) {
        let mut reads = some(&mut rng, &small, 5);
        reads.extend(some(&mut rng, &models, 3));
        hire(ActorKind::Person, format!("person-{i}"), reads, &mut rng);
    }
    World { rng, days: plan.days.into(), artifacts, actors, events: Vec::new() }
}

/// Everybody's days.
pub(super) fn live(world: &mut World) {
    for place in 0..world.actors.len() {
        let mut actor = world.actors[place].clone();
        // Some are there from the start; others come later, and are granted what they read.
        let since = if world.rng.chance(0.8) || actor.kind == ActorKind::Person { 0 } else { world.rng.between(5, 25) };
        if actor.kind != ActorKind::Person {
            // Now and then somebody grants well ahead.
            let ahead = if world.rng.chance(0.1) { 9 * DAY } else { HOUR };
            for artifact in actor.reads.clone() {
                world.grant((since * DAY - ahead).max(0), &actor.principal, artifact);
            }
        }
        for day in since..world.days {
            changes(world, &mut actor, day);
            let today = (day, actor.reads.clone(), actor.network);
            if actor.history.last().is_none_or(|(_, reads, network)| (reads, network) != (&today.1, &today.2)) {
                actor.history.push(today);
            }
            match actor.kind {
                ActorKind::Serving => serve(world, &actor, day),
                ActorKind::Training => train(world, &actor, day),
                ActorKind::Ci => test(world, &actor, day),
                ActorKind::Evaluation => evaluate(world, &actor, day),
                ActorKind::Person => work(world, &actor, day),
            }
        }
        world.actors[place].history = actor.history;
    }
    machine(world);
}

fn is_weekend(day: i64) -> bool {
    day % 7 >= 5
}

/// What changes in a company: a cluster moves, another model is deployed, somebody travels.
fn changes(world: &mut World, actor: &mut Actor, day: i64) {
    if world.rng.chance(1.0 / 120.0) && actor.kind != ActorKind::Person {
        actor.network = [10, 20 + world.rng.below(8) as u8];
    }
    let often = match actor.kind {
        ActorKind::Serving | ActorKind::Training => 1.0 / 20.0,
        ActorKind::Ci | ActorKind::Evaluation => 1.0 / 10.0,
        ActorKind::Person => 0.0,
    };
    if world.rng.chance(often) {
        let like = world.artifacts[*world.rng.pick(&actor.reads)].name.clone();
        let family = like.rsplit_once('-').map_or("", |(family, _)| family).to_owned();
        let alike: Vec<_> =
            (0..world.artifacts.len()).filter(|i| world.artifacts[*i].name.starts_with(&family)).collect();
        let next = *world.rng.pick(&alike);
        let at = world.rng.below(actor.reads.len() as u64) as usize;
        actor.reads[at] = next;
        world.grant(day * DAY + MINUTE, &actor.principal, next);
    }
}

/// Replicas start with the load of the day and all at once when something is deployed. Some fleets read in parts, rank by rank.
fn serve(world: &mut World, actor: &Actor, day: i64) {
    let ranks = if actor.principal.subject.ends_with(['3', '7']) { 8 } else { 1 };
    let weekend = if is_weekend(day) { 0.6 } else { 1.0 };
    let mut starts = Vec::new();
    for hour in 0..24 {
        let load = 1.0 + 0.8 * (f64::from(hour - 14) * std::f64::consts::TAU / 24.0).cos();
        for _ in 0..world.rng.count(0.7 * load * weekend) {
            starts.push(day * DAY + i64::from(hour) * HOUR + world.rng.between(0, HOUR - 1));
        }
    }
    if world.rng.chance(0.18) && !is_weekend(day) {
        let at = day * DAY + world.rng.between(8, 16) * HOUR;
        let replicas = world.rng.between(4, 12);
        starts.extend((0..replicas).map(|i| at + i * 3 * MINUTE));
    }
    for at in starts {
        let artifact = actor.reads[0];
        let size = world.artifacts[artifact].size;
        for rank in 0..ranks {
            let from = world.address(actor.network);
            // A stream breaks off now and then, and is begun again.
            if world.rng.chance(0.01) {
                let part = (size as f64 * world.rng.share()) as u64 / ranks as u64;
                world.read(at + rank * 500, &actor.principal, artifact, part, from, None);
            }
            world.read(at + rank * 500 + MINUTE, &actor.principal, artifact, size / ranks as u64, from, None);
        }
    }
    crash_loop(world, actor, day, 0.01);
}

/// A job every other day or so: a base model in one go, then a dataset in ranges, over hours.
fn train(world: &mut World, actor: &Actor, day: i64) {
    if !world.rng.chance(0.45) {
        return;
    }
    let begin = day * DAY + world.rng.between(0, 23) * HOUR;
    let from = world.address(actor.network);
    let base = actor.reads[2];
    world.read(begin, &actor.principal, base, world.artifacts[base].size, from, None);
    let set = *world.rng.pick(&actor.reads[..2]);
    let size = world.artifacts[set].size;
    let epochs = 1 + world.rng.below(3) as i64;
    let each = world.rng.between(60, 300) * MINUTE;
    for epoch in 0..epochs {
        for piece in 0..32 {
            let at = begin + 10 * MINUTE + epoch * each + piece * each / 32;
            world.read(at, &actor.principal, set, size / 32, from, None);
        }
    }
    crash_loop(world, actor, day, 0.03);
}

/// Commits of the day, each with a few small things; some of them are refused, because a branch asks for what it may not have.
fn test(world: &mut World, actor: &Actor, day: i64) {
    let commits = world.rng.count(if is_weekend(day) { 4.0 } else { 35.0 });
    for _ in 0..commits {
        let at = day * DAY + (world.rng.around(13.0, 0.25).clamp(5.0, 23.0) * HOUR as f64) as i64;
        let from = world.address(actor.network);
        for _ in 0..world.rng.between(1, 3) {
            let artifact = *world.rng.pick(&actor.reads);
            let size = world.artifacts[artifact].size;
            world.read(at, &actor.principal, artifact, size, from, None);
        }
        if world.rng.chance(0.02) {
            for artifact in 0..world.rng.between(1, 3) {
                let name = format!("prod/branch-{artifact}");
                world.refused(at, &actor.principal, &name, "NotFound", from, None);
            }
        }
    }
}

/// Each night all of its models.
fn evaluate(world: &mut World, actor: &Actor, day: i64) {
    let begin = day * DAY + HOUR;
    let from = world.address(actor.network);
    for (i, artifact) in actor.reads.clone().into_iter().enumerate() {
        let at = begin + i as i64 * 25 * MINUTE + world.rng.between(0, 10) * MINUTE;
        world.read(at, &actor.principal, artifact, world.artifacts[artifact].size, from, None);
    }
}

/// Office hours, with late evenings, home, travel, curiosity and typing mistakes.
fn work(world: &mut World, actor: &Actor, day: i64) {
    let Actor { principal, reads, morning, .. } = actor;
    if is_weekend(day) && !world.rng.chance(0.06) || world.rng.chance(0.08) {
        return;
    }
    let network = match world.rng.share() {
        travel if travel < 0.004 => [80 + world.rng.below(100) as u8, world.rng.below(250) as u8],
        home if home < 0.35 => [81, 10 + actor.morning as u8],
        _ => actor.network,
    };
    let from = world.address(network);
    let late = if world.rng.chance(0.04) { 4.0 } else { 0.0 };
    for _ in 0..world.rng.count(5.0) {
        let hour = morning + world.rng.share() * (9.0 + late);
        let at = day * DAY + (hour * HOUR as f64) as i64;
        if world.rng.chance(0.015) {
            // Curiosity: something it never read.
            let artifact = world.rng.below(world.artifacts.len() as u64) as usize;
            let part = world.artifacts[artifact].size / 50;
            world.read(at, principal, artifact, part, from, None);
            continue;
        }
        let artifact = *world.rng.pick(reads);
        let size = world.artifacts[artifact].size;
        // Headers and a tensor or two, mostly; the whole thing now and then.
        let small = world.artifacts[artifact].name.starts_with("prod/part");
        let bytes = if small && world.rng.chance(0.3) || world.rng.chance(0.005) {
            size
        } else {
            size / 200 + world.rng.below(size / 100)
        };
        world.read(at, principal, artifact, bytes, from, None);
    }
    if world.rng.chance(0.03) {
        let at = day * DAY + ((morning + world.rng.share()) * HOUR as f64) as i64;
        let mut event = world.event(at, principal, Act::MfaVerify);
        event.refused = Some("BadCredential: the code was used before".into());
        world.push(event, None);
    }
    for _ in 0..world.rng.count(0.1) {
        let at = day * DAY + ((morning + world.rng.share() * 8.0) * HOUR as f64) as i64;
        let name = world.rng.pick(&world.artifacts.clone()).name.clone();
        world.refused(at, principal, &name, "Denied", from, None);
    }
}

/// A pod without the right grant, restarted with a growing pause until somebody looks.
fn crash_loop(world: &mut World, actor: &Actor, day: i64, chance: f64) {
    if !world.rng.chance(chance) {
        return;
    }
    let (mut at, from) = (day * DAY + world.rng.between(0, 20) * HOUR, world.address(actor.network));
    let name = world.artifacts[actor.reads[0]].name.clone();
    for i in 0..world.rng.between(5, 60) {
        world.refused(at, &actor.principal, &name, "NotFound", from, None);
        at += (10_000 << i.min(5)).min(5 * MINUTE);
    }
}

/// The machine: restarts, strangers at the door, a clock that is set by a little.
fn machine(world: &mut World) {
    let daemon = Principal::local_operator(1000);
    for day in 0..world.days {
        if world.rng.chance(0.1) {
            let at = day * DAY + world.rng.below(DAY as u64) as i64;
            for (act, after) in [(Act::DaemonStop, 0), (Act::DaemonStart, 20_000)] {
                let event = world.event(at + after, &daemon, act);
                world.push(event, None);
            }
        }
        for _ in 0..world.rng.count(2.0) {
            let at = day * DAY + world.rng.below(DAY as u64) as i64;
            let mut event = world.event(at, &Principal::anonymous(), Act::AuthRefused);
            event.refused = Some("BadCredential: certificate expired".into());
            event.count = 1 + world.rng.below(20) as u32;
            world.push(event, None);
        }
    }
}
