//! Settings: documents that operators put in force, one of each kind.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::gate::Subject;
use super::once::Request;
use super::targets::{must_be_addresses, must_be_usable};
use super::{Caller, Transport, Vault};
use crate::audit::Act;
use crate::catalogue::Catalogue;
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::facts::SettingFacts;
use crate::identity::issuers::Issuers;
use crate::policy::{Action, Groups, Resource};
use crate::quota::Quotas;
use crate::settings::{MAX_TEXT_BYTES, Setting, SettingKind};
use crate::siem::SinkSettings;

/// Kinds that this release gives a meaning to.
static KNOWN: &[Known] = &[
    Known::of::<Issuers>(),
    Known::of::<Groups>(),
    Known::of::<Quotas>(),
    Known::of::<SinkSettings>(),
    Known::of::<crate::watch::Rules>(),
];

/// How a kind is read.
struct Known {
    kind: SettingKind,
    builtin: &'static str,
    parse: fn(&str) -> Result<Arc<dyn Any + Send + Sync>>,
}

impl Known {
    const fn of<T: Setting>() -> Self {
        Self { kind: T::KIND, builtin: T::BUILTIN, parse: |text| Ok(Arc::new(T::parse(text)?)) }
    }

    fn find(kind: SettingKind) -> Result<&'static Self> {
        KNOWN
            .iter()
            .find(|known| known.kind == kind)
            .ok_or_else(|| Error::new(ErrorId::InvalidArgument, format!("this release has no use for {kind} settings")))
    }
}

/// A document in force.
#[derive(Clone)]
struct Document {
    /// Of the catalogue; 0: the built-in one.
    version: u64,
    text: Arc<str>,
    meaning: Arc<dyn Any + Send + Sync>,
}

/// What is in force of each kind.
pub(super) struct Settings {
    documents: RwLock<BTreeMap<SettingKind, Document>>,
    /// Changes come one at a time, so that the last one in the catalogue is the one in force.
    changing: Mutex<()>,
}

impl Settings {
    /// What the catalogue holds; of a kind that was never set, the built-in document.
    ///
    /// # Errors
    /// `ConfigInvalid` for a document that this release does not understand: what it limits would be without limits.
    pub fn of(catalogue: &dyn Catalogue) -> Result<Self> {
        let documents = KNOWN.iter().map(|known| Ok((known.kind, in_force(catalogue, known)?)));
        Ok(Self { documents: RwLock::new(documents.collect::<Result<_>>()?), changing: Mutex::new(()) })
    }

    fn document(&self, kind: SettingKind) -> Option<Document> {
        self.documents.read().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned()
    }
}

fn in_force(catalogue: &dyn Catalogue, known: &Known) -> Result<Document> {
    let stored = catalogue.document(known.kind.as_str())?;
    let (version, text) = stored.map_or((0, known.builtin.to_owned()), |d| (d.version, d.text));
    let meaning = (known.parse)(&text)?;
    Ok(Document { version, text: text.into(), meaning })
}

impl Vault {
    /// What is in force, and its version: a change gives another.
    ///
    /// # Panics
    /// For a type that is not in the table of known kinds: a bug that any test of it shows.
    pub fn setting<T: Setting>(&self) -> (u64, Arc<T>) {
        let document = self.settings.document(T::KIND).expect("a known kind");
        (document.version, document.meaning.downcast().expect("the type of its kind"))
    }

    /// The document of a kind.
    pub fn read_setting(&self, caller: &Caller, kind: SettingKind) -> Result<SettingFacts> {
        let act = Act::SettingsRead;
        let subject = Subject::vault().with("kind", kind);
        let permit = self.permit(caller, act, Action::ReadSettings, Resource::Vault, &subject)?;
        Known::find(kind).or_else(|e| self.refuse(caller, act, &subject, e))?;
        self.record(caller, act, &subject, &permit)?;
        let document = self.settings.document(kind);
        let document = document.ok_or_else(|| Error::new(ErrorId::Internal, format!("no {kind} settings")))?;
        Ok(SettingFacts { kind: kind.as_str().into(), version: document.version, text: document.text.as_ref().into() })
    }

    /// Puts another document in force, after it was checked. `over`: only if this version is in force now (0: the built-in one).
    /// Returns its version.
    pub fn change_setting(&self, caller: &Caller, kind: SettingKind, text: &str, over: Option<u64>) -> Result<u64> {
        let act = Act::SettingsSet;
        let mut subject = Subject::vault().with("kind", kind).with("sha256", sha256(text.as_bytes()));
        // What was changed is to be seen without the documents.
        let before = self.settings.document(kind).map_or_else(|| "".into(), |d| d.text);
        for (key, members) in changes(kind, &before, text) {
            if !members.is_empty() {
                subject = subject.with(key, members);
            }
        }
        let permit = self.permit(caller, act, Action::ChangeSettings, Resource::Vault, &subject)?;
        if kind == SettingKind::Sinks && caller.channel.transport == Transport::Mtls {
            // A sink writes files as the user of the daemon.
            let remote = Error::new(ErrorId::Denied, "sinks are changed on the machine of the vault only");
            return self.refuse(caller, act, &subject, remote);
        }
        let known = Known::find(kind).or_else(|e| self.refuse(caller, act, &subject, e))?;
        let taken = check(known, text).and_then(|()| must_be_usable(kind, text, self.home().path()));
        taken.or_else(|e| self.refuse(caller, act, &subject, e))?;
        let _turn = self.settings.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let over_bytes = over.map_or_else(Vec::new, |v| v.to_le_bytes().to_vec());
        let arguments = [kind.as_str().as_bytes(), text.as_bytes(), &over_bytes];
        let request = Request { caller, act, subject, permit: &permit, arguments: &arguments };
        let carry_out = || {
            let entry = self.entry(&request, Vec::new());
            let (version, _) = self.catalogue.set_document(kind.as_str(), text.into(), over, entry)?;
            Ok(version)
        };
        let outcome = self.once(&request, |earlier| Ok(earlier.number), carry_out);
        // Whatever came of it, also a commit that nobody waited for: what the catalogue holds is in force.
        let held = in_force(&*self.catalogue, known)?;
        self.settings.documents.write().unwrap_or_else(PoisonError::into_inner).insert(kind, held);
        if kind == SettingKind::Issuers {
            // Keys of a source that is configured no more, or that somebody wants to be asked anew.
            self.issuer_keys.keep(|_| false);
        }
        // Who was vouched for, or had room, may not any more.
        self.cut();
        outcome
    }
}

/// What came, went and changed, for the log. Of groups the very members; of other documents, which may hold secrets, only what
/// their parts are called: `issuer.ci`, `rules.read-volume`.
fn changes(kind: SettingKind, before: &str, after: &str) -> [(&'static str, String); 3] {
    if kind == SettingKind::Groups {
        let none = ("changed", String::new());
        return [("added", lines_beside(after, before)), ("removed", lines_beside(before, after)), none];
    }
    let (before, after) = (parts(before), parts(after));
    let listed = |of: &BTreeMap<String, toml::Value>, take: &dyn Fn(&String, &toml::Value) -> bool| {
        let names: Vec<_> =
            of.iter().filter(|(name, value)| take(name, value)).map(|(name, _)| name.as_str()).collect();
        names.join(" ")
    };
    [
        ("added", listed(&after, &|name, _| !before.contains_key(name))),
        ("removed", listed(&before, &|name, _| !after.contains_key(name))),
        ("changed", listed(&after, &|name, value| before.get(name).is_some_and(|old| old != value))),
    ]
}

/// The parts of a document by name: members of its tables, and of its lists by their own name or id, else by their number.
fn parts(text: &str) -> BTreeMap<String, toml::Value> {
    let mut parts = BTreeMap::new();
    for (key, value) in toml::from_str::<toml::Table>(text).unwrap_or_default() {
        match value {
            toml::Value::Table(table) => parts.extend(table.into_iter().map(|(name, v)| (format!("{key}.{name}"), v))),
            toml::Value::Array(list) if list.iter().all(toml::Value::is_table) => {
                for (nth, element) in list.into_iter().enumerate() {
                    let called = ["name", "id"].iter().find_map(|word| element.get(word)?.as_str().map(String::from));
                    let called = called.unwrap_or_else(|| (nth + 1).to_string());
                    parts.insert(format!("{key}.{called}"), element);
                }
            }
            other => drop(parts.insert(key, other)),
        }
    }
    parts
}

/// The lines of a document that another does not have.
fn lines_beside(text: &str, other: &str) -> String {
    let others: BTreeSet<&str> = other.lines().map(str::trim).collect();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !others.contains(line));
    lines.collect::<Vec<_>>().join(" ")
}

/// Whether a document would be taken, without a vault.
///
/// # Errors
/// `ConfigInvalid`, `InvalidArgument`.
pub fn check_setting(kind: SettingKind, text: &str) -> Result<()> {
    check(Known::find(kind)?, text)
}

fn check(known: &Known, text: &str) -> Result<()> {
    if text.len() > MAX_TEXT_BYTES {
        let long = format!("the document has {} bytes; at most {MAX_TEXT_BYTES} are taken", text.len());
        return Err(Error::new(ErrorId::InvalidArgument, long));
    }
    (known.parse)(text)?;
    must_be_addresses(known.kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_what_was_changed_and_no_value() {
        let before =
            "learn-days = 7\n[[sink]]\nname = \"a\"\nkey = \"s3cret\"\n[[sink]]\nname = \"b\"\n[rules.x]\nn = 1\n";
        let after =
            "learn-days = 8\n[[sink]]\nname = \"c\"\n[[sink]]\nname = \"a\"\nkey = \"other\"\n[rules.x]\nn = 1\n";
        let told = changes(SettingKind::Sinks, before, after).map(|(_, members)| members);
        assert_eq!(told, ["sink.c", "sink.b", "learn-days sink.a"]);
        // A document that will be refused changes nothing, and hides nothing of what is there.
        assert_eq!(changes(SettingKind::Sinks, before, "not toml")[1].1, "learn-days rules.x sink.a sink.b");
        let groups = changes(SettingKind::Groups, "[groups.a]\nmembers = []\n", "[groups.b]\nmembers = []\n");
        assert_eq!(groups.map(|(_, members)| members), ["[groups.b]", "[groups.a]", ""]);
    }
}
