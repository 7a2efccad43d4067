//! Contributors who signed their own records: `--contributor NAME=PATH`.

use std::path::PathBuf;

use model_vault::crypto::sign::VerifyingKey;
use model_vault::dataset::{Attested, Beside, Contributor, Schema, Version};
use model_vault::names::Sha256;
use model_vault::{Error, ErrorId, Result};

use super::origin::Origin;
use super::seen::Accepted;
use super::suppliers::{each_record, kept_out};
use crate::args::key::Trusted;
use crate::args::{Believed, DatasetSign, Recent};
use crate::command::Context;

/// What contributors attest.
#[derive(Default)]
pub struct Contributions {
    /// By record.
    pub records: Attested,
    /// In the order of their numbers.
    pub by: Vec<Contributor>,
    /// Their versions, to be remembered when the whole was signed.
    pub accepted: Vec<Accepted>,
}

impl Contributions {
    /// Reads what each attests: all records of the newest version that its key signed, but those that this keeps out.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is given twice, without a key, or with another schema; those of [`Accepted::of`];
    /// `VersionRollback` for versions without that which the version `before` of the whole rests on; `DatasetChanged` for hashes that
    /// are not those it signed.
    pub fn read(cx: &Context<'_>, args: &DatasetSign, schema: &Schema, before: Option<&Version>) -> Result<Self> {
        let mut all = Self::default();
        for (name, path) in &args.contributor {
            if all.by.iter().any(|c| c.name == *name) {
                return Err(Error::new(ErrorId::InvalidArgument, format!("the contributor {name} is named twice")));
            }
            let of = |e: Error| e.on(format!("contributor {name}"));
            let accepted = believed(args, name).and_then(|believed| {
                let origin = Origin::on_disk(path)?;
                let recent = Recent { min_version: None, min_age: None, no_state: args.no_state };
                Accepted::of(cx, &origin, &believed, &recent).map(|accepted| (origin, accepted)).map_err(of)
            });
            let (origin, accepted) = accepted?;
            let key = accepted.signers.first().map(VerifyingKey::key_id);
            let key = key.ok_or_else(|| Error::new(ErrorId::SignatureMissing, format!("{name} has signed nothing")))?;
            let newest = accepted.newest();
            let contributor = Contributor { name: name.clone(), key, statement: newest.digest, records: 0 };
            must_follow(&accepted, &contributor, before)?;
            must_have_schema(newest, name, schema)?;
            let number = all.by.len() as u32 + 1;
            all.add(&origin, newest, number).map_err(of)?;
            all.by.push(contributor);
            all.accepted.push(accepted);
        }
        if let Some((name, _)) = args.contributor_key.iter().find(|(name, _)| all.by.iter().all(|c| c.name != *name)) {
            let text = format!("--contributor-key names {name}, who is no --contributor");
            return Err(Error::new(ErrorId::InvalidArgument, text));
        }
        Ok(all)
    }

    /// What a contributor keeps out itself, it does not attest: in whatever row it stands.
    fn add(&mut self, beside: &dyn Beside, version: &Version, number: u32) -> Result<()> {
        let statement = &version.statement;
        let out = kept_out(beside, statement, &statement.attribution.contributors)?;
        for file in statement.files.iter().filter(|f| f.records > 0) {
            each_record(beside, statement, file, &mut |record: &Sha256, _| {
                if out.contains_key(record) { Ok(()) } else { self.records.add(record, number) }
            })?;
        }
        Ok(())
    }
}

/// By the key that is named for it, or by its own name in the trust store, and under no other.
fn believed(args: &DatasetSign, name: &str) -> Result<Believed> {
    let of_it = args.contributor_key.iter().filter(|(of, _)| of == name);
    let key: Vec<PathBuf> = of_it.map(|(_, file)| file.clone()).collect();
    let trust = match key.is_empty() {
        true => vec![name.parse::<Trusted>().map_err(|_| {
            Error::new(ErrorId::InvalidArgument, format!("no key of the contributor {name} is known"))
                .hint(format!("--contributor-key {name}=FILE, or vault key trust {name} --key FILE"))
        })?],
        false => Vec::new(),
    };
    Ok(Believed { key, trust })
}

/// The last version of the whole says what it rests on, also on a machine that never saw it.
fn must_follow(accepted: &Accepted, now: &Contributor, before: Option<&Version>) -> Result<()> {
    let then = before.and_then(|b| b.statement.attribution.contributors.iter().find(|c| c.name == now.name));
    let Some(then) = then.filter(|then| then.key == now.key) else { return Ok(()) };
    if accepted.chain.versions().iter().any(|version| version.digest == then.statement) {
        return Ok(());
    }
    let text = format!("contributor {}: what the last version rests on is not among its versions", now.name);
    Err(Error::new(ErrorId::VersionRollback, text).hint("get its newest version, with all before in dataset.sig"))
}

fn must_have_schema(newest: &Version, name: &str, schema: &Schema) -> Result<()> {
    if newest.statement.schema == *schema {
        return Ok(());
    }
    let text = format!("the contributor {name} signed records of another schema");
    Err(Error::new(ErrorId::InvalidArgument, text).hint(
        "hashes tell only under one schema: give contributors yours (--schema FILE), and have them sign under it",
    ))
}
