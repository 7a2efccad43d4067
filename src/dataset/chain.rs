//! The versions of a dataset: each statement names the one before, so there is one line of them and no fork.

use super::statement::DatasetStatement;
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Sha256, Timestamp};

/// A version, by its statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What was signed.
    pub statement: DatasetStatement,
    /// SHA-256 of it as it was signed: what the next version names.
    pub digest: Sha256,
}

/// What a reader saw of a dataset before: it accepts nothing older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The highest version.
    pub version: u64,
    /// Digest of its statement.
    pub digest: Sha256,
}

/// Versions that follow one another, the newest last.
#[derive(Clone, Debug)]
pub struct Chain(Vec<Version>);

impl Chain {
    /// Of statements whose signatures were verified, in any order, each as often as it has signatures.
    ///
    /// # Errors
    /// `SignatureMissing` for none; `BundleMalformed` for a statement that is none; `DatasetForked` for two of one version, and for one
    /// that does not follow the one before.
    pub fn of<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Self> {
        let mut versions: Vec<Version> = Vec::new();
        for payload in payloads {
            let digest = sha256(payload);
            if versions.iter().all(|v| v.digest != digest) {
                versions.push(Version { statement: DatasetStatement::from_payload(payload)?, digest });
            }
        }
        versions.sort_by_key(|v| v.statement.version);
        if versions.is_empty() {
            return Err(Error::new(ErrorId::SignatureMissing, "no statement about the dataset by a signer you trust")
                .hint("name the signer: --key FILE or --trust NAME"));
        }
        for pair in versions.windows(2) {
            let (before, after) = (&pair[0].statement, &pair[1].statement);
            let forked = |why: String| Err(Error::new(ErrorId::DatasetForked, why));
            if before.name != after.name {
                return forked(format!("statements about {:?} and about {:?}", before.name, after.name));
            }
            if before.version == after.version {
                return forked(format!("version {} was signed twice, with other content", after.version));
            }
            if before.version + 1 == after.version && after.previous != Some(pair[0].digest) {
                return forked(format!(
                    "version {} does not follow the version {} that is here",
                    after.version, before.version
                ));
            }
        }
        Ok(Self(versions))
    }

    /// The newest version.
    pub fn newest(&self) -> &Version {
        self.0.last().expect("there is one")
    }

    /// All of them, the newest last.
    pub fn versions(&self) -> &[Version] {
        &self.0
    }

    /// Whether the newest version may be used now by a reader who saw this before. Without `now`: whether it might once have been.
    ///
    /// # Errors
    /// `VersionRollback` for an older one than was seen, or than is asked for; `DatasetForked` for another of the same number; `StatementExpired`
    /// after it has expired.
    pub fn accept(&self, seen: Option<Seen>, at_least: Option<u64>, now: Option<Timestamp>) -> Result<()> {
        let Version { statement, digest } = self.newest();
        let version = statement.version;
        let older = |than: u64, why: &str| {
            let text = format!("this is version {version} of {:?}, and version {than} {why}", statement.name);
            Err(Error::new(ErrorId::VersionRollback, text).hint("get the newer version from its owner"))
        };
        match seen {
            Some(seen) if version < seen.version => return older(seen.version, "was seen here before"),
            Some(seen) if version == seen.version && *digest != seen.digest => {
                let text = format!("another version {version} of {:?} was seen here before", statement.name);
                return Err(Error::new(ErrorId::DatasetForked, text));
            }
            // It follows from the one that was seen, over all between.
            Some(seen) => {
                let since: Vec<_> = self.0.iter().filter(|v| v.statement.version > seen.version).collect();
                let whole = since.len() as u64 == version - seen.version;
                let follows = since.first().is_some_and(|first| first.statement.previous == Some(seen.digest));
                let same = self.0.iter().all(|v| v.statement.version != seen.version || v.digest == seen.digest);
                if seen.version != version && !(whole && follows && same) {
                    let text = format!(
                        "version {version} of {:?} does not follow the version {} that was seen here before",
                        statement.name, seen.version
                    );
                    return Err(Error::new(ErrorId::DatasetForked, text)
                        .hint("dataset.sig holds all versions: get it whole from its owner"));
                }
            }
            None => {}
        }
        if let Some(least) = at_least.filter(|least| version < *least) {
            return older(least, "is asked for");
        }
        match statement.expires {
            Some(end) if now.is_some_and(|now| now >= end) => {
                let text = format!("the statement about {:?} expired at {end}", statement.name);
                Err(Error::new(ErrorId::StatementExpired, text))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::Schema;
    use super::super::statement::{Attribution, Described};
    use super::*;

    fn statement(version: u64, previous: Option<Sha256>, licence: &str) -> String {
        DatasetStatement {
            name: "d".into(),
            version,
            previous,
            created: Timestamp::from_millis(1_000),
            expires: Some(Timestamp::from_millis(9_000)),
            schema: Schema::Lines,
            multiset: None,
            files: Vec::new(),
            attribution: Attribution::default(),
            derived_from: Vec::new(),
            described: Described { licence: Some(licence.into()), ..Described::default() },
        }
        .to_payload()
    }

    fn id(outcome: Result<impl Sized>) -> ErrorId {
        outcome.map(drop).unwrap_err().id()
    }

    #[test]
    fn versions_make_one_line() {
        let one = statement(1, None, "a");
        let two = statement(2, Some(sha256(one.as_bytes())), "b");
        let three = statement(3, Some(sha256(two.as_bytes())), "c");
        let chain = |of: &[&String]| Chain::of(of.iter().map(|p| p.as_bytes()));
        assert_eq!(chain(&[&two, &one, &two]).unwrap().newest().statement.version, 2);
        assert_eq!(chain(&[&three, &one]).unwrap().versions().len(), 2, "one between may be missing");
        assert_eq!(id(chain(&[])), ErrorId::SignatureMissing);
        assert_eq!(id(chain(&[&one, &statement(1, None, "x")])), ErrorId::DatasetForked);
        assert_eq!(id(chain(&[&statement(1, None, "x"), &two])), ErrorId::DatasetForked);
        assert_eq!(id(chain(&[&one, &statement(2, Some(sha256(b"")), "b")])), ErrorId::DatasetForked);
    }

    #[test]
    fn older_forked_and_expired_versions_are_not_accepted() {
        let one = statement(1, None, "a");
        let two = statement(2, Some(sha256(one.as_bytes())), "b");
        let chain = Chain::of([one.as_bytes(), two.as_bytes()]).unwrap();
        let now = Some(Timestamp::from_millis(2_000));
        let seen = |version, of: &str| Some(Seen { version, digest: sha256(of.as_bytes()) });
        chain.accept(None, None, now).unwrap();
        chain.accept(seen(1, &one), Some(2), now).unwrap();
        chain.accept(seen(2, &two), None, now).unwrap();
        assert_eq!(id(chain.accept(seen(3, "x"), None, now)), ErrorId::VersionRollback);
        assert_eq!(id(chain.accept(None, Some(3), now)), ErrorId::VersionRollback);
        assert_eq!(id(chain.accept(seen(2, "x"), None, now)), ErrorId::DatasetForked);
        // The version that was seen is left away: the next one names it.
        let alone = Chain::of([two.as_bytes()]).unwrap();
        alone.accept(seen(1, &one), None, now).unwrap();
        assert_eq!(id(alone.accept(seen(1, "x"), None, now)), ErrorId::DatasetForked);
        let three = statement(3, Some(sha256(two.as_bytes())), "c");
        let gap = Chain::of([three.as_bytes()]).unwrap();
        assert_eq!(id(gap.accept(seen(1, &one), None, now)), ErrorId::DatasetForked);
        assert_eq!(id(chain.accept(seen(1, "x"), None, now)), ErrorId::DatasetForked);
        assert_eq!(id(chain.accept(None, None, Some(Timestamp::from_millis(9_000)))), ErrorId::StatementExpired);
        chain.accept(None, None, None).unwrap();
    }
}
