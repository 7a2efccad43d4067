//! `vault quickstart`: the whole story on this machine. It runs the ordinary commands of this very program, shows each as it
//! would be typed, and checks what each promises; the only thing done in process is to be a stranger without a certificate.

mod issuer;
mod play;
mod props;

use std::path::{Path, PathBuf};

use model_vault::client::{Client, Endpoint, FetchPlan, InMemory};
use model_vault::identity::Enrolment;
use model_vault::names::Name;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use self::issuer::Issuer;
use self::play::{Play, Stage};
use self::props::{compare, flip_a_byte, whitewash};
use super::Context;
use crate::args;

/// The model that is used when none is named: `examples/digits`, a real one.
const DIGITS: &[u8] = include_bytes!("../../../examples/digits/digits.onnx");
/// The dataset: images that the model was not trained on.
const CORPUS: &[u8] = include_bytes!("../../../examples/digits/sample.csv");

/// The JSON document of `vault quickstart`.
#[derive(Debug, Serialize)]
struct Told {
    /// Where it all lies; absent unless `--keep`.
    kept: Option<PathBuf>,
    /// Bytes of the model that was sealed, streamed and compared.
    model_bytes: u64,
    /// What was done, in order.
    steps: Vec<play::Step>,
}

/// Plays it.
pub fn run(cx: &Context<'_>, args: &args::Quickstart) -> Result<()> {
    let stage = Stage::set(args.keep.as_deref())?;
    let model = model(&stage, args.model.as_deref())?;
    let mut play = Play::new(cx, &stage);
    play.say(format!("Everything happens in {}{}", stage.dir().display(), stage.fate()));

    play.chapter("A vault of your own, and a real model sealed into it")?;
    play.run(&["init", "--key-file", "root.key"])?;
    let name = Name::from_path(&model)?.to_string();
    let name = name.as_str();
    play.run(&["seal", &path_text(model.strip_prefix(stage.dir()).unwrap_or(&model))?, "--name", name])?;
    play.run(&["inspect", name])?;

    play.chapter("A daemon with mutual TLS, and a workload that may read the model")?;
    let daemon = play.serve()?;
    play.run(&["workload", "enroll", "serving", "-o", "serving"])?;
    play.run(&["grant", "serving", name])?;

    play.chapter("The workload fetches: decrypted by the daemon, verified group by group before a byte is used")?;
    play.run(&["fetch", name, "-o", "fetched", "--server", &daemon.address, "--enrolment", "serving"])?;
    let bytes = compare(&model, &stage.dir().join("fetched"))?;
    play.say(format!("identical to the original: {bytes} bytes"));

    play.chapter("Everyone else is refused")?;
    let stranger = be_a_stranger(cx, &stage, &daemon.address, name)?;
    play.refused_in_process("a caller without a certificate", &stranger)?;
    play.run(&["workload", "enroll", "intruder", "-o", "intruder"])?;
    let fetch = ["fetch", name, "-o", "stolen", "--server", &daemon.address, "--enrolment", "intruder"];
    play.refused(&fetch, &[ErrorId::NotFound])?;

    let (ci, corp) = (Issuer::new("https://ci.example")?, Issuer::new("https://login.example")?);
    train(&mut play, &stage, &daemon.address, name, (&ci, &corp))?;
    let key = audit(&mut play, &stage, &daemon.address, name, &corp)?;
    play.stop(daemon)?;
    without_the_vault(&mut play, &stage, name, &key)?;
    if stage.dir().join("stolen").exists() || stage.dir().join("opened").exists() {
        return Err(Error::new(ErrorId::Internal, "a refused command left something behind"));
    }

    let steps = play.end()?;
    let told = Told { kept: args.keep.as_ref().map(|_| stage.dir().to_owned()), model_bytes: bytes, steps };
    cx.out.report(&told, |_| closing(&stage))
}

/// A job that was never enrolled: its CI vouches for it.
fn train(play: &mut Play<'_>, stage: &Stage, server: &str, model: &str, (ci, corp): (&Issuer, &Issuer)) -> Result<()> {
    play.chapter("A training job comes with a token of its CI: the datasets, and no model")?;
    stage.write("corpus.csv", CORPUS)?;
    play.run(&["seal", "corpus.csv", "--kind", "dataset"])?;
    let job = "become = \"workload\"\nnamespace = \"default\"\nsubjects = [\"repo:acme/*\"]";
    let people = "become = \"operator\"\nsubjects = [\"*@example.com\"]";
    let issuers = format!("version = 1\n\n{}\n{}", ci.section("ci", job), corp.section("corp", people));
    stage.write("issuers.toml", issuers.as_bytes())?;
    play.say("issuers.toml says whose tokens are taken (here we play both issuers):");
    play.show(&issuers);
    play.run(&["config", "set", "issuers", "issuers.toml"])?;
    play.run(&["group", "add", "training", "workload:default/ci:repo:acme/train"])?;
    play.run_into(&["key", "show", "--namespace", "default"], "vault.pub.pem")?;
    stage.write("job.jwt", ci.token("repo:acme/train")?.as_bytes())?;
    let whom = ["--ca", "serving/ca.crt", "--signer-key", "vault.pub.pem"];
    let login = ["login", "--server", server, "--token-file", "job.jwt"];
    play.run(&[&login[..], &whom, &["-o", "job"]].concat())?;
    play.run(&["fetch", "corpus", "-o", "data", "--enrolment", "job"])?;
    compare(&stage.dir().join("corpus.csv"), &stage.dir().join("data"))?;
    play.refused(&["fetch", model, "-o", "stolen", "--enrolment", "job"], &[ErrorId::NotFound])
}

/// Somebody who sees what was done and gets nothing out. Returns the key of the log.
fn audit(play: &mut Play<'_>, stage: &Stage, server: &str, model: &str, corp: &Issuer) -> Result<String> {
    play.chapter("An auditor reads the log, keeps a checkpoint, takes a copy, and opens nothing")?;
    play.run(&["group", "add", "auditor", "operator:corp:eve@example.com"])?;
    stage.write("eve.jwt", corp.token("eve@example.com")?.as_bytes())?;
    play.run(&["login", "--server", server, "--token-file", "eve.jwt", "--ca", "serving/ca.crt", "-o", "eve"])?;
    let enrolment = path_text(&stage.dir().join("eve"))?;
    let context = format!("[contexts.eve]\nserver = \"{server}\"\nenrolment = {}\n", toml::Value::String(enrolment));
    stage.write("config/modelvault/config.toml", context.as_bytes())?;
    play.say("~/.config/modelvault/config.toml has a context for the session:");
    play.show(&context);
    play.run(&["--context", "eve", "audit", "tail", "-n", "5"])?;
    play.refused(&["--context", "eve", "open", model, "-o", "stolen"], &[ErrorId::Denied])?;
    play.run_into(&["--context", "eve", "audit", "verify"], "checkpoint.txt")?;
    let rows = play.ask(&["audit", "tail", "-n", "20"])?;
    let denied = |row: &&serde_json::Value| {
        row["record"]["decision"]["deny"].is_string() && row["record"]["actor"]["subject"] == "repo:acme/train"
    };
    let row = rows["rows"].as_array().into_iter().flatten().rfind(denied).map(|row| row["sequence"].to_string());
    let row = row.ok_or_else(|| Error::new(ErrorId::Internal, "the refusal is not on record"))?;
    play.run_into(&["--context", "eve", "audit", "prove", &row], "proof.json")?;
    play.run(&["--context", "eve", "audit", "export", "-o", "log.jsonl"])?;
    let status = play.ask(&["status"])?;
    Ok(status["audit_key"].as_str().unwrap_or_default().into())
}

/// What was handed out proves itself, and what was changed gives itself away.
fn without_the_vault(play: &mut Play<'_>, stage: &Stage, model: &str, key: &str) -> Result<()> {
    play.chapter("Nobody has to believe the vault")?;
    play.run(&["audit", "verify", "log.jsonl", "--key", key, "--checkpoint", "checkpoint.txt"])?;
    play.run(&["audit", "verify", "--proof", "proof.json", "--key", key])?;
    whitewash(&stage.dir().join("log.jsonl"), &stage.dir().join("edited.jsonl"))?;
    play.say("copied log.jsonl to edited.jsonl, and turned the last denial into a permit");
    play.refused(&["audit", "verify", "edited.jsonl", "--key", key], &[ErrorId::AuditBroken])?;
    let blob = flip_a_byte(stage)?;
    play.say(format!("copied home to tampered, flipped one byte in {}", blob.display()));
    play.refused(
        &["--home", "tampered", "open", model, "-o", "opened"],
        &[ErrorId::IndexMismatch, ErrorId::FooterAuthFailed, ErrorId::BindingMismatch],
    )
}

/// The model to seal, under a name of its own in the stage.
fn model(stage: &Stage, given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(path) => path.canonicalize().map_err(|e| Error::from(e).on(path.display())),
        None => {
            stage.write("digits.onnx", DIGITS)?;
            Ok(stage.dir().join("digits.onnx"))
        }
    }
}

fn path_text(path: &Path) -> Result<String> {
    let text = path.to_str().map(Into::into);
    text.ok_or_else(|| Error::new(ErrorId::InvalidArgument, format!("{} is not UTF-8", path.display())))
}

/// Asks for the model without a certificate. Returns the refusal.
fn be_a_stranger(cx: &Context<'_>, stage: &Stage, address: &str, name: &str) -> Result<Error> {
    let enrolment = Enrolment::read(&stage.dir().join("serving"))?;
    let endpoint = Endpoint::Anonymous { address: address.into(), ca: enrolment.ca };
    let plan = FetchPlan::whole(name.parse()?, enrolment.signers);
    let fetched = cx.session.wait(async {
        let client = Client::connect(endpoint).await?;
        client.fetch(plan, &mut InMemory::default()).await
    });
    match fetched {
        Err(e) if e.id() == ErrorId::NoCredential => Ok(e),
        Err(e) => Err(e),
        Ok(_) => Err(Error::new(ErrorId::Internal, "a stranger was served")),
    }
}

fn closing(stage: &Stage) -> String {
    let mut text = String::from(
        "\nThat is the whole story. The ordinary commands, in a home of your own:\n\n\
         \x20   vault init                                    # asks for a passphrase; --key-file FILE for services\n\
         \x20   vault seal model.onnx                         # or a directory\n\
         \x20   vault serve                                   # mTLS on 127.0.0.1:7443, and a Unix socket\n\
         \x20   vault workload enroll serving -o serving      # certificate for serving code\n\
         \x20   vault grant serving model\n\
         \x20   vault fetch model -o DIR --server 127.0.0.1:7443 --enrolment serving\n\
         \x20   vault audit verify\n",
    );
    if stage.is_kept() {
        let dir = stage.dir().display();
        text += &format!("\nKept to play with:\n\n    cd {dir} && export MODELVAULT_HOME={dir}/home\n    vault ls\n");
    }
    text
}
