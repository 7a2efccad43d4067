//! The bars of the detectors: what a pattern must reach to be a finding. Whoever has clean data of their own can set them by it.

use std::ops::RangeInclusive;

use serde::Serialize;

use super::image::{duplicate as image_duplicate, trigger as image_trigger};
use super::table::{column_trigger, contributor, drift, label_noise};
use super::text::{burst, near_duplicate, text_trigger};
use crate::error::{Error, ErrorId, Result};

/// The settings of all detectors. Bounds of memory and time among them are not to be set from outside.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    pub(super) text_trigger: text_trigger::Settings,
    pub(super) image_trigger: image_trigger::Settings,
    pub(super) column_trigger: column_trigger::Settings,
    pub(super) label: label_noise::Settings,
    pub(super) contributor: contributor::Settings,
    pub(super) near_duplicate: near_duplicate::Settings,
    pub(super) image_duplicate: image_duplicate::Settings,
    pub(super) new_words: burst::Settings,
    pub(super) drift: drift::Settings,
}

/// A bar that is not where it stands by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChangedBar {
    /// `DETECTOR.NAME`.
    pub bar: &'static str,
    /// Where it stood.
    pub value: f64,
    /// Where it stands if nobody asks otherwise.
    pub standard: f64,
}

/// Where a bar is kept.
enum Place<'a> {
    Number(&'a mut f64),
    Narrow(&'a mut f32),
    Count(&'a mut usize),
    Count32(&'a mut u32),
}

type Bar = (&'static str, RangeInclusive<f64>, fn(&mut Bars) -> Place<'_>);

const SHARE: RangeInclusive<f64> = 0.0..=1.0;
/// Standard deviations, nats, and other measures of evidence.
const EVIDENCE: RangeInclusive<f64> = 0.0..=1000.0;
/// One carrier repeats nothing.
const CARRIERS: RangeInclusive<f64> = 2.0..=1_000_000.0;
const COUNT: RangeInclusive<f64> = 1.0..=1_000_000.0;

/// All that can be set. What each means stands at its field, and in docs/scan.md.
const BARS: &[Bar] = &[
    ("text-trigger.support", CARRIERS, |b| Place::Count32(&mut b.text_trigger.support)),
    ("text-trigger.purity", SHARE, |b| Place::Number(&mut b.text_trigger.purity)),
    ("text-trigger.z", EVIDENCE, |b| Place::Number(&mut b.text_trigger.score)),
    ("text-trigger.nats", EVIDENCE, |b| Place::Number(&mut b.text_trigger.nats)),
    ("text-trigger.sure-support", CARRIERS, |b| Place::Count32(&mut b.text_trigger.sure.support)),
    ("text-trigger.sure-purity", SHARE, |b| Place::Number(&mut b.text_trigger.sure.purity)),
    ("text-trigger.sure-z", EVIDENCE, |b| Place::Number(&mut b.text_trigger.sure.score)),
    ("text-trigger.sure-effect", EVIDENCE, |b| Place::Number(&mut b.text_trigger.sure.effect)),
    ("text-trigger.sure-nats", EVIDENCE, |b| Place::Number(&mut b.text_trigger.sure.nats)),
    ("image-trigger.support", CARRIERS, |b| Place::Count(&mut b.image_trigger.support)),
    ("image-trigger.purity", SHARE, |b| Place::Number(&mut b.image_trigger.purity)),
    ("image-trigger.excess", SHARE, |b| Place::Number(&mut b.image_trigger.excess)),
    ("image-trigger.z", EVIDENCE, |b| Place::Number(&mut b.image_trigger.z)),
    ("image-trigger.contrast", SHARE, |b| Place::Number(&mut b.image_trigger.contrast)),
    ("image-trigger.odd", EVIDENCE, |b| Place::Number(&mut b.image_trigger.odd)),
    ("column-trigger.support", CARRIERS, |b| Place::Count(&mut b.column_trigger.support)),
    ("column-trigger.purity", SHARE, |b| Place::Number(&mut b.column_trigger.purity)),
    ("column-trigger.excess", SHARE, |b| Place::Number(&mut b.column_trigger.excess)),
    ("column-trigger.z", EVIDENCE, |b| Place::Number(&mut b.column_trigger.z)),
    ("column-trigger.z-joint", EVIDENCE, |b| Place::Number(&mut b.column_trigger.z_joint)),
    ("column-trigger.spike", EVIDENCE, |b| Place::Number(&mut b.column_trigger.spike)),
    ("column-trigger.spike-excess", SHARE, |b| Place::Number(&mut b.column_trigger.spike_excess)),
    // At 0 every label would be beaten, by itself.
    ("label.margin", 0.01..=1.0, |b| Place::Narrow(&mut b.label.margin)),
    ("label.above-mean", SHARE, |b| Place::Narrow(&mut b.label.above_mean)),
    ("contributor.z", EVIDENCE, |b| Place::Number(&mut b.contributor.z)),
    ("contributor.records", COUNT, |b| Place::Count(&mut b.contributor.records)),
    ("duplicate.alike", SHARE, |b| Place::Number(&mut b.near_duplicate.alike)),
    ("duplicate.words", COUNT, |b| Place::Count(&mut b.near_duplicate.words)),
    ("duplicate.bits", 0.0..=128.0, |b| Place::Count32(&mut b.image_duplicate.bits)),
    ("duplicate.near", SHARE, |b| Place::Number(&mut b.image_duplicate.near)),
    ("new-words.support", CARRIERS, |b| Place::Count32(&mut b.new_words.support)),
    ("new-words.purity", SHARE, |b| Place::Number(&mut b.new_words.purity)),
    ("new-words.nats", EVIDENCE, |b| Place::Number(&mut b.new_words.nats)),
    ("drift.rate", SHARE, |b| Place::Number(&mut b.drift.rate)),
    ("drift.psi", EVIDENCE, |b| Place::Number(&mut b.drift.psi)),
];

impl Place<'_> {
    fn get(&self) -> f64 {
        match self {
            Self::Number(value) => **value,
            // As it is written: 0.65, not 0.64999998.
            Self::Narrow(value) => value.to_string().parse().unwrap_or(f64::from(**value)),
            Self::Count(value) => **value as f64,
            Self::Count32(value) => f64::from(**value),
        }
    }

    const fn is_count(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Count32(_))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held within its range before")]
    fn set(self, to: f64) {
        match self {
            Self::Number(value) => *value = to,
            Self::Narrow(value) => *value = to as f32,
            Self::Count(value) => *value = to as usize,
            Self::Count32(value) => *value = to as u32,
        }
    }
}

impl Bars {
    /// Puts the bar `DETECTOR.NAME` elsewhere.
    ///
    /// # Errors
    /// `InvalidArgument` for a bar that there is not, and for a value outside its range.
    pub fn set(&mut self, name: &str, value: f64) -> Result<()> {
        let wrong = |what: String, hint: String| Err(Error::new(ErrorId::InvalidArgument, what).hint(hint));
        let Some((_, range, place)) = BARS.iter().find(|(known, ..)| *known == name) else {
            return wrong(format!("no bar is named {name:?}"), format!("bars are {}", names().join(", ")));
        };
        let place = place(self);
        let whole = if place.is_count() { "a whole number" } else { "a number" };
        if !range.contains(&value) || (place.is_count() && value.fract() != 0.0) {
            let hint = format!("it is {whole} from {} to {}", range.start(), range.end());
            return wrong(format!("the bar {name} cannot stand at {value}"), hint);
        }
        place.set(value);
        Ok(())
    }

    /// Those that do not stand where they do by themselves.
    pub fn changed(&self) -> Vec<ChangedBar> {
        let (mut own, mut standard) = (self.clone(), Self::default());
        let all = BARS.iter().map(|(bar, _, place)| {
            let (value, standard) = (place(&mut own).get(), place(&mut standard).get());
            ChangedBar { bar, value, standard }
        });
        all.filter(|bar| bar.value != bar.standard).collect()
    }
}

/// The names of all bars.
pub fn names() -> Vec<&'static str> {
    BARS.iter().map(|(name, ..)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_that_was_changed_is_told_with_where_it_stands_by_itself() {
        let mut bars = Bars::default();
        assert_eq!(bars.changed(), []);
        bars.set("label.margin", 0.65).unwrap();
        assert_eq!(bars.changed(), [], "where it stands anyway");
        bars.set("label.margin", 0.3).unwrap();
        bars.set("text-trigger.support", 7.0).unwrap();
        let told: Vec<_> = bars.changed().iter().map(|c| (c.bar, c.value, c.standard)).collect();
        assert_eq!(told, [("text-trigger.support", 7.0, 5.0), ("label.margin", 0.3, 0.65)]);
    }

    #[test]
    fn every_bar_is_of_a_detector_and_stands_within_its_range_and_alone() {
        for (at, (name, range, place)) in BARS.iter().enumerate() {
            let (detector, _) = name.split_once('.').unwrap();
            assert!(super::super::claim(detector).is_some(), "{name}");
            let standard = place(&mut Bars::default()).get();
            assert!(range.contains(&standard), "{name}");
            // No two are kept in one place.
            let mut bars = Bars::default();
            bars.set(name, if standard == *range.end() { *range.start() } else { *range.end() }).unwrap();
            assert_eq!(bars.changed().iter().map(|c| c.bar).collect::<Vec<_>>(), [BARS[at].0]);
        }
    }

    #[test]
    fn what_is_no_bar_or_out_of_range_is_refused() {
        for (name, value, told) in [
            ("label.magic", 0.5, "no bar is named"),
            ("label.margin", 1.01, "cannot stand at 1.01"),
            ("label.margin", f64::NAN, "cannot stand at NaN"),
            ("text-trigger.support", 5.5, "cannot stand at 5.5"),
            ("text-trigger.support", 1.0, "cannot stand at 1"),
            ("drift.psi", f64::INFINITY, "cannot stand at inf"),
        ] {
            let error = Bars::default().set(name, value).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
