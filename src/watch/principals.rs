//! Who is remembered: a bounded number of principals, and nobody can make the watcher forget another, or itself.

use std::collections::HashMap;

use super::flow::Flow;
use super::profile::Profile;
use super::snapshot::kept;

/// Days after which a principal that does nothing may be forgotten ...
const IDLE_DAYS: u16 = 30;
/// ... and one that was seen on one day only.
const PASSING_DAYS: u16 = 1;

/// Profiles by principal.
///
/// When there is no room, those idle for long are forgotten, never one that is in use: a flood of new names cannot push an
/// established one out. Newcomers without a place share one profile, in which they look like one very busy stranger. Somebody
/// who stays away to be forgotten comes back as a stranger, of whom less is tolerated.
#[derive(Debug)]
pub(super) struct Principals {
    known: HashMap<String, Box<Profile>>,
    most: u64,
    /// Of all who have no place.
    crowd: Box<Profile>,
    /// The hour in which room was looked for last.
    swept: Option<u32>,
}

impl Principals {
    pub fn new(most: usize, flow: Flow) -> Self {
        Self { known: HashMap::new(), most: most as u64, crowd: Box::new(Profile::new(flow)), swept: None }
    }

    /// The profile of a principal; the second part is false for the shared one.
    pub fn of(&mut self, name: &str, flow: Flow) -> (&mut Profile, bool) {
        // Two look-ups where the borrow checker sees that one would do.
        if !self.known.contains_key(name) {
            if self.is_full() {
                self.make_room(flow);
            }
            if self.is_full() {
                return (&mut self.crowd, false);
            }
            self.known.insert(name.to_owned(), Box::new(Profile::new(flow)));
        }
        match self.known.get_mut(name) {
            Some(profile) => (profile, true),
            None => (&mut self.crowd, false),
        }
    }

    fn is_full(&self) -> bool {
        self.known.len() as u64 >= self.most
    }

    fn make_room(&mut self, flow: Flow) {
        // Looking at all of them for each newcomer would be a lever.
        if self.swept.replace(flow.hour()) == Some(flow.hour()) {
            return;
        }
        let today = flow.day();
        self.known.retain(|_, profile| {
            let idle = today.saturating_sub(profile.last_day);
            idle < if profile.days <= 1 { PASSING_DAYS } else { IDLE_DAYS }
        });
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }
}

kept!([] Principals { known, most, crowd, swept } if |all| all.known.len() as u64 <= all.most);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Timestamp;

    fn on(day: i64) -> Flow {
        let mut flow = Flow::default();
        flow.advance(Timestamp::from_millis((20_000 + day) * 86_400_000));
        flow
    }

    #[test]
    fn a_flood_of_new_names_pushes_nobody_out_and_takes_no_memory() {
        let mut all = Principals::new(100, on(0));
        for day in 0..10 {
            let (profile, own) = all.of("established", on(day));
            assert!(own);
            profile.roll(on(day), 64);
        }
        for i in 0..10_000 {
            all.of(&format!("flood-{i}"), on(9));
        }
        assert_eq!(all.len(), 100);
        assert!(!all.of("flood-9999", on(9)).1, "it shares a profile");
        let (profile, own) = all.of("established", on(9));
        assert!(own && profile.days == 10);
        // A day later there is room again.
        assert!(all.of("newcomer", on(10)).1);
        assert!(all.len() <= 3);
    }

    #[test]
    fn the_established_are_forgotten_after_a_month_of_nothing_and_only_for_room() {
        let mut all = Principals::new(2, on(0));
        for name in ["a", "b"] {
            for day in 0..2 {
                all.of(name, on(day)).0.roll(on(day), 64);
            }
        }
        assert!(!all.of("c", on(30)).1);
        assert!(all.of("a", on(40)).1, "no room was needed");
        assert!(all.of("c", on(41)).1);
        assert_eq!(all.len(), 1);
    }
}
