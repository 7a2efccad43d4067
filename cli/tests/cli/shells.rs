//! Completions and manual pages, judged by the programs that read them. `scripts/setup` installs those.

use std::io::Write;
use std::process::{Command, Stdio};

use super::support::Machine;

/// Runs a program with a text on standard input; returns what it printed on both streams.
fn judged(m: &Machine, program: &str, args: &[&str], text: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(m.work()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}; scripts/setup installs it"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{program} {args:?}: {}\n{said}", out.status);
    said
}

#[test]
fn bash_completes_commands_and_options() {
    let m = Machine::bare();
    let script = m.text(&["completions", "bash"]);
    let asks = |words: &str, at: usize| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({words} ''); COMP_CWORD={at}; _vault vault '' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        judged(&m, "bash", &["--norc", "-s"], &ask)
    };
    let commands = asks("vault", 1);
    assert!(["seal", "open", "workload"].iter().all(|c| commands.lines().any(|l| l == *c)), "{commands}");
    let options = asks("vault workload", 2);
    assert!(options.lines().any(|l| l == "enroll"), "{options}");
}

#[test]
fn zsh_and_fish_complete_commands() {
    let m = Machine::bare();
    std::fs::write(m.path("_vault"), m.text(&["completions", "zsh"])).unwrap();
    judged(&m, "zsh", &["-f", "-n", "_vault"], "");
    let ask = format!("{}\ncomplete --do-complete 'vault se'\n", m.text(&["completions", "fish"]));
    let offered = judged(&m, "fish", &["--no-config"], &ask);
    assert!(offered.lines().any(|l| l.starts_with("seal\t")) && offered.contains("serve"), "{offered}");
}

#[test]
fn manual_pages_are_well_formed_and_hold_the_examples() {
    let m = Machine::bare();
    let written = m.checked("man", &["man", "-o", "pages", "--json"]);
    for page in written["pages"].as_array().unwrap() {
        let page = m.path("pages").join(page.as_str().unwrap()).display().to_string();
        judged(&m, "mandoc", &["-T", "lint", "-W", "error", &page], "");
    }
    let page = m.path("pages/vault-seal.1").display().to_string();
    let shown = judged(&m, "mandoc", &["-T", "utf8", &page], "");
    assert!(shown.contains("vault seal model.onnx") && shown.contains("Key file that opens the vault"), "{shown}");
}
