//! One principal goes through many artifacts that it never read.

use super::{Finding, Scene};
use crate::watch::document::parameters;
use crate::watch::profile::Profile;

parameters! {
    /// Artifacts of a day that are new to a principal, against the most it ever had in a day.
    ArtifactSweep = "artifact-sweep", Medium, quiet 1440;
    /// So many are no matter.
    least: u16 = 8, 1..=1000;
    /// So many times its own most are allowed.
    factor: u16 = 3, 1..=100;
}

/// Looks at an artifact that is new to the principal and was counted already.
pub(in crate::watch) fn check(parameters: &ArtifactSweep, scene: &Scene<'_>, profile: &Profile) -> Option<Finding> {
    let allowed = parameters.least.max(profile.most_new.saturating_mul(parameters.factor));
    // While everything is new, so is this.
    if !scene.learned || profile.new_today <= allowed {
        return None;
    }
    let usual = format!("at most {} a day", profile.most_new);
    Some(Finding::new(format!("{} artifacts new to it today", profile.new_today), usual))
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, MIB, ids};

    #[test]
    fn it_speaks_of_a_walk_through_the_catalogue_and_not_of_an_evaluation_that_does_it_daily() {
        let mut fed = Fed::new();
        let sweeps = |fed: &mut Fed, minutes: i64, from: u32, count: u32| {
            let walked: Vec<_> = (from..from + count)
                .flat_map(|i| fed.read(minutes, "eval", &format!("prod/m{i}"), MIB, 100 * MIB))
                .collect();
            ids(&walked).iter().filter(|id| **id == "artifact-sweep").count()
        };
        // A few new ones each day, many old ones.
        for day in 0..20 {
            assert_eq!(sweeps(&mut fed, day * 1440, day as u32 * 4, 4), 0);
            assert_eq!(sweeps(&mut fed, day * 1440 + 5, 0, 0), 0);
        }
        assert_eq!(sweeps(&mut fed, 40_000, 1000, 12), 0, "three times its most");
        assert_eq!(sweeps(&mut fed, 50_000, 2000, 50), 1, "told of once");
    }
}
