//! What a decision knows of the dataset it is about: what its signed statement says, and how that stands now.

use std::collections::BTreeSet;

use cedar_policy::RestrictedExpression as Expression;
use serde::Deserialize;

/// A dataset, under the names it has in policies. What is not said has the value that permits least.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dataset {
    /// What its owner calls it.
    pub name: String,
    /// Its owner's number: not that of the version in the vault.
    pub version: u64,
    /// Records of all files.
    pub records: u64,
    /// Records that are read: all but those of contributors who are kept out.
    pub readable: u64,
    /// Records that no contributor attests.
    pub unattributed: u64,
    /// How many contributors are kept out.
    pub excluded: u64,
    /// Names of the contributors whose records are read.
    pub contributors: BTreeSet<String>,
    /// How many of them sign with a key that the namespace does not trust now.
    pub strangers: u64,
    /// Seconds since it was signed.
    pub age_s: u64,
    /// It names the report of a scan of ours, about these very files.
    pub scanned: bool,
    /// That report in short; there whenever it was scanned.
    pub scan: Option<Scan>,
    /// Who signed it, by the name in the trust store.
    pub signer: String,
}

/// A scan, under the names it has in policies. What is not said has the value that permits least.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scan {
    /// Records that were looked at.
    pub records: u64,
    /// Findings of all detectors.
    pub findings: u64,
    /// Most records that one detector found suspicious.
    pub suspicious: u64,
    /// How grave the gravest finding is: 0 nothing, 1 low, 2 medium, 3 high.
    pub worst: u64,
    /// Detectors that ran.
    pub detectors: BTreeSet<String>,
    /// Those of them that found something.
    pub found_by: BTreeSet<String>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            records: 0,
            findings: u64::MAX,
            suspicious: u64::MAX,
            worst: 3,
            detectors: BTreeSet::new(),
            found_by: BTreeSet::new(),
        }
    }
}

impl Default for Dataset {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: 0,
            records: 0,
            readable: 0,
            unattributed: u64::MAX,
            excluded: u64::MAX,
            contributors: BTreeSet::new(),
            strangers: u64::MAX,
            age_s: 0,
            scanned: false,
            scan: None,
            signer: String::new(),
        }
    }
}

impl Dataset {
    pub(super) fn to_cedar(&self) -> Result<Expression, String> {
        let members = [
            ("name", word(&self.name)),
            ("version", long(self.version)),
            ("records", long(self.records)),
            ("readable", long(self.readable)),
            ("unattributed", long(self.unattributed)),
            ("excluded", long(self.excluded)),
            ("contributors", words(&self.contributors)),
            ("strangers", long(self.strangers)),
            ("age_s", long(self.age_s)),
            ("scanned", Expression::new_bool(self.scanned)),
            ("signer", word(&self.signer)),
        ];
        let scan = self.scan.as_ref().map(Scan::to_cedar).transpose()?;
        record(members.into_iter().chain(scan.map(|scan| ("scan", scan))))
    }
}

impl Scan {
    fn to_cedar(&self) -> Result<Expression, String> {
        record([
            ("records", long(self.records)),
            ("findings", long(self.findings)),
            ("suspicious", long(self.suspicious)),
            ("worst", long(self.worst)),
            ("detectors", words(&self.detectors)),
            ("found_by", words(&self.found_by)),
        ])
    }
}

fn word(text: &str) -> Expression {
    Expression::new_string(text.into())
}

fn words(texts: &BTreeSet<String>) -> Expression {
    Expression::new_set(texts.iter().map(|text| word(text)))
}

fn long(n: u64) -> Expression {
    Expression::new_long(i64::try_from(n).unwrap_or(i64::MAX))
}

fn record(members: impl IntoIterator<Item = (&'static str, Expression)>) -> Result<Expression, String> {
    Expression::new_record(members.into_iter().map(|(key, value)| (key.into(), value))).map_err(|e| e.to_string())
}
