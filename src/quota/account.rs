//! The counters of one caller, or of one caller and one artifact, and their stored form.

use super::rules::{Cap, WHOLE, What};
use super::window::{Entry, Window};
use crate::names::{ArtifactId, Principal, Timestamp};

/// Whose counters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The caller.
    pub principal: Principal,
    /// With one artifact; none: all that it does.
    pub artifact: Option<ArtifactId>,
}

/// Amounts of what is counted over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub requests: u64,
    pub bytes: u64,
    /// Parts of [`WHOLE`].
    pub reads: u64,
}

impl Amounts {
    /// So many bytes.
    pub fn bytes(bytes: u64) -> Self {
        Self { bytes, ..Self::default() }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            bytes: self.bytes.saturating_add(other.bytes),
            reads: self.reads.saturating_add(other.reads),
        }
    }

    pub fn less(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            bytes: self.bytes.saturating_sub(other.bytes),
            reads: self.reads.saturating_sub(other.reads),
        }
    }

    /// Whether these cover those.
    pub fn cover(self, other: Self) -> bool {
        other.less(self) == Self::default()
    }
}

/// So many bytes of a whole of `size`, in parts of [`WHOLE`], rounded up.
pub fn part_of(bytes: u64, size: u64) -> u64 {
    let parts = (u128::from(bytes) * u128::from(WHOLE)).div_ceil(u128::from(size.max(1)));
    u64::try_from(parts).unwrap_or(u64::MAX)
}

/// The bytes in so many parts, rounded down; at least one where there is any part.
pub fn bytes_in(parts: u64, size: u64) -> u64 {
    let bytes = u128::from(parts) * u128::from(size) / u128::from(WHOLE);
    u64::try_from(bytes).unwrap_or(u64::MAX).max(u64::from(parts > 0))
}

/// Counters, exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    requests: Window,
    bytes: Window,
    reads: Window,
    /// Days since the epoch, and the bytes of that day.
    day: i64,
    day_bytes: u64,
}

const COUNTED: [What; 3] = [What::Requests, What::Bytes, What::Reads];

impl Account {
    /// Counts what was used.
    pub fn add(&mut self, now: Timestamp, used: Amounts) {
        for (what, amount) in COUNTED.into_iter().zip([used.requests, used.bytes, used.reads]) {
            self.window_mut(what).add(now, amount, what.grain(), what.longest());
        }
        let day = day_of(now);
        if day > self.day {
            (self.day, self.day_bytes) = (day, 0);
        }
        self.day_bytes = self.day_bytes.saturating_add(used.bytes);
    }

    /// Takes back what was counted and not used.
    pub fn give_back(&mut self, unused: Amounts) {
        for (what, amount) in COUNTED.into_iter().zip([unused.requests, unused.bytes, unused.reads]) {
            self.window_mut(what).give_back(amount);
        }
        self.day_bytes = self.day_bytes.saturating_sub(unused.bytes);
    }

    /// What was used in one period until now.
    pub fn used(&self, what: What, now: Timestamp) -> u64 {
        self.window(what).map_or(0, |w| w.used(now, what.period()))
    }

    /// What a limit leaves.
    pub fn left(&self, cap: &Cap, now: Timestamp) -> u64 {
        cap.most().saturating_sub(self.window(cap.what).map_or(0, |w| w.used(now, cap.window())))
    }

    /// How long until a limit leaves `need`.
    pub fn frees(&self, cap: &Cap, now: Timestamp, need: u64) -> std::time::Duration {
        let most = cap.most().saturating_sub(need);
        self.window(cap.what).map_or(std::time::Duration::ZERO, |w| w.frees(now, cap.window(), most))
    }

    /// Bytes of this day.
    pub fn bytes_today(&self, now: Timestamp) -> u64 {
        // The day does not go back.
        if day_of(now) > self.day { 0 } else { self.day_bytes }
    }

    /// The stored form, with what may be used until `until` before it is stored again.
    pub fn encode(&self, now: Timestamp, ahead: Amounts, until: Timestamp) -> Vec<u8> {
        let mut out = vec![1];
        for (what, amount) in COUNTED.into_iter().zip([ahead.requests, ahead.bytes, ahead.reads]) {
            let window = self.window(what).expect("what is counted has a window");
            let reserved = Entry { first: now.as_millis(), last: until.as_millis(), amount };
            let entries: Vec<_> = window.entries().chain((amount > 0).then_some(&reserved)).collect();
            put(&mut out, entries.len() as u64);
            let mut before = 0;
            for entry in entries {
                put(&mut out, entry.first.wrapping_sub(before).cast_unsigned());
                put(&mut out, entry.last.wrapping_sub(entry.first).cast_unsigned());
                put(&mut out, entry.amount);
                before = entry.first;
            }
        }
        let same_day = day_of(now) <= self.day;
        put(&mut out, self.day.max(day_of(now)).cast_unsigned());
        put(&mut out, if same_day { self.day_bytes } else { 0 }.saturating_add(ahead.bytes));
        out
    }

    /// The same, backwards; `None` for bytes that are no account.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        const MOST: u64 = 4096;
        let (1, mut rest) = (*bytes.first()?, bytes.get(1..)?) else { return None };
        let mut account = Self::default();
        for what in COUNTED {
            let count = take(&mut rest)?;
            if count > MOST {
                return None;
            }
            let (mut entries, mut before) = (Vec::new(), 0_i64);
            for _ in 0..count {
                let first = before.wrapping_add(take(&mut rest)?.cast_signed());
                let last = first.wrapping_add(take(&mut rest)?.cast_signed());
                entries.push(Entry { first, last, amount: take(&mut rest)? });
                before = first;
            }
            *account.window_mut(what) = Window::of(entries);
        }
        (account.day, account.day_bytes) = (take(&mut rest)?.cast_signed(), take(&mut rest)?);
        rest.is_empty().then_some(account)
    }

    fn window(&self, what: What) -> Option<&Window> {
        match what {
            What::Requests => Some(&self.requests),
            What::Bytes => Some(&self.bytes),
            What::Reads => Some(&self.reads),
            What::Streams => None,
        }
    }

    fn window_mut(&mut self, what: What) -> &mut Window {
        match what {
            What::Requests => &mut self.requests,
            What::Bytes => &mut self.bytes,
            What::Reads | What::Streams => &mut self.reads,
        }
    }
}

fn day_of(time: Timestamp) -> i64 {
    time.as_secs().div_euclid(86_400)
}

/// Seven bits a byte, lowest first.
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + millis)
    }

    #[test]
    fn what_is_stored_comes_back_and_holds_what_was_reserved() {
        let mut account = Account::default();
        for i in 0..500 {
            account.add(at(i * 3000), Amounts { requests: 1, bytes: 1 << 20, reads: 77 });
        }
        let now = at(1_500_000);
        assert_eq!(Account::decode(&account.encode(now, Amounts::default(), now)), Some(account.clone()));
        let ahead = Amounts { requests: 10, bytes: 5, reads: 3 };
        let stored = Account::decode(&account.encode(now, ahead, at(1_510_000))).unwrap();
        for (what, more) in COUNTED.into_iter().zip([10, 5, 3]) {
            assert_eq!(stored.used(what, now), account.used(what, now) + more);
            // Used as late as it may be, it counts for the whole window from then on.
            let last = at(1_510_000 + what.period().as_millis() as i64 - 1);
            assert!(stored.used(what, last) >= more);
        }
        assert_eq!(stored.bytes_today(now), account.bytes_today(now) + 5);
    }

    #[test]
    fn a_day_does_not_go_back_and_a_new_one_begins_with_nothing() {
        let mut account = Account::default();
        account.add(at(0), Amounts::bytes(100));
        account.add(at(-86_400_000), Amounts::bytes(11));
        assert_eq!((account.bytes_today(at(0)), account.bytes_today(at(-86_400_000))), (111, 111));
        assert_eq!(account.bytes_today(at(86_400_000)), 0);
    }

    #[test]
    fn parts_of_a_whole_add_up_to_the_whole_and_no_less() {
        for size in [1_u64, 3, 4096, 1_000_003, 70 << 30, 1 << 40] {
            assert_eq!(part_of(size, size), WHOLE);
            assert!(part_of(size - 1, size) < WHOLE && part_of(1, size) > 0, "{size}");
            assert_eq!(bytes_in(WHOLE, size), size);
            assert!(bytes_in(WHOLE - part_of(size - 1, size), size) >= 1, "the last byte of {size} is there");
        }
        assert_eq!((part_of(0, 0), bytes_in(0, 5)), (0, 0));
    }

    proptest! {
        #[test]
        fn bytes_from_elsewhere_are_an_account_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some(account) = Account::decode(&bytes) {
                let _ = account.used(What::Bytes, at(0)).saturating_add(account.bytes_today(at(0)));
            }
            let mut one = vec![1];
            one.extend(&bytes);
            let _ = Account::decode(&one).map(|mut a| a.add(at(0), Amounts { requests: 1, bytes: 1, reads: 1 }));
        }
    }
}
