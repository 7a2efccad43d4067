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
        // Nobody was admitted yet: what is too long will be refused, and is not read.
        let told = if text.len() <= MAX_TEXT_BYTES { changes(kind, &before, text) } else { Vec::new() };
        for (key, members) in told.into_iter().filter(|(_, members)| !members.is_empty()) {
            subject = subject.with(key, members);
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
/// their parts are called: `issuer.ci`, `learn-days`. Of alerts what is in effect counts, whichever defaults a document leaves out.
fn changes(kind: SettingKind, before: &str, after: &str) -> Vec<(&'static str, String)> {
    if kind == SettingKind::Groups {
        return match (Groups::parse(before), Groups::parse(after)) {
            (Ok(before), Ok(after)) => {
                let (before, after) = (memberships(&before), memberships(&after));
                vec![("added", told(after.difference(&before))), ("removed", told(before.difference(&after)))]
            }
            _ => vec![("added", lines_beside(after, before)), ("removed", lines_beside(before, after))],
        };
    }
    let effective = if kind == SettingKind::Alerts { in_effect(before).zip(in_effect(after)) } else { None };
    let (before, after) = match &effective {
        Some((before, after)) => (parts(before), parts(after)),
        None => (parts(before), parts(after)),
    };
    let is_on =
        |of: &BTreeMap<String, toml::Value>, name: &str| -> Option<bool> { of.get(name)?.get("enabled")?.as_bool() };
    let switched = |name: &str, on: bool| {
        effective.is_some() && is_on(&before, name) == Some(!on) && is_on(&after, name) == Some(on)
    };
    let listed = |of: &BTreeMap<String, toml::Value>, take: &dyn Fn(&str, &toml::Value) -> bool| {
        told(of.iter().filter(|(name, value)| take(name, value)).map(|(name, _)| name))
    };
    let is_other = |name: &str, value: &toml::Value| before.get(name).is_some_and(|old| old != value);
    vec![
        ("disabled", listed(&after, &|name, _| switched(name, false))),
        ("enabled", listed(&after, &|name, _| switched(name, true))),
        ("added", listed(&after, &|name, _| !before.contains_key(name))),
        ("removed", listed(&before, &|name, _| !after.contains_key(name))),
        (
            "changed",
            listed(&after, &|name, value| is_other(name, value) && !switched(name, true) && !switched(name, false)),
        ),
    ]
}

/// `admin:operator:corp:eve@example.com`: groups with each of their members.
fn memberships(groups: &Groups) -> BTreeSet<String> {
    let mut pairs = BTreeSet::new();
    for (group, members) in groups.listed() {
        for member in members {
            let pair = format!("{group}:{member}");
            // A member with a space in it looks like one, not like two.
            let is_plain = !pair.contains(|c: char| c.is_whitespace() || c == '"');
            pairs.insert(if is_plain { pair } else { format!("{pair:?}") });
        }
    }
    pairs
}

/// Names in a row: all of them, or as many as there is room for and how many there are besides.
fn told<'a>(names: impl Iterator<Item = &'a String>) -> String {
    // What a text of the log holds, without what is said of the rest.
    const ROOM: usize = 200;
    let (mut kept, mut more) = (String::new(), 0);
    for name in names {
        // One that is too long by itself is told by its beginning.
        let cut = (name.len() > ROOM).then(|| name.chars().take(ROOM / 5).chain(['…']).collect::<String>());
        let name = cut.as_ref().unwrap_or(name);
        if kept.len() + 1 + name.len() > ROOM {
            more += 1;
            continue;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(name);
    }
    if more == 0 { kept } else { format!("{kept} and {more} more") }
}

/// The document with all that it leaves out; `None` for one that will be refused.
fn in_effect(text: &str) -> Option<String> {
    toml::to_string(&crate::watch::Rules::parse(text).ok()?).ok()
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
    if says_nothing(text) {
        // A file that could not be written, or the wrong one: it would take away all that is in force.
        return Err(Error::new(ErrorId::ConfigInvalid, format!("the document says nothing about {}", known.kind))
            .hint("if that is meant, say so by a line of its own: # none"));
    }
    must_be_addresses(known.kind, text)
}

/// Whether a document has nothing in it but its version, and does not say that this is meant.
fn says_nothing(text: &str) -> bool {
    let empty = |table: toml::Table| table.keys().all(|key| key == "version");
    toml::from_str(text).is_ok_and(empty) && !text.lines().any(|line| line.trim() == "# none")
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
        let sinks = logged(SettingKind::Sinks, before, after);
        assert_eq!(sinks, ["added=sink.c", "removed=sink.b", "changed=learn-days sink.a"]);
        // A document that will be refused changes nothing, and hides nothing of what is there.
        let refused = logged(SettingKind::Sinks, before, "not toml");
        assert_eq!(refused, ["removed=learn-days rules.x sink.a sink.b"]);
    }

    /// What the log tells, as `key=names`.
    fn logged(kind: SettingKind, before: &str, after: &str) -> Vec<String> {
        let told = changes(kind, before, after).into_iter().filter(|(_, names)| !names.is_empty());
        told.map(|(key, names)| format!("{key}={names}")).collect()
    }

    #[test]
    fn the_log_names_each_member_that_comes_or_goes() {
        let groups = |before: &str, after: &str| logged(SettingKind::Groups, before, after);
        let before = "[groups.auditor]\nmembers = [\n  \"operator:corp:eve\",\n]\n";
        // The very line stands in another group already, and a long comment comes with it.
        let comment = "# a comment\n".repeat(100);
        let after = format!("{comment}{before}[groups.admin]\nmembers = [\n  \"operator:corp:eve\",\n]\n");
        assert_eq!(groups(before, &after), ["added=admin:operator:corp:eve"]);
        assert_eq!(groups(&after, before), ["removed=admin:operator:corp:eve"]);
        assert_eq!(groups(&after, &after.replace("\n  ", " ")), [""; 0]);
        let spaced = "[groups.a]\nmembers = [\"operator:corp:eve admin:operator:corp:bob\"]";
        assert_eq!(groups("", spaced), ["added=\"a:operator:corp:eve admin:operator:corp:bob\""]);
        // What is no document of groups is told as it stands.
        assert_eq!(groups("", "[groups.a]\nmembers = 3"), ["added=[groups.a] members = 3"]);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let members: Vec<_> = (10..60).map(|i| format!("\"workload:prod/serve-{i}\"")).collect();
        let text = format!("[groups.serving]\nmembers = [{}]", members.join(", "));
        let told = logged(SettingKind::Groups, "", &text);
        // 30 bytes each.
        assert!(told[0].starts_with("added=serving:workload:prod/serve-10 serving:workload:"), "{told:?}");
        assert!(told[0].ends_with(" serving:workload:prod/serve-15 and 44 more"), "{told:?}");
        assert!(told[0].len() < crate::audit::Text::MAX);
        let long = format!("[groups.a]\nmembers = [\"operator:corp:{}\", \"operator:corp:z\"]", "x".repeat(250));
        let cut = format!("added=a:operator:corp:{}… a:operator:corp:z", "x".repeat(24));
        assert_eq!(logged(SettingKind::Groups, "", &long), [cut]);
    }

    #[test]
    fn the_log_tells_which_rules_speak_no_more_whatever_a_document_leaves_out() {
        let alerts = |before: &str, after: &str| logged(SettingKind::Alerts, before, after);
        let builtin = crate::watch::Rules::BUILTIN;
        let off = "[rule.replay]\nenabled = false";
        assert_eq!(alerts(builtin, off), ["disabled=rule.replay"]);
        assert_eq!(alerts(off, ""), ["enabled=rule.replay"]);
        assert_eq!(alerts(builtin, ""), [""; 0]);
        assert_eq!(alerts("", "learn-days = 5\n[rule.replay]\ntimes = 9"), ["changed=learn-days rule.replay"]);
        let hook = "[webhook]\nurl = \"https://example.com/\"\nkey-file = \"/k\"";
        assert_eq!(alerts(builtin, hook), ["added=webhook.key-file webhook.least webhook.url"]);
        assert_eq!(alerts("ignore = [\"*\"]", off), ["disabled=rule.replay", "removed=ignore"]);
    }
}
