//! Many refusals in a short time: somebody tries what it may do.

use super::{Finding, Scene};
use crate::watch::document::parameters;
use crate::watch::profile::Profile;

parameters! {
    /// Refusals by policy or credential, by number and by how many different things were asked for.
    DeniedBurst = "denied-burst", Medium, quiet 60;
    /// Minutes of a span; this one and the one before count.
    minutes: u32 = 10, 1..=1440;
    /// Different artifacts that were refused.
    names: u32 = 5, 2..=8;
    /// Refusals in all: a client that tries the same again and again.
    refusals: u32 = 60, 2..=60_000;
}

/// Whether the event is a refusal that counts.
fn counts(scene: &Scene<'_>) -> bool {
    // Quotas and a full server refuse the greedy and the unlucky; that is another matter.
    let other = ["QuotaExceeded", "Overloaded", "DeadlineExceeded", "Busy"];
    scene.event.refused.as_ref().is_some_and(|reason| !other.iter().any(|other| reason.starts_with(other)))
}

pub(in crate::watch) fn check(parameters: &DeniedBurst, scene: &Scene<'_>, profile: &mut Profile) -> Option<Finding> {
    if !counts(scene) {
        return None;
    }
    let minute = scene.flow.minute();
    if profile.denials.roll(minute, parameters.minutes) {
        profile.denied_names = [0; 8];
    }
    let refusals = profile.denials.add(minute, parameters.minutes, scene.event.count);
    if let Some(artifact) = scene.artifact {
        // 0 is an empty place.
        let name = (artifact as u32).max(1);
        if !profile.denied_names.contains(&name)
            && let Some(free) = profile.denied_names.iter_mut().find(|n| **n == 0)
        {
            *free = name;
        }
    }
    let names = profile.denied_names.iter().filter(|n| **n != 0).count() as u32;
    let within = 2 * parameters.minutes;
    if names >= parameters.names {
        let usual = format!("fewer than {} within {within} minutes", parameters.names);
        return Some(Finding::new(format!("{names} artifacts refused"), usual));
    }
    (refusals >= parameters.refusals).then(|| {
        let usual = format!("fewer than {} within {within} minutes", parameters.refusals);
        Finding::new(format!("{refusals} refusals"), usual)
    })
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, ids};
    use crate::audit::Act;
    use crate::watch::Alert;

    fn refused(fed: &mut Fed, minutes: i64, object: &str, reason: &str, count: u32) -> Vec<Alert> {
        let mut event = fed.event(minutes, "job", Act::ArtifactFetchStart);
        (event.object, event.refused, event.count) = (Some(object.into()), Some(reason.into()), count);
        fed.feed(&event)
    }

    #[test]
    fn it_speaks_of_probing_and_not_of_a_job_that_tries_the_same_again() {
        let mut fed = Fed::new();
        let told: Vec<_> =
            (0..6).flat_map(|i| ids(&refused(&mut fed, i, &format!("prod/m{i}"), "NotFound", 1))).collect();
        assert_eq!(told, ["denied-burst"], "once, at the fifth name");
        // The nearest benign: a crash loop, a try a minute, for hours.
        let mut fed = Fed::new();
        for minute in 0..300 {
            assert!(refused(&mut fed, minute, "prod/m", "Denied", 1).is_empty());
        }
        // Five names over a day are no burst.
        for hour in 0..24 {
            assert!(refused(&mut fed, 400 + hour * 60, &format!("prod/m{hour}"), "Denied", 1).is_empty());
        }
    }

    #[test]
    fn it_counts_what_a_sampled_row_stands_for_but_no_quotas() {
        let mut fed = Fed::new();
        assert_eq!(ids(&refused(&mut fed, 0, "prod/m", "BadCredential", 60)), ["denied-burst"]);
        let mut fed = Fed::new();
        assert!(refused(&mut fed, 0, "prod/m", "QuotaExceeded", 60_000).is_empty());
    }
}
