//! A second factor, what it opens, and what others must approve, as people and scripts use them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use model_vault::identity::totp::{Secret, step_at};
use model_vault::names::{Clock as _, SystemClock};
use serde_json::Value;

use super::support::{Daemon, Machine};
use super::terminal::Terminal;

/// A person's authenticator app.
struct App(Secret);

impl App {
    /// What it makes of the letters it is given.
    fn new(letters: &str) -> Self {
        let bits: Vec<bool> = letters
            .bytes()
            .flat_map(|c| {
                let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|a| *a == c).unwrap();
                (0..5).rev().map(move |bit| value >> bit & 1 == 1)
            })
            .collect();
        let bytes: Vec<u8> = bits.chunks(8).map(|byte| byte.iter().fold(0, |b, bit| b << 1 | u8::from(*bit))).collect();
        Self(Secret::from_bytes(&bytes).unwrap())
    }

    /// The code of now, or of so many steps later: the vault takes one that comes a step too early.
    fn code(&self, later: i64) -> String {
        let wanted = self.0.code(step_at(SystemClock.now()) + later);
        (0..1_000_000)
            .map(|n| format!("{n:06}"))
            .find(
                |digits| matches!(digits.parse(), Ok(model_vault::identity::totp::Proof::Code(code)) if code == wanted),
            )
            .unwrap()
    }
}

/// Enrols by two calls, as a script does; returns app and recovery codes.
fn enrol(m: &Machine) -> (App, Vec<String>) {
    let begun = m.checked("mfa-enroll", &["mfa", "enroll", "--json"]);
    assert!(begun["uri"].as_str().unwrap().starts_with("otpauth://totp/Model%20Vault:uid%3A"), "{begun}");
    let app = App::new(begun["secret"].as_str().unwrap());
    m.fails(&["mfa", "enroll", "--code", &wrong(&app)], 4, "BadCredential");
    let confirmed = m.checked("mfa-confirm", &["mfa", "enroll", "--code", &app.code(0), "--json"]);
    let codes = confirmed["recovery_codes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().into());
    (app, codes.collect())
}

/// Six digits that are no code of these minutes.
fn wrong(app: &App) -> String {
    let near: Vec<_> = (-3..4).map(|later| app.code(later)).collect();
    (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
}

/// Where a step-up is kept.
fn kept(m: &Machine) -> Option<PathBuf> {
    let dir = m.home().parent().unwrap().join("modelvault");
    let mut entries = fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path());
    entries.find(|path| path.extension().is_some_and(|e| e == "step-up"))
}

#[test]
fn a_script_enrols_logs_in_and_destroys() {
    let m = Machine::new();
    m.file("model.onnx", 1000);
    for _ in 0..3 {
        m.ok(&["seal", "model.onnx"]);
    }
    // Without a second factor nothing asks for one.
    m.checked("version", &["shred", "model@v1", "--yes", "--json"]);
    m.fails(&["open", "model@v1", "-o", "out"], 6, "Shredded");
    m.fails(&["login", "--code", "123456"], 6, "NotFound");
    let (app, codes) = enrol(&m);
    assert_eq!(codes.len(), 10);
    m.fails(&["mfa", "enroll"], 9, "AlreadyExists");
    m.fails(&["shred", "model@v2", "--yes"], 5, "MfaRequired");
    m.fails(&["export", "model@v2", "-o", "out.mvlt"], 5, "MfaRequired");
    m.fails(&["mfa", "reset"], 5, "MfaRequired");
    m.fails(&["login", "--code", "12345"], 2, "InvalidArgument");
    assert_eq!(kept(&m), None);

    let opened = m.checked("login", &["login", "--code", &app.code(1), "--json"]);
    assert_eq!((&opened["method"], &opened["recovery_codes"]), (&Value::from("totp"), &Value::from(10)));
    let file = kept(&m).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(m.checked("mfa-status", &["mfa", "status", "--json"])["method"], "totp");
    m.ok(&["shred", "model@v2", "--yes"]);
    // Bulk work in this process shows it too.
    m.ok(&["export", "model@v3", "-o", "out.mvlt"]);

    // A daemon knows it as well: the catalogue is the same, and so is the person.
    let daemon = Daemon::start(&m, &[]);
    m.ok(&["export", "model@v3", "-o", "again.mvlt"]);
    assert_eq!(m.checked("logout", &["logout", "--json"])["ended"], true);
    assert_eq!(kept(&m), None);
    m.fails(&["shred", "model@v3", "--yes"], 5, "MfaRequired");
    fs::write(m.path("code"), format!("{}\n", codes[0])).unwrap();
    let opened = m.checked("login", &["login", "--code-file", "code", "--json"]);
    assert_eq!((&opened["method"], &opened["recovery_codes"]), (&Value::from("recovery"), &Value::from(9)));
    m.fails(&["login", "--code-file", "code"], 4, "BadCredential");
    m.ok(&["shred", "model@v3", "--yes"]);
    m.checked("mfa-reset", &["mfa", "reset", "--json"]);
    assert_eq!(m.checked("mfa-status", &["mfa", "status", "--json"])["enrolled"], Value::Null);
    drop(daemon);
}

#[test]
fn a_person_scans_types_and_says_yes() {
    let m = Machine::new();
    let with_key = |args: &[&str]| {
        let key = m.home().parent().unwrap().join("key").display().to_string();
        Terminal::start(&m, &[&["--key-file", &key], args].concat())
    };
    m.file("model.onnx", 1000);
    m.ok(&["seal", "model.onnx"]);
    m.ok(&["seal", "model.onnx"]);
    let mut enroll = with_key(&["mfa", "enroll"]);
    enroll.sees("First code that the app shows: ");
    let screen = enroll.screen_so_far();
    assert!(screen.contains('▀') && screen.contains('█'), "{screen}");
    let letters = screen.split("type the key of uid:").nth(1).unwrap().split_once(": ").unwrap().1;
    let app = App::new(&letters.lines().next().unwrap().replace([' ', '\r'], ""));
    enroll.types(&format!("{}\n", app.code(0)));
    let (status, screen) = enroll.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("not shown again"), "{screen}");

    let mut login = with_key(&["login"]);
    login.sees("Code of your second factor: ");
    login.types(&format!("{}\n", app.code(1)));
    let (status, screen) = login.ends();
    assert!(status == Some(0) && screen.contains("counts until"), "{screen}");

    let mut shred = with_key(&["shred", "model"]);
    shred.sees("Destroy the key of default/model@v2?");
    shred.types("y\n");
    let (status, screen) = shred.ends();
    assert_eq!(status, Some(2), "only yes is yes: {screen}");
    let mut shred = with_key(&["shred", "model"]);
    shred.sees("[yes/N] ");
    shred.types("yes\n");
    let (status, screen) = shred.ends();
    assert!(status == Some(0) && screen.contains("default/model@v2 is destroyed"), "{screen}");
    m.fails(&["shred", "model@v1"], 2, "InvalidArgument");
}

#[test]
fn what_needs_four_eyes_waits_and_nobody_is_their_own_second_pair() {
    let m = Machine::new();
    m.file("model.onnx", 1000);
    m.ok(&["seal", "model.onnx"]);
    let policy = m.text(&["policy", "get"])
        + "@id(\"four-eyes\") forbid (principal, action == ModelVault::Action::\"shred\", resource)\n\
           unless { context.approvals >= 1 };\n";
    fs::write(m.path("policy.cedar"), policy).unwrap();
    m.ok(&["policy", "set", "policy.cedar"]);
    assert_eq!(m.text(&["approve"]), "nothing waits for approval\n");
    let error = m.fails(&["shred", "model", "--yes"], 5, "ApprovalRequired");
    let id = error["error"]["details"]["approval"].as_str().unwrap().to_owned();
    assert_eq!(error["error"]["details"]["approvals"], "0/1");
    assert!(error["error"]["hint"].as_str().unwrap().contains(&format!("vault approve {id}")));
    let waiting = m.json(&["approve", "--json"]);
    super::support::schema("approvals", &waiting);
    assert_eq!((&waiting[0]["id"], &waiting[0]["what"]), (&Value::from(id.clone()), &Value::from("default/model@v1")));
    m.fails(&["approve", &id], 5, "Denied");
    m.fails(&["approve", "00000000000000000000000000000001"], 6, "NotFound");
    let refused = m.checked("approval", &["approve", &id, "--deny", "--json"]);
    assert_eq!(refused["votes"][0]["approves"], false);
    let again = m.fails(&["shred", "model", "--yes"], 5, "ApprovalRequired");
    assert_ne!(again["error"]["details"]["approval"], Value::from(id));
}
