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
    /// It names the report of a scan.
    pub scanned: bool,
    /// Who signed it, by the name in the trust store.
    pub signer: String,
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
            signer: String::new(),
        }
    }
}

impl Dataset {
    pub(super) fn to_cedar(&self) -> Result<Expression, String> {
        let word = |text: &str| Expression::new_string(text.into());
        let long = |n: u64| Expression::new_long(i64::try_from(n).unwrap_or(i64::MAX));
        let members = [
            ("name", word(&self.name)),
            ("version", long(self.version)),
            ("records", long(self.records)),
            ("readable", long(self.readable)),
            ("unattributed", long(self.unattributed)),
            ("excluded", long(self.excluded)),
            ("contributors", Expression::new_set(self.contributors.iter().map(|name| word(name)))),
            ("strangers", long(self.strangers)),
            ("age_s", long(self.age_s)),
            ("scanned", Expression::new_bool(self.scanned)),
            ("signer", word(&self.signer)),
        ];
        Expression::new_record(members.map(|(key, value)| (key.into(), value))).map_err(|e| e.to_string())
    }
}
