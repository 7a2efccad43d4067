//! What a denied caller could still add: a second factor, or the approval of others.

use std::time::Duration;

use super::policies::Policies;
use super::request::Request;

/// What would turn a denial into a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A second factor, used just now.
    SecondFactor,
    /// So many approvals by others.
    Approvals(u32),
}

impl Policies {
    /// Most approvals that are looked for.
    pub const MOST_APPROVALS: u32 = 3;

    /// What a request that is denied lacks: found by deciding it again as if it had that. `None`: neither would help, or nothing
    /// is lacking. Of both, the second factor comes first: who asks others should be who they say.
    pub fn lacking(&self, request: &Request<'_>) -> Option<Lack> {
        let permitted = |factor: bool, approvals: u32| {
            let mut with = request.clone();
            if factor {
                with.context.mfa_age = Some(Duration::ZERO);
                with.context.mfa_method = Some(with.context.mfa_method.unwrap_or("totp"));
                with.context.mfa_enrolled = true;
            }
            with.context.approvals = with.context.approvals.max(approvals);
            self.decide(&with).allowed
        };
        if permitted(false, 0) {
            return None;
        }
        if permitted(true, 0) {
            return Some(Lack::SecondFactor);
        }
        let more = request.context.approvals + 1..=Self::MOST_APPROVALS;
        more.clone()
            .find(|n| permitted(false, *n))
            .map(Lack::Approvals)
            .or_else(|| more.clone().any(|n| permitted(true, n)).then_some(Lack::SecondFactor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Principal, Timestamp};
    use crate::policy::{Action, Context, Resource, Transport};

    fn lacking(conditions: &str, mfa_age: Option<u64>, approvals: u32) -> Option<Lack> {
        let text = format!(
            "@id(\"p\") permit (principal, action == ModelVault::Action::\"setPolicy\", resource) when {{ {conditions} }};"
        );
        let principal = Principal::unix_operator(1000);
        let mut context = Context::new(Transport::Unix);
        (context.mfa_age, context.approvals) = (mfa_age.map(Duration::from_secs), approvals);
        let request = Request { context, ..request(&principal) };
        Policies::parse(&text).unwrap().lacking(&request)
    }

    fn request(principal: &Principal) -> Request<'_> {
        Request {
            principal,
            action: Action::SetPolicy,
            resource: Resource::Vault,
            groups: Vec::new(),
            marks: Default::default(),
            context: Context::new(Transport::Unix),
            granted: false,
            now: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn a_denial_says_what_would_help() {
        let (factor, both) = ("context.mfa_age_s <= 300", "context.mfa_age_s <= 300 && context.approvals >= 2");
        assert_eq!(lacking(factor, None, 0), Some(Lack::SecondFactor));
        assert_eq!(lacking(factor, Some(301), 0), Some(Lack::SecondFactor));
        assert_eq!(lacking(factor, Some(300), 0), None, "nothing is lacking");
        assert_eq!(lacking(both, None, 0), Some(Lack::SecondFactor));
        assert_eq!(lacking(both, Some(1), 0), Some(Lack::Approvals(2)));
        assert_eq!(lacking(both, Some(1), 1), Some(Lack::Approvals(2)));
        assert_eq!(lacking(both, Some(301), 2), Some(Lack::SecondFactor));
        assert_eq!(lacking("context.approvals >= 1", None, 0), Some(Lack::Approvals(1)));
        assert_eq!(lacking("context.approvals >= 4", None, 0), None, "nobody asks for more than three");
        assert_eq!(lacking("context.bound", None, 0), None);
    }
}
