//! A receipt from its text.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{BUILD, MAX_BUILD, MAX_READS, Read, Receipt};
use crate::json::{self, JsonError, Reader, Value};
use crate::names::Sha256;

/// A receipt's members as they stand in its text. Its reads, of which there may be a million, are taken from there one by one: a tree
/// of them has many times their size.
#[derive(Default)]
pub(super) struct Parts<'a> {
    /// Type of the statement.
    pub kind: Option<String>,
    /// Type of the predicate.
    pub predicate: Option<String>,
    models: Option<&'a str>,
    build: Option<&'a str>,
    product: Option<Product<'a>>,
}

/// The one by-product.
#[derive(Default)]
struct Product<'a> {
    digest: Option<&'a str>,
    records: Option<&'a str>,
    unfinished: Option<&'a str>,
    reads: Vec<Read>,
}

impl<'a> Parts<'a> {
    /// Takes a payload apart.
    ///
    /// # Errors
    /// Those of JSON; for rows that are none, and for too many.
    pub fn read(payload: &'a [u8]) -> Result<Self, JsonError> {
        let (mut parts, mut reader) = (Self::default(), Reader::new(payload, 16)?);
        reader.object(|reader, key| {
            match key {
                "_type" => parts.kind = Some(reader.string()?.into_owned()),
                "predicateType" => parts.predicate = Some(reader.string()?.into_owned()),
                "subject" => parts.models = Some(reader.raw()?),
                "predicate" => reader.object(|reader, key| match key {
                    "buildDefinition" => {
                        parts.build = Some(reader.raw()?);
                        Ok(())
                    }
                    "runDetails" => parts.run(reader),
                    _ => reader.skip(),
                })?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        reader.end()?;
        Ok(parts)
    }

    fn run(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonError> {
        reader.object(|reader, key| {
            if key != "byproducts" {
                return reader.skip();
            }
            reader.array(|reader| {
                if self.product.is_some() {
                    return reader.fail("it has one by-product");
                }
                self.product = Some(Product::read(reader)?);
                Ok(())
            })
        })
    }
}

impl<'a> Product<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut product = Self::default();
        reader.object(|reader, key| match key {
            "digest" => {
                product.digest = Some(reader.raw()?);
                Ok(())
            }
            "annotations" => reader.object(|reader, key| match key {
                "records" => {
                    product.records = Some(reader.raw()?);
                    Ok(())
                }
                "unfinished" => {
                    product.unfinished = Some(reader.raw()?);
                    Ok(())
                }
                "reads" => {
                    product.reads = reads(reader)?;
                    Ok(())
                }
                _ => reader.skip(),
            }),
            _ => reader.skip(),
        })?;
        Ok(product)
    }
}

/// Rows of epoch, file, first and last piece, first and last record.
fn reads(reader: &mut Reader<'_>) -> Result<Vec<Read>, JsonError> {
    let (mut reads, mut files) = (Vec::new(), BTreeSet::<Arc<str>>::new());
    reader.array(|reader| {
        if reads.len() == MAX_READS {
            return reader.fail("more than a million reads");
        }
        let (mut file, mut numbers, mut at) = (None, [0_u64; 5], 0);
        reader.array(|reader| {
            if at == 1 && file.is_none() {
                let name = reader.string()?;
                let known = files.get(&*name).cloned();
                file = Some(known.unwrap_or_else(|| Arc::from(&*name)));
                files.extend(file.clone());
                return Ok(());
            }
            let number = reader.raw()?.parse().ok();
            let (Some(place), Some(number)) = (numbers.get_mut(at), number) else {
                return reader.fail("not what was read");
            };
            *place = number;
            at += 1;
            Ok(())
        })?;
        let [epoch, first, last, from, to] = numbers;
        let Some(file) = file.filter(|_| at == numbers.len() && first <= last) else {
            return reader.fail("not what was read");
        };
        reads.push(Read { epoch, file, pieces: (first, last), records: (from, to) });
        Ok(())
    })?;
    Ok(reads)
}

/// The receipt that the parts make; none where a member is malformed or missing.
pub(super) fn receipt_of(parts: Parts<'_>) -> Option<Receipt> {
    let small = |text: &str| if text.len() > MAX_BUILD { None } else { json::parse(text.as_bytes(), 16).ok() };
    let one = |list: &Value| match list.as_array()? {
        [only] => Some(only.clone()),
        _ => None,
    };
    let sha256 = |of: &Value| of.get("sha256")?.as_str()?.parse::<Sha256>().ok();
    let digest = |of: &Value| sha256(of.get("digest")?);
    let subject = small(parts.models?)?;
    let models = subject.as_array()?.iter();
    let models = models.map(|m| Some((m.get("name")?.as_str()?.to_owned(), digest(m)?))).collect::<Option<_>>()?;
    let build = small(parts.build?)?;
    if build.get("buildType")?.as_str()? != BUILD {
        return None;
    }
    let dependency = one(build.get("resolvedDependencies")?)?;
    let annotations = dependency.get("annotations")?;
    let (version, statement) =
        (annotations.get("version")?.as_u64()?, annotations.get("statement")?.as_str()?.parse().ok()?);
    let parameters = build.get("externalParameters")?;
    let product = parts.product?;
    Some(Receipt {
        models,
        dataset: (dependency.get("name")?.as_str()?.to_owned(), version, digest(&dependency)?, statement),
        epochs: parameters.get("epochs")?.as_u64()?,
        order_seed: parameters.get("order_seed").map_or(Some(None), |seed| seed.as_u64().map(Some))?,
        records: product.records?.parse().ok()?,
        unfinished: product.unfinished.map_or(Some(0), |passes| passes.parse().ok())?,
        reads: product.reads,
        read_set: sha256(&small(product.digest?)?)?,
    })
}
