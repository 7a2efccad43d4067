//! The time that quotas are counted in. It goes on with the machine's running time, which nobody sets: a wall clock that steps
//! forward, or back, neither refills a quota nor stops it from filling.

use std::time::Duration;

use super::window::millis;
use crate::names::Timestamp;

/// Ties the time of the quotas to the running time of one boot of the machine. Kept, so that it goes on over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Names the boot; empty: not known, and no other boot is it.
    pub boot: String,
    /// Time of the quotas when the machine had run for no time.
    pub base: i64,
    /// Time of the quotas when this was noted.
    pub at: Timestamp,
    /// The wall clock's time then.
    pub wall: Timestamp,
}

/// A running time of the quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    base: i64,
}

impl Pace {
    /// Goes on from what was kept: by the running time within a boot, else by the wall clock, which is all there is then, and never
    /// back before `floor`, the latest time anything was counted at. The second value is to be kept, if it is new.
    pub fn resume(
        kept: Option<Mark>,
        floor: Option<Timestamp>,
        boot: &str,
        running: Duration,
        wall: Timestamp,
    ) -> (Self, Option<Mark>) {
        let ran = millis(running);
        if let Some(mark) = &kept
            && mark.boot == boot
            && !boot.is_empty()
        {
            return (Self { base: mark.base }, None);
        }
        let now = kept.map_or(wall, |mark| mark.at.plus(wall.since(mark.wall)));
        let now = floor.map_or(now, |floor| now.max(floor));
        let base = now.as_millis().saturating_sub(ran);
        (Self { base }, Some(Mark { boot: boot.into(), base, at: now, wall }))
    }

    /// The time when the machine has run for so long.
    pub fn at(&self, running: Duration) -> Timestamp {
        Timestamp::from_millis(self.base.saturating_add(millis(running)))
    }
}

impl Mark {
    /// The stored form: `BOOT BASE AT WALL`.
    pub fn encode(&self) -> Vec<u8> {
        let Self { boot, base, at, wall } = self;
        format!("{boot} {base} {} {}", at.as_millis(), wall.as_millis()).into_bytes()
    }

    /// The same, backwards; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes).ok()?.split(' ');
        let boot = words.next()?.to_owned();
        let mut number = || words.next()?.parse::<i64>().ok();
        let (base, at, wall) = (number()?, Timestamp::from_millis(number()?), Timestamp::from_millis(number()?));
        words.next().is_none().then_some(Self { boot, base, at, wall })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn wall(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + hours * 3_600_000)
    }

    #[test]
    fn a_wall_clock_that_steps_changes_nothing_over_a_restart_within_a_boot() {
        let (pace, mark) = Pace::resume(None, None, "a", HOUR, wall(0));
        assert_eq!(pace.at(HOUR), wall(0));
        for stepped in [-2, -1, 1, 24] {
            let (again, new) = Pace::resume(mark.clone(), None, "a", 2 * HOUR, wall(stepped));
            assert_eq!((again, new), (pace, None));
            assert_eq!(again.at(2 * HOUR), wall(1));
        }
    }

    #[test]
    fn over_a_boot_the_wall_clock_counts_and_never_back() {
        let (_, mark) = Pace::resume(None, None, "a", HOUR, wall(0));
        let at = |floor, now| Pace::resume(mark.clone(), floor, "b", Duration::ZERO, now).0.at(Duration::ZERO);
        assert_eq!(at(None, wall(5)), wall(5));
        assert_eq!(at(None, wall(-5)), wall(0));
        assert_eq!(at(Some(wall(3)), wall(1)), wall(3));
        // A boot without a name is never the same.
        let (_, nameless) = Pace::resume(None, None, "", HOUR, wall(0));
        assert!(Pace::resume(nameless, None, "", HOUR, wall(0)).1.is_some());
    }

    #[test]
    fn marks_come_back_as_they_were_kept() {
        let mark = Mark { boot: "0a1b".into(), base: -5, at: wall(1), wall: wall(2) };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        for bad in [&b""[..], b"a 1 2", b"a 1 2 3 4", b"a b c d", b"\xff 1 2 3"] {
            assert_eq!(Mark::decode(bad), None);
        }
    }
}
