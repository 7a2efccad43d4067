//! Far more bytes in an hour than this principal ever reads.

use super::{Finding, Scene, amount};
use crate::watch::document::parameters;
use crate::watch::profile::{OWN_SAMPLES, Profile};
use crate::watch::sketch::{LEVELS, Sketch, bytes_at, level};

parameters! {
    /// Bytes of this hour against the principal's own hours with traffic (those of its kind, while it has too few of its own).
    ///
    /// The limit is the highest of: the middle times `factor`; the middle plus `deviations` median deviations; twice the usual peak
    /// (the busiest hour of a day, that one day in twenty exceeds). It is never more than eight times the usual peak of the calmest of the last four weeks, so whoever
    /// reads a little more each day raises it at most eightfold in four weeks.
    ReadVolume = "read-volume", High, quiet 720;
    /// Less than this in an hour is no matter, in MiB.
    floor_mib: u64 = 1024, 1..=1_048_576;
    /// So many times the middle is allowed.
    factor: u32 = 6, 2..=1024;
    /// So many median deviations above the middle are allowed.
    deviations: u32 = 5, 1..=50;
    /// A new principal may read so many times the peak of its kind.
    newcomer_factor: u32 = 4, 1..=1024;
    /// Hours above what one hour in ten exceeds, as a moving average, in percent of one octave (a doubling); 0: not looked at.
    drift_percent: u32 = 100, 0..=2000;
}

/// Levels that multiply by so much.
fn levels(factor: u32) -> u8 {
    (2 * factor.max(1).ilog2()) as u8 + u8::from(factor > 1 && !factor.is_power_of_two())
}

impl ReadVolume {
    /// The level above which an hour is far too much for this principal.
    pub(in crate::watch) fn limit(&self, profile: &Profile, kind: &Sketch<u32>) -> u8 {
        let floor = level(self.floor_mib << 20);
        let own = &profile.hours;
        if own.total() < OWN_SAMPLES {
            let peak = if kind.total() < OWN_SAMPLES { LEVELS as u8 } else { kind.quantile(990) };
            return (peak + levels(self.newcomer_factor)).clamp(floor, LEVELS as u8);
        }
        let middle = own.median();
        let spread = u32::from(own.deviation()) * self.deviations;
        let spread = u8::try_from(spread).unwrap_or(u8::MAX).max(levels(self.factor));
        let limit = middle.saturating_add(spread).max(profile.usual_peak() + 2);
        let calm = profile.calm_peak().map_or(u8::MAX, |peak| peak + levels(8));
        limit.min(calm).clamp(floor, LEVELS as u8)
    }
}

pub(in crate::watch) fn check(
    parameters: &ReadVolume,
    scene: &Scene<'_>,
    profile: &Profile,
    kind: &Sketch<u32>,
) -> Option<Finding> {
    if !scene.learned || scene.fresh == 0 {
        return None;
    }
    let seen = level(profile.hour_bytes);
    let limit = parameters.limit(profile, kind);
    if seen > limit {
        let usual = match profile.hours.total() {
            0..OWN_SAMPLES => format!("at most {} for its kind", amount(bytes_at(limit))),
            hours => {
                format!("{} in the middle of {hours} hours with traffic", amount(bytes_at(profile.hours.median())))
            }
        };
        return Some(Finding::new(format!("{} in an hour", amount(profile.hour_bytes)), usual));
    }
    let allowed = i32::try_from(parameters.drift_percent * 256 / 50).unwrap_or(i32::MAX);
    let drifts = allowed > 0
        && profile.drift > allowed
        && profile.hours.total() >= OWN_SAMPLES
        && profile.hour_bytes >= parameters.floor_mib << 20;
    drifts.then(|| {
        let usual = format!("{} in the middle", amount(bytes_at(profile.hours.median())));
        Finding::new("hours of reading far above it, one after the other", usual)
    })
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, GIB, MIB, MONDAY, ids};
    use super::*;
    use crate::names::Timestamp;
    use crate::watch::flow::Flow;

    /// Reads this much every hour; returns the hours that raised an alert.
    fn hours(fed: &mut Fed, from: i64, amounts: impl IntoIterator<Item = u64>) -> Vec<i64> {
        let mut loud = Vec::new();
        for (hour, bytes) in (from..).zip(amounts) {
            let alerts = fed.read(hour * 60 + 5, "job", "prod/data", bytes, 10_000 * GIB);
            if ids(&alerts).contains(&"read-volume") {
                loud.push(hour);
            }
        }
        loud
    }

    #[test]
    fn it_speaks_of_bulk_reading_and_not_of_a_busy_day() {
        let mut fed = Fed::new();
        fed.grant(0, "job", "prod/data");
        // Between 1 and 3 GiB an hour, with a peak each day.
        let usual = |hour: u64| if hour % 24 == 9 { 6 * GIB } else { GIB + (hour * 7 % 5) * (GIB / 2) };
        assert!(hours(&mut fed, 0, (0..200).map(usual)).is_empty());
        assert!(hours(&mut fed, 200, [7 * GIB, 8 * GIB]).is_empty(), "a busy hour or two");
        assert_eq!(hours(&mut fed, 210, [60 * GIB]), [210]);
    }

    #[test]
    fn hours_of_moderate_excess_add_up() {
        let mut fed = Fed::new();
        fed.grant(0, "job", "prod/data");
        assert!(hours(&mut fed, 0, (0..100).map(|_| GIB)).is_empty());
        // Just below the limit, hour after hour.
        let loud = hours(&mut fed, 100, (0..24).map(|_| 6 * GIB));
        assert!(loud.first().is_some_and(|hour| *hour < 124), "{loud:?}");
    }

    #[test]
    fn a_patient_principal_raises_its_own_limit_eightfold_in_four_weeks_at_most() {
        let parameters = ReadVolume { drift_percent: 0, ..ReadVolume::default() };
        let kind = Sketch::new();
        let at = |millis| {
            let mut flow = Flow::default();
            flow.advance(Timestamp::from_millis(millis));
            flow
        };
        let mut profile = Profile::new(at(MONDAY));
        // Four calm weeks.
        let mut clock = MONDAY;
        let mut step = |profile: &mut Profile, bytes: u64| {
            clock += 3_600_000;
            profile.hour_bytes = bytes;
            let limit = parameters.limit(profile, &kind);
            profile.roll(at(clock), limit);
        };
        (0..28 * 24).for_each(|_| step(&mut profile, 2 * GIB));
        let before = parameters.limit(&profile, &kind);
        // As much as goes unnoticed, day and night, for four weeks.
        for _ in 0..28 * 24 {
            let most = bytes_at(parameters.limit(&profile, &kind));
            step(&mut profile, most);
        }
        let after = parameters.limit(&profile, &kind);
        let usual_peak = level(2 * GIB);
        assert!(after <= usual_peak + levels(8) + 1, "{before} {after}");
    }

    #[test]
    fn a_newcomer_is_judged_by_its_kind_and_cannot_begin_high() {
        let mut fed = Fed::new();
        (0..20).for_each(|worker| fed.grant(0, &format!("w{worker}"), "prod/data"));
        for (hour, worker) in (0..10).flat_map(|hour| (0..20).map(move |worker| (hour, worker))) {
            fed.read(hour * 60 + 1, &format!("w{worker}"), "prod/data", 2 * GIB, 10_000 * GIB);
        }
        fed.grant(600, "job", "prod/data");
        assert_eq!(hours(&mut fed, 11, [4 * GIB, 100 * GIB]), [12]);
        assert_eq!(hours(&mut fed, 40, [MIB, 100 * GIB]), [41]);
    }

    #[test]
    fn factors_are_levels() {
        assert_eq!([1, 2, 3, 4, 6, 8].map(levels), [0, 2, 3, 4, 5, 6]);
    }
}
