//! Why a decision is as it is: each policy that concerns a request, whether it applies, and what of it is not met.

use cedar_policy::{Authorizer, Effect, Policy, PolicyId, PolicySet};
use serde_json::{Value, json};

use super::lacking::Lack;
use super::policies::{Policies, explain};
use super::request::{Asked, Request};
use crate::facts::{ConcerningFacts, ExplanationFacts};

/// Policies that are told; those that decided come first.
const MOST_TOLD: usize = 32;

impl Policies {
    /// Decides, and says why.
    pub fn explain(&self, request: &Request<'_>) -> ExplanationFacts {
        let decision = self.decide(request);
        let mut concerning = match request.to_cedar() {
            Ok(asked) => self.told(&asked),
            Err(_) => Vec::new(),
        };
        concerning.sort_by_key(|c| (!decision.determining.contains(&c.id), !c.applies, c.id.clone()));
        concerning.truncate(MOST_TOLD);
        let lack = self.lacking(request);
        let approvals = match lack {
            Some(Lack::SecondFactor) => self.lacking(&request.clone().with_second_factor()),
            lack => lack,
        };
        let granted = Request { granted: true, ..request.clone() };
        ExplanationFacts {
            request: request.to_string(),
            allowed: decision.allowed,
            why: explain(&decision),
            policies: decision.determining,
            errors: decision.errors,
            outside: Vec::new(),
            second_factor: lack == Some(Lack::SecondFactor),
            approvals: if let Some(Lack::Approvals(n)) = approvals { n } else { 0 },
            grant: !decision.allowed && self.decide(&granted).allowed,
            concerning,
        }
    }

    fn told(&self, asked: &Asked) -> Vec<ConcerningFacts> {
        let mut told = Vec::new();
        for set in self.sets_for(asked) {
            let Ok(set) = set else { continue };
            told.extend(set.policies().map(|policy| concerning(policy, asked)));
        }
        told
    }
}

fn concerning(policy: &Policy, asked: &Asked) -> ConcerningFacts {
    let applies = applies(policy, asked);
    let id = policy.id().to_string();
    ConcerningFacts {
        id: super::policies::name_of(&id).to_owned(),
        forbids: policy.effect() == Effect::Forbid,
        applies,
        unmet: if applies { Vec::new() } else { unmet(policy, asked) },
        cedar: policy.to_string(),
    }
}

/// Whether scope and conditions of one policy hold. One that cannot be evaluated does not apply.
fn applies(policy: &Policy, asked: &Asked) -> bool {
    // An instance of a template is none without its template: what it amounts to is taken.
    let alone = policy.to_json().ok().and_then(|form| Policy::from_json(Some(PolicyId::new("alone")), form).ok());
    let mut set = PolicySet::new();
    if alone.is_none_or(|policy| set.add(policy).is_err()) {
        return false;
    }
    let answer = Authorizer::new().is_authorized(&asked.request, &set, &asked.entities);
    answer.diagnostics().reason().next().is_some()
}

/// The parts of a policy that do not hold: its scope, or those of its conditions that `&&` joins.
fn unmet(policy: &Policy, asked: &Asked) -> Vec<String> {
    let Ok(form) = policy.to_json() else { return Vec::new() };
    let with = |conditions: Value| {
        let mut form = form.clone();
        form["conditions"] = conditions;
        Policy::from_json(Some(PolicyId::new("part")), form).ok()
    };
    let Some(scope) = with(json!([])) else { return Vec::new() };
    let before = scope.to_string();
    if !applies(&scope, asked) {
        return vec!["it is about other callers or resources".into()];
    }
    let mut unmet = Vec::new();
    for condition in form["conditions"].as_array().into_iter().flatten() {
        let joined_by = if condition["kind"] == "when" { "&&" } else { "||" };
        let mut parts = Vec::new();
        split(&condition["body"], joined_by, &mut parts);
        for part in parts {
            let Some(alone) = with(json!([{ "kind": condition["kind"], "body": part }])) else { continue };
            let text = alone.to_string();
            let condition = text.strip_prefix(before.trim_end_matches(';')).unwrap_or(&text).trim_end_matches(';');
            if !applies(&alone, asked) {
                unmet.push(condition.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }
    unmet
}

/// The parts of a chain `a && b && c`.
fn split<'a>(body: &'a Value, by: &str, parts: &mut Vec<&'a Value>) {
    match &body[by] {
        Value::Object(both) if both.contains_key("left") && both.contains_key("right") => {
            split(&both["left"], by, parts);
            split(&both["right"], by, parts);
        }
        _ => parts.push(body),
    }
}
