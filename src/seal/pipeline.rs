//! Work on segments, in parallel and in bounded memory: who takes which segment next, one buffer a thread, and how a
//! member's running state goes from the thread with its earlier bytes to the thread with its later ones.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use zeroize::Zeroizing;

use super::error::SealError;

/// Threads used where the caller names no number: the kernel's copying, not the cipher, is the bottleneck beyond a few.
pub(crate) fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// Runs of segments, handed out one segment at a time: in order within a run, several runs at once.
///
/// SHA-256 of one member cannot be split. Taking as many runs at once as there are threads lets two large members be hashed
/// side by side instead of one after the other.
pub(crate) struct Schedule(Mutex<Queue>);

struct Queue {
    active: VecDeque<Range<u64>>,
    waiting: VecDeque<Range<u64>>,
}

impl Schedule {
    pub fn new(runs: Vec<Range<u64>>, threads: usize) -> Self {
        let mut waiting = VecDeque::from(runs);
        let at_once = threads.clamp(1, waiting.len().max(1)).min(waiting.len());
        let active = waiting.drain(..at_once).collect();
        Self(Mutex::new(Queue { active, waiting }))
    }

    /// For work in which no segment depends on another.
    pub fn in_any_order(segments: Range<u64>) -> Self {
        let active = if segments.is_empty() { VecDeque::new() } else { VecDeque::from([segments]) };
        Self(Mutex::new(Queue { active, waiting: VecDeque::new() }))
    }

    fn next(&self) -> Option<u64> {
        let queue = &mut *locked(&self.0);
        let mut run = queue.active.pop_front()?;
        let segment = run.next();
        let next_run = if run.is_empty() { queue.waiting.pop_front() } else { Some(run) };
        queue.active.extend(next_run);
        segment
    }
}

/// Does `work` on every scheduled segment. The first error stops all threads and is returned; `stop` is called then, so that
/// nobody waits for a thread that will not come. Buffers are wiped.
pub(crate) fn for_each_segment(
    schedule: &Schedule,
    threads: usize,
    buffer_len: u64,
    stop: &(dyn Fn() + Sync),
    work: impl Fn(u64, &mut Vec<u8>) -> Result<(), SealError> + Sync,
) -> Result<(), SealError> {
    let stopped = AtomicBool::new(false);
    let failure = Mutex::new(None);
    let worker = || {
        // Also when `work` panics: the other threads must end, or the panic would never be seen.
        let guard = StopOnDrop { stopped: &stopped, stop };
        let mut buffer = Zeroizing::new(Vec::with_capacity(usize::try_from(buffer_len).unwrap_or(0)));
        while !stopped.load(Ordering::Relaxed) {
            let Some(segment) = schedule.next() else { break };
            if let Err(e) = work(segment, &mut buffer) {
                locked(&failure).get_or_insert(e);
                return;
            }
        }
        std::mem::forget(guard);
    };
    if threads <= 1 {
        worker();
    } else {
        thread::scope(|scope| {
            for _ in 1..threads {
                // A machine that gives no more threads gets the work done with those there are.
                let _ = thread::Builder::new().spawn_scoped(scope, worker);
            }
            worker();
        });
    }
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

struct StopOnDrop<'a> {
    stopped: &'a AtomicBool,
    stop: &'a (dyn Fn() + Sync),
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        (self.stop)();
    }
}

/// Hands a value over from one segment to the next. A thread waits only for segments that were scheduled before its own, so
/// there is always one that need not wait.
pub(crate) struct Relay<T> {
    state: Mutex<Handover<T>>,
    arrived: Condvar,
}

struct Handover<T> {
    for_segment: HashMap<u64, T>,
    stopped: bool,
}

impl<T> Relay<T> {
    pub fn new() -> Self {
        Self { state: Mutex::new(Handover { for_segment: HashMap::new(), stopped: false }), arrived: Condvar::new() }
    }

    /// Leaves `value` for whoever works on `segment`.
    pub fn pass_to(&self, segment: u64, value: T) {
        let before = locked(&self.state).for_segment.insert(segment, value);
        debug_assert!(before.is_none(), "one member at most crosses into a segment");
        self.arrived.notify_all();
    }

    /// Waits for what was left for `segment`; `None` if the work was stopped.
    pub fn receive(&self, segment: u64) -> Option<T> {
        let mut state = locked(&self.state);
        loop {
            if state.stopped {
                return None;
            }
            if let Some(value) = state.for_segment.remove(&segment) {
                return Some(value);
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn stop(&self) {
        locked(&self.state).stopped = true;
        self.arrived.notify_all();
    }
}

/// A lock whose content stays meaningful when another thread panicked: that panic ends the whole work anyway.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_interleaved_and_each_segment_comes_once() {
        let schedule = Schedule::new(vec![0..3, 3..4, 4..6], 2);
        assert_eq!(std::iter::from_fn(|| schedule.next()).collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn the_first_error_ends_the_work_of_threads_that_wait() {
        let relay = Relay::<()>::new();
        let schedule = Schedule::new(vec![0..1000], 3);
        let result = for_each_segment(&schedule, 3, 0, &|| relay.stop(), |segment, _| {
            if segment > 0 && relay.receive(segment).is_none() {
                return Err(SealError::NotSealed);
            }
            if segment == 20 {
                return Err(SealError::SegmentAuthFailed { segment });
            }
            relay.pass_to(segment + 1, ());
            Ok(())
        });
        assert!(matches!(result, Err(SealError::SegmentAuthFailed { segment: 20 })));
    }

    #[test]
    fn a_panic_of_one_thread_does_not_leave_the_others_waiting() {
        let relay = Relay::<()>::new();
        let schedule = Schedule::new(vec![0..100], 2);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = for_each_segment(&schedule, 2, 0, &|| relay.stop(), |segment, _| {
                assert_ne!(segment, 0, "the worker of segment 0 panics");
                relay.receive(segment).ok_or(SealError::NotSealed)
            });
        }));
        assert!(panicked.is_err());
    }
}
