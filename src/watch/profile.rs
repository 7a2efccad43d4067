//! What is remembered of one principal: a fixed number of bytes, whatever it does.

use super::flow::Flow;
use super::sketch::{Sketch, level};
use super::snapshot::kept;

/// Hours with traffic that a baseline remembers at most; half as many at least once it is full.
const HOURS_REMEMBERED: u8 = 250;
/// The same for days.
const DAYS_REMEMBERED: u8 = 60;
/// Days of a new principal in which new artifacts are no habit.
const SETTLING_DAYS: u16 = 3;
/// Samples before a principal is judged by its own baseline instead of that of its kind.
pub(super) const OWN_SAMPLES: u32 = 24;
/// Weeks whose usual peaks are remembered: the lowest of them is what a baseline cannot run away from.
const WEEKS: usize = 5;

/// A few things and when each was seen last; the one seen longest ago makes room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent<const N: usize> {
    things: [u64; N],
    days: [u16; N],
    used: u16,
    /// One bit for each thing: what it says is up to the owner. At most 64 things.
    marks: u64,
}

impl<const N: usize> Recent<N> {
    const fn new() -> Self {
        Self { things: [0; N], days: [0; N], used: 0, marks: 0 }
    }

    pub fn knows(&self, thing: u64) -> bool {
        self.place(thing).is_some()
    }

    /// Remembers it. True if it was not known.
    pub fn learn(&mut self, thing: u64, day: u16) -> bool {
        let used = usize::from(self.used);
        if let Some(at) = self.place(thing) {
            self.days[at] = day;
            return false;
        }
        let at = if used < N {
            self.used += 1;
            used
        } else {
            (0..N).min_by_key(|at| self.days[*at]).unwrap_or(0)
        };
        (self.things[at], self.days[at]) = (thing, day);
        self.marks &= !(1 << at);
        true
    }

    pub fn is_marked(&self, thing: u64) -> bool {
        self.place(thing).is_some_and(|at| self.marks >> at & 1 == 1)
    }

    /// Marks a thing that is known.
    pub fn mark(&mut self, thing: u64) {
        if let Some(at) = self.place(thing) {
            self.marks |= 1 << at;
        }
    }

    fn place(&self, thing: u64) -> Option<usize> {
        self.things[..usize::from(self.used)].iter().position(|t| *t == thing)
    }
}

/// Events within the last one or two spans of some minutes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    span: u32,
    now: u16,
    before: u16,
}

impl Window {
    /// Counts. Returns how many there were in this span and the one before.
    pub fn add(&mut self, minute: u32, minutes: u32, count: u32) -> u32 {
        self.roll(minute, minutes);
        self.now = self.now.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        u32::from(self.now) + u32::from(self.before)
    }

    /// Moves on. True if all that was counted lies too far back.
    pub fn roll(&mut self, minute: u32, minutes: u32) -> bool {
        let span = minute / minutes.max(1);
        match span.wrapping_sub(self.span) {
            0 => return false,
            1 => (self.before, self.now) = (self.now, 0),
            _ => (self.before, self.now) = (0, 0),
        }
        self.span = span;
        self.before == 0
    }
}

/// How much of an artifact has left in small pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pieces {
    pub artifact: u64,
    pub bytes: u64,
    pub size: u64,
    pub since_hour: u32,
    pub reads: u32,
    /// Bytes of all its reads within a day, which began at this hour.
    pub day_bytes: u64,
    pub day_hour: u32,
    /// It reads this artifact in one go, or in a day: pieces say nothing.
    pub whole: bool,
}

/// One principal's habits.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub last_day: u16,
    /// Days on which it did something.
    pub days: u16,
    // Volume.
    pub hours: Sketch<u8>,
    /// The busiest hour of each day with traffic.
    pub peaks: Sketch<u8>,
    day_peak: u8,
    pub hour: u32,
    pub hour_bytes: u64,
    /// Moving average of the excess over what one hour in ten exceeds, in 1/256 levels.
    pub drift: i32,
    calm: [u8; WEEKS],
    week: u16,
    // Where and when.
    pub networks: Recent<12>,
    /// Days with activity, by hour of the day.
    pub clock: [u8; 24],
    clock_hour: u32,
    // Artifacts.
    pub artifacts: Recent<32>,
    pub new_today: u16,
    pub most_new: u16,
    pub pieces: [Pieces; 8],
    // Refusals.
    pub denials: Window,
    pub denied_names: [u32; 8],
    pub replays: Window,
    /// What deny lists named: fingerprints of artifacts, and the minute after the alert about each; 0: there was none.
    pub deny_hits: [[u32; 2]; 8],
    /// By rule: the minute after the last alert; 0: there was none.
    pub told: [u32; super::RuleId::ALL.len()],
}

impl Profile {
    pub fn new(flow: Flow) -> Self {
        Self {
            last_day: flow.day(),
            days: 1,
            hours: Sketch::new(),
            peaks: Sketch::new(),
            day_peak: 0,
            hour: flow.hour(),
            hour_bytes: 0,
            drift: 0,
            calm: [0; WEEKS],
            week: flow.day() / 7,
            networks: Recent::new(),
            clock: [0; 24],
            clock_hour: u32::MAX,
            artifacts: Recent::new(),
            new_today: 0,
            most_new: 0,
            pieces: [Pieces::default(); 8],
            denials: Window::default(),
            denied_names: [0; 8],
            replays: Window::default(),
            deny_hits: [[0; 2]; 8],
            told: [0; super::RuleId::ALL.len()],
        }
    }

    /// Moves on in time. `limit` is what counts as far too much in an hour: no sample above it is learned. Returns the level
    /// learned for the hour that ended, if it had traffic.
    pub fn roll(&mut self, flow: Flow, limit: u8) -> Option<u8> {
        let learned = self.roll_hour(flow, limit);
        if flow.day() != self.last_day {
            self.last_day = flow.day();
            self.days = self.days.saturating_add(1);
            // In the first days everything is new. Slowly forgotten, so that one day of migration does not count for ever.
            if self.days > SETTLING_DAYS {
                self.most_new = self.most_new.max(self.new_today) - self.most_new / 16;
            }
            self.new_today = 0;
            if self.day_peak > 0 {
                self.peaks.add(std::mem::take(&mut self.day_peak), DAYS_REMEMBERED);
            }
        }
        let week = flow.day() / 7;
        if week != self.week {
            let passed = usize::from(week.wrapping_sub(self.week)).min(WEEKS);
            self.week = week;
            let peak = if self.hours.total() < OWN_SAMPLES { 0 } else { self.usual_peak() };
            self.calm.rotate_right(passed % WEEKS);
            self.calm[..passed].fill(peak);
        }
        learned
    }

    fn roll_hour(&mut self, flow: Flow, limit: u8) -> Option<u8> {
        let passed = flow.hour().saturating_sub(self.hour);
        if passed == 0 {
            return None;
        }
        let bytes = std::mem::take(&mut self.hour_bytes);
        self.hour = flow.hour();
        let learned = (bytes > 0).then(|| level(bytes).min(limit));
        if let Some(level) = learned {
            let excess = i32::from(level) - i32::from(self.hours.quantile(900));
            self.drift += (excess * 256 - self.drift) / 12;
            self.hours.add(level, HOURS_REMEMBERED);
            self.day_peak = self.day_peak.max(level);
        }
        // Idle hours are calm ones.
        for _ in 1..passed.min(64) {
            self.drift -= self.drift / 12;
        }
        learned
    }

    /// The busiest hour that one day in twenty exceeds; that of today counts too while there are few days.
    pub fn usual_peak(&self) -> u8 {
        let today = if self.peaks.total() < 5 { self.day_peak } else { 0 };
        self.peaks.quantile(950).max(today)
    }

    /// The usual peak of the calmest of the last weeks; `None` while there is none.
    pub fn calm_peak(&self) -> Option<u8> {
        self.calm.iter().copied().filter(|peak| *peak > 0).min()
    }

    /// Notes activity in this hour of the day, once for each hour that passes.
    pub fn learn_hour(&mut self, flow: Flow, of_day: usize) {
        if std::mem::replace(&mut self.clock_hour, flow.hour()) == flow.hour() {
            return;
        }
        if self.clock[of_day] >= 200 {
            self.clock.iter_mut().for_each(|count| *count /= 2);
        }
        self.clock[of_day] += 1;
    }
}

kept!([const N: usize] Recent<N> { things, days, used, marks } if |recent| usize::from(recent.used) <= N);
kept!([] Window { span, now, before });
kept!([] Pieces { artifact, bytes, size, since_hour, reads, day_bytes, day_hour, whole });
kept!([] Profile {
    last_day, days, hours, peaks, day_peak, hour, hour_bytes, drift, calm, week, networks, clock, clock_hour, artifacts, new_today,
    most_new, pieces, denials, denied_names, replays, deny_hits, told,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_one_size() {
        let size = size_of::<Profile>();
        assert!(size <= 1536, "{size}");
    }

    #[test]
    fn the_thing_seen_longest_ago_makes_room() {
        let mut recent = Recent::<3>::new();
        for (day, thing) in [(1, 10), (2, 20), (3, 30)] {
            assert!(recent.learn(thing, day));
        }
        assert!(!recent.learn(10, 4));
        assert!(recent.learn(40, 5));
        assert!(recent.knows(10) && !recent.knows(20) && recent.knows(30) && recent.knows(40));
        assert!(!recent.knows(0), "an empty place is no thing");
    }

    #[test]
    fn a_window_counts_this_span_and_the_one_before() {
        let mut window = Window::default();
        assert_eq!(window.add(100, 10, 3), 3);
        assert_eq!(window.add(109, 10, 1), 4);
        assert_eq!(window.add(110, 10, 1), 5);
        assert_eq!(window.add(120, 10, 1), 2);
        assert_eq!(window.add(150, 10, 1), 1);
        assert_eq!(window.add(150, 10, u32::MAX), u32::from(u16::MAX));
    }
}
