//! Alerts on their way to somebody: the webhook of a real daemon, and a receiver that speaks HTTPS and was written by others.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::sinks::until;
use super::support::{Daemon, Machine};

/// Answers POSTs over TLS, checks who sent them as docs/monitoring.md says, and keeps what it got.
const RECEIVER: &str = r#"
import hashlib, hmac, http.server, json, ssl, sys, time
key = bytes.fromhex(open("key").read().strip())
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        sent = self.headers["modelvault-time"]
        proof = "v1=" + hmac.new(key, sent.encode() + b"." + body, hashlib.sha256).hexdigest()
        genuine = hmac.compare_digest(proof, self.headers["modelvault-signature"]) and abs(time.time() - int(sent)) < 300
        with open("got", "a") as got:
            kind = self.headers["content-type"]
            got.write(json.dumps({"path": self.path, "type": kind, "genuine": genuine, "alert": json.loads(body)}) + "\n")
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.minimum_version = ssl.TLSVersion.TLSv1_3
tls.load_cert_chain("hook.pem", "hook.key")
server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

struct Receiver(Child, u16);

impl Receiver {
    fn start(m: &Machine) -> Self {
        let script = "
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 9 -subj /CN=ca
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout hook.key -out hook.csr -subj /CN=hook
            printf 'subjectAltName=DNS:localhost\\n' > ext
            openssl x509 -req -in hook.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out hook.pem -days 9 -extfile ext
            openssl rand -hex 32 > key";
        assert!(m.program("sh", &["-ec", script]).stderr(Stdio::null()).status().unwrap().success());
        let mut child = m.program("python3", &["-c", RECEIVER]).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(child, port.trim().parse().unwrap())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the receiver got, a line each.
fn got(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn rules(m: &Machine, url: &str) {
    let (key, ca) = (m.path("key"), m.path("ca.pem"));
    let text = format!(
        "learn-days = 0\n[webhook]\nurl = {url:?}\nkey-file = {key:?}\nca = {ca:?}\nleast = \"medium\"\n\
         [rule.denied-burst]\naction = \"suspend\"\nhold-minutes = 60\nquiet-minutes = 0\n"
    );
    fs::write(m.path("alerts.toml"), text).unwrap();
    m.ok(&["config", "set", "alerts", "alerts.toml"]);
}

/// Tries names, as somebody does who stole a credential.
fn probe(m: &Machine, server: &str, workload: &str) {
    m.ok(&["workload", "enroll", workload, "-o", workload]);
    for guess in 0..5 {
        let name = format!("guess-{guess}");
        let out = m.run(&["fetch", &name, "--enrolment", workload, "--server", server, "-o", "x", "--no-state"]);
        assert!(!out.status.success(), "the last may be refused by the hold already");
    }
}

fn suspended(m: &Machine) -> usize {
    m.json(&["quarantine", "ls", "--json"])["holds"].as_array().unwrap().len()
}

#[test]
fn an_alert_arrives_signed_over_tls_and_a_dead_webhook_holds_up_nothing() {
    let m = Machine::new();
    let receiver = Receiver::start(&m);
    rules(&m, &format!("https://localhost:{}/vault?team=red", receiver.1));
    let daemon = Daemon::start(&m, &["--listen", "127.0.0.1:0"]);
    let server = daemon.address.clone().unwrap();
    let file = m.path("got");
    probe(&m, &server, "thief-1");
    until("the alert arrives", || !got(&file).is_empty());
    let first = &got(&file)[0];
    assert_eq!(
        (&first["path"], &first["type"], &first["genuine"]),
        (&"/vault?team=red".into(), &"application/json".into(), &true.into())
    );
    let alert = &first["alert"];
    assert_eq!(
        (&alert["rule"], &alert["severity"], &alert["held"]),
        (&"denied-burst".into(), &"medium".into(), &true.into())
    );
    assert_eq!(alert["principal"], "workload default/thief-1");
    assert!(alert["id"].as_str().unwrap().ends_with("-denied-burst") && alert["row"].as_u64().unwrap() > 5);
    // One that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    rules(&m, &format!("https://localhost:{}/", silent.local_addr().unwrap().port()));
    let (began, before) = (Instant::now(), suspended(&m));
    probe(&m, &server, "thief-2");
    until("the hold is in force all the same", || suspended(&m) > before);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let log = m.text(&["audit", "tail", "-n", "100"]);
    assert!(log.matches("alert.raise").count() >= 2, "{log}");
    assert_eq!(got(&file).len(), 1);
    // What is noticed next goes to where it is to go now, while the other is still tried.
    rules(&m, &format!("https://localhost:{}/again", receiver.1));
    probe(&m, &server, "thief-3");
    until("the alert after it arrives", || got(&file).iter().any(|a| a["path"] == "/again" && a["genuine"] == true));
    drop(silent);
    assert_eq!(daemon.stop(), Some(0));
}
