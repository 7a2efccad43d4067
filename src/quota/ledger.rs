//! All accounts behind one lock: what is given out, and what must be durable before it leaves.
//!
//! In memory the counters are exact. In the catalogue they are ahead of that: a stored account holds what was used and a reserve, and
//! nothing is given out beyond the reserve before the account was stored again. So a process that dies leaves counters that are never
//! too low, and too high by a reserve at most; one that ends stores what was used.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::account::{Account, Amounts, Key, bytes_in, part_of};
use super::refusal::Refusal;
use super::rules::{Cap, Quotas, Scope, Terms, WHOLE, What};
use crate::error::{Error, ErrorId, Result};
use crate::names::{ArtifactId, Name, Principal, Timestamp};

/// What a stream takes at least: where anything is left, so much may leave. A limit is never passed by more.
pub const SEGMENT: u64 = 1 << 20;

/// What a stream takes at most at once.
const SLICE: u64 = 64 << 20;

/// The reserve of a stored account is a small part of the tightest limit, and at most this.
const AHEAD: Amounts = Amounts { requests: 64, bytes: 256 << 20, reads: 64 * WHOLE };
const AHEAD_PART: u64 = 32;

/// A reserve is used up in this time or not at all: after a crash it counts as used at the end of it.
const AHEAD_FOR: Duration = Duration::from_secs(10);

/// Accounts in memory; beyond this those that rest are stored and forgotten.
const MANY: usize = 8192;

/// Accounts stored at once.
const BATCH: usize = 256;

/// So often an account is read again, because others were forgotten meanwhile, before everybody waits for it.
const READ_AGAIN: u32 = 4;

/// Between two rows about refusals of one caller.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Where accounts are kept.
pub trait Books {
    /// The stored form of an account and its revision.
    ///
    /// # Errors
    /// Those of the books: nothing is given out then.
    fn stored(&self, key: &Key) -> Result<Option<(u64, Vec<u8>)>>;
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// The groups it is in.
    pub groups: &'a [Name],
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Target {
    /// The artifact.
    pub id: ArtifactId,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: Vec<String>,
    /// Bytes of the whole.
    pub size: u64,
}

/// An account as it is to be stored. An older revision never replaces a newer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whose.
    pub key: Key,
    /// Higher than all before.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
    /// The account.
    pub account: Vec<u8>,
}

/// What must be durable before what was asked for is given. Then [`Ledger::settled`]; if it cannot be stored, nothing.
#[derive(Debug, Default)]
#[must_use]
pub struct Due {
    /// To be stored.
    pub rows: Vec<Stored>,
    marks: Vec<(Key, u64, Reserve)>,
}

/// A stream that counts. To be ended with [`Ledger::end`], whatever happens to it.
#[derive(Debug)]
pub struct Stream {
    caller: Key,
    artifact: Key,
    groups: Vec<Name>,
    target: Target,
    /// Bytes it took, and their part of the whole.
    taken: Amounts,
    /// How often the two accounts had been set back when it began.
    resets: [u32; 2],
}

impl Stream {
    /// Bytes it may have read so far.
    pub fn taken(&self) -> u64 {
        self.taken.bytes
    }
}

/// Refusals of one caller that are to go on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// Who was refused.
    pub principal: Principal,
    /// How often.
    pub count: u64,
    /// By which rule, the last time.
    pub rule: String,
}

/// Why nothing is given: a limit, or books that cannot be read.
#[derive(Debug)]
pub enum No {
    /// A limit.
    Refused(Box<Refusal>),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for No {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

/// Use that is stored in advance.
#[derive(Clone, Copy, Debug)]
struct Reserve {
    /// All use up to here is covered.
    to: Amounts,
    until: Timestamp,
}

/// An account at work.
#[derive(Debug)]
struct Open {
    account: Account,
    /// Use since it was loaded.
    used: Amounts,
    /// What is stored covers this much of it.
    reserve: Option<Reserve>,
    /// Of the newest row made, and of the newest that is durable.
    revision: u64,
    durable: u64,
    /// What is stored is exact.
    exact: bool,
    streams: u64,
    /// How often it was set back to nothing.
    resets: u32,
    touched: Timestamp,
    refused: u64,
    rule: String,
    told: Option<Timestamp>,
}

/// All accounts.
#[derive(Debug, Default)]
pub struct Ledger {
    open: Mutex<HashMap<Key, Open>>,
    /// How often accounts were forgotten: what was read of the books before that may be older than what is there now.
    forgotten: AtomicU64,
}

impl Ledger {
    /// Counts a request of a caller, before it is known what it is for.
    ///
    /// # Errors
    /// A limit on all that the caller does; those of the books.
    pub fn request(&self, now: Timestamp, quotas: &Quotas, who: Asker<'_>, books: &dyn Books) -> Result<(), No> {
        let key = Key { principal: who.principal.clone(), artifact: None };
        let terms = quotas.terms(who.principal, who.groups, None);
        let mut open = self.with([&key], now, books)?;
        let caller = at_work(&mut open, &key);
        let full = terms.on(Scope::Caller, What::Requests).find(|cap| caller.account.left(cap, now) == 0);
        if let Some(cap) = full {
            let wait = caller.account.frees(cap, now, 1);
            return Err(caller.refuse(now, cap, wait));
        }
        caller.count(now, Amounts { requests: 1, ..Amounts::default() });
        Ok(())
    }

    /// Counts a request that no limit is asked about.
    ///
    /// # Errors
    /// Those of the books.
    pub fn note(&self, now: Timestamp, who: &Principal, books: &dyn Books) -> Result<()> {
        let key = Key { principal: who.clone(), artifact: None };
        let mut open = self.with([&key], now, books)?;
        at_work(&mut open, &key).count(now, Amounts { requests: 1, ..Amounts::default() });
        Ok(())
    }

    /// Begins a stream with its first slice, or as much of it as there is.
    ///
    /// # Errors
    /// As [`request`](Self::request); nothing was counted then.
    pub fn begin(
        &self,
        now: Timestamp,
        quotas: &Quotas,
        who: Asker<'_>,
        target: Target,
        books: &dyn Books,
    ) -> Result<(Stream, u64, Due), No> {
        let terms = terms_of(quotas, who, &target);
        let caller = Key { principal: who.principal.clone(), artifact: None };
        let artifact = Key { artifact: Some(target.id), ..caller.clone() };
        let mut open = self.with([&artifact, &caller], now, books)?;
        for (scope, key) in [(Scope::Caller, &caller), (Scope::Artifact, &artifact)] {
            let at = &open[key];
            let busy = terms.on(scope, What::Streams).find(|cap| at.streams >= cap.limit);
            let full = || match scope {
                Scope::Caller => None,
                Scope::Artifact => terms.on(scope, What::Requests).find(|cap| at.account.left(cap, now) == 0),
            };
            if let Some(cap) = busy.or_else(full) {
                let wait = if busy.is_some() { Duration::from_secs(1) } else { at.account.frees(cap, now, 1) };
                return Err(at_work(&mut open, &caller).refuse(now, cap, wait));
            }
        }
        let groups = who.groups.to_vec();
        let resets = [&caller, &artifact].map(|key| open[key].resets);
        let mut stream = Stream { caller, artifact, groups, target, taken: Amounts::default(), resets };
        let want = stream.target.size.min(SLICE);
        let given = slice(&mut open, now, &terms, &mut stream, want.min(SEGMENT), want)?;
        // Of the caller it was counted at the door.
        at_work(&mut open, &stream.artifact).count(now, Amounts { requests: 1, ..Amounts::default() });
        for key in [&stream.caller, &stream.artifact] {
            at_work(&mut open, key).streams += 1;
        }
        let due = cover(&mut open, now, &terms, &stream);
        Ok((stream, given, due))
    }

    /// Takes the next slice of a stream: `need` bytes at least, which is a segment at most.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn take(&self, now: Timestamp, quotas: &Quotas, stream: &mut Stream, need: u64) -> Result<(u64, Due), No> {
        let mut open = self.open();
        let who = Asker { principal: &stream.caller.principal, groups: &stream.groups };
        let terms = terms_of(quotas, who, &stream.target);
        let given = slice(&mut open, now, &terms, stream, need, SLICE.max(need))?;
        let due = cover(&mut open, now, &terms, stream);
        Ok((given, due))
    }

    /// Ends a stream of which so many bytes left.
    pub fn end(&self, now: Timestamp, stream: &Stream, bytes: u64) {
        let mut open = self.open();
        let used = Amounts { requests: 0, bytes, reads: part_of(bytes, stream.target.size) };
        for (key, resets) in [&stream.caller, &stream.artifact].into_iter().zip(stream.resets) {
            let at = at_work(&mut open, key);
            at.streams -= 1;
            // What it took before does not count any more, so nothing of it comes back.
            if at.resets != resets {
                continue;
            }
            at.give_back(now, scoped(key, stream.taken.less(used)));
            at.count(now, scoped(key, used.less(stream.taken)));
        }
    }

    /// What was due is durable.
    pub fn settled(&self, due: Due) {
        let mut open = self.open();
        for (key, revision, reserve) in due.marks {
            let Some(at) = open.get_mut(&key) else { continue };
            if revision <= at.durable {
                continue;
            }
            at.durable = revision;
            at.reserve = Some(reserve);
            at.exact = reserve.to == at.used;
        }
        if open.len() > MANY {
            self.forget(&mut open);
        }
    }

    /// Whether accounts that rest should be stored now: see [`flush`](Self::flush).
    pub fn crowded(&self) -> bool {
        self.open().len() > MANY + BATCH
    }

    /// Accounts of which more or less is stored than was used: those whose reserve has ended, with `all` every one, in one batch.
    /// Where there are too many in memory, those that rest the longest.
    pub fn flush(&self, now: Timestamp, all: bool) -> Due {
        let mut open = self.open();
        let crowded = open.len() > MANY;
        let over = |at: &Open| at.reserve.is_none_or(|r| now > r.until);
        let mut inexact: Vec<_> = open
            .iter()
            .filter(|(_, at)| !at.exact && (all || (at.streams == 0 && (crowded || over(at)))))
            .map(|(key, at)| (at.touched, key.clone()))
            .collect();
        inexact.sort_unstable_by_key(|(touched, _)| *touched);
        let mut due = Due::default();
        for (_, key) in inexact.into_iter().take(if crowded { BATCH.max(open.len() - MANY) } else { BATCH }) {
            at_work(&mut open, &key).store(now, &key, Amounts::default(), &mut due);
        }
        if crowded {
            self.forget(&mut open);
        }
        due
    }

    /// Refusals that were counted and are due to be told.
    pub fn untold(&self, now: Timestamp, all: bool) -> Vec<Untold> {
        let mut open = self.open();
        let due = open.iter_mut().filter(|(_, at)| at.refused > 0 && (all || at.tells(now)));
        due.map(|(key, at)| {
            at.told = Some(now);
            Untold { principal: key.principal.clone(), count: std::mem::take(&mut at.refused), rule: at.rule.clone() }
        })
        .collect()
    }

    /// Bytes that a caller was given today, those of running streams included.
    ///
    /// # Errors
    /// Those of the books.
    pub fn bytes_today(&self, now: Timestamp, who: &Principal, books: &dyn Books) -> Result<u64> {
        let key = Key { principal: who.clone(), artifact: None };
        if let Some(at) = self.open().get(&key) {
            return Ok(at.account.bytes_today(now));
        }
        Ok(stored(&key, books)?.map_or(0, |(_, account)| account.bytes_today(now)))
    }

    /// The accounts in memory that somebody wants to see, each with the streams that run.
    pub fn accounts(&self, wanted: impl Fn(&Key) -> bool) -> Vec<(Key, Account, u64)> {
        let open = self.open();
        open.iter().filter(|(key, _)| wanted(key)).map(|(k, at)| (k.clone(), at.account.clone(), at.streams)).collect()
    }

    /// Sets accounts back to nothing: those that are stored nowhere any more. Streams that run go on, and count from here.
    pub fn reset(&self, wanted: impl Fn(&Key) -> bool) {
        let mut open = self.open();
        open.retain(|key, at| at.streams > 0 || !wanted(key));
        for (_, at) in open.iter_mut().filter(|(key, _)| wanted(key)) {
            (at.account, at.used, at.reserve, at.exact) = (Account::default(), Amounts::default(), None, false);
            at.resets += 1;
        }
        self.forgotten.fetch_add(1, Ordering::AcqRel);
    }

    /// Accounts in memory.
    pub fn in_memory(&self) -> usize {
        self.open().len()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Key, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The accounts, these among them. The books are read while nobody waits for it.
    fn with<const N: usize>(
        &self,
        keys: [&Key; N],
        now: Timestamp,
        books: &dyn Books,
    ) -> Result<MutexGuard<'_, HashMap<Key, Open>>> {
        let mut read: [Option<Open>; N] = [const { None }; N];
        let mut open = self.open();
        for attempt in 0.. {
            let missing = |open: &HashMap<Key, Open>, at: usize| !open.contains_key(keys[at]);
            if !(0..N).any(|at| missing(&open, at)) {
                break;
            }
            // Somebody may make accounts come and go all the time: then they wait.
            let patient = attempt < READ_AGAIN;
            let forgotten = self.forgotten.load(Ordering::Acquire);
            let wanted: Vec<_> = (0..N).filter(|at| missing(&open, *at)).collect();
            if patient {
                drop(open);
                for at in &wanted {
                    read[*at] = Some(load(keys[*at], now, books)?);
                }
                open = self.open();
                if self.forgotten.load(Ordering::Acquire) != forgotten {
                    continue;
                }
            } else {
                for at in &wanted {
                    read[*at] = Some(load(keys[*at], now, books)?);
                }
            }
            for at in wanted {
                // Whoever was faster may have counted something by now.
                if let (true, Some(loaded)) = (missing(&open, at), read[at].take()) {
                    open.insert(keys[at].clone(), loaded);
                }
            }
        }
        Ok(open)
    }

    /// Forgets the accounts that rest.
    fn forget(&self, open: &mut HashMap<Key, Open>) {
        open.retain(|_, at| !at.rests());
        self.forgotten.fetch_add(1, Ordering::AcqRel);
    }
}

impl Due {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Open {
    fn count(&mut self, now: Timestamp, used: Amounts) {
        self.account.add(now, used);
        self.used = self.used.plus(used);
        (self.touched, self.exact) = (now, self.exact && used == Amounts::default());
    }

    fn give_back(&mut self, now: Timestamp, unused: Amounts) {
        self.account.give_back(unused);
        self.used = self.used.less(unused);
        (self.touched, self.exact) = (now, self.exact && unused == Amounts::default());
    }

    /// The account as it is to be stored, with a reserve.
    fn store(&mut self, now: Timestamp, key: &Key, ahead: Amounts, due: &mut Due) {
        let until = now.plus(AHEAD_FOR);
        self.revision += 1;
        due.marks.push((key.clone(), self.revision, Reserve { to: self.used.plus(ahead), until }));
        let account = self.account.encode(now, ahead, until);
        due.rows.push(Stored { key: key.clone(), revision: self.revision, at: now, account });
    }

    /// Nothing would be lost without it.
    fn rests(&self) -> bool {
        self.exact && self.streams == 0 && self.refused == 0
    }

    fn tells(&self, now: Timestamp) -> bool {
        self.told.is_none_or(|told| now.since(told) >= TELL_EVERY)
    }

    fn refuse(&mut self, now: Timestamp, cap: &Cap, retry_after: Duration) -> No {
        self.refused += 1;
        self.rule.clone_from(&cap.rule);
        let tell = self.tells(now).then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.refused)
        });
        No::Refused(Box::new(Refusal { cap: cap.clone(), retry_after, tell }))
    }
}

fn terms_of(quotas: &Quotas, who: Asker<'_>, target: &Target) -> Terms {
    let Target { namespace, name, labels, .. } = target;
    quotas.terms(who.principal, who.groups, Some((namespace, name, labels)))
}

fn stored(key: &Key, books: &dyn Books) -> Result<Option<(u64, Account)>> {
    let Some((revision, bytes)) = books.stored(key)? else { return Ok(None) };
    let account = Account::decode(&bytes).ok_or_else(|| {
        Error::new(
            ErrorId::CatalogueDamaged,
            format!("the use of {} is stored in no form that is known", key.principal),
        )
    })?;
    Ok(Some((revision, account)))
}

fn load(key: &Key, now: Timestamp, books: &dyn Books) -> Result<Open> {
    // A process that died may have left more in the row than was used: it counts.
    let (revision, account) = stored(key, books)?.unwrap_or_default();
    Ok(Open {
        account,
        used: Amounts::default(),
        reserve: None,
        revision,
        durable: revision,
        exact: true,
        streams: 0,
        resets: 0,
        touched: now,
        refused: 0,
        rule: String::new(),
        told: None,
    })
}

/// An account that is in memory: that of a stream is, as long as it runs.
fn at_work<'a>(open: &'a mut HashMap<Key, Open>, key: &Key) -> &'a mut Open {
    open.get_mut(key).expect("an account at work is in memory")
}

/// The reads of an artifact are its own alone.
fn scoped(key: &Key, amounts: Amounts) -> Amounts {
    if key.artifact.is_some() { amounts } else { Amounts { reads: 0, ..amounts } }
}

/// Gives a stream between `need` and `want` bytes: less, the less is left and the more streams share it.
fn slice(
    open: &mut HashMap<Key, Open>,
    now: Timestamp,
    terms: &Terms,
    stream: &mut Stream,
    need: u64,
    want: u64,
) -> Result<u64, No> {
    let size = stream.target.size;
    let (caller, artifact) = (&open[&stream.caller], &open[&stream.artifact]);
    let mut give = want;
    for cap in terms.caps.iter().filter(|cap| matches!(cap.what, What::Bytes | What::Reads)) {
        let at = if cap.scope == Scope::Caller { caller } else { artifact };
        let left = at.account.left(cap, now);
        if left == 0 && need > 0 {
            // Not the moment a byte is free: coming back for one at a time helps nobody.
            let wait = at.account.frees(cap, now, (cap.most() / 16).max(1).min(cap.most()));
            return Err(at_work(open, &stream.caller).refuse(now, cap, wait));
        }
        let left = if cap.what == What::Reads { bytes_in(left, size) } else { left };
        give = give.min(left / (2 * at.streams.max(1)));
    }
    let give = give.max(need);
    let taken = stream.taken.bytes.saturating_add(give);
    let more = Amounts { requests: 0, bytes: give, reads: part_of(taken, size) - stream.taken.reads };
    stream.taken = stream.taken.plus(more);
    for key in [&stream.caller, &stream.artifact] {
        at_work(open, key).count(now, scoped(key, more));
    }
    Ok(give)
}

/// Stores the accounts of a stream again, with a reserve, unless the reserve that is stored covers what was used.
fn cover(open: &mut HashMap<Key, Open>, now: Timestamp, terms: &Terms, stream: &Stream) -> Due {
    let mut due = Due::default();
    for (scope, key) in [(Scope::Caller, &stream.caller), (Scope::Artifact, &stream.artifact)] {
        let at = at_work(open, key);
        if at.reserve.is_some_and(|r| now <= r.until && r.to.cover(at.used)) {
            continue;
        }
        let part = |what, most: u64| {
            let tightest = terms.on(scope, what).map(Cap::most).min();
            tightest.map_or(most, |tightest| most.min(tightest / AHEAD_PART))
        };
        let bytes = part(What::Bytes, AHEAD.bytes);
        let reads = part(What::Reads, AHEAD.reads.min(part_of(bytes, stream.target.size)));
        let ahead = Amounts { requests: part(What::Requests, AHEAD.requests), bytes, reads };
        at.store(now, key, scoped(key, ahead), &mut due);
    }
    due
}
