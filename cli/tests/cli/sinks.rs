//! The audit log on its way to those who watch: files, and rsyslog over TLS as examples/rsyslog has it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{Daemon, Machine};

const FREE_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Waits until it is so; what is waited for is named when it never is.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn set(m: &Machine, sinks: &str) {
    fs::write(m.path("sinks.toml"), sinks).unwrap();
    m.ok(&["config", "check", "sinks", "sinks.toml"]);
    m.ok(&["config", "set", "sinks", "sinks.toml"]);
}

/// Sequence numbers of the events in a file of OCSF lines; each line must be an event.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let number = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        event["metadata"]["original_event_uid"].as_str().unwrap().parse().unwrap()
    };
    text.lines().map(number).collect()
}

fn records(m: &Machine) -> u64 {
    m.checked("status", &["status", "--json"])["audit_records"].as_u64().unwrap()
}

#[test]
fn a_file_gets_every_record_once_also_when_it_is_rotated_and_the_daemon_starts_again() {
    let m = Machine::new();
    let (log, old) = (m.path("events.jsonl"), m.path("events.jsonl.1"));
    set(&m, &format!("[[sink]]\nname = \"file\"\nformat = \"ocsf\"\nto = \"file\"\npath = {log:?}\n"));
    assert_eq!(m.checked("sinks", &["sink", "ls", "--json"])["sinks"][0]["running"], false);
    let daemon = Daemon::start(&m, &FREE_PORT);
    let before = records(&m);
    until("the beginning of the log", || numbers(&log).contains(&before));
    fs::rename(&log, &old).unwrap();
    m.file("model.onnx", 1000);
    m.ok(&["seal", "model.onnx"]);
    let after = records(&m);
    until("a record after the rotation", || numbers(&log).contains(&after));
    assert_eq!(daemon.stop(), Some(0));
    let daemon = Daemon::start(&m, &FREE_PORT);
    let last = records(&m);
    until("a record after the second start", || numbers(&log).contains(&last));
    let all: Vec<_> = numbers(&old).into_iter().chain(numbers(&log)).collect();
    assert_eq!(all, (1..=*all.last().unwrap()).collect::<Vec<_>>(), "each once, in order");
    let sink = &m.checked("sinks", &["sink", "ls", "--json"])["sinks"][0];
    assert_eq!((&sink["running"], &sink["error"]), (&Value::Bool(true), &Value::Null));
    assert!(m.text(&["sink", "ls"]).contains("sending"));
    // Taken out of the settings, it ends; its place in the log stays.
    fs::write(m.path("none.toml"), "# none\n").unwrap();
    m.ok(&["config", "set", "sinks", "none.toml"]);
    until("no sink", || m.json(&["sink", "ls", "--json"])["sinks"] == serde_json::json!([]));
    daemon.stop();
}

#[test]
fn only_what_was_asked_for_is_sent() {
    let m = Machine::new();
    // Not where commands run: failing ones must leave no file there.
    let log = m.home().with_file_name("denied");
    set(
        &m,
        &format!(
            "[[sink]]\nname = \"denied\"\nformat = \"cef\"\nto = \"file\"\npath = {log:?}\nacts = [\"artifact.*\"]\ndenied_only = true\n"
        ),
    );
    let daemon = Daemon::start(&m, &FREE_PORT);
    m.file("model.onnx", 1000);
    m.ok(&["seal", "model.onnx"]);
    m.fails(&["open", "nothing", "-o", "x"], 6, "NotFound");
    until("a denied opening", || fs::read_to_string(&log).unwrap_or_default().contains("outcome=failure"));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().all(|l| l.starts_with("CEF:0|") && l.contains("|artifact.") && l.contains("outcome=failure")));
    daemon.stop();
}

#[test]
fn the_log_is_written_in_every_form() {
    let m = Machine::new();
    m.file("model.onnx", 1000);
    m.ok(&["seal", "model.onnx"]);
    for form in ["ocsf", "ecs", "cef", "syslog", "jsonl"] {
        let text = m.text(&["audit", "export", "--format", form]);
        assert!(text.lines().count() > 2 && text.contains("artifact.seal"), "{form}: {text}");
        let later = m.text(&["audit", "export", "--format", form, "--from", "3"]);
        assert!(!later.contains("vault.init") && later.lines().count() > 1, "{form}");
    }
    m.checked("audit-export", &["audit", "export", "--format", "ecs", "-o", "events", "--json"]);
    m.fails(&["audit", "export", "--format", "xml"], 2, "InvalidArgument");
    m.fails(&["audit", "export", "--from", "2"], 2, "InvalidArgument");
}

/// rsyslog as Debian has it, with the configuration of examples/rsyslog.
struct Rsyslog {
    child: Child,
    log: PathBuf,
    port: u16,
}

impl Rsyslog {
    fn prepare(m: &Machine) -> (PathBuf, u16) {
        let dir = m.path("rsyslog");
        fs::create_dir_all(&dir).unwrap();
        let script = "
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 9 -subj /CN=ca
            for name in siem vault; do
              openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
              printf 'subjectAltName=DNS:localhost\\n' > ext
              openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $name.pem -days 9 -extfile ext
            done";
        let made = m.program("sh", &["-ec", script]).current_dir(&dir).stderr(Stdio::null()).status().unwrap();
        assert!(made.success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/rsyslog/modelvault.conf");
        let config = fs::read_to_string(example)
            .unwrap()
            .replace("/etc/rsyslog.d/tls", dir.to_str().unwrap())
            .replace("/var/log/modelvault", dir.to_str().unwrap())
            .replace("port=\"6514\"", &format!("port=\"{port}\" address=\"127.0.0.1\""));
        fs::write(dir.join("rsyslog.conf"), config).unwrap();
        (dir, port)
    }

    fn start(dir: &Path, port: u16) -> Self {
        let child = Command::new("rsyslogd")
            .args(["-n", "-f"])
            .arg(dir.join("rsyslog.conf"))
            .arg("-i")
            .arg(dir.join("pid"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("stderr")).unwrap())
            .spawn()
            .expect("rsyslogd: scripts/setup installs it");
        let started = Self { child, log: dir.join("audit.jsonl"), port };
        until("rsyslog listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        started
    }

    /// At once, with whatever it holds.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = fs::remove_file(self.log.with_file_name("pid"));
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        // Ours, and gone already if the test got that far.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn rsyslog_gets_every_event_over_tls_and_an_outage_holds_up_nobody() {
    let m = Machine::new();
    let (dir, port) = Rsyslog::prepare(&m);
    let rsyslog = Rsyslog::start(&dir, port);
    set(
        &m,
        &format!(
            "[[sink]]\nname = \"siem\"\nformat = \"ocsf\"\nto = \"tls\"\naddress = \"localhost:{}\"\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
            rsyslog.port,
            dir.join("ca.pem"),
            dir.join("vault.pem"),
            dir.join("vault.key"),
        ),
    );
    let daemon = Daemon::start(&m, &FREE_PORT);
    let log = rsyslog.log.clone();
    m.file("model.onnx", 1000);
    m.ok(&["seal", "model.onnx"]);
    let first = records(&m);
    until("an event in rsyslog's file", || numbers(&log).contains(&first));
    assert!(fs::read_to_string(&log).unwrap().contains("\"operation\":\"artifact.seal\""));

    // Gone without a word, while the vault goes on as if nothing had happened.
    rsyslog.kill();
    let began = Instant::now();
    for _ in 0..20 {
        m.ok(&["inspect", "model"]);
    }
    assert!(began.elapsed() < Duration::from_secs(20), "commands waited for a dead receiver: {:?}", began.elapsed());
    let last = records(&m);
    until("the outage is told", || m.json(&["sink", "ls", "--json"])["sinks"][0]["error"].is_string());
    assert!(m.checked("sinks", &["sink", "ls", "--json"])["sinks"][0]["lag"].as_u64().unwrap() > 0);

    let rsyslog = Rsyslog::start(&dir, port);
    until("what was missed", || numbers(&log).contains(&last));
    let mut seen = numbers(&log);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen[..last as usize], (1..=last).collect::<Vec<_>>(), "none is lost");
    until("the sink is well again", || m.json(&["sink", "ls", "--json"])["sinks"][0]["error"].is_null());
    daemon.stop();
    drop(rsyslog);
}

#[test]
fn a_receiver_with_a_certificate_of_another_authority_gets_nothing() {
    let m = Machine::new();
    let (dir, port) = Rsyslog::prepare(&m);
    let rsyslog = Rsyslog::start(&dir, port);
    // Another authority of the same name.
    let made = m.program("sh", &["-ec", "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -out other.pem -days 9 -subj /CN=ca"]);
    assert!({ made }.stderr(Stdio::null()).status().unwrap().success());
    set(
        &m,
        &format!(
            "[[sink]]\nname = \"siem\"\nformat = \"syslog\"\nto = \"tls\"\naddress = \"localhost:{port}\"\nca = {:?}\n",
            m.path("other.pem")
        ),
    );
    let daemon = Daemon::start(&m, &FREE_PORT);
    let mut error = String::new();
    until("the refusal is told", || {
        error = m.json(&["sink", "ls", "--json"])["sinks"][0]["error"].as_str().unwrap_or_default().to_owned();
        !error.is_empty()
    });
    assert!(error.contains("its certificate is not accepted"), "{error}");
    assert_eq!(numbers(&rsyslog.log), Vec::<u64>::new());
    daemon.stop();
}

/// The sequence number in the structured data of a syslog message.
fn number_of(message: &str) -> u64 {
    let (_, rest) = message.split_once(" seq=\"").unwrap_or_else(|| panic!("{message}"));
    rest.split_once('"').unwrap().0.parse().unwrap()
}

#[test]
fn a_connection_that_breaks_loses_no_message() {
    let m = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    set(
        &m,
        &format!(
            "[[sink]]\nname = \"tcp\"\nformat = \"syslog\"\nto = \"tcp\"\naddress = \"{}\"\n",
            listener.local_addr().unwrap()
        ),
    );
    let kept = Arc::clone(&seen);
    // Ends with the test's process. The first three connections are cut in the middle of the second message.
    std::thread::spawn(move || {
        for (nth, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            for message in 0.. {
                let mut length = Vec::new();
                if stream.read_until(b' ', &mut length).unwrap_or(0) == 0 {
                    break;
                }
                let length: usize = String::from_utf8(length).unwrap().trim_end().parse().unwrap();
                if nth < 3 && message == 1 {
                    break;
                }
                let mut text = vec![0; length];
                stream.read_exact(&mut text).unwrap();
                let text = String::from_utf8(text).unwrap();
                assert!(text.starts_with("<1") && text.contains(" model-vault "), "{text}");
                kept.lock().unwrap().push(number_of(&text));
            }
        }
    });
    let daemon = Daemon::start(&m, &FREE_PORT);
    let last = records(&m);
    until("the last message", || seen.lock().unwrap().contains(&last));
    let mut all = seen.lock().unwrap().clone();
    assert!(all.iter().filter(|n| **n == 1).count() >= 3, "sent again from where the receiver was: {all:?}");
    all.sort_unstable();
    all.dedup();
    assert_eq!(all[..last as usize], (1..=last).collect::<Vec<_>>());
    daemon.stop();
}

#[test]
fn a_unix_socket_gets_messages() {
    let m = Machine::new();
    let path = m.home().with_file_name("log");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    set(&m, &format!("[[sink]]\nname = \"log\"\nformat = \"syslog\"\nto = \"unix\"\npath = {path:?}\n"));
    let daemon = Daemon::start(&m, &FREE_PORT);
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut message = vec![0; 64 << 10];
    for n in 1..=3 {
        let length = socket.recv(&mut message).unwrap();
        assert_eq!(number_of(std::str::from_utf8(&message[..length]).unwrap()), n);
    }
    daemon.stop();
}

#[test]
fn what_can_be_used_by_nobody_is_refused_when_it_is_set() {
    let m = Machine::new();
    fs::create_dir(m.path("directory")).unwrap();
    fs::write(m.path("no.pem"), "nothing").unwrap();
    std::os::unix::fs::symlink("no.pem", m.path("link")).unwrap();
    let try_it = |sink: &str, check: bool| {
        fs::write(m.path("sinks.toml"), format!("[[sink]]\nname = \"s\"\nformat = \"cef\"\n{sink}\n")).unwrap();
        if check {
            m.fails(&["config", "check", "sinks", "sinks.toml"], 2, "ConfigInvalid");
        }
        let refused = m.fails(&["config", "set", "sinks", "sinks.toml"], 2, "ConfigInvalid");
        refused["error"]["message"].as_str().unwrap().to_owned()
    };
    for address in ["host", "host:0", "ho st:1", "[::1:514", ":514", "host:514:1"] {
        assert!(try_it(&format!("to = \"tls\"\naddress = {address:?}"), true).contains("HOST:PORT"), "{address}");
    }
    assert!(try_it("to = \"tcp\"\naddress = \"192.0.2.1:514\"", true).contains("this machine only"));
    assert!(try_it("to = \"otlp\"\naddress = \"http://192.0.2.1:4318\"", true).contains("only this machine"));
    assert!(try_it("to = \"otlp\"\naddress = \"ftp://host\"", true).contains("https://"));
    let file = |path: PathBuf| format!("to = \"file\"\npath = {path:?}");
    assert!(try_it(&file(m.home().join("catalogue.db")), false).contains("not into the vault"));
    assert!(try_it(&file(m.path("directory")), false).contains("not a file"));
    assert!(try_it(&file(m.path("link")), false).contains("not a file"));
    assert!(try_it(&file(m.path("nowhere/log")), false).contains("nowhere/log"));
    // Nobody, root neither, makes a file there.
    assert!(try_it(&file("/proc/modelvault".into()), false).contains("/proc/modelvault"));
    assert!(try_it(&format!("to = \"unix\"\npath = {:?}", m.path("no.pem")), false).contains("not a socket"));
    let ca = format!("to = \"tls\"\naddress = \"localhost:6514\"\nca = {:?}", m.path("no.pem"));
    assert!(try_it(&ca, false).contains("no.pem"));
    fs::write(m.path("alerts.toml"), "[webhook]\nurl = \"http://127.0.0.1.example.com/\"\nkey-file = \"/k\"\n")
        .unwrap();
    m.fails(&["config", "set", "alerts", "alerts.toml"], 2, "ConfigInvalid");
    assert_eq!(m.json(&["sink", "ls", "--json"])["sinks"], serde_json::json!([]));
}
