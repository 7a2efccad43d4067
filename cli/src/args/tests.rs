//! The grammar is a contract; what is typed is read strictly.

use super::workload::Serial;
use super::*;
use crate::manual::command;
use std::fmt::Write;

fn describe(path: &str, command: &clap::Command, inherited: &[String], out: &mut String) {
    let positionals: String = command
        .get_positionals()
        .map(|a| {
            let name = a.get_value_names().map(|n| n[0].to_string()).unwrap_or_default();
            let many = if a.get_num_args().is_some_and(|n| n.max_values() > 1) { "..." } else { "" };
            if a.is_required_set() { format!(" <{name}>{many}") } else { format!(" [{name}]{many}") }
        })
        .collect();
    if !command.is_subcommand_required_set() {
        writeln!(out, "{path}{positionals}").unwrap();
    }
    let mut known = inherited.to_vec();
    for arg in command.get_opts() {
        let long = arg.get_long().unwrap_or_default().to_owned();
        if inherited.contains(&long) || matches!(&*long, "help" | "version") {
            continue;
        }
        let short = arg.get_short().map(|s| format!("-{s}, ")).unwrap_or_default();
        let value = match arg.get_value_names() {
            Some(names) if arg.get_action().takes_values() => format!(" <{}>", names[0]),
            _ => String::new(),
        };
        let env = arg.get_env().map(|e| format!("  env {}", e.to_string_lossy())).unwrap_or_default();
        let default: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
        let default = if arg.get_action().takes_values() && !default.is_empty() {
            format!("  default {}", default.join(","))
        } else {
            String::new()
        };
        let scope = if arg.is_global_set() { "  (every command)" } else { "" };
        writeln!(out, "    {short}--{long}{value}{env}{default}{scope}").unwrap();
        if arg.is_global_set() {
            known.push(long);
        }
    }
    for sub in command.get_subcommands() {
        describe(&format!("{path} {}", sub.get_name()), sub, &known, out);
    }
}

#[test]
fn the_grammar_is_the_checked_in_contract() {
    let mut grammar = String::from(
        "# The command line, generated from cli/src/args.rs. A change here is a change of contract.\n\
         # Rewrite with: MODELVAULT_REWRITE=1 cargo test --release -p model-vault-cli\nvault\n",
    );
    describe("vault", &command("vault"), &[], &mut grammar);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/cli-grammar.txt");
    if std::env::var_os("MODELVAULT_REWRITE").is_some() {
        std::fs::write(path, &grammar).unwrap();
    }
    let contract = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(grammar, contract, "contracts/cli-grammar.txt is out of date");
}

#[test]
fn clap_finds_the_grammar_consistent() {
    command("vault").debug_assert();
}

#[test]
fn environment_twins_carry_our_prefix() {
    fn check(command: &clap::Command) {
        for arg in command.get_arguments() {
            let env = arg.get_env().map(|e| e.to_string_lossy().into_owned());
            assert!(env.as_ref().is_none_or(|e| e.starts_with("MODELVAULT_")), "{env:?}");
        }
        command.get_subcommands().for_each(check);
    }
    check(&command("vault"));
}

#[test]
fn ranges_and_serials_are_read_strictly() {
    let range = |t: &str| t.parse::<ByteRange>().ok().map(|r| (r.start, r.end));
    assert_eq!(range("3..9"), Some((3, Some(9))));
    assert_eq!(range("..9"), Some((0, Some(9))));
    assert_eq!(range("3.."), Some((3, None)));
    for bad in ["", "3", "9..3", "+1..2", "-1..2", "1...2", "a..b", "1..18446744073709551616"] {
        assert_eq!(range(bad), None, "{bad}");
    }
    assert_eq!(Serial::parse("0a:ff"), Ok(Serial(vec![10, 255])));
    assert!(["", "a", "zz", ":"].iter().all(|t| Serial::parse(t).is_err()));
}
