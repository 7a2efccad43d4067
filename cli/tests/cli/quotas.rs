//! Quotas through a daemon: many clients at once, kill -9, and what people see.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model_vault::client::{Client, Endpoint, FetchPlan, FetchSink};
use model_vault::facts::VersionFacts;
use model_vault::identity::Enrolment;
use model_vault::manifest::{ArtifactStatement, Subject};

use super::support::{Daemon, Machine};

const FREE_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];
const MIB: u64 = 1 << 20;

fn rules(m: &Machine, limits: &str) {
    fs::write(m.path("q.toml"), format!("[[quota]]\nid = \"serving\"\nwhom = \"workload:*\"\n{limits}\n")).unwrap();
    m.checked("config-set", &["quota", "set", "q.toml", "--json"]);
}

/// A vault with a model, a workload that may read it, and rules.
fn machine(size: usize, limits: &str) -> Machine {
    let m = Machine::new();
    m.file("model.onnx", size);
    m.ok(&["seal", "model.onnx"]);
    m.ok(&["workload", "enroll", "serve-1", "-o", "enrolment"]);
    m.ok(&["grant", "serve-1", "model"]);
    rules(&m, limits);
    m
}

/// Counts what comes, whatever becomes of the stream.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl FetchSink for Counter {
    fn start(&mut self, _: &VersionFacts, _: &ArtifactStatement) -> model_vault::Result<()> {
        Ok(())
    }

    fn bytes(&mut self, _: &Subject, _: u64, bytes: &[u8]) -> model_vault::Result<()> {
        self.0.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn what_was_counted_is_set_back_by_an_operator() {
    let m = machine(3 * MIB as usize, "bytes_per_hour = \"3 MiB\"");
    let daemon = Daemon::start(&m, &FREE_PORT);
    let server = daemon.address.clone().unwrap();
    let fetch =
        |to: &'static str| ["fetch", "model", "--enrolment", "enrolment", "--server", &server, "-o", to, "--no-state"];
    m.ok(&fetch("first"));
    m.fails(&fetch("second"), 7, "QuotaExceeded");
    let reset = m.checked("quota-reset", &["quota", "reset", "serve-1", "--json"]);
    assert!(reset["accounts"].as_u64().unwrap() >= 1, "{reset}");
    m.ok(&fetch("third"));
    m.fails(&["quota", "reset"], 2, "InvalidArgument");
    m.fails(&["quota", "reset", "--artifact", "nothing"], 6, "NotFound");
    assert!(m.text(&["audit", "tail", "-n", "50"]).contains("quota.reset"));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_hundred_clients_of_one_workload_get_no_more_than_its_quota_and_kill_9_gives_nothing_back() {
    let most = 50 * MIB;
    let m = machine(3 * MIB as usize, &format!("bytes_per_hour = {most}"));
    let daemon = Daemon::start(&m, &FREE_PORT);
    let mut enrolment = Enrolment::read(&m.path("enrolment")).unwrap();
    enrolment.address = daemon.address.clone().unwrap();
    let had = Counter::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..20 {
            let (enrolment, address) = (enrolment.clone(), enrolment.address.clone());
            clients.push(Client::connect(Endpoint::Workload { address, enrolment }).await.unwrap());
        }
        let fetches = (0..100).map(|i| {
            let (client, mut sink) = (clients[i % 20].clone(), had.clone());
            let plan = FetchPlan::whole("model".parse().unwrap(), enrolment.signers.clone());
            tokio::spawn(async move { client.fetch(plan, &mut sink).await.err() })
        });
        let mut refused = 0;
        for fetch in fetches.collect::<Vec<_>>() {
            if let Some(e) = fetch.await.unwrap() {
                assert_eq!(e.id(), model_vault::ErrorId::QuotaExceeded, "{e}");
                assert!(
                    e.retry_after_hint().is_some_and(|wait| wait.as_secs() > 60),
                    "{e}: {:?}",
                    e.retry_after_hint()
                );
                refused += 1;
            }
        }
        refused
    });
    let got = had.0.load(Ordering::SeqCst);
    assert!(refused >= 80 && got <= most + MIB, "{refused} refused, {got} had");
    assert!(got >= most - 16 * MIB, "{got}: most of it was of use");
    drop(runtime);
    daemon.kill();

    let _daemon = Daemon::start(&m, &FREE_PORT);
    let fetch = ["fetch", "model", "--enrolment", "enrolment", "-o", "x"];
    let again = || m.command(&[&fetch[..], &["--server", _daemon.address.as_ref().unwrap()]].concat());
    let told = super::support::failed(again, &m.work(), 7, "QuotaExceeded");
    let wait: u64 = told["error"]["details"]["retry_after_ms"].as_str().unwrap().parse().unwrap();
    assert!((60_000..3_800_000).contains(&wait), "{told}");
    let log = m.text(&["audit", "tail", "-n", "400", "--json"]);
    assert!((1..=4).contains(&log.matches("quota.refused").count()), "one row for many refusals");
}

#[test]
fn rules_are_checked_set_and_shown_with_their_use_and_a_workload_sees_its_own() {
    let m = machine(100_000, "full_reads_per_day = 2\nstreams = 3");
    fs::write(m.path("bad.toml"), "[[quota]]\nid = \"a\"\nwhom = \"workload:*\"\nrequest_per_minute = 1\n").unwrap();
    m.fails(&["quota", "check", "bad.toml"], 2, "ConfigInvalid");
    m.fails(&["quota", "set", "bad.toml"], 2, "ConfigInvalid");
    m.ok(&["quota", "check", "q.toml"]);
    let moved = m.fails(&["quota", "set", "q.toml", "--expect", "v7"], 9, "AlreadyExists");
    assert!(moved["error"]["hint"].as_str().unwrap().contains("vault config get quotas"), "{moved}");
    // An empty file is a mistake more often than it is meant.
    fs::write(m.path("empty.toml"), "\n").unwrap();
    m.fails(&["quota", "set", "empty.toml"], 2, "ConfigInvalid");
    let daemon = Daemon::start(&m, &FREE_PORT);
    let address = daemon.address.clone().unwrap();
    let fetch = |to: &str| m.run(&["fetch", "model", "--enrolment", "enrolment", "--server", &address, "-o", to]);
    assert!(fetch("one").status.success() && fetch("two").status.success());
    let third = fetch("three");
    assert_eq!(third.status.code(), Some(7));
    let text = String::from_utf8(third.stderr).unwrap();
    assert!(text.contains("2 full reads in a day of this artifact (quota serving)"), "{text}");

    let used = m.checked("quota", &["quota", "get", "serve-1", "--json"]);
    assert_eq!(
        (&used["callers"][0]["caller"], used["callers"].as_array().unwrap().len()),
        (&"workload default/serve-1".into(), 1)
    );
    let limits = used["callers"][0]["limits"].as_array().unwrap();
    let reads = limits.iter().find(|l| l["limit"] == "full_reads_per_day").unwrap();
    assert_eq!(
        (&reads["used"], &reads["most"], &reads["artifact"]),
        (&2000.into(), &2000.into(), &"default/model".into())
    );
    assert_eq!(used["callers"][0]["bytes_today"], 200_000);
    assert!(m.text(&["quota", "get"]).contains("full_reads_per_day"));
    assert!(m.text(&["quota", "get", "--rules"]).contains("id = \"serving\""));

    let config = m.home().parent().unwrap().join(".config/modelvault/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, format!("[contexts.remote]\nserver = {address:?}\nenrolment = {:?}\n", m.path("enrolment")))
        .unwrap();
    let own = m.checked("quota", &["quota", "get", "--context", "remote", "--json"]);
    assert_eq!(own["callers"], used["callers"]);
    assert_eq!(m.json(&["quota", "get", "operator:*", "--context", "remote", "--json"])["callers"], own["callers"]);
    m.fails(&["quota", "get", "--rules", "--context", "remote"], 5, "Denied");
    m.fails(&["quota", "get", "nobody:x"], 2, "InvalidArgument");

    // What was used outlives the daemon, however it ends.
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(m.json(&["quota", "get", "serve-1", "--json"])["callers"], used["callers"]);
}
