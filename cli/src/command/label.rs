//! `vault label`: what operators say about an artifact.

use model_vault::marks::{Marks, MarksChange};
use model_vault::names::{Name, Reference};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args::Label;
use crate::output::table::facts;

/// The JSON document of `vault label`.
#[derive(Debug, Serialize)]
struct Labelled {
    artifact: String,
    #[serde(flatten)]
    marks: Marks,
}

/// Shows what is said or, with options, changes it first.
pub fn run(cx: &Context<'_>, args: &Label) -> Result<()> {
    let of: Reference = args.reference.parse()?;
    let artifact = format!("{}/{}", of.namespace, of.name);
    if args.reference.contains('@') || of.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "labels are of whole artifacts, with all their versions")
            .hint(format!("vault label {artifact}")));
    }
    let change = MarksChange {
        add: args.add.iter().cloned().collect(),
        remove: args.remove.iter().cloned().collect(),
        collection: args.collection.clone(),
        classification: args.classification.clone(),
    };
    let client = cx.session.client()?;
    let marks = if change == MarksChange::default() {
        cx.session.wait(client.marks(&artifact))?
    } else {
        cx.session.wait(client.mark(&artifact, &change))?
    };
    cx.out.report(&Labelled { artifact, marks }, |l| {
        let labels: Vec<_> = l.marks.labels.iter().map(Name::as_str).collect();
        let or_none = |name: &Option<Name>| Some(name.as_ref().map_or_else(|| "none".into(), ToString::to_string));
        facts([
            ("artifact", Some(l.artifact.clone())),
            ("labels", Some(if labels.is_empty() { "none".into() } else { labels.join(", ") })),
            ("collection", or_none(&l.marks.collection)),
            ("classification", or_none(&l.marks.classification)),
        ])
    })
}
