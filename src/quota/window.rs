//! What was used in the last while: a list of amounts with the times they were used at, merged so that it stays short.

use std::collections::VecDeque;
use std::time::Duration;

use crate::names::Timestamp;

/// A window is kept in so many pieces; an amount leaves at most one piece late, and never early.
pub const PIECES: i64 = 32;

/// Amounts that were used close to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The first of them.
    pub first: i64,
    /// The last: all of them count until the window has passed since then.
    pub last: i64,
    /// Their sum.
    pub amount: u64,
}

/// Amounts, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window(VecDeque<Entry>);

impl Window {
    /// From stored entries.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.0.iter()
    }

    /// Counts an amount. Amounts of one `grain` are merged; what is older than `longest` is forgotten.
    pub fn add(&mut self, now: Timestamp, amount: u64, grain: Duration, longest: Duration) {
        let now = now.as_millis();
        self.forget(now, longest);
        match self.0.back_mut() {
            // Also when time stands still or, after a crash, lies before what was reserved.
            Some(newest) if now.saturating_sub(newest.first) < millis(grain) => {
                newest.last = newest.last.max(now);
                newest.amount = newest.amount.saturating_add(amount);
            }
            _ if amount > 0 => self.0.push_back(Entry { first: now, last: now, amount }),
            _ => {}
        }
    }

    /// Gives back what was counted and not used: what was counted last comes back first.
    pub fn give_back(&mut self, mut amount: u64) {
        while let Some(newest) = self.0.back_mut() {
            let back = newest.amount.min(amount);
            newest.amount -= back;
            amount -= back;
            if newest.amount > 0 {
                return;
            }
            self.0.pop_back();
        }
    }

    /// What was used in the window that ends now.
    pub fn used(&self, now: Timestamp, window: Duration) -> u64 {
        let from = now.as_millis().saturating_sub(millis(window));
        self.0.iter().filter(|e| e.last > from).fold(0, |sum, e| sum.saturating_add(e.amount))
    }

    /// How long until no more than `most` are used in the window, if nothing is added.
    pub fn frees(&self, now: Timestamp, window: Duration, most: u64) -> Duration {
        let from = now.as_millis().saturating_sub(millis(window));
        let mut used = self.used(now, window);
        let mut wait = 0;
        for entry in self.0.iter().filter(|e| e.last > from) {
            if used <= most {
                break;
            }
            used -= entry.amount.min(used);
            wait = wait.max(entry.last.saturating_sub(from));
        }
        Duration::from_millis(wait.unsigned_abs())
    }

    fn forget(&mut self, now: i64, longest: Duration) {
        let from = now.saturating_sub(millis(longest));
        while self.0.front().is_some_and(|oldest| oldest.last <= from) {
            self.0.pop_front();
        }
    }
}

/// A duration as the times here are counted.
pub fn millis(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const GRAIN: Duration = Duration::from_millis(60_000 / PIECES as u64);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + millis)
    }

    #[test]
    fn an_amount_counts_for_the_whole_window_and_at_most_one_piece_longer() {
        let mut window = Window::default();
        window.add(at(0), 5, GRAIN, MINUTE);
        window.add(at(1000), 3, GRAIN, MINUTE);
        assert_eq!(window.used(at(59_999), MINUTE), 8);
        assert_eq!(window.used(at(60_999), MINUTE), 8, "the first is kept as long as what it was merged with");
        assert_eq!(window.used(at(61_000), MINUTE), 0);
    }

    #[test]
    fn a_window_stays_short_whatever_is_added() {
        let mut window = Window::default();
        for i in 0..1_000_000 {
            window.add(at(i * 7), 1, GRAIN, MINUTE);
        }
        assert!(window.entries().len() <= PIECES as usize + 2, "{}", window.entries().len());
        let used = window.used(at(7_000_000), MINUTE);
        assert!((60_000 / 7..=60_000 / 7 + 60_000 / 7 / PIECES as u64 + 1).contains(&used), "{used}");
    }

    #[test]
    fn never_more_than_the_limit_in_any_window_however_calls_are_placed() {
        // A caller that takes whatever it gets, at odd times.
        let (mut window, mut taken, most) = (Window::default(), Vec::new(), 100);
        let mut now = 0;
        for step in 0..20_000_i64 {
            now += step * 7919 % 613;
            let left = most - window.used(at(now), MINUTE).min(most);
            let take = left.min((step % 9).unsigned_abs());
            window.add(at(now), take, GRAIN, MINUTE);
            taken.push((now, take));
            let recent: u64 = taken.iter().rev().take_while(|(t, _)| *t > now - 60_000).map(|(_, n)| n).sum();
            assert!(recent <= most, "{recent} at {now}");
        }
        assert!(taken.iter().map(|(_, n)| n).sum::<u64>() > most * (now / 70_000).unsigned_abs());
    }

    #[test]
    fn the_time_to_wait_is_the_time_until_it_fits_and_not_less() {
        let mut window = Window::default();
        for i in 0..10 {
            window.add(at(i * 5000), 10, GRAIN, MINUTE);
        }
        let now = 47_000;
        let wait = window.frees(at(now), MINUTE, 75).as_millis() as i64;
        assert!(window.used(at(now + wait), MINUTE) <= 75);
        assert!(window.used(at(now + wait - 1), MINUTE) > 75);
        assert_eq!(window.frees(at(now), MINUTE, 100), Duration::ZERO);
    }

    #[test]
    fn what_is_given_back_is_what_was_counted_last_and_never_more() {
        let mut window = Window::default();
        window.add(at(0), 10, GRAIN, MINUTE);
        window.add(at(30_000), 10, GRAIN, MINUTE);
        window.give_back(15);
        assert_eq!(window.used(at(30_000), MINUTE), 5);
        assert_eq!(window.used(at(60_001), MINUTE), 0, "the newer went first");
        window.give_back(u64::MAX);
        assert_eq!(window.entries().len(), 0);
    }
}
