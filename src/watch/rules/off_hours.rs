//! A principal that keeps hours reads something sensitive outside them.

use super::{Finding, Scene};
use crate::watch::document::parameters;
use crate::watch::flow::hour_of_day;
use crate::watch::profile::Profile;

parameters! {
    /// An hour of the day (by the vault's clock, UTC) that is further than `margin-hours` from every hour in which the principal was
    /// ever active.
    /// Who is active around the clock keeps no hours.
    OffHours = "off-hours", Medium, quiet 720;
    /// Days on which a principal must have been active.
    known_days: u16 = 10, 3..=365;
    /// Who is active in more hours of the day than this keeps no hours.
    most_hours: u32 = 14, 1..=22;
    /// So far from an hour that is kept is near enough.
    margin_hours: usize = 2, 0..=8;
}

pub(in crate::watch) fn check(parameters: &OffHours, scene: &Scene<'_>, profile: &Profile) -> Option<Finding> {
    if !scene.sensitive || !scene.learned || !scene.event.is_opening() || profile.days < parameters.known_days {
        return None;
    }
    let hour = hour_of_day(scene.event.time);
    let margin = parameters.margin_hours;
    let mut near = (0..=2 * margin).map(|step| (hour + 24 + step - margin) % 24);
    let kept = profile.clock.iter().filter(|count| **count > 0).count() as u32;
    if kept == 0 || kept > parameters.most_hours || near.any(|hour| profile.clock[hour] > 0) {
        return None;
    }
    let usual = format!("{kept} other hours of the day, on {} days", profile.days);
    Some(Finding::new(format!("a read at {hour:02}:00 UTC"), usual))
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, MIB, ids};

    #[test]
    fn it_speaks_of_the_night_of_somebody_with_office_hours_and_not_of_a_late_evening() {
        let mut fed = Fed::new();
        for day in 0..15 {
            for hour in [8, 9, 11, 14, 16] {
                fed.read(day * 1440 + hour * 60, "op:alice", "prod/model", MIB, 1000 * MIB);
            }
        }
        let at =
            |fed: &mut Fed, hour: i64| ids(&fed.read(15 * 1440 + hour * 60, "op:alice", "prod/model", MIB, 1000 * MIB));
        assert_eq!(at(&mut fed, 3), ["off-hours"]);
        assert!(at(&mut fed, 17).is_empty(), "an hour later than ever");
    }

    #[test]
    fn it_is_silent_about_a_service_that_never_sleeps() {
        let mut fed = Fed::new();
        fed.grant(0, "serve", "prod/model");
        for hour in 0..24 * 15 {
            // Not yet between two and eight in the morning.
            if !(2..8).contains(&(hour % 24)) {
                assert!(fed.read(hour * 60, "serve", "prod/model", MIB, 2 * MIB).is_empty());
            }
        }
        assert!(fed.read(15 * 1440 + 240, "serve", "prod/model", MIB, 2 * MIB).is_empty());
    }
}
