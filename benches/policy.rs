//! Decisions: how long one takes, by the number of policies, where each policy is about one workload (what slicing is for) and where
//! every policy is about everything (what slicing cannot help).
//!
//! `cargo bench --bench policy`, with `-- --small` for a short run. The gate (exit 1 when missed) is the 99th percentile of the
//! quietest batch: a busy machine delays some batches, not all of them.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use model_vault::names::{ArtifactId, ArtifactKind, Name, Principal, Timestamp};
use model_vault::policy::{Action, Context, Policies, Request, Resource, Transport};

const BATCH: usize = 2000;

/// `more` policies beyond the built-in ones.
fn policies(more: usize, scoped: bool) -> Policies {
    let rule = |i: usize| {
        let (principal, resource) = if scoped {
            (
                format!("principal == ModelVault::Workload::\"prod/w{i}\""),
                format!("resource is ModelVault::Artifact in ModelVault::Namespace::\"n{}\"", i % 50),
            )
        } else {
            ("principal".into(), "resource is ModelVault::Artifact".into())
        };
        format!(
            "@id(\"p{i}\") permit ({principal}, action in ModelVault::Action::\"read\", {resource}) \
             when {{ resource.signed && context.bound && context.hour > 30 }};\n"
        )
    };
    let text: String = (0..more).map(rule).collect();
    Policies::parse(&format!("{}{text}", Policies::DEFAULT_TEXT)).unwrap()
}

/// The median and 99th percentile of the quietest batch.
fn measure(policies: &Policies, batches: usize) -> (Duration, Duration) {
    let (namespace, name): (Name, Name) = ("prod".parse().unwrap(), "resnet".parse().unwrap());
    let caller = Principal::workload(namespace.clone(), &"w7".parse().unwrap());
    let mut context = Context::new(Transport::Mtls);
    (context.bound, context.signer_trusted) = (true, true);
    let request = Request {
        principal: &caller,
        action: Action::Open,
        resource: Resource::Artifact {
            namespace: &namespace,
            id: ArtifactId([7; 16]),
            name: &name,
            kind: ArtifactKind::Model,
            signed: true,
            version: None,
        },
        groups: vec!["serving".parse().unwrap()],
        marks: Default::default(),
        context,
        granted: true,
        now: Timestamp::from_millis(1_795_305_600_000),
    };
    let batch = |_| {
        let mut times: Vec<_> = (0..BATCH)
            .map(|_| {
                let start = Instant::now();
                assert!(black_box(policies.decide(black_box(&request))).allowed);
                start.elapsed()
            })
            .collect();
        times.sort();
        (times[BATCH / 2], times[BATCH * 99 / 100])
    };
    let all: Vec<_> = (0..batches).map(batch).collect();
    (all.iter().map(|b| b.0).min().unwrap(), all.iter().map(|b| b.1).min().unwrap())
}

fn main() -> ExitCode {
    let batches = if std::env::args().any(|arg| arg == "--small") { 5 } else { 25 };
    let built_in = Policies::defaults().count();
    let mut missed = false;
    println!("policies  about         p50         p99         parsed in");
    for (count, limit) in [(built_in, 300), (100, 300), (1000, 1000)] {
        for scoped in [true, false] {
            let start = Instant::now();
            let policies = policies(count - built_in, scoped);
            let parsed = start.elapsed();
            assert_eq!(policies.count(), count);
            let (p50, p99) = measure(&policies, batches);
            let about = if scoped { "one workload" } else { "everything" };
            println!("{count:<9} {about:<13} {p50:<11.1?} {p99:<11.1?} {parsed:.1?}");
            if scoped && p99 > Duration::from_micros(limit) {
                println!("  missed: at most {limit} us");
                missed = true;
            }
        }
    }
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
