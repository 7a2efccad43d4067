//! The help of the command line: headings, examples, and what is left out so that a screen holds it. The grammar itself is in
//! `args.rs`.

use clap::CommandFactory;

use crate::args::Cli;

/// Headings of the main help and the commands below them, in order.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Start here", &["quickstart", "init"]),
    (
        "Every day",
        &[
            "seal", "open", "inspect", "ls", "tag", "rm", "shred", "sign", "verify", "attest", "dataset", "import",
            "export", "fetch",
        ],
    ),
    ("Daemon and checks", &["serve", "status", "doctor", "whoami", "login", "logout"]),
    (
        "Administration",
        &[
            "mfa",
            "approve",
            "workload",
            "session",
            "grant",
            "group",
            "label",
            "key",
            "policy",
            "quota",
            "config",
            "sink",
            "quarantine",
            "release",
            "audit",
            "intel",
        ],
    ),
    ("About this program", &["help", "man", "completions"]),
];

/// The last line of every command's help, instead of the same seven options each time.
const MORE: &str = "Options of every command, such as --home, --key-file and --json: vault help";

/// One or two examples for each command, in the words a user would type. A test parses every one of them.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("quickstart", &["vault quickstart", "vault quickstart model.onnx --keep playground"]),
    ("init", &["vault init", "vault init --key-file /etc/modelvault/root.key    # for services; the file is made"]),
    (
        "seal",
        &[
            "vault seal model.onnx                              # version 1, 2, ... of artifact model",
            "vault seal weights/ --name prod/resnet --tag gold",
            "vault seal pictures/ --kind dataset                # a signed dataset, in parts if it is large",
            "vault seal model.onnx -o model.mvlt --to passphrase    # a portable file; needs no vault",
        ],
    ),
    (
        "open",
        &[
            "vault open prod/resnet@gold -o resnet/",
            "vault open model --range 0..4096 | xxd             # decrypts these bytes only",
        ],
    ),
    ("inspect", &["vault inspect model@v3", "vault inspect model.mvlt"]),
    ("ls", &["vault ls", "vault ls 'prod/*' --all"]),
    ("tag", &["vault tag model@v3 gold", "vault tag model@v4 gold --expect v3    # only if nobody moved it meanwhile"]),
    ("rm", &["vault rm model@v3", "vault rm --restore model@v3"]),
    ("shred", &["vault shred model@v3", "vault shred model@v3 --yes    # does not ask"]),
    (
        "login",
        &[
            "vault login",
            "vault login --code-file code    # in scripts; - is standard input",
            "vault login --server vault.example:7443 --token-file token --ca ca.crt -o session",
        ],
    ),
    ("logout", &["vault logout", "vault logout session    # what a token was exchanged for"]),
    (
        "mfa enroll",
        &["vault mfa enroll", "vault mfa enroll --code 123456    # confirms what was begun without a terminal"],
    ),
    ("mfa status", &["vault mfa status"]),
    ("mfa reset", &["vault mfa reset", "vault mfa reset uid:1000    # for somebody who lost app and recovery codes"]),
    (
        "approve",
        &[
            "vault approve",
            "vault approve 0198c0de00007000800000000000002a",
            "vault approve 0198c0de00007000800000000000002a --deny",
        ],
    ),
    (
        "sign",
        &[
            "vault sign ./model --identity release              # keys that the vault holds: vault key new",
            "vault sign ./model --key signer.pem --since ./model/model.sig    # reads only what changed",
            "vault sign model@v3 --key signer.pem --signature model.sig",
        ],
    ),
    (
        "dataset sign",
        &[
            "vault dataset sign data/ --identity release         # every record of it, as the next version",
            "vault dataset sign train.csv --key signer.pem --licence CC-BY-4.0",
        ],
    ),
    (
        "dataset verify",
        &[
            "vault dataset verify data/ --trust release",
            "vault dataset verify train.csv --key signer.pub.pem --min-version 3",
            "vault dataset verify reviews@v3 --trust release                  # sealed in the vault",
        ],
    ),
    (
        "dataset diff",
        &[
            "vault dataset diff old/ new/",
            "vault dataset diff old.csv new.csv --key id        # pairs edited rows",
            "vault dataset diff reviews@v2 reviews@v3           # versions in the vault",
        ],
    ),
    (
        "dataset read",
        &[
            "vault dataset read data/ --trust release | python train.py        # JSON Lines, each record checked",
            "vault dataset read reviews@v3 --key curator.pub.pem -o train.jsonl --receipt receipt.json",
        ],
    ),
    (
        "dataset prove",
        &[
            "vault dataset prove data/ --file train.csv --record 17 --trust release -o proof.json",
            "vault dataset prove --check proof.json --key curator.pub.pem     # without the dataset",
        ],
    ),
    (
        "dataset objects",
        &[
            "vault dataset objects urls.csv --dir images/ --key curator.pub.pem           # columns path and sha256",
            "vault dataset objects laion.jsonl --dir out/ --object key --trust release --good good.jsonl",
        ],
    ),
    (
        "dataset quarantine",
        &["vault dataset quarantine data/ --contributor acme --reason flipped-labels --key curator.pem"],
    ),
    (
        "dataset receipt sign",
        &["vault dataset receipt sign receipt.json --model model.onnx --key job.pem -o model.receipt"],
    ),
    (
        "dataset receipt verify",
        &["vault dataset receipt verify model.receipt --job-key job.pub.pem --dataset data/ --trust release"],
    ),
    ("dataset log", &["vault dataset log data/ --trust release"]),
    (
        "dataset scan",
        &[
            "vault dataset scan data/ --label class --html report.html",
            "vault dataset scan reviews --baseline reviews@v2 --fail-on any --sarif scan.sarif",
            "vault dataset scan data/ --detector label --bar label.margin=0.8",
            "vault dataset scan pictures/ --fail-on duplicate --fail-on unseen",
        ],
    ),
    (
        "verify",
        &[
            "vault verify model@gold",
            "vault verify model.mvlt --keyless --signer-key publisher.pem",
            "vault verify ./model --trust alice                 # a signed model on disk",
        ],
    ),
    (
        "attest add",
        &[
            "vault attest add model@v3 --type evaluation --predicate eval.json --key red-team.pem",
            "vault attest add model@v3 --type cyclonedx --predicate bom.json --key ci.pem",
            "vault attest add model@v3 --type approval.prod --key alice.pem    # for a policy that asks two people",
        ],
    ),
    ("attest ls", &["vault attest ls model@v3", "vault attest ls model@v3 -o model.sig"]),
    ("attest verify", &["vault attest verify model@v3 --type evaluation --signer red-team"]),
    ("import", &["vault import model.mvlt --name prod/model --tag candidate"]),
    ("export", &["vault export model@v3 -o model.mvlt"]),
    ("fetch", &["vault fetch prod/resnet@gold -o resnet --enrolment /run/enrolment --server vault.example:7443"]),
    ("serve", &["vault serve", "vault serve --listen 0.0.0.0:7443 --key-file /etc/modelvault/root.key"]),
    ("status", &["vault status --json"]),
    ("doctor", &["vault doctor"]),
    ("whoami", &["vault whoami", "vault whoami --enrolment /run/session"]),
    ("session ls", &["vault session ls"]),
    (
        "session revoke",
        &[
            "vault session revoke 0192f0c1a2b37def8123456789abcdef",
            "vault session revoke --issuer k8s --subject system:serviceaccount:prod:serve",
        ],
    ),
    ("workload enroll", &["vault workload enroll serving -o enrolment"]),
    ("workload renew", &["vault workload renew enrolment"]),
    ("workload ls", &["vault workload ls"]),
    ("workload revoke", &["vault workload revoke serving", "vault workload revoke serving --serial 0a:ff"]),
    ("grant", &["vault grant serving prod/resnet", "vault grant serving prod/resnet --revoke"]),
    ("group add", &["vault group add serving workload:prod/serve-1", "vault group add auditor operator:corp:eve"]),
    ("group rm", &["vault group rm serving workload:prod/serve-1"]),
    ("group ls", &["vault group ls"]),
    (
        "label",
        &[
            "vault label prod/resnet",
            "vault label prod/resnet --add release --collection llm --classification internal",
        ],
    ),
    (
        "key trust",
        &[
            "vault key trust alice --key alice.pub",
            "vault key trust ci --ca company.pem --signer-name spiffe://example.org/ci --namespace prod",
        ],
    ),
    ("key untrust", &["vault key untrust alice", "vault key untrust alice 0123456789abcdef --revoke --reason stolen"]),
    ("key ls", &["vault key ls"]),
    ("key new", &["vault key new release", "vault key new ci --pq -o ci.pem    # and ci.pub.pem; needs no vault"]),
    ("key show", &["vault key show release > release.pub.pem", "vault key show --namespace prod > vault.pub.pem"]),
    (
        "policy get",
        &[
            "vault policy get > policy.cedar",
            "vault policy get --version v2",
            "vault policy get --bundle -o policy.json",
        ],
    ),
    (
        "policy set",
        &["vault policy set policy.cedar", "vault policy set policy.cedar --expect v3    # only over what I saw"],
    ),
    ("policy check", &["vault policy check policy.cedar", "vault policy check policy.json --signer-key vault.pub.pem"]),
    (
        "policy test",
        &["vault policy test policy-tests.toml", "vault policy test policy-tests.toml --policy policy.cedar"],
    ),
    (
        "policy explain",
        &[
            "vault policy explain workload:prod/serve-1 open prod/resnet@gold",
            "vault policy explain operator:unix:uid:1000 export prod/resnet --given approvals=2",
        ],
    ),
    ("policy log", &["vault policy log"]),
    ("quota get", &["vault quota get", "vault quota get 'prod/serve-*'", "vault quota get --rules > quotas.toml"]),
    ("quota set", &["vault quota set quotas.toml", "vault quota set quotas.toml --expect v3"]),
    ("quota reset", &["vault quota reset workload:prod/serve-1", "vault quota reset --artifact prod/resnet"]),
    ("quota check", &["vault quota check quotas.toml                     # needs no vault"]),
    ("config get", &["vault config get groups > groups.toml"]),
    ("config set", &["vault config set groups groups.toml", "vault config set quotas quotas.toml --expect v3"]),
    ("config check", &["vault config check quotas quotas.toml    # needs no vault"]),
    (
        "quarantine principal",
        &[
            "vault quarantine principal prod/serve-1 --reason read-at-night",
            "vault quarantine principal prod/etl --kind throttle --for 1h",
        ],
    ),
    ("quarantine artifact", &["vault quarantine artifact prod/resnet@v3 --reason poisoned"]),
    ("quarantine ls", &["vault quarantine ls --json"]),
    ("release principal", &["vault release principal prod/serve-1"]),
    ("release artifact", &["vault release artifact prod/resnet@v3"]),
    ("audit tail", &["vault audit tail -n 50", "vault audit tail --follow --json"]),
    ("sink ls", &["vault sink ls"]),
    (
        "audit export",
        &[
            "vault audit export -o audit.jsonl",
            "vault audit export --tiles /mnt/log",
            "vault audit export --format ocsf --from 1000 -o events.jsonl",
        ],
    ),
    (
        "audit replay",
        &["vault audit replay audit.jsonl", "vault audit replay trace.jsonl --rules alerts.toml --summary"],
    ),
    ("audit simulate", &["vault audit simulate --seed 7 --days 45 -o trace.jsonl"]),
    (
        "audit verify",
        &[
            "vault audit verify > checkpoint",
            "vault audit verify --checkpoint checkpoint",
            "vault audit verify audit.jsonl --key \"$KEY\" --checkpoint checkpoint    # needs no vault",
            "vault audit verify --proof proof.json --key \"$KEY\"",
        ],
    ),
    ("audit prove", &["vault audit prove 17 > proof.json", "vault audit prove --consistency 256 > proof.json"]),
    ("intel import", &["vault intel import bad.stix.json --source isac", "vault intel import digests.txt"]),
    ("intel ls", &["vault intel ls"]),
    ("intel rm", &["vault intel rm isac"]),
    ("help", &["vault help seal", "vault help exit-codes"]),
    ("man", &["vault man | man -l -", "vault man -o /usr/local/share/man/man1"]),
    (
        "completions",
        &[
            "vault completions bash > ~/.local/share/bash-completion/completions/vault",
            "vault completions zsh > ~/.zfunc/_vault",
        ],
    ),
];

/// The whole grammar with its help, for a binary called `program` (`vault` or `modelvault`): what is parsed, completed and
/// printed as manual pages.
pub fn command(program: &'static str) -> clap::Command {
    let command = Cli::command().name(program).bin_name(program);
    let listed = |name: &str| {
        let about = command.find_subcommand(name).and_then(|c| c.get_about()).map(ToString::to_string);
        format!("  {name:<12} {}\n", about.unwrap_or_default())
    };
    let groups: String = GROUPS
        .iter()
        .map(|(heading, names)| format!("{heading}:\n{}\n", names.iter().map(|n| listed(n)).collect::<String>()))
        .collect();
    let template =
        format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}");
    let command = command.help_template(template).after_help(named(
        "More: vault help COMMAND, and vault help references | credentials | environment | exit-codes",
        program,
    ));
    command.mut_subcommands(|c| {
        let path = c.get_name().to_owned();
        explained(c, &path, program)
    })
}

/// With examples of each command; a group of commands lists these.
fn explained(command: clap::Command, path: &str, program: &'static str) -> clap::Command {
    if !command.has_subcommands() {
        return with_examples(command, path, program);
    }
    command.after_help(named(MORE, program)).mut_subcommands(|c| {
        let path = format!("{path} {}", c.get_name());
        explained(c, &path, program)
    })
}

/// The same grammar as the help on a terminal shows it: options that every command takes are in the main help alone, and
/// their variables in `vault help environment`.
pub fn for_terminal(program: &'static str) -> clap::Command {
    fn quiet(command: clap::Command, top: bool) -> clap::Command {
        command
            .mut_args(|arg| {
                let everywhere = arg.is_global_set();
                if everywhere { arg.hide_env(true).hide(!top) } else { arg }
            })
            .mut_subcommands(|c| quiet(c, false))
    }
    let mut command = command(program);
    // Hands the options that all commands take down to each.
    command.build();
    quiet(command, true)
}

fn with_examples(command: clap::Command, path: &str, program: &str) -> clap::Command {
    let examples = EXAMPLES.iter().find(|(of, _)| *of == path).map_or(&[][..], |(_, examples)| examples);
    let about = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    let heading = if examples.len() == 1 { "Example" } else { "Examples" };
    let lines: String = examples.iter().map(|e| format!("  {}\n", named(e, program))).collect();
    command.after_help(format!("{about}{heading}:\n{lines}\n{}", named(MORE, program)))
}

/// A command line that was written for `vault`, under the name the program was called by.
fn named(text: &str, program: &str) -> String {
    if program == "vault" { text.to_owned() } else { text.replace("vault ", &format!("{program} ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_vault::ErrorId;

    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name()).trim().to_owned();
            if sub.has_subcommands() { leaves(sub, &path, found) } else { found.push(path) }
        }
    }

    #[test]
    fn every_command_is_in_exactly_one_group_of_the_help() {
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|g| g.1).copied().collect();
        grouped.sort_unstable();
        let command = command("vault");
        let mut all: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        all.sort_unstable();
        assert_eq!(grouped, all);
    }

    #[test]
    fn every_command_has_examples_and_each_of_them_parses() {
        let mut all = Vec::new();
        leaves(&command("vault"), "", &mut all);
        all.sort_unstable();
        let mut exemplified: Vec<_> = EXAMPLES.iter().map(|(path, _)| (*path).to_owned()).collect();
        exemplified.sort_unstable();
        assert_eq!(exemplified, all);
        for (path, examples) in EXAMPLES {
            for example in *examples {
                // What the shell takes away: comments, quotes, pipes and redirections.
                let typed = example.split(['#', '|', '>']).next().unwrap_or_default().replace('\'', "");
                assert!(typed.starts_with(&format!("vault {path}")), "{example}");
                let parsed = command("vault").try_get_matches_from(typed.split_whitespace());
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn the_help_of_a_command_fits_a_screen_and_the_main_help_has_the_options_of_all() {
        let mut help = for_terminal("vault");
        assert!(help.render_help().to_string().contains("--passphrase-command <"));
        let group = help.find_subcommand_mut("dataset").and_then(|c| c.find_subcommand_mut("receipt")).unwrap();
        let text = group.render_help().to_string();
        assert!(!text.contains("Example") && text.trim_end().ends_with(MORE), "{text}");
        for sub in help.get_subcommands_mut() {
            let (name, text) = (sub.get_name().to_owned(), sub.render_help().to_string());
            assert!(!text.contains("--passphrase-command <"), "{text}");
            assert!(text.lines().count() <= 36, "{name}: {text}");
            assert!(text.trim_end().ends_with(MORE), "{name}: {text}");
        }
        let called = for_terminal("modelvault").find_subcommand_mut("seal").unwrap().render_help().to_string();
        assert!(called.contains("modelvault seal model.onnx") && !called.contains(" vault "), "{called}");
    }

    /// A hint that names what does not exist sends people in a circle.
    #[test]
    fn every_error_says_what_to_do_next_in_words_this_program_knows() {
        let grammar = command("vault");
        let mut options = vec!["--json".to_owned()];
        fn collect(command: &clap::Command, options: &mut Vec<String>) {
            options.extend(command.get_arguments().filter_map(|a| a.get_long()).map(|l| format!("--{l}")));
            command.get_subcommands().for_each(|c| collect(c, options));
        }
        collect(&grammar, &mut options);
        for id in ErrorId::ALL {
            let hint = id.default_hint().unwrap_or_else(|| panic!("{id} has no hint"));
            assert!(hint.len() > 10 && hint != id.meaning(), "{id}: {hint}");
            let words: Vec<_> = hint.split([' ', ',', ';', ':', '(', ')', '`']).filter(|w| !w.is_empty()).collect();
            for pair in words.windows(2).filter(|pair| pair[0] == "vault") {
                let known = grammar.find_subcommand(pair[1]).is_some();
                // "the vault is", "a vault that": prose.
                let prose = ["is", "that", "was", "has", "holds"].contains(&pair[1]);
                assert!(known || prose, "{id}: there is no vault {}: {hint}", pair[1]);
            }
            for option in words.iter().filter(|w| w.starts_with("--")) {
                assert!(options.iter().any(|o| o == option), "{id}: there is no {option}: {hint}");
            }
        }
    }
}
