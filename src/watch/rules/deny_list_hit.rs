//! A deny list names what somebody has, or wanted.

use super::{Finding, Scene};
use crate::audit::Act;
use crate::error::ErrorId;
use crate::watch::document::parameters;
use crate::watch::profile::Profile;

parameters! {
    /// What `vault intel import` found, and calls that were refused because of such a list. It needs no habits: it speaks from the
    /// first day on. Silent about the same principal and artifact, not about the principal alone.
    DenyListHit = "deny-list-hit", High, quiet 60;
}

pub(in crate::watch) fn check(parameters: &DenyListHit, scene: &Scene<'_>, profile: &mut Profile) -> Option<Finding> {
    let named = ErrorId::DenyListed.name();
    let refused = scene.event.refused.as_deref().is_some_and(|reason| reason.split(':').next() == Some(named));
    if !parameters.enabled || !(refused || scene.event.act == Act::IntelHit) {
        return None;
    }
    let after = scene.flow.minute().saturating_add(1);
    let artifact = scene.artifact.unwrap_or(0) as u32;
    // 0 is an empty place.
    let is_quiet = |minute: u32| minute != 0 && after.saturating_sub(minute) < parameters.quiet_minutes;
    let hits = &mut profile.deny_hits;
    if hits.iter().any(|[known, minute]| *known == artifact && is_quiet(*minute)) {
        return None;
    }
    // An import can find thousands: no more than there are places are told of within the quiet time.
    let free = hits.iter().position(|[_, minute]| !is_quiet(*minute))?;
    hits[free] = [artifact, after];
    let is_last = hits.iter().all(|[_, minute]| is_quiet(*minute));
    let more = if is_last { "; vault audit tells of further ones (intel.hit)" } else { "" };
    Some(Finding::new(format!("a deny list names it{more}"), "nothing that a deny list names"))
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, ids};
    use crate::audit::Act;
    use crate::settings::Setting;
    use crate::watch::{Rules, Severity};

    fn hit(fed: &mut Fed, minutes: i64, who: &str, object: &str) -> Vec<&'static str> {
        let mut event = fed.event(minutes, who, Act::IntelHit);
        event.object = Some(object.into());
        ids(&fed.feed(&event))
    }

    fn refused(fed: &mut Fed, minutes: i64, who: &str, reason: &str) -> Vec<&'static str> {
        let mut event = fed.event(minutes, who, Act::ArtifactFetchStart);
        event.refused = Some(reason.into());
        ids(&fed.feed(&event))
    }

    #[test]
    fn it_speaks_from_the_first_day_once_about_each_principal_and_artifact() {
        let mut fed = Fed::under(Rules::default());
        let event = fed.event(0, "serve", Act::IntelHit);
        let alerts = fed.feed(&event);
        assert_eq!((ids(&alerts), alerts[0].severity), (vec!["deny-list-hit"], Severity::High));
        assert_eq!(
            alerts[0].to_string(),
            "high deny-list-hit: workload prod/serve on prod/model: a deny list names it (usual: nothing that a deny list \
             names)"
        );
        // The refusal that follows is about the same.
        assert!(refused(&mut fed, 0, "serve", "DenyListed").is_empty());
        assert_eq!(hit(&mut fed, 1, "serve", "prod/other"), ["deny-list-hit"]);
        assert_eq!(hit(&mut fed, 2, "op:eve", "prod/model"), ["deny-list-hit"]);
        assert!(hit(&mut fed, 59, "serve", "prod/model").is_empty());
        assert_eq!(hit(&mut fed, 60, "serve", "prod/model"), ["deny-list-hit"]);
        assert_eq!(refused(&mut fed, 200, "serve", "DenyListed: a list names it"), ["deny-list-hit"]);
        // The nearest benign: what is refused for another reason.
        assert!(refused(&mut fed, 300, "serve", "Denied: DenyListed").is_empty());
    }

    #[test]
    fn an_import_that_finds_many_raises_a_few() {
        let mut fed = Fed::new();
        let told = (0..100).filter(|i| !hit(&mut fed, 0, "op:admin", &format!("prod/m{i}")).is_empty()).count();
        assert_eq!(told, 8);
        assert_eq!(hit(&mut fed, 60, "op:admin", "prod/m99"), ["deny-list-hit"]);
    }

    #[test]
    fn it_keeps_to_what_the_document_says() {
        for text in ["[rule.deny-list-hit]\nenabled = false", "ignore = [\"workload prod/scan*\"]"] {
            let mut fed = Fed::under(Rules::parse(text).unwrap());
            assert!(hit(&mut fed, 0, "scanner", "prod/model").is_empty(), "{text}");
        }
        let mut fed = Fed::under(Rules::parse("[rule.deny-list-hit]\nquiet-minutes = 0").unwrap());
        let told = (0..20).filter(|_| !hit(&mut fed, 0, "serve", "prod/model").is_empty()).count();
        assert_eq!(told, 20);
    }
}
