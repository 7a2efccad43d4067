//! `vault audit`: the log, its check, its export.

use std::io::Write;
use std::path::{Path, PathBuf};

use model_vault::audit::{Archive, ToArchive, VerifierKey};
use model_vault::client::{Client, ProofOf};
use model_vault::facts::{AuditFacts, AuditRow};
use model_vault::siem::Source;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;
use serde_json::Value;

use super::{Context, audit_offline};
use crate::args::{Audit, AuditExport, AuditProve, AuditTail, AuditVerify};
use crate::files;
use crate::files::destination::{Destination, ORDINARY};
use crate::output::table::{Table, facts};
use crate::output::text::visible;

/// No checkpoint is larger.
const CHECKPOINT_MAX: u64 = 64 << 10;

/// The JSON document of `vault audit tail`.
#[derive(Debug, Serialize)]
struct Tail {
    rows: Vec<AuditRow>,
}

/// The JSON document of `vault audit export -o FILE`.
#[derive(Debug, Serialize)]
struct Exported {
    output: PathBuf,
}

/// Dispatches.
pub fn run(cx: &Context<'_>, args: &Audit) -> Result<()> {
    match args {
        Audit::Tail(args) => tail(cx, args),
        Audit::Verify(args) => verify(cx, args),
        Audit::Export(args) => export(cx, args),
        Audit::Replay(args) => super::replay::replay(cx, args),
        Audit::Simulate(args) => super::replay::simulate(cx, args),
        Audit::Prove(args) => prove(cx, args),
    }
}

fn tail(cx: &Context<'_>, args: &AuditTail) -> Result<()> {
    let client = cx.session.client()?;
    // The status is read first; rows written meanwhile are simply shown too.
    let records = cx.session.wait(client.status())?.audit_records;
    let from = records.saturating_sub(args.lines.into());
    if args.follow {
        let mut each = |row: AuditRow| {
            if cx.out.json() {
                cx.out.json_line(&row)
            } else {
                cx.out.to_stdout(&format!("{}\n", line(&row).join("  ")))
            }
        };
        return cx.session.wait(client.audit_rows(from, 0, true, &mut each));
    }
    let mut rows = Vec::new();
    let mut each = |row| {
        rows.push(row);
        Ok(())
    };
    cx.session.wait(client.audit_rows(from, args.lines.max(1), false, &mut each))?;
    cx.out.report(&Tail { rows }, |tail| {
        let mut table = Table::new(&[">ROW", "TIME", "ACT", "BY", "ON", "DECISION", "DETAILS"]);
        tail.rows.iter().for_each(|row| table.row(line(row)));
        table.render(cx.out.styled())
    })
}

/// The cells of a row.
fn line(row: &AuditRow) -> [String; 7] {
    let at = |key: &str| row.record.get(key).map(plain).unwrap_or_default();
    let within = |key: &str, field: &str| row.record.get(key).and_then(|v| v.get(field)).map(plain).unwrap_or_default();
    let actor = match within("actor", "namespace") {
        namespace if namespace.is_empty() => format!("{}:{}", within("actor", "issuer"), within("actor", "subject")),
        namespace => format!("{namespace}/{}", within("actor", "subject")),
    };
    [row.sequence.to_string(), at("time"), at("act"), actor, object(row), at("decision"), at("details")]
}

/// `default/resnet@v3`, as far as the record names it.
fn object(row: &AuditRow) -> String {
    let of =
        |field: &str| row.record.get("object").and_then(|o| o.get(field)).map(plain).filter(|text| !text.is_empty());
    let mut text = of("namespace").unwrap_or_default();
    for (mark, field) in [("/", "name"), ("@v", "version")] {
        if let Some(value) = of(field) {
            text += &format!("{mark}{value}");
        }
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => visible(text),
        Value::Object(fields) => {
            fields.iter().map(|(k, v)| format!("{}={}", visible(k), plain(v))).collect::<Vec<_>>().join(" ")
        }
        Value::Null => String::new(),
        other => visible(&other.to_string()),
    }
}

fn verify(cx: &Context<'_>, args: &AuditVerify) -> Result<()> {
    let kept = args.checkpoint.as_deref().map(read_checkpoint).transpose()?;
    let key = args.key.as_deref().map(str::parse::<VerifierKey>).transpose()?;
    if let Some(path) = &args.proof {
        return audit_offline::proof(cx, path, key.as_ref(), kept);
    }
    if let Some(path) = &args.path {
        return audit_offline::log(cx, path, key.as_ref(), kept);
    }
    if key.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "--key is for a file: the vault knows its own key")
            .hint("vault audit verify FILE --key KEY"));
    }
    let client = cx.session.client()?;
    let found = cx.session.wait(client.audit_verify(kept.as_deref()))?;
    cx.out.report(&found, |f: &AuditFacts| {
        let facts = facts([
            ("verified", Some(format!("{} records, {} checkpoints", f.records, f.checkpoints))),
            ("root", Some(f.root.to_string())),
        ]);
        format!(
            "{facts}\nKeep this checkpoint elsewhere; later compare with: vault audit verify --checkpoint FILE\n\n{}\n",
            visible(f.checkpoint.trim_end())
        )
    })
}

/// The checkpoint in a file: alone, or within all that `vault audit verify` printed.
fn read_checkpoint(path: &Path) -> Result<String> {
    let bytes = files::read_small(path, CHECKPOINT_MAX).map_err(files::on(path))?;
    checkpoint_in(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
        Error::new(ErrorId::InvalidArgument, format!("there is no checkpoint in {}", path.display()))
            .hint("vault audit verify > FILE keeps one")
    })
}

/// From the line with the log's name up to the signature (C2SP signed-note).
fn checkpoint_in(text: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().collect();
    let first = lines.iter().position(|l| l.starts_with("modelvault.example/") && l.ends_with("/audit"))?;
    let last = lines[first..].iter().position(|l| l.starts_with("\u{2014} "))?;
    Some(lines[first..=first + last].join("\n") + "\n")
}

fn export(cx: &Context<'_>, args: &AuditExport) -> Result<()> {
    let client = cx.session.client()?;
    if let Some(directory) = &args.tiles {
        return export_tiles(cx, directory);
    }
    // Text: a terminal may show it.
    if args.output == Path::new("-") {
        cx.out.take_stdout();
        let mut out = std::io::stdout();
        write_log(cx, &client, args, &mut out)?;
        return out.flush().map_err(Into::into);
    }
    let mut to = Destination::open(&args.output, ORDINARY)?;
    write_log(cx, &client, args, &mut to)?;
    to.finish(true)?;
    cx.out.report(&Exported { output: args.output.clone() }, |e| {
        format!("audit log written to {}\n", visible(&e.output.display().to_string()))
    })
}

fn write_log(cx: &Context<'_>, client: &Client, args: &AuditExport, out: &mut (dyn Write + Send)) -> Result<()> {
    let Some(format) = args.format else { return cx.session.wait(client.audit_export(0, out)) };
    let vault = cx.session.wait(client.status())?.vault_id;
    let source = Source { vault, host: this_host(), release: env!("CARGO_PKG_VERSION") };
    let mut each = |seq, row: &[u8]| Ok(writeln!(out, "{}", format.event(&source, seq, row))?);
    cx.session.wait(client.audit_bytes(args.from, &mut each))
}

fn this_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Only what the directory has not yet is asked for.
fn export_tiles(cx: &Context<'_>, directory: &Path) -> Result<()> {
    let client = cx.session.client()?;
    let vkey = cx.session.wait(client.status())?.audit_key.parse()?;
    let archive = Archive::at(directory).writer(&vkey)?;
    let from = archive.next_seq();
    let mut to = ToArchive::new(archive);
    let outcome = cx.session.wait(client.audit_export(from, &mut to));
    if let Some(failed) = to.failure() {
        return Err(failed);
    }
    outcome?;
    let checkpoint = to.finish()?;
    cx.out.report(&Exported { output: directory.to_path_buf() }, |e| {
        let to = visible(&e.output.display().to_string());
        format!("audit log of {} records is in {to}\n", checkpoint.size())
    })
}

fn prove(cx: &Context<'_>, args: &AuditProve) -> Result<()> {
    let of = match (args.sequence, args.consistency) {
        (Some(sequence), _) => ProofOf::Record(sequence),
        (None, old) => ProofOf::Extension(old.unwrap_or_default()),
    };
    let client = cx.session.client()?;
    let proof = cx.session.wait(client.audit_prove(of, args.size))?;
    // The document is what was asked for, with --json or without.
    let document: Value = serde_json::from_str(&proof)
        .map_err(|e| Error::new(ErrorId::StreamBroken, "the proof is not JSON").caused_by(e))?;
    cx.out.report(&document, |_| visible(&proof) + "\n")
}
