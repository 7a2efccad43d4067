//! A checked set of policies and its answer to a request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Effect, EntityUid, ParseErrors, PolicyId, PolicySet, Response, SlotId, ValidationMode, Validator,
};

use super::grant::Decided;
use super::place::{Place, place_of};
use super::request::{Action, Asked, Request, SCHEMA, artifact_uid, workload_uid};
use super::slice::Index;
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId};
use crate::names::{ArtifactId, Name, Sha256};

/// Longest policy text, in bytes.
pub const MAX_TEXT_BYTES: usize = 256 * 1024;
/// Most policies and templates in one text: a decision takes time in proportion to their number.
pub const MAX_POLICIES: usize = 1000;
/// Most words and marks in one policy, and deepest nesting of its brackets. Cedar walks a policy by recursion: a deep one
/// exhausts the stack in its parser and, which is worse, is passed unchecked by its validator when the stack runs low.
const MAX_TOKENS_OF_ONE: usize = 2048;
const MAX_NESTING: usize = 32;
/// For the same reason policies are checked on a stack of known size, whoever calls: five times what the bounds need.
const CHECKING_STACK_BYTES: usize = 16 << 20;
const MAX_ID_BYTES: usize = 64;
/// Between a template's id and what marks its instance; no id of a policy contains it.
const INSTANCE_MARK: &str = "#grant";

/// Why a policy text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Above [`MAX_TEXT_BYTES`].
    #[error("the policy text has {bytes} bytes; at most {MAX_TEXT_BYTES} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Above [`MAX_POLICIES`].
    #[error("the text holds {count} policies; at most {MAX_POLICIES} are taken")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// One policy is larger than any person would write.
    #[error("{at}: the policy that begins here is too large or nested too deeply; split it")]
    TooLarge {
        /// Its first word.
        at: Place,
    },
    /// No thread to check it on.
    #[error("this machine has no room to check policies: {0}")]
    NoRoom(String),
    /// Not Cedar.
    #[error("{at}: not a Cedar policy: {message}")]
    Syntax {
        /// Where Cedar stopped.
        at: Place,
        /// Cedar's words.
        message: String,
    },
    /// A policy cannot be named in a decision or the audit log.
    #[error("{at}: this policy has no @id(\"...\")")]
    NoId {
        /// Its first word.
        at: Place,
    },
    /// An id is not 1-64 of `A-Z a-z 0-9 . _ -`.
    #[error("{at}: not a policy id: {id:?}")]
    BadId {
        /// The first word of its policy.
        at: Place,
        /// As far as it is shown.
        id: String,
    },
    /// Two policies of one id.
    #[error("{at}: another policy has the id {id:?} already")]
    DuplicateId {
        /// The first word of the later one.
        at: Place,
        /// The id.
        id: String,
    },
    /// Against the schema, or one that can never apply.
    #[error("{at}: policy {id:?} does not fit the schema: {message}")]
    Invalid {
        /// What does not fit or, where Cedar does not tell, the first word of the policy.
        at: Place,
        /// The policy's id.
        id: String,
        /// Cedar's words, with the name that is unknown or of another type.
        message: String,
    },
}

impl From<PolicyError> for Error {
    fn from(e: PolicyError) -> Self {
        if let PolicyError::NoRoom(_) = e {
            return Self::new(ErrorId::Overloaded, e.to_string()).caused_by(e);
        }
        Self::new(ErrorId::InvalidArgument, e.to_string())
            .hint("nothing was changed; correct the policy text, and set it again: vault policy set FILE")
            .caused_by(e)
    }
}

/// The answer to one request, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is permitted.
    pub allowed: bool,
    /// Ids of the policies that decided, sorted: the permits, or the forbids. Empty: no policy permits it.
    pub determining: Vec<String>,
    /// What went wrong while deciding. Not empty: denied.
    pub errors: Vec<String>,
    /// SHA-256 of the policy text that decided.
    pub policy_version: Sha256,
}

/// A set of policies that passed every check, ready to decide.
#[derive(Clone, Debug)]
pub struct Policies {
    text: String,
    version: Sha256,
    /// Policies without places to fill in.
    fixed: Index,
    /// Templates only: each set is small, so that a copy can be linked in each decision.
    templates: Index,
}

impl Policies {
    /// The policies of a new vault.
    pub const DEFAULT_TEXT: &'static str = include_str!("default.cedar");

    /// The policies of a new vault.
    pub fn defaults() -> Self {
        Self::parse(Self::DEFAULT_TEXT).expect("the built-in policies are tested")
    }

    /// Checks a policy text: bounds, syntax, a unique `@id` for each, strict validation against the schema. Warnings of
    /// Cedar (a policy that can never apply, characters that look like others) are refused too: a `forbid` that never
    /// applies protects nothing.
    ///
    /// # Errors
    /// The first rule broken, with the name that broke it.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(PolicyError::TooLong { bytes: text.len() });
        }
        let starts = bound_each(text)?;
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("policy-check".into()).stack_size(CHECKING_STACK_BYTES);
            let checking = builder
                .spawn_scoped(scope, || Self::check(text, &starts))
                .map_err(|e| PolicyError::NoRoom(e.to_string()))?;
            // A panic inside Cedar refuses the text; it does not take the daemon down.
            checking.join().unwrap_or_else(|_| Err(uncheckable("it cannot be checked")))
        })
    }

    fn check(text: &str, starts: &[usize]) -> Result<Self, PolicyError> {
        let (policies, named, begins) = Self::named(text, starts)?;
        validate(&named, text, &begins)?;
        Ok(policies)
    }

    /// All checks but those against the schema; with the whole set, under the names of its policies.
    #[cfg(test)]
    pub(super) fn indexed(text: &str) -> Result<(Self, PolicySet), PolicyError> {
        let (policies, named, _) = Self::named(text, &bound_each(text)?)?;
        Ok((policies, named))
    }

    /// The same, with where in the text each policy begins.
    fn named(text: &str, starts: &[usize]) -> Result<(Self, PolicySet, HashMap<String, usize>), PolicyError> {
        let parsed: PolicySet = text
            .parse()
            .map_err(|e: ParseErrors| PolicyError::Syntax { at: place_of(&e, text, 0), message: e.to_string() })?;
        let count = parsed.num_of_policies() + parsed.num_of_templates();
        if count > MAX_POLICIES {
            return Err(PolicyError::TooMany { count });
        }

        let (mut named, mut begins) = (PolicySet::new(), HashMap::new());
        let (mut fixed, mut templates) = (Index::default(), Index::default());
        let mut id_of = |annotation: Option<&str>, parsed: &PolicyId| {
            let start = position_of(parsed).and_then(|nth| starts.get(nth)).copied().unwrap_or_default();
            let at = Place::of(text, start);
            let id = annotation.ok_or(PolicyError::NoId { at })?;
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            if id.is_empty() || id.len() > MAX_ID_BYTES || !id.bytes().all(allowed) {
                return Err(PolicyError::BadId { at, id: id.chars().take(MAX_ID_BYTES).collect() });
            }
            if begins.insert(id.to_owned(), start).is_some() {
                return Err(PolicyError::DuplicateId { at, id: id.to_owned() });
            }
            Ok(PolicyId::new(id))
        };
        let impossible = |e: cedar_policy::PolicySetError| uncheckable(&e.to_string());
        for policy in parsed.policies() {
            let policy = policy.new_id(id_of(policy.annotation("id"), policy.id())?);
            named.add(policy.clone()).map_err(impossible)?;
            fixed.add(policy).map_err(|e| uncheckable(&e))?;
        }
        for template in parsed.templates() {
            let template = template.new_id(id_of(template.annotation("id"), template.id())?);
            named.add_template(template.clone()).map_err(impossible)?;
            templates.add_template(template).map_err(|e| uncheckable(&e))?;
        }
        Ok((Self { text: text.to_owned(), version: sha256(text.as_bytes()), fixed, templates }, named, begins))
    }

    /// The text, as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many policies and templates there are.
    pub fn count(&self) -> usize {
        self.fixed.len() + self.templates.len()
    }

    /// SHA-256 of the text: names these policies in decisions.
    pub fn version(&self) -> Sha256 {
        self.version
    }

    /// Decides. Never fails: what cannot be evaluated is denied, and the decision says why.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let answer = match request.to_cedar() {
            Ok(asked) => self.evaluate(&asked),
            Err(error) => Answer { errors: vec![error], ..Answer::default() },
        };
        answer.decide(self.version)
    }

    /// The same, kept together with what was asked.
    pub fn decide_on<'a>(&self, request: Request<'a>) -> Decided<'a> {
        let decision = self.decide(&request);
        Decided { request, decision }
    }

    /// How many policies are evaluated for a request, those of grants apart.
    #[cfg(test)]
    pub(super) fn concerning(&self, request: &Request<'_>) -> usize {
        let asked = request.to_cedar().unwrap();
        let sets = self.fixed.matching(asked.action, &asked.request, &asked.entities);
        sets.into_iter().map(PolicySet::num_of_policies).sum()
    }

    /// A forbid in any set denies and a permit in any set permits, so asking each is asking one set of all.
    fn evaluate(&self, asked: &Asked) -> Answer {
        static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);
        let mut answer = Answer::default();
        for set in self.sets_for(asked) {
            match set {
                Ok(set) => answer.add(&AUTHORIZER.is_authorized(&asked.request, &set, &asked.entities), &set),
                Err(error) => answer.errors.push(error),
            }
        }
        answer
    }

    /// The sets whose policies can apply; those of grants with their places filled.
    pub(super) fn sets_for(&self, asked: &Asked) -> impl Iterator<Item = Result<Cow<'_, PolicySet>, String>> {
        let Asked { action, request, entities, granted } = asked;
        let fixed = self.fixed.matching(*action, request, entities).into_iter().map(|set| Ok(Cow::Borrowed(set)));
        let linked = granted.iter().flat_map(move |(workload, artifact)| {
            let templates = self.templates.matching(*action, request, entities).into_iter();
            templates.map(move |set| instances(set, workload, artifact).map(Cow::Owned))
        });
        fixed.chain(linked)
    }
}

/// The id of a policy or, for an instance, of its template.
pub(super) fn name_of(id: &str) -> &str {
    id.strip_suffix(INSTANCE_MARK).unwrap_or(id)
}

/// Every template with its places filled from one grant.
fn instances(templates: &PolicySet, workload: &EntityUid, artifact: &EntityUid) -> Result<PolicySet, String> {
    let mut linked = templates.clone();
    for template in templates.templates() {
        let filled = |slot: &SlotId| if *slot == SlotId::principal() { workload.clone() } else { artifact.clone() };
        let values: HashMap<_, _> = template.slots().map(|slot| (slot.clone(), filled(slot))).collect();
        let id = PolicyId::new(format!("{}{INSTANCE_MARK}", template.id()));
        linked.link(template.id().clone(), id, values).map_err(|e| e.to_string())?;
    }
    Ok(linked)
}

/// What evaluation found, before it becomes a decision.
#[derive(Default)]
struct Answer {
    permits: Vec<String>,
    forbids: Vec<String>,
    errors: Vec<String>,
}

impl Answer {
    fn add(&mut self, response: &Response, set: &PolicySet) {
        for id in response.diagnostics().reason() {
            let effect = set.policy(id).map(cedar_policy::Policy::effect);
            let name = id.to_string();
            let name = name_of(&name).to_owned();
            // An unknown id cannot come; counted as a forbid if it does.
            if effect == Some(Effect::Permit) { self.permits.push(name) } else { self.forbids.push(name) }
        }
        self.errors.extend(response.diagnostics().errors().map(ToString::to_string));
    }

    /// Cedar skips a policy whose evaluation fails. A skipped forbid would permit, so any error denies.
    fn decide(mut self, policy_version: Sha256) -> Decision {
        let allowed = self.errors.is_empty() && self.forbids.is_empty() && !self.permits.is_empty();
        let mut determining = match (allowed, self.forbids.is_empty()) {
            (true, _) => self.permits,
            (false, false) => self.forbids,
            // Denied by an error or by default: no permit decided this.
            (false, true) => Vec::new(),
        };
        determining.sort();
        self.errors.sort();
        Decision { allowed, determining, errors: self.errors, policy_version }
    }
}

fn validate(set: &PolicySet, text: &str, begins: &HashMap<String, usize>) -> Result<(), PolicyError> {
    let found = Validator::new(SCHEMA.clone()).validate(set, ValidationMode::Strict);
    let invalid = |id: &PolicyId, e: &dyn miette::Diagnostic| {
        let id = id.to_string();
        let at = place_of(e, text, begins.get(&id).copied().unwrap_or_default());
        PolicyError::Invalid { at, id, message: e.to_string() }
    };
    // In the order of their text: the same text always gives the same message.
    let mut errors: Vec<_> = found.validation_errors().map(|e| invalid(e.policy_id(), e)).collect();
    let warnings = found.validation_warnings().map(|w| invalid(w.policy_id(), w));
    errors.extend(warnings);
    errors.sort_by_key(PolicyError::order);
    errors.into_iter().next().map_or(Ok(()), Err)
}

impl PolicyError {
    /// First things first.
    fn order(&self) -> (Option<Place>, String) {
        match self {
            Self::Invalid { at, .. } => (Some(*at), self.to_string()),
            _ => (None, self.to_string()),
        }
    }
}

/// What Cedar refuses without a place.
fn uncheckable(message: &str) -> PolicyError {
    PolicyError::Syntax { at: Place::START, message: message.into() }
}

/// Cedar numbers what it parses: `policy0`, `policy1`.
fn position_of(parsed: &PolicyId) -> Option<usize> {
    parsed.to_string().strip_prefix("policy")?.parse().ok()
}

/// Refuses a single policy of extreme size or depth before Cedar sees it: counts its words and marks, string literals
/// and comments apart. Policies end at a `;` outside of both. Returns where each begins.
fn bound_each(text: &str) -> Result<Vec<usize>, PolicyError> {
    let (mut tokens, mut nesting) = (0, 0usize);
    let (mut starts, mut within) = (Vec::new(), false);
    let mut in_word = false;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((offset, byte)) = bytes.next() {
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
        match byte {
            b'/' if bytes.peek().is_some_and(|(_, b)| *b == b'/') => {
                while bytes.peek().is_some_and(|(_, b)| !matches!(b, b'\n' | b'\r')) {
                    bytes.next();
                }
            }
            b';' => (tokens, nesting, within) = (0, 0, false),
            b if b.is_ascii_whitespace() || (word && in_word) => {}
            _ => {
                tokens += 1;
                match byte {
                    b'(' | b'[' | b'{' => nesting += 1,
                    b')' | b']' | b'}' => nesting = nesting.saturating_sub(1),
                    _ => {}
                }
                if !within {
                    starts.push(offset);
                    within = true;
                }
                if tokens > MAX_TOKENS_OF_ONE || nesting > MAX_NESTING {
                    let start = starts.last().copied().unwrap_or_default();
                    return Err(PolicyError::TooLarge { at: Place::of(text, start) });
                }
            }
        }
        if byte == b'"' {
            while let Some((_, inner)) = bytes.next() {
                match inner {
                    b'"' => break,
                    b'\\' => drop(bytes.next()),
                    _ => {}
                }
            }
        }
        in_word = word;
    }
    Ok(starts)
}

/// A decision in words: `allowed by operator-owner`, `denied: no policy permits it`.
pub fn explain(decision: &Decision) -> String {
    let by = decision.determining.join(", ");
    match (decision.allowed, &decision.errors[..], by.is_empty()) {
        (true, ..) => format!("allowed by {by}"),
        (false, [], true) => "denied: no policy permits it".into(),
        (false, [], false) => format!("denied: forbidden by {by}"),
        (false, errors, true) => format!("denied, because it cannot be decided: {}", errors.join("; ")),
        (false, errors, false) => format!("denied: forbidden by {by}; also: {}", errors.join("; ")),
    }
}

/// The actions of the group `read`: what a grant permits.
pub const GRANTED: [Action; 3] = [Action::Stat, Action::Open, Action::OpenRange];

/// The Cedar policy that a grant amounts to under the default template `granted-read`.
pub fn grant_as_cedar(namespace: &Name, workload: &Name, artifact: ArtifactId) -> String {
    format!(
        "permit (principal == {}, action in ModelVault::Action::\"read\", resource == {});",
        workload_uid(namespace, workload),
        artifact_uid(artifact)
    )
}
