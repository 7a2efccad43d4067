//! `vault audit verify FILE`: a log or a proof, checked where there is no vault.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use model_vault::Result;
use model_vault::audit::{Archive, Claim, PROOF_MAX, Proof, Report, VerifierKey, verify_export};
use serde::Serialize;

use super::Context;
use crate::files;
use crate::output::table::facts;
use crate::output::text::visible;

/// The JSON document of `vault audit verify FILE`.
#[derive(Debug, Serialize)]
struct Checked {
    records: u64,
    checkpoints: u64,
    /// Checkpoints kept elsewhere that the log extends.
    kept: u64,
    /// Records at the end that no checkpoint covers.
    uncovered: u64,
    root: String,
    key: String,
    /// The key was given, not taken from the file.
    key_given: bool,
}

/// The JSON document of `vault audit verify --proof FILE`.
#[derive(Debug, Serialize)]
struct Proven {
    /// The record's number.
    sequence: Option<u64>,
    /// The record.
    record: Option<serde_json::Value>,
    /// Records of the checkpoint it is proven for.
    size: u64,
    root: String,
    key: String,
    /// The key was given, not taken from the file.
    key_given: bool,
}

/// What is said where nobody vouches for the key.
const OF_ITSELF: &str = "agrees with itself; whose log it is, only --key tells (vault status shows it)";

/// Verifies an export or a directory of tiles.
pub fn log(cx: &Context<'_>, path: &Path, key: Option<&VerifierKey>, kept: Option<String>) -> Result<()> {
    let kept: Vec<_> = kept.into_iter().collect();
    let (vkey, report) = if path.is_dir() {
        Archive::at(path).verify(key, &kept)?
    } else {
        let file = File::open(path).map_err(files::on(path))?;
        verify_export(BufReader::with_capacity(1 << 20, file), key, &kept)?
    };
    let Report { records, checkpoints, kept, uncovered, root, .. } = report;
    let root = root.to_string();
    let checked =
        Checked { records, checkpoints, kept, uncovered, root, key: vkey.to_string(), key_given: key.is_some() };
    cx.out.report(&checked, |c| {
        facts([
            ("verified", Some(format!("{} records, {} checkpoints", c.records, c.checkpoints))),
            ("kept elsewhere", (c.kept > 0).then(|| format!("{} checkpoint, which the log extends", c.kept))),
            ("not covered", (c.uncovered > 0).then(|| format!("{} records after the last checkpoint", c.uncovered))),
            ("root", Some(c.root.clone())),
            ("key", Some(visible(&c.key))),
            ("trust", (!c.key_given).then(|| OF_ITSELF.into())),
        ])
    })
}

/// Verifies a proof.
pub fn proof(cx: &Context<'_>, path: &Path, key: Option<&VerifierKey>, kept: Option<String>) -> Result<()> {
    let proof = Proof::parse(&files::read_small(path, PROOF_MAX).map_err(files::on(path))?)?;
    let kept: Vec<_> = kept.into_iter().collect();
    let checkpoint = proof.verify(key, &kept)?;
    let (sequence, record) = match &proof.claim {
        Claim::Record { seq, record } => (Some(*seq), serde_json::from_slice(record).ok()),
        Claim::Extends { .. } => (None, None),
    };
    let (size, root) = (checkpoint.size(), checkpoint.root().to_string());
    let proven = Proven { sequence, record, size, root, key: proof.vkey.to_string(), key_given: key.is_some() };
    cx.out.report(&proven, |p| {
        let what = match p.sequence {
            Some(sequence) => format!("record {sequence} is in the log of {} records", p.size),
            None => format!("the log of {} records extends the earlier checkpoint", p.size),
        };
        facts([
            ("proven", Some(what)),
            ("record", p.record.as_ref().map(|r| visible(&r.to_string()))),
            ("root", Some(p.root.clone())),
            ("key", Some(visible(&p.key))),
            ("trust", (!p.key_given).then(|| OF_ITSELF.into())),
        ])
    })
}
