//! Which policies can apply to a request at all. Their scopes say so: a policy about one workload, one namespace or one action
//! is not evaluated for the others, so a decision takes time in proportion to the policies that concern it.
//!
//! Sound, because Cedar evaluates the scope of a policy first, and nothing else of a policy whose scope does not match: it
//! neither decides nor fails. Every policy is on exactly one shelf, and a request visits every shelf whose scope can match.

use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, Entities, EntityTypeName, EntityUid, Policy, PolicySet, PrincipalConstraint,
    Request as CedarRequest, ResourceConstraint, Template, TemplatePrincipalConstraint, TemplateResourceConstraint,
};

use super::request::{Action, actions_under};

/// Policies by their scopes, made once when a text is checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    shelves: HashMap<Scope, HashMap<Scope, Vec<Shelf>>>,
}

/// What a policy asks of a principal or a resource before it says anything more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    /// Nothing; or what only a grant fills in.
    Any,
    /// To be of a type.
    Of(EntityTypeName),
    /// To be this entity or, for most, below it. Which of both is left to Cedar.
    Under(EntityUid),
}

/// Policies of one scope.
#[derive(Clone, Debug)]
struct Shelf {
    actions: Actions,
    policies: PolicySet,
}

/// A set of actions: a bit for each of [`Action::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Actions(u128);

const _: () = assert!(Action::ALL.len() <= u128::BITS as usize, "an action for each bit");

impl Actions {
    fn of(constraint: &ActionConstraint) -> Self {
        match constraint {
            ActionConstraint::Any => Self(u128::MAX),
            ActionConstraint::Eq(one) => Self::all_under(std::slice::from_ref(one)),
            ActionConstraint::In(several) => Self::all_under(several),
        }
    }

    fn all_under(named: &[EntityUid]) -> Self {
        Self(named.iter().flat_map(actions_under).fold(0, |set, action| set | Self::bit(action)))
    }

    const fn bit(action: Action) -> u128 {
        1 << action as u32
    }

    fn holds(self, action: Action) -> bool {
        self.0 & Self::bit(action) != 0
    }
}

impl Index {
    /// Puts a policy on its shelf.
    pub fn add(&mut self, policy: Policy) -> Result<(), String> {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Scope::Any,
            PrincipalConstraint::Is(of) => Scope::Of(of),
            PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
                Scope::Under(uid)
            }
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Scope::Any,
            ResourceConstraint::Is(of) => Scope::Of(of),
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
                Scope::Under(uid)
            }
        };
        let actions = Actions::of(&policy.action_constraint());
        self.shelf(principal, resource, actions).add(policy).map_err(|e| e.to_string())
    }

    /// Puts a template on its shelf.
    pub fn add_template(&mut self, template: Template) -> Result<(), String> {
        use {TemplatePrincipalConstraint as P, TemplateResourceConstraint as R};
        let principal = match template.principal_constraint() {
            P::Any | P::In(None) | P::Eq(None) => Scope::Any,
            P::Is(of) | P::IsIn(of, None) => Scope::Of(of),
            P::In(Some(uid)) | P::Eq(Some(uid)) | P::IsIn(_, Some(uid)) => Scope::Under(uid),
        };
        let resource = match template.resource_constraint() {
            R::Any | R::In(None) | R::Eq(None) => Scope::Any,
            R::Is(of) | R::IsIn(of, None) => Scope::Of(of),
            R::In(Some(uid)) | R::Eq(Some(uid)) | R::IsIn(_, Some(uid)) => Scope::Under(uid),
        };
        let actions = Actions::of(&template.action_constraint());
        self.shelf(principal, resource, actions).add_template(template).map_err(|e| e.to_string())
    }

    fn shelf(&mut self, principal: Scope, resource: Scope, actions: Actions) -> &mut PolicySet {
        let shelves = self.shelves.entry(principal).or_default().entry(resource).or_default();
        let place = shelves.iter().position(|shelf| shelf.actions == actions).unwrap_or_else(|| {
            shelves.push(Shelf { actions, policies: PolicySet::new() });
            shelves.len() - 1
        });
        &mut shelves[place].policies
    }

    /// How many policies or templates there are.
    pub fn len(&self) -> usize {
        let sets = self.shelves.values().flat_map(HashMap::values).flatten().map(|shelf| &shelf.policies);
        sets.map(|set| set.num_of_policies() + set.num_of_templates()).sum()
    }

    /// The sets in which a policy can apply to this request. Together they hold every policy that does.
    pub fn matching(&self, action: Action, request: &CedarRequest, entities: &Entities) -> Vec<&PolicySet> {
        let resources: Vec<_> = scopes_of(request.resource(), entities).collect();
        let mut found = Vec::new();
        for principal in scopes_of(request.principal(), entities) {
            let Some(by_resource) = self.shelves.get(&principal) else { continue };
            let shelves = resources.iter().filter_map(|resource| by_resource.get(resource)).flatten();
            found.extend(shelves.filter(|shelf| shelf.actions.holds(action)).map(|shelf| &shelf.policies));
        }
        found
    }
}

/// Every scope that `uid` can match, as the entities of the request have it.
fn scopes_of<'a>(uid: Option<&'a EntityUid>, entities: &'a Entities) -> impl Iterator<Item = Scope> + 'a {
    let above = uid.and_then(|uid| entities.ancestors(uid)).into_iter().flatten();
    let itself = uid.into_iter().flat_map(|uid| [Scope::Of(uid.type_name().clone()), Scope::Under(uid.clone())]);
    [Scope::Any].into_iter().chain(itself).chain(above.map(|uid| Scope::Under(uid.clone())))
}
