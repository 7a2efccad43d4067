//! What goes wrong before or beside a vault: each failure has its id, its exit status and a hint, and leaves nothing behind.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::support::{Machine, signal, written};

#[test]
fn a_machine_without_a_vault_says_how_to_make_one() {
    let m = Machine::bare();
    m.file("model.onnx", 10);
    let refused = m.fails(&["seal", "model.onnx"], 2, "NoVault");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("vault init"));
    for command in [&["ls"][..], &["status"], &["open", "x", "-o", "y"], &["serve"], &["audit", "verify"]] {
        m.fails(command, 2, "NoVault");
    }
    assert!(!m.home().exists());
}

#[test]
fn a_workload_is_enrolled_by_its_name_and_its_namespace_apart() {
    let m = Machine::bare();
    for command in [&["workload", "enroll", "prod/x", "-o", "x"][..], &["workload", "revoke", "prod/x"]] {
        let said = String::from_utf8(m.run(command).stderr).unwrap();
        assert!(said.contains("x --namespace prod"), "{said}");
    }
}

#[test]
fn init_is_all_or_nothing() {
    let m = Machine::bare();
    // No terminal and no credential.
    let out = m.command(&["init"]).env_remove("MODELVAULT_KEY_FILE").output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!m.home().exists());
    m.fails(&["init", "--key-file", "k", "--passphrase-file", "p"], 2, "InvalidArgument");
    fs::write(m.path("short"), "123").unwrap();
    fs::set_permissions(m.path("short"), fs::Permissions::from_mode(0o600)).unwrap();
    m.fails(&["init", "--key-file", "short"], 4, "BadCredential");
    assert!(!m.home().exists());
    m.ok(&["init"]);
    m.fails(&["init"], 9, "AlreadyExists");
}

#[test]
fn a_vault_under_a_passphrase_opens_with_that_passphrase() {
    let m = Machine::bare();
    fs::write(m.path("pw"), "correct horse\n").unwrap();
    fs::write(m.path("wrong"), "incorrect horse\n").unwrap();
    let run = |args: &[&str]| m.command(args).env_remove("MODELVAULT_KEY_FILE").output().unwrap().status.code();
    assert_eq!(run(&["init", "--passphrase-file", "pw"]), Some(0));
    assert_eq!(run(&["ls", "--passphrase-file", "pw"]), Some(0));
    assert_eq!(run(&["ls", "--passphrase-command", "printf 'correct horse'"]), Some(0));
    assert_eq!(run(&["ls", "--passphrase-file", "wrong"]), Some(4));
    assert_eq!(run(&["ls"]), Some(4));
    m.fails(&["ls", "--passphrase-file", "wrong"], 4, "BadCredential");
    m.fails(&["ls", "--key-file", "pw"], 4, "BadCredential");
    m.fails(&["ls", "--passphrase-command", "exit 1"], 4, "NoCredential");
    // Never an argument: nothing of it is in what ps shows.
    m.fails(&["ls", "--passphrase", "correct horse"], 2, "InvalidArgument");
}

#[test]
fn key_files_are_private_and_whole() {
    let m = Machine::new();
    let key = m.home().with_file_name("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    m.fails(&["ls"], 4, "BadCredential");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    m.ok(&["ls"]);
    let other = Machine::new();
    let foreign = other.home().with_file_name("key").display().to_string();
    m.fails(&["ls", "--key-file", &foreign], 4, "BadCredential");
    m.fails(&["ls", "--key-file", "none"], 4, "NoCredential");
    fs::remove_file(&key).unwrap();
    m.fails(&["ls"], 4, "NoCredential");
}

#[test]
fn arguments_that_make_no_sense() {
    let m = Machine::new();
    m.file("model.onnx", 10);
    m.ok(&["seal", "model.onnx"]);
    for args in [
        &["seal", "model.onnx", "--kind", "movie"][..],
        &["seal", "model.onnx", "--digest", "md5"],
        &["seal", "model.onnx", "--tag", "v3"],
        &["seal", "model.onnx", "--name", "UPPER"],
        &["seal", "model.onnx", "--name", "a@v3"],
        &["seal", "model.onnx", "--to", "passphrase"],
        &["seal", "-"],
        &["seal", "/dev/null"],
        &["open", "model", "--range", "9..3"],
        &["open", "no such thing"],
        &["tag", "model", "v9"],
        &["rm", "vault://default/model@v1/model.onnx"],
        &["grant", "w", "model@v1"],
        &["export", "vault://default/model@v1/model.onnx", "-o", "x"],
        &["workload", "enroll", "UPPER", "-o", "x"],
        &["serve", "--drain", "soon"],
    ] {
        m.fails(args, 2, "InvalidArgument");
    }
    m.fails(&["seal", "none.onnx"], 6, "NotFound");
    m.fails(&["open", "model@v9", "-o", "x"], 6, "NotFound");
    m.fails(&["open", "model", "-o", "no/such/dir/x"], 6, "NotFound");
    m.fails(&["fetch", "model", "--enrolment", "none", "-o", "x"], 6, "NotFound");
}

#[test]
fn a_path_that_is_not_there_is_told_as_one() {
    let m = Machine::new();
    for args in [
        &["open", "model.mvlt", "-o", "x"][..],
        &["inspect", "./model"],
        &["verify", "/no/such/Model.mvlt"],
        &["import", "model.mvlt"],
        &["seal", "./No Such.onnx"],
        &["quickstart", "none.onnx"],
    ] {
        let refused = m.fails(args, 6, "NotFound");
        let (message, hint) = (&refused["error"]["message"], &refused["error"]["hint"]);
        assert!(message.as_str().unwrap().contains("no such file"), "{message}");
        assert!(hint.as_str().unwrap().starts_with("check the path"), "{hint}");
        assert!(!message.to_string().contains("os error"), "{message}");
    }
}

#[test]
fn a_directory_without_files_is_not_sealed() {
    let m = Machine::new();
    fs::create_dir_all(m.path("empty/inside")).unwrap();
    m.fails(&["seal", "empty"], 2, "InvalidArgument");
    assert_eq!(m.checked("ls", &["ls", "--json"])["artifacts"].as_array().unwrap().len(), 0);
}

#[test]
fn an_enrolment_that_has_no_place_is_not_issued() {
    let m = Machine::new();
    m.fails(&["workload", "enroll", "serving", "-o", "no/such/dir"], 6, "NotFound");
    fs::create_dir(m.path("full")).unwrap();
    fs::write(m.path("full/notes"), "").unwrap();
    m.fails(&["workload", "enroll", "serving", "-o", "full"], 9, "AlreadyExists");
    m.ok(&["workload", "enroll", "other", "-o", "other"]);
    let key = m.read("other/client.key");
    m.fails(&["workload", "enroll", "serving", "-o", "other"], 9, "AlreadyExists");
    assert_eq!(m.read("other/client.key"), key, "the key of another workload is not overwritten");
    let listed = m.checked("workloads", &["workload", "ls", "--json"]);
    assert_eq!(listed["workloads"].as_array().unwrap().len(), 1, "{listed}");
    m.ok(&["workload", "enroll", "serving", "-o", "serving"]);
}

#[test]
fn a_report_in_json_never_mixes_with_the_bytes() {
    let m = Machine::new();
    m.file("model.onnx", 10);
    m.ok(&["seal", "model.onnx"]);
    let out = m.run(&["open", "model", "--json"]);
    assert_eq!(out.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    super::support::schema("error", &error);
    assert!(error["error"]["hint"].as_str().unwrap().contains("-o -"), "{error}");
    let out = m.run(&["open", "model", "-o", "-", "--json"]);
    assert_eq!(out.stdout, m.read("model.onnx"));
    super::support::schema("open", &serde_json::from_slice(&out.stderr).unwrap());
}

#[test]
fn a_bad_value_of_the_environment_is_traced_to_its_variable() {
    let m = Machine::new();
    for (name, value) in [("MODELVAULT_COLOR", "purple"), ("MODELVAULT_LOG", "!!!=")] {
        let out = m.command(&["ls"]).env(name, value).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{name}");
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(text.contains(name) && text.contains("vault: hint: "), "{text}");
    }
}

#[test]
fn with_dash_as_output_errors_go_to_standard_error_only() {
    let m = Machine::new();
    let out = m.run(&["open", "nothing", "-o", "-", "--json"]);
    assert!(out.stdout.is_empty());
    let error: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
    super::support::schema("error", &error);
}

#[test]
fn names_from_elsewhere_cannot_drive_the_terminal() {
    let m = Machine::new();
    let out = m.run(&["open", "a\u{1b}[2Jb", "-o", "x"]);
    assert!(!out.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&out.stderr));
    m.file("d/a\u{9b}31m", 3);
    m.ok(&["seal", "d"]);
    assert!(m.text(&["inspect", "d"]).contains("a\\u{9b}31m"));
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let m = Machine::new();
    let esc = |args: &[&str], env: &[(&str, &str)]| {
        m.command(args).envs(env.iter().copied()).output().unwrap().stderr.contains(&0x1b)
    };
    assert!(!esc(&["open", "none"], &[]));
    assert!(esc(&["open", "none", "--color", "always"], &[]));
    assert!(esc(&["open", "none"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!esc(&["open", "none"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!esc(&["open", "none", "--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn variables_of_the_other_vault_are_not_read() {
    let m = Machine::new();
    let out = m.command(&["ls"]).env_remove("MODELVAULT_HOME").env("VAULT_ADDR", "https://x:8200").output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("VAULT_ADDR belongs to another product"), "{text}");
    let out = m.command(&["ls"]).env("VAULT_ADDR", "https://x:8200").output().unwrap();
    assert!(out.status.success() && !String::from_utf8_lossy(&out.stderr).contains("VAULT_ADDR"));
}

#[test]
fn an_interrupted_command_leaves_nothing_behind() {
    let m = Machine::bare();
    fs::write(m.path("pw"), "correct horse").unwrap();
    // A file with a hole: long to seal, quick to make.
    fs::File::create(m.path("big.bin")).unwrap().set_len(8 << 30).unwrap();
    let args = ["seal", "big.bin", "-o", "big.mvlt", "--to", "passphrase", "--passphrase-file", "pw"];
    let mut sealing = m.command(&args).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while written(&sealing, &m.work()) == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(written(&sealing, &m.work()) > 0, "it is under way");
    signal(&sealing, "INT");
    assert_eq!(sealing.wait().unwrap().code(), Some(130));
    assert_eq!(m.names(""), ["big.bin", "pw"]);
}

#[test]
fn policies_can_come_from_a_pipe_and_bad_ones_change_nothing() {
    let m = Machine::new();
    let mut set = m.command(&["policy", "set", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(b"permit (who?").unwrap();
    assert_eq!(set.wait().unwrap().code(), Some(2));
    assert_eq!(m.json(&["policy", "get", "--json"])["version"], 0);
}
