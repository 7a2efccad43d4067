//! Contributors who signed their own records: `--contributor NAME=PATH`.

use std::path::{Path, PathBuf};

use model_vault::crypto::sign::VerifyingKey;
use model_vault::dataset::{Attested, Contributor, Leaves, Schema};
use model_vault::names::{Clock, SystemClock};
use model_vault::{Error, ErrorId, Result};

use super::places::Places;
use crate::args::Believed;
use crate::args::key::Trusted;
use crate::command::Context;

/// Reads what each attests: all records of the newest version that its key signed.
///
/// # Errors
/// `InvalidArgument` for a name that is given twice, without a key, or with another schema; those of [`Statements::chain`](super::statements::Statements::chain); `StatementExpired`;
/// `DatasetChanged` for hashes that are not those it signed.
pub fn attested(
    cx: &Context<'_>,
    contributors: &[(String, PathBuf)],
    keys: &[(String, PathBuf)],
    schema: &Schema,
) -> Result<(Attested, Vec<Contributor>)> {
    let (mut attested, mut all) = (Attested::default(), Vec::<Contributor>::new());
    for (name, path) in contributors {
        if all.iter().any(|c| c.name == *name) {
            return Err(Error::new(ErrorId::InvalidArgument, format!("the contributor {name} is named twice")));
        }
        let number = all.len() as u32 + 1;
        let contributor = one(cx, (name, path), keys, schema, &mut |record| attested.add(record, number))?;
        all.push(contributor);
    }
    if let Some((name, _)) = keys.iter().find(|(name, _)| all.iter().all(|c| c.name != *name)) {
        let text = format!("--contributor-key names {name}, who is no --contributor");
        return Err(Error::new(ErrorId::InvalidArgument, text));
    }
    Ok((attested, all))
}

fn one(
    cx: &Context<'_>,
    (name, path): (&str, &Path),
    keys: &[(String, PathBuf)],
    schema: &Schema,
    record: &mut dyn FnMut(&model_vault::names::Sha256) -> Result<()>,
) -> Result<Contributor> {
    let of = |e: Error| e.on(format!("contributor {name}"));
    let key: Vec<_> = keys.iter().filter(|(of, _)| of == name).map(|(_, file)| file.clone()).collect();
    let trust = match key.is_empty() {
        // By its own name in the trust store, and under no other.
        true => vec![name.parse::<Trusted>().map_err(|_| {
            Error::new(ErrorId::InvalidArgument, format!("no key of the contributor {name} is known"))
                .hint(format!("--contributor-key {name}=FILE, or vault key trust {name} --key FILE"))
        })?],
        false => Vec::new(),
    };
    let places = Places::of(path)?;
    let (chain, signers) = places.statements()?.chain(cx, &Believed { key, trust }).map_err(of)?;
    chain.accept(None, None, Some(SystemClock.now())).map_err(of)?;
    let newest = chain.newest();
    if newest.statement.schema != *schema {
        let text = format!("the contributor {name} signed records of another schema");
        return Err(Error::new(ErrorId::InvalidArgument, text).hint(
            "hashes tell only under one schema: give contributors yours (--schema FILE), and have them sign under it",
        ));
    }
    for file in newest.statement.files.iter().filter(|f| f.records > 0) {
        let leaves = Leaves { place: &places, file: &file.path, size: file.records, root: file.root };
        leaves.each(&mut |some| some.iter().try_for_each(&mut *record)).map_err(of)?;
    }
    let key = signers.first().map(VerifyingKey::key_id);
    let key = key.ok_or_else(|| Error::new(ErrorId::SignatureMissing, format!("{name} has signed nothing")))?;
    Ok(Contributor { name: name.into(), key, statement: newest.digest, records: 0 })
}
