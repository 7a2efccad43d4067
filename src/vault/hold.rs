//! Holds: principals and artifacts that are refused, slowed down or asked for more, by a person or by a rule, until released.
//!
//! Those in force are in memory, so that each call and each segment of a stream can ask. After a change whatever runs asks again
//! whether it may go on (`cutting`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::gate::Subject;
use super::once::Request;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{Catalogue, CatalogueError, HoldRecord, NewHold, Visibility};
use crate::error::{Error, ErrorId, Result};
use crate::facts::HoldFacts;
use crate::identity::issuers::Issuers;
use crate::names::{Principal, PrincipalKind, Reference, Revision, Timestamp};
use crate::policy::{Action, Resource};

/// Plaintext that a throttled principal gets in a minute.
const THROTTLED_BYTES: u64 = 64 << 20;
/// Longest time of a hold that ends by itself.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);
const MINUTE: Duration = Duration::from_secs(60);

/// What a hold is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldTarget {
    /// A principal, as it prints itself: `workload prod/serve-1`.
    Principal(String),
    /// An artifact, `prod/resnet`, or one version of it, `prod/resnet@v3`.
    Artifact(String),
}

impl HoldTarget {
    /// From the words of a request.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn parse(what: &str, name: &str) -> Result<Self> {
        let bad = |text: String| Error::new(ErrorId::InvalidArgument, text);
        match what {
            "principal" => {
                // As policies and groups name callers, and as they print themselves; a bare name is an enrolled workload.
                let of = |kind: &str| name.strip_prefix(kind)?.strip_prefix([':', ' ']);
                let wrong = || {
                    bad(format!("not a caller: {name:?}"))
                        .hint("callers are workload:NAMESPACE/NAME, operator:ISSUER:SUBJECT or the name of a workload")
                };
                let name = match (of("operator"), of("workload")) {
                    (Some(operator), _) if operator.contains(':') => format!("operator {operator}"),
                    (_, Some(workload)) if workload.contains('/') => format!("workload {workload}"),
                    (None, None) => match (name.find('/'), name.find(':')) {
                        (None, None) if !name.is_empty() => format!("workload {}/{name}", Reference::DEFAULT_NAMESPACE),
                        (Some(slash), colon) if colon.is_none_or(|colon| slash < colon) => format!("workload {name}"),
                        _ => return Err(wrong()),
                    },
                    _ => return Err(wrong()),
                };
                if name.len() > 512 || name.chars().any(char::is_control) {
                    return Err(bad("not a principal: it is too long, or has control characters".into()));
                }
                Ok(Self::Principal(name))
            }
            "artifact" => {
                let text = if name.contains('@') { name.to_owned() } else { format!("{name}@latest") };
                let reference: Reference = text.parse()?;
                let artifact = format!("{}/{}", reference.namespace, reference.name);
                match reference.revision {
                    Revision::Version(n) => Ok(Self::Artifact(format!("{artifact}@v{n}"))),
                    _ if !name.contains('@') => Ok(Self::Artifact(artifact)),
                    _ => Err(bad(format!("{name} may come to mean another version: name it as vN"))),
                }
            }
            _ => Err(bad(format!("not a thing to put on hold: {what:?}"))),
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Principal(name) => format!("principal:{name}"),
            Self::Artifact(name) => format!("artifact:{name}"),
        }
    }
}

/// A hold that is asked for.
#[derive(Clone, Debug)]
pub struct HoldSpec {
    /// On what.
    pub target: HoldTarget,
    /// `suspend`, `throttle` or `step-up`.
    pub kind: String,
    /// Why, for people.
    pub reason: String,
    /// How long; `None`: until it is released.
    pub lasts: Option<Duration>,
}

/// Holds in force.
#[derive(Default)]
pub(super) struct Holds {
    live: RwLock<HashMap<String, Vec<HoldRecord>>>,
    /// What throttled principals received in this minute.
    spent: Mutex<HashMap<String, (Timestamp, u64)>>,
    changing: Mutex<()>,
}

impl Holds {
    /// Those of the catalogue.
    pub fn of(catalogue: &dyn Catalogue) -> Result<Self> {
        let holds = Self::default();
        holds.read(catalogue)?;
        Ok(holds)
    }

    fn read(&self, catalogue: &dyn Catalogue) -> Result<()> {
        let mut live: HashMap<String, Vec<HoldRecord>> = HashMap::new();
        for hold in catalogue.holds()? {
            live.entry(hold.hold.target.clone()).or_default().push(hold);
        }
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        Ok(())
    }

    /// The newest hold of a kind on a target.
    fn find(&self, target: &str, kind: &str, now: Timestamp) -> Option<HoldRecord> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let on_it = live.get(target)?.iter().rev();
        on_it.filter(|h| h.hold.kind == kind).find(|h| h.holds_at(now)).cloned()
    }

    /// Whether there is nothing to look for, which is almost always.
    fn is_empty(&self) -> bool {
        self.live.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Whoever holds the machine holds the vault: these cannot be locked out, so nobody can do that to them.
fn is_owner(principal: &Principal, owner_uid: u32) -> bool {
    let uid = principal.subject.strip_prefix("uid:").and_then(|uid| uid.parse::<u32>().ok());
    principal.kind == PrincipalKind::Operator
        && matches!(principal.issuer.as_str(), "local" | "unix")
        && uid.is_some_and(|uid| uid == owner_uid || uid == 0)
}

impl Vault {
    /// Whether this is whoever holds the machine.
    pub(super) fn is_owner(&self, principal: &Principal) -> bool {
        is_owner(principal, self.owner_uid)
    }

    /// What the catalogue holds is in force, also for what runs.
    fn enforce_holds(&self) -> Result<()> {
        self.holds.read(&*self.catalogue)?;
        self.cut();
        Ok(())
    }

    /// Refuses a principal that is suspended.
    pub(super) fn not_suspended(&self, caller: &Caller) -> Result<()> {
        if self.holds.is_empty() || is_owner(&caller.principal, self.owner_uid) {
            return Ok(());
        }
        self.not_held(&caller.principal)
    }

    /// Whether no hold keeps a principal out.
    pub(super) fn not_held(&self, principal: &Principal) -> Result<()> {
        let (target, now) = (format!("principal:{principal}"), self.now());
        let suspended = self.holds.find(&target, "suspend", now);
        // No workload has a second factor: until somebody releases it, to ask for one is to refuse.
        let asked = || self.holds.find(&target, "step-up", now);
        let workload = principal.kind == PrincipalKind::Workload;
        match suspended.or_else(|| if workload { asked() } else { None }) {
            None => Ok(()),
            Some(hold) => {
                let text = format!("{principal} is suspended: {}", hold.hold.reason);
                Err(Error::new(ErrorId::OnHold, text)
                    .detail("hold", hold.number)
                    .hint("an operator can undo it: vault quarantine ls; vault release principal NAME"))
            }
        }
    }

    /// Refuses to hand out an artifact that is on hold. Operators may look at it and check it.
    pub(super) fn not_quarantined(&self, action: Action, resource: Resource<'_>) -> Result<()> {
        let Resource::Artifact { namespace, name, version, .. } = resource else { return Ok(()) };
        if self.holds.is_empty() || !matches!(action, Action::Open | Action::OpenRange | Action::Export) {
            return Ok(());
        }
        let (whole, now) = (format!("artifact:{namespace}/{name}"), self.now());
        let mut hold = self.holds.find(&whole, "suspend", now);
        if let (None, Some(version)) = (&hold, version) {
            let record = self.catalogue.version(version)?;
            // A part is where the version is that names it.
            let numbers = [Some(record.facts.number), record.part_of.filter(|head| *head > 0)];
            hold =
                numbers.into_iter().flatten().find_map(|n| self.holds.find(&format!("{whole}@v{n}"), "suspend", now));
        }
        match hold {
            None => Ok(()),
            Some(hold) => {
                let text = format!("{namespace}/{name} is in quarantine: {}", hold.hold.reason);
                Err(Error::new(ErrorId::OnHold, text)
                    .detail("hold", hold.number)
                    .hint("an operator can undo it: vault quarantine ls; vault release artifact NAME"))
            }
        }
    }

    /// Whether a hold asks this caller for a second factor.
    pub(super) fn is_stepped_up(&self, principal: &Principal) -> bool {
        !self.holds.is_empty() && self.holds.find(&format!("principal:{principal}"), "step-up", self.now()).is_some()
    }

    /// Refuses more than a little each minute to a principal that is throttled.
    pub(super) fn throttle(&self, caller: &Caller, bytes: u64) -> Result<()> {
        if self.holds.is_empty() {
            return Ok(());
        }
        let (target, now) = (format!("principal:{}", caller.principal), self.now());
        let Some(hold) = self.holds.find(&target, "throttle", now) else { return Ok(()) };
        let mut spent = self.holds.spent.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as there are holds, at most.
        spent.retain(|_, (since, _)| now >= *since && now.since(*since) < MINUTE);
        let (since, sum) = spent.entry(target).or_insert((now, 0));
        if sum.saturating_add(bytes) > THROTTLED_BYTES {
            // Why is not for the caller to know.
            let text = format!("{} is throttled", caller.principal);
            return Err(Error::new(ErrorId::QuotaExceeded, text)
                .detail("reason", &hold.hold.reason)
                .retry_after(MINUTE.saturating_sub(now.since(*since)))
                .hint("an operator can undo it: vault quarantine ls; vault release principal NAME"));
        }
        *sum += bytes;
        Ok(())
    }

    /// Puts a principal or an artifact on hold. Streams of theirs end at their next segment.
    pub fn quarantine(&self, caller: &Caller, spec: &HoldSpec) -> Result<HoldFacts> {
        let act = Act::HoldPlace;
        let lasts = spec.lasts.map_or(0, |lasts| lasts.as_secs());
        let subject = hold_subject(spec).with("reason", &spec.reason).with("seconds", lasts);
        let permit = self.permit(caller, act, Action::Quarantine, Resource::Vault, &subject)?;
        self.check_hold(spec).or_else(|e| self.refuse(caller, act, &subject, e))?;
        let _turn = self.holds.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = self.new_hold(spec, &caller.principal, "");
        let lasts = lasts.to_le_bytes();
        let arguments = [hold.target.as_bytes(), spec.kind.as_bytes(), spec.reason.as_bytes(), &lasts];
        let request = Request { caller, act, subject, permit: &permit, arguments: &arguments };
        let carry_out = || Ok(self.catalogue.place_hold(hold.clone(), self.entry(&request, Vec::new()))?.0);
        let outcome = self.once(&request, |earlier| Ok(earlier.number), carry_out);
        // Whatever came of it, also a commit that nobody waited for: what the catalogue holds is in force.
        self.enforce_holds()?;
        let number = outcome?;
        let placed = self.catalogue.holds()?.into_iter().find(|h| h.number == number);
        placed.map(facts).ok_or_else(|| Error::new(ErrorId::NotFound, "the hold was released meanwhile"))
    }

    /// Releases every hold on a target; how many there were.
    pub fn release_hold(&self, caller: &Caller, target: &HoldTarget) -> Result<u64> {
        let act = Act::HoldRelease;
        let subject = Subject::vault().with("hold", target.key());
        let permit = self.permit(caller, act, Action::Quarantine, Resource::Vault, &subject)?;
        if *target == HoldTarget::Principal(caller.principal.to_string()) {
            let own = Error::new(ErrorId::Denied, "a hold is released by somebody else than the caller it is on");
            return self.refuse(caller, act, &subject, own);
        }
        let _turn = self.holds.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = target.key();
        let request = Request { caller, act, subject: subject.clone(), permit: &permit, arguments: &[key.as_bytes()] };
        let by = caller.principal.to_string();
        let carry_out = || Ok(self.catalogue.release_holds(&key, by, self.entry(&request, Vec::new()))?.0);
        let outcome = self.once(&request, |earlier| Ok(earlier.number), carry_out);
        self.enforce_holds()?;
        outcome.or_else(|e| match e.id() {
            ErrorId::NotFound => {
                let none = Error::new(ErrorId::NotFound, "there is no such hold")
                    .hint("vault quarantine ls shows those there are");
                self.refuse(caller, act, &subject, none)
            }
            _ => Err(e),
        })
    }

    /// Holds in force.
    pub fn list_holds(&self, caller: &Caller) -> Result<Vec<HoldFacts>> {
        let act = Act::HoldList;
        let action = self.to_see(caller, Action::Quarantine, Action::ReadHolds)?;
        let permit = self.permit(caller, act, action, Resource::Vault, &Subject::vault())?;
        let now = self.now();
        let held: Vec<_> = self.catalogue.holds()?.into_iter().filter(|h| h.holds_at(now)).map(facts).collect();
        self.record(caller, act, &Subject::vault().with("shown", held.len()), &permit)?;
        Ok(held)
    }

    /// How many holds are in force, by what they are on and what they do.
    pub(crate) fn holds_in_force(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        const KINDS: [(&str, &str); 4] =
            [("artifact", "suspend"), ("principal", "step-up"), ("principal", "suspend"), ("principal", "throttle")];
        let (live, now) = (self.holds.live.read().unwrap_or_else(PoisonError::into_inner), self.now());
        let mut counts = [0; KINDS.len()];
        for hold in live.values().flatten().filter(|hold| hold.holds_at(now)) {
            let on = hold.hold.target.split_once(':').map_or("", |(on, _)| on);
            if let Some(at) = KINDS.iter().position(|kind| *kind == (on, &hold.hold.kind)) {
                counts[at] += 1;
            }
        }
        KINDS.into_iter().zip(counts)
    }

    /// A hold that a rule asks for. Nobody is asked whether it may; the owner of the machine is never held. Says whether it was placed.
    pub(super) fn hold_by_rule(&self, caller: &Caller, about: &Principal, spec: &HoldSpec, rule: &str) -> Result<bool> {
        let held = self.holds.find(&spec.target.key(), &spec.kind, self.now()).is_some();
        if held || is_owner(about, self.owner_uid) || about.kind == PrincipalKind::Anonymous {
            return Ok(false);
        }
        let _turn = self.holds.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = hold_subject(spec).with("reason", &spec.reason).with("rule", rule);
        let leaf = self.row(caller, Act::HoldPlace, &subject, None).to_leaf();
        let placed = self.catalogue.place_hold(self.new_hold(spec, &caller.principal, rule), leaf.into());
        self.enforce_holds()?;
        placed?;
        Ok(true)
    }

    fn check_hold(&self, spec: &HoldSpec) -> Result<()> {
        let bad = |text: &str| Err(Error::new(ErrorId::InvalidArgument, text));
        if spec.lasts.is_some_and(|lasts| lasts > LONGEST) {
            return bad("a hold lasts ten years at most");
        }
        match (&spec.target, spec.kind.as_str()) {
            (HoldTarget::Artifact(name), "suspend") => self.must_be_there(name),
            (HoldTarget::Artifact(_), _) => bad("an artifact can only be suspended"),
            (HoldTarget::Principal(name), "suspend" | "throttle" | "step-up") => {
                let owners = [Principal::local_operator(0), Principal::unix_operator(0)];
                let own = [Principal::local_operator(self.owner_uid), Principal::unix_operator(self.owner_uid)];
                if owners.iter().chain(&own).any(|owner| owner.to_string() == *name) {
                    return bad("the owner of the vault's machine cannot be put on hold");
                }
                self.must_be_somebody(name)
            }
            _ => bad("a hold is one of suspend, throttle, step-up"),
        }
    }

    /// A name that nobody can have holds nobody, and whoever mistyped it would believe the opposite. Subjects of others are not
    /// known before they come: there the issuer counts.
    pub(super) fn must_be_somebody(&self, name: &str) -> Result<()> {
        let unknown = |hint: &str| Err(Error::new(ErrorId::NotFound, format!("there is no {name}")).hint(hint));
        let (kind, who) = name.split_once(' ').unwrap_or_default();
        let (namespace, who) = if kind == "workload" { who.split_once('/').unwrap_or_default() } else { ("", who) };
        let Some((issuer, _)) = who.split_once(':') else {
            let found = match (namespace.parse(), who.parse()) {
                (Ok(namespace), Ok(who)) => match self.catalogue.namespace(&namespace) {
                    Ok(namespace) => self.catalogue.workload(namespace.id, &who).map(drop),
                    Err(e) => Err(e),
                },
                _ => Err(CatalogueError::NotFound(name.into())),
            };
            return match found {
                Err(CatalogueError::NotFound(_)) => unknown("vault workload ls shows them"),
                found => Ok(found?),
            };
        };
        let ours = kind == "operator" && matches!(issuer, "local" | "unix");
        match ours || self.setting::<Issuers>().1.knows(issuer) {
            true => Ok(()),
            false => unknown("vault config get issuers names the issuers and trust domains"),
        }
    }

    /// The same for artifacts. Unlisted and shredded versions are there: one may come back, a file of the other too.
    fn must_be_there(&self, artifact: &str) -> Result<()> {
        let reference: Reference = artifact.parse()?;
        let number = match reference.revision {
            Revision::Version(number) => Some(number),
            _ => None,
        };
        let before = number.and_then(|number| number.checked_add(1));
        let found = self.catalogue.artifact_named(&reference.namespace, &reference.name);
        let there = match found.and_then(|found| self.catalogue.versions_of(found.id, Visibility::All, before, 1)) {
            Ok(page) => page.rows.first().is_some_and(|newest| number.is_none_or(|n| newest.facts.number == n)),
            Err(CatalogueError::NotFound(_)) => false,
            Err(e) => return Err(e.into()),
        };
        if there {
            return Ok(());
        }
        Err(Error::new(ErrorId::NotFound, format!("there is no {artifact}")).hint("vault ls shows what there is"))
    }

    fn new_hold(&self, spec: &HoldSpec, by: &Principal, rule: &str) -> NewHold {
        NewHold {
            target: spec.target.key(),
            kind: spec.kind.clone(),
            reason: crate::audit::Text::new(&spec.reason).as_str().into(),
            placed_by: by.to_string(),
            rule: rule.into(),
            until: spec.lasts.map(|lasts| self.now().plus(lasts)),
        }
    }
}

fn hold_subject(spec: &HoldSpec) -> Subject {
    Subject::vault().with("hold", spec.target.key()).with("kind", &spec.kind)
}

fn facts(record: HoldRecord) -> HoldFacts {
    let HoldRecord { number, hold, since, .. } = record;
    let (what, name) = hold.target.split_once(':').unwrap_or(("", &hold.target));
    HoldFacts {
        number,
        what: what.into(),
        name: name.into(),
        kind: hold.kind.clone(),
        reason: hold.reason.clone(),
        placed_by: hold.placed_by.clone(),
        rule: Some(hold.rule.clone()).filter(|rule| !rule.is_empty()),
        since,
        until: hold.until,
    }
}
