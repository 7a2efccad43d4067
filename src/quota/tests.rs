//! The promises of the ledger.

use std::cell::RefCell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ledger::No;
use super::*;
use crate::names::{ArtifactId, Name, Principal, Timestamp};
use crate::settings::Setting as _;

/// Rows in memory, as the catalogue keeps them.
#[derive(Default)]
struct Shelf(std::sync::Mutex<std::collections::HashMap<Key, (u64, Vec<u8>)>>);

impl Books for Shelf {
    fn stored(&self, key: &Key) -> crate::error::Result<Option<(u64, Vec<u8>)>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
}

impl Shelf {
    /// Writes what is due, and says so.
    fn settle(&self, ledger: &Ledger, due: Due) {
        self.write(&due);
        ledger.settled(due);
    }

    fn write(&self, due: &Due) {
        let mut rows = self.0.lock().unwrap();
        for row in &due.rows {
            let held = rows.get(&row.key).map_or(0, |(revision, _)| *revision);
            if row.revision > held {
                rows.insert(row.key.clone(), (row.revision, row.account.clone()));
            }
        }
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn caller(text: &str) -> Principal {
    Principal::workload(name("prod"), &name(text))
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + secs * 1000)
}

fn target(size: u64) -> Target {
    Target { id: ArtifactId([1; 16]), namespace: name("prod"), name: name("llama"), labels: Vec::new(), size }
}

fn quotas(limits: &str) -> Quotas {
    Quotas::parse(&format!("[[quota]]\nid = \"q\"\nwhom = \"workload:*\"\n{limits}\n")).unwrap()
}

fn refused<T>(answer: Result<T, No>) -> Refusal {
    match answer {
        Err(No::Refused(refusal)) => *refusal,
        Err(No::Failed(e)) => panic!("{e}"),
        Ok(_) => panic!("nothing was refused"),
    }
}

struct House {
    ledger: Ledger,
    shelf: Shelf,
    quotas: Quotas,
}

impl House {
    fn new(limits: &str) -> Self {
        Self { ledger: Ledger::default(), shelf: Shelf::default(), quotas: quotas(limits) }
    }

    fn request(&self, now: Timestamp, who: &str) -> Result<(), No> {
        self.ledger.request(now, &self.quotas, Asker { principal: &caller(who), groups: &[] }, &self.shelf)
    }

    fn begin(&self, now: Timestamp, who: &str, size: u64) -> Result<(Stream, u64), No> {
        let principal = caller(who);
        let who = Asker { principal: &principal, groups: &[] };
        let (stream, given, due) = self.ledger.begin(now, &self.quotas, who, target(size), &self.shelf)?;
        self.shelf.settle(&self.ledger, due);
        Ok((stream, given))
    }

    fn take(&self, now: Timestamp, stream: &mut Stream, need: u64) -> Result<u64, No> {
        let (given, due) = self.ledger.take(now, &self.quotas, stream, need)?;
        self.shelf.settle(&self.ledger, due);
        Ok(given)
    }

    /// Reads until refused, or until so many bytes are had; what was had.
    fn read(&self, now: Timestamp, who: &str, size: u64, most: u64) -> (u64, Option<Refusal>) {
        let (mut stream, mut allowed) = match self.begin(now, who, size) {
            Ok(begun) => begun,
            refusal => return (0, Some(refused(refusal))),
        };
        let mut had = 0;
        let refusal = loop {
            if had == most {
                break None;
            }
            let step = SEGMENT.min(most - had);
            if had + step > allowed {
                match self.take(now, &mut stream, step) {
                    Ok(given) => allowed += given,
                    no => break Some(refused(no)),
                }
            } else {
                had += step;
            }
        };
        self.ledger.end(now, &stream, had);
        (had, refusal)
    }

    /// The process dies: what is on the shelf is all there is.
    fn crash(self) -> Self {
        Self { ledger: Ledger::default(), ..self }
    }
}

#[test]
fn a_hundred_callers_of_one_quota_never_get_more_than_one_segment_over() {
    let most = 500 * SEGMENT + 12_345;
    let house = House::new(&format!("bytes_per_hour = {most}"));
    let (had, ready) = (AtomicU64::new(0), Barrier::new(100));
    std::thread::scope(|threads| {
        for _ in 0..100 {
            threads.spawn(|| {
                ready.wait();
                for _ in 0..3 {
                    had.fetch_add(house.read(at(0), "serve", 1 << 40, 20 * SEGMENT).0, Ordering::SeqCst);
                }
            });
        }
    });
    let had = had.into_inner();
    assert!(had <= most + SEGMENT, "{had} of {most}");
    // And nothing is kept back from the last who asks.
    let rest = house.read(at(0), "serve", 1 << 40, u64::MAX / SEGMENT * SEGMENT).0;
    assert!((most - SEGMENT..=most + SEGMENT).contains(&(had + rest)), "{} of {most}", had + rest);
}

#[test]
fn counters_survive_a_crash_and_what_was_reserved_counts() {
    let house = House::new("bytes_per_hour = \"1 GiB\"\nrequests_per_minute = 320");
    let (mut stream, mut allowed) = house.begin(at(0), "serve", 10 << 30).unwrap();
    while allowed < 900 << 20 {
        allowed += house.take(at(0), &mut stream, SEGMENT).unwrap();
    }
    for _ in 0..9 {
        house.request(at(0), "serve").unwrap();
    }
    // Died in the middle of the stream.
    let house = house.crash();
    let (had, refusal) = house.read(at(1), "serve", 10 << 30, 1 << 30);
    assert!(had + allowed <= (1 << 30) + SEGMENT, "{had} after {allowed}");
    assert!(had + allowed >= (1 << 30) - (1 << 30) / 32 - SEGMENT, "the reserve is small: {had} after {allowed}");
    assert!(refusal.unwrap().retry_after > std::time::Duration::from_secs(3500));
    assert!(house.read(at(3800), "serve", 10 << 30, 1 << 30).0 == 1 << 30, "an hour later all is back");
}

#[test]
fn an_end_in_order_stores_what_was_used_and_no_more() {
    let house = House::new("bytes_per_hour = \"1 GiB\"");
    assert_eq!(house.read(at(0), "serve", 10 << 30, 100 << 20).0, 100 << 20);
    house.shelf.settle(&house.ledger, house.ledger.flush(at(0), true));
    let house = house.crash();
    assert_eq!(house.read(at(0), "serve", 10 << 30, 1 << 30).0, (1 << 30) - (100 << 20));
}

#[test]
fn rows_that_arrive_late_replace_nothing_newer() {
    let house = House::new("bytes_per_hour = \"1 GiB\"");
    let principal = caller("serve");
    let who = Asker { principal: &principal, groups: &[] };
    let begin = || house.ledger.begin(at(0), &house.quotas, who, target(10 << 30), &house.shelf).unwrap();
    let (_, first, early) = begin();
    let (_, second, late) = begin();
    house.shelf.settle(&house.ledger, late);
    house.shelf.settle(&house.ledger, early);
    let house = house.crash();
    let had = house.read(at(0), "serve", 10 << 30, 1 << 30).0;
    assert!(had + first + second <= (1 << 30) + SEGMENT, "{had} + {first} + {second}");
}

#[test]
fn what_could_not_be_stored_covers_nothing() {
    let house = House::new("bytes_per_hour = \"1 GiB\"");
    let principal = caller("serve");
    let who = Asker { principal: &principal, groups: &[] };
    for _ in 0..3 {
        let (stream, given, due) =
            house.ledger.begin(at(0), &house.quotas, who, target(10 << 30), &house.shelf).unwrap();
        assert!(given > 0 && due.rows.len() == 2, "each asks for it anew");
        house.ledger.end(at(0), &stream, 0);
    }
    let (had, _) = house.read(at(0), "serve", 10 << 30, 2 << 30);
    assert_eq!(had, 1 << 30, "and all of it was given back");
}

#[test]
fn many_small_ranges_add_up_to_the_extraction_budget() {
    let size = 64 << 20;
    let house = House::new("full_reads_per_day = 1.5");
    let (mut had, mut refusal) = (0, None);
    for minute in 0..100_000 {
        let (got, no) = house.read(at(minute / 10), "spy", size, 10_000);
        had += got;
        refusal = no;
        if refusal.is_some() {
            break;
        }
    }
    let budget = size * 3 / 2;
    assert!((budget - 10_000..=budget + SEGMENT).contains(&had), "{had} of {budget}");
    assert_eq!(refusal.unwrap().cap.what, What::Reads);
    // Another artifact of another caller is not touched by it.
    assert_eq!(house.read(at(10_000), "other", size, size).0, size);
    // Whoever has one whole read gets the whole, to the last byte.
    let exact = House::new("full_reads_per_day = 1");
    assert_eq!(exact.read(at(0), "serve", 70_000_003, 70_000_003), (70_000_003, None));
    assert_eq!(exact.read(at(0), "serve", 70_000_003, 1).0, 0);
}

#[test]
fn streams_are_limited_and_requests_have_their_burst() {
    let house = House::new("streams = 2\nrequests_per_minute = 10\nburst = 3");
    let one = house.begin(at(0), "serve", 5).unwrap().0;
    let two = house.begin(at(0), "serve", 5).unwrap().0;
    let refusal = refused(house.begin(at(0), "serve", 5));
    assert_eq!((refusal.cap.what, refusal.cap.limit, refusal.retry_after.as_secs()), (What::Streams, 2, 1));
    assert!(house.begin(at(0), "other", 5).is_ok(), "each caller has its own");
    house.ledger.end(at(0), &one, 5);
    assert!(house.begin(at(0), "serve", 5).is_ok());
    house.ledger.end(at(0), &two, 5);
    // Thirty at once, in three minutes no more than that.
    for _ in 0..30 {
        house.request(at(0), "serve").unwrap();
    }
    let refusal = refused(house.request(at(100), "serve"));
    assert!(refusal.cap.what == What::Requests && (80..=82).contains(&refusal.retry_after.as_secs()), "{refusal:?}");
    let again = Timestamp::from_millis(at(100).as_millis() + refusal.retry_after.as_millis() as i64);
    assert!(house.request(again, "serve").is_ok(), "as it was told");
}

#[test]
fn a_time_that_goes_back_refills_nothing() {
    let house = House::new("bytes_per_hour = \"64 MiB\"\nrequests_per_minute = 2");
    house.request(at(0), "serve").unwrap();
    house.request(at(0), "serve").unwrap();
    assert_eq!(house.read(at(0), "serve", 1 << 30, 64 << 20).0, 64 << 20);
    for back in [-1, -3600, -86_400, 0] {
        assert_eq!(house.read(at(back), "serve", 1 << 30, SEGMENT).0, 0);
        assert!(house.request(at(back), "serve").is_err());
    }
}

#[test]
fn a_hot_loop_of_refusals_makes_a_row_a_minute_and_each_is_counted() {
    let house = House::new("requests_per_minute = 1");
    house.request(at(0), "serve").unwrap();
    let told = RefCell::new(Vec::new());
    for i in 0..50_000 {
        let refusal = refused(house.request(Timestamp::from_millis(at(0).as_millis() + i), "serve"));
        told.borrow_mut().extend(refusal.tell);
    }
    assert_eq!(*told.borrow(), [1], "the first at once, the others are counted");
    assert_eq!(house.ledger.untold(at(59), false), []);
    let untold = house.ledger.untold(at(60), false);
    assert_eq!(untold, [Untold { principal: caller("serve"), count: 49_999, rule: "q".into() }]);
    assert_eq!(house.ledger.untold(at(300), true), []);
}

#[test]
fn memory_is_bounded_with_a_hundred_thousand_callers_and_none_is_forgotten() {
    let house = House::new("bytes_per_hour = \"2 MiB\"");
    let mut most = 0;
    for i in 0..100_000 {
        let who = format!("w{i}");
        assert_eq!(house.read(at(0), &who, 1 << 20, 1 << 20).0, 1 << 20);
        if house.ledger.crowded() {
            house.shelf.settle(&house.ledger, house.ledger.flush(at(0), false));
        }
        most = most.max(house.ledger.in_memory());
    }
    assert!(most < 10_000, "{most} accounts in memory");
    for i in (0..100_000).step_by(997) {
        let had = house.read(at(1), &format!("w{i}"), 8 << 20, 8 << 20).0;
        assert!((SEGMENT..=SEGMENT + SEGMENT / 16).contains(&had) || had == SEGMENT, "w{i} had {had}");
    }
}

#[test]
fn bytes_today_are_those_given_out_and_outlive_the_process() {
    let house = House::new("streams = 1");
    house.read(at(0), "serve", 1 << 30, 77 << 20);
    let today = |house: &House| house.ledger.bytes_today(at(1), &caller("serve"), &house.shelf).unwrap();
    assert_eq!(today(&house), 77 << 20);
    house.shelf.settle(&house.ledger, house.ledger.flush(at(0), true));
    assert_eq!(today(&house.crash()), 77 << 20);
}

#[test]
fn a_rule_that_changes_counts_what_was_used_before() {
    let mut house = House::new("bytes_per_hour = \"1 GiB\"");
    house.read(at(0), "serve", 1 << 30, 100 << 20);
    house.quotas = quotas("bytes_per_hour = \"110 MiB\"");
    assert_eq!(house.read(at(0), "serve", 1 << 30, 1 << 30).0, 10 << 20);
    house.quotas = quotas("bytes_per_hour = \"1 GiB\"");
    assert_eq!(house.read(at(0), "serve", 1 << 30, 5 << 20).0, 5 << 20);
}
