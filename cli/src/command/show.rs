//! Facts as people read them; the same facts are the JSON documents.

use model_vault::facts::{ArtifactFacts, SealedFacts, StatusFacts, VerifyFacts, VersionFacts, WorkloadFacts};
use model_vault::marks::Marks;
use model_vault::names::{Name, Timestamp};

use crate::output::table::{Table, facts};
use crate::output::text::{count, size};

/// `default/resnet@v3`.
pub fn reference(version: &VersionFacts) -> String {
    format!("{}/{}@v{}", version.namespace, version.name, version.version)
}

/// One version in full.
pub fn version(v: &VersionFacts) -> String {
    facts([
        ("reference", Some(reference(v))),
        ("tags", joined(&v.tags)),
        ("kind", Some(v.kind.to_string())),
        ("size", Some(size(v.size))),
        ("members", Some(v.member_count.to_string())),
        ("sealed", Some(format!("{} by {}", time(v.created), v.sealed_by))),
        ("signer", Some(v.signer.short())),
        ("root", Some(format!("b3:{}", v.root))),
        ("state", state(v)),
        ("part", part(v)),
    ])
}

/// Of which dataset it is a part.
fn part(v: &VersionFacts) -> Option<String> {
    v.part_of.map(|head| if head == 0 { "part of none".into() } else { format!("part of v{head}") })
}

/// A list of artifacts: the newest version of each, and where all tags are.
pub fn artifacts(list: &[ArtifactFacts], styled: bool) -> String {
    let mut table = Table::new(&["ARTIFACT", "KIND", ">VERSIONS", "NEWEST", ">SIZE", "SEALED", "TAGS", "LABELS"]);
    for a in list {
        let tags: Vec<_> = a.tags.iter().map(|t| format!("{}=v{}", t.tag, t.version)).collect();
        table.row([
            format!("{}/{}", a.namespace, a.name),
            a.kind.to_string(),
            a.versions.to_string(),
            format!("v{}", a.newest.version),
            size(a.newest.size),
            time(a.newest.created),
            tags.into_iter().chain(state(&a.newest)).collect::<Vec<_>>().join(" "),
            marks(&a.marks).unwrap_or_default(),
        ]);
    }
    table.render(styled)
}

/// Labels, then what it is part of and how sensitive it is: `approved collection=llm class=secret`.
fn marks(marks: &Marks) -> Option<String> {
    let named = |what: &str, name: &Option<Name>| name.as_ref().map(|name| format!("{what}={name}"));
    let labels = marks.labels.iter().map(ToString::to_string);
    let of = [named("collection", &marks.collection), named("class", &marks.classification)];
    joined(&labels.chain(of.into_iter().flatten()).collect::<Vec<_>>())
}

/// The versions of an artifact.
pub fn versions(list: &[VersionFacts], styled: bool) -> String {
    let mut table = Table::new(&["VERSION", "STATE", ">SIZE", ">MEMBERS", "SEALED", "TAGS", "ROOT"]);
    for v in list {
        table.row([
            reference(v),
            match (v.shredded, v.unlisted) {
                (true, _) => "shredded".into(),
                (_, true) => "removed".into(),
                _ => part(v).unwrap_or_else(|| "listed".into()),
            },
            size(v.size),
            v.member_count.to_string(),
            time(v.created),
            joined(&v.tags).unwrap_or_default(),
            format!("b3:{}", v.root),
        ]);
    }
    table.render(styled)
}

/// What a sealed file is.
pub fn sealed(s: &SealedFacts, styled: bool) -> String {
    let mut text = s.version.as_ref().map(version).unwrap_or_default();
    let moves: Vec<_> = s.tags.iter().map(|t| format!("{}={}", t.tag, t.sequence)).collect();
    text += &facts([
        ("tag moves", joined(&moves)),
        ("labels", s.marks.as_ref().and_then(marks)),
        ("format", Some(s.format.clone())),
        ("file id", Some(s.file_id.to_string())),
        ("root", s.root.filter(|_| s.version.is_none()).map(|r| format!("b3:{r}"))),
        ("commitment", Some(s.commitment.to_string())),
        ("payload", Some(size(s.payload_size))),
        ("segments", Some(size(s.segment_size))),
        ("header", Some(format!("{}, generation {}", size(s.header_len), s.generation))),
        ("claims signer", joined(&s.claimed_signers)),
    ]);
    let mut slots = Table::new(&["SLOT", "OPENED BY", "DETAIL"]);
    for slot in &s.slots {
        slots.row([slot.slot_id.clone(), slot.kind.clone(), slot.detail.clone()]);
    }
    text += &format!("\n{}", slots.render(styled));
    match &s.members {
        Some(members) => {
            let mut table = Table::new(&["MEMBER", ">SIZE", "BLAKE3"]);
            for member in members {
                table.row([member.path.clone(), size(member.size), member.blake3.to_string()]);
            }
            text += &format!("\n{}", table.render(styled));
        }
        None => text += "\nThe members are encrypted; nothing above was verified (vault verify).\n",
    }
    text
}

/// Outcome of a verification.
pub fn verified(v: &VerifyFacts) -> String {
    let signers: Vec<_> = v.signers.iter().map(|s| s.short()).collect();
    facts([
        ("verified", Some(v.version.as_ref().map_or_else(|| format!("b3:{}", v.root), reference))),
        ("root", v.version.as_ref().map(|_| format!("b3:{}", v.root))),
        ("payload", Some(size(v.payload_size))),
        ("checked", Some(checked(v).into())),
        ("signed by", Some(joined(&signers).unwrap_or_else(|| "not asked (--require-signer)".into()))),
    ])
}

fn checked(v: &VerifyFacts) -> &'static str {
    if v.plaintext {
        "every byte of ciphertext and plaintext"
    } else {
        "every byte of ciphertext; without a key nobody can tell whether it opens"
    }
}

/// State of a vault.
pub fn status(s: &StatusFacts) -> String {
    let keys = match (s.keys_locked, s.keys_undumpable) {
        (true, true) => "locked in memory, left out of core dumps".to_owned(),
        (locked, undumpable) => {
            format!("locked in memory: {}, left out of core dumps: {}", yes(locked), yes(undumpable))
        }
    };
    let policy = if s.policy_version == 0 { "built in".into() } else { format!("version {}", s.policy_version) };
    facts([
        ("vault", Some(s.vault_id.to_string())),
        ("release", Some(s.release.clone())),
        ("custody", Some(s.custody.clone())),
        ("namespaces", joined(&s.namespaces)),
        ("content", Some(format!("{}, {}", count(s.artifacts, "artifact"), count(s.versions, "version")))),
        ("workloads", Some(s.workloads.to_string())),
        ("audit", Some(count(s.audit_records, "record"))),
        ("audit key", Some(s.audit_key.clone())),
        ("policy", Some(policy)),
        ("signer", Some(s.signer.short())),
        ("keys", Some(keys)),
        ("serving", Some(s.serving.clone().unwrap_or_else(|| "no".into()))),
    ])
}

/// A list of workloads.
pub fn workloads(list: &[WorkloadFacts], styled: bool) -> String {
    let mut table = Table::new(&["WORKLOAD", "ENROLLED", "CERTIFICATE ENDS", "STATE", "MAY READ"]);
    for w in list {
        table.row([
            format!("{}/{}", w.namespace, w.name),
            time(w.created),
            w.not_after.map(time).unwrap_or_default(),
            if w.revoked { "revoked" } else { "enrolled" }.into(),
            w.grants.join(" "),
        ]);
    }
    table.render(styled)
}

/// To the second; the milliseconds are for programs.
pub fn time(t: Timestamp) -> String {
    let text = t.to_string();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// Words with blanks between; `None` for none.
fn joined(words: &[impl ToString]) -> Option<String> {
    let words: Vec<_> = words.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn state(v: &VersionFacts) -> Option<String> {
    match (v.shredded, v.unlisted) {
        (true, _) => Some("(shredded)".into()),
        (_, true) => Some("(removed)".into()),
        _ => None,
    }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
