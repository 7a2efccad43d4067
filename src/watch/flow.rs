//! The watcher's own time, which clock steps cannot shake.
//!
//! Rows are in order of their numbers; the times in them come from a wall clock that may be set. This time never runs backwards,
//! and no single row moves it by more than a day: a clock that is set a year ahead does not age what was learned by a year, and
//! one that is set back does not stop it.

use super::snapshot::kept;
use crate::names::Timestamp;

/// Milliseconds of a day.
pub(super) const DAY: i64 = 24 * HOUR;
/// Milliseconds of an hour.
pub(super) const HOUR: i64 = 60 * MINUTE;
/// Milliseconds of a minute.
pub(super) const MINUTE: i64 = 60_000;

/// Where the watcher is in time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    wall: Option<i64>,
    now: i64,
}

impl Flow {
    /// Moves on to a row. Returns by how many milliseconds the wall clock went back.
    pub fn advance(&mut self, time: Timestamp) -> i64 {
        let wall = time.as_millis();
        let Some(before) = self.wall.replace(wall) else {
            // Days begin where those of the wall clock do.
            self.now = wall.clamp(0, 4_000_000_000_000);
            return 0;
        };
        let step = wall.saturating_sub(before);
        self.now = self.now.saturating_add(step.clamp(0, DAY));
        step.min(0).saturating_neg()
    }

    /// Days gone.
    pub fn day(self) -> u16 {
        u16::try_from(self.now / DAY).unwrap_or(u16::MAX)
    }

    /// Hours gone.
    pub fn hour(self) -> u32 {
        u32::try_from(self.now / HOUR).unwrap_or(u32::MAX)
    }

    /// Minutes gone.
    pub fn minute(self) -> u32 {
        u32::try_from(self.now / MINUTE).unwrap_or(u32::MAX)
    }
}

/// The hour of the day by the wall clock, in UTC.
pub(super) fn hour_of_day(time: Timestamp) -> usize {
    usize::try_from(time.as_millis().rem_euclid(DAY) / HOUR).unwrap_or(0)
}

kept!([] Flow { wall, now });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_steps_neither_stop_nor_rush_the_watchers_time() {
        let at = Timestamp::from_millis;
        let start = 1_800_000_000_000;
        let mut flow = Flow::default();
        assert_eq!(flow.advance(at(start)), 0);
        let first = flow;
        assert_eq!(flow.advance(at(start + HOUR)), 0);
        assert_eq!(flow.hour(), first.hour() + 1);
        // A year ahead, and back again: a day at most, and the way back is told.
        assert_eq!(flow.advance(at(start + 365 * DAY)), 0);
        assert_eq!(flow.hour(), first.hour() + 25);
        assert_eq!(flow.advance(at(start + HOUR)), 365 * DAY - HOUR);
        assert_eq!(flow.hour(), first.hour() + 25);
        assert_eq!(flow.advance(at(start + 2 * HOUR)), 0);
        assert_eq!(flow.hour(), first.hour() + 26);
        for extreme in [i64::MIN, i64::MAX, i64::MIN, 0] {
            flow.advance(at(extreme));
        }
        assert!(flow.hour() <= first.hour() + 26 + 4 * 24);
    }
}
