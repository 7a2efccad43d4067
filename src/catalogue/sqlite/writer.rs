//! One thread that owns the only write connection of a database.
//!
//! It takes whatever commands wait, up to [`GROUP`], runs each in a savepoint of one transaction, commits once and answers
//! then: the fsync of one group is the time in which the next one gathers. A command that fails undoes itself only. One writer
//! also means that no two connections ever checkpoint at once.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::{CatalogueError, Result};
use super::rows::{Db, RowKey};
use crate::names::Clock;

/// The most commands of one transaction.
const GROUP: usize = 64;

/// How long callers wait and how many may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// After this time a call fails instead of waiting on.
    pub wait: Duration,
    /// Commands waiting for the writer, at most.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(10), queue: 1024 }
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    limits: Limits,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    taken: Condvar,
    commands: AtomicU64,
    commits: AtomicU64,
}

struct Queue {
    jobs: VecDeque<Job>,
    open: bool,
    /// The thread has ended, by closing or by a bug.
    ended: bool,
}

/// With a database it runs the command; with an error it only answers.
type Run = Box<dyn FnOnce(Result<&Db<'_>>) -> Ran + Send>;

struct Job {
    /// Set by the writer when it begins the command, or by the caller when it gives up: whoever is first decides.
    claimed: Arc<AtomicBool>,
    run: Run,
}

/// A command that was run but not committed.
struct Ran {
    outcome: Result<()>,
    /// Before the answer, what was deleted must leave the write-ahead log.
    scrub: bool,
    answer: Box<dyn FnOnce(Result<()>) + Send>,
}

impl Writer {
    pub fn start(
        path: &Path,
        conn: Connection,
        key: Arc<RowKey>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { jobs: VecDeque::new(), open: true, ended: false }),
            arrived: Condvar::new(),
            taken: Condvar::new(),
            commands: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        });
        let (served, path) = (Arc::clone(&shared), path.to_path_buf());
        let thread = std::thread::Builder::new()
            .name(format!("{} writer", path.file_name().unwrap_or_default().display()))
            .spawn(move || {
                let ending = Ending(&served);
                let mut service = Service { path, conn, key, clock, shared: &served, stopped: None };
                while let Some(group) = served.next_group() {
                    service.serve(group);
                }
                // The connection closes, with its last checkpoint, before anyone hears that the thread ended.
                drop(service);
                drop(ending);
            })
            .map_err(|e| CatalogueError::Io(format!("no thread for the writer: {e}")))?;
        Ok(Self { shared, thread: Some(thread), limits })
    }

    /// Runs a command and returns when it is durable.
    pub fn run<T: Send + 'static>(&self, command: impl FnOnce(&Db<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.submit(false, command)
    }

    /// The same, and what it deleted is in no file when this returns.
    pub fn run_and_scrub<T: Send + 'static>(
        &self,
        command: impl FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit(true, command)
    }

    /// Commands that wait.
    pub fn waiting(&self) -> usize {
        self.shared.queue().jobs.len()
    }

    /// Commands carried out and transactions they took.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.commands.load(Ordering::Relaxed), self.shared.commits.load(Ordering::Relaxed))
    }

    fn submit<T: Send + 'static>(
        &self,
        scrub: bool,
        command: impl FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let deadline = Instant::now() + self.limits.wait;
        let (answer, answered) = sync_channel(1);
        let claimed = Arc::new(AtomicBool::new(false));
        let run = Box::new(move |db: Result<&Db<'_>>| {
            let result = db.and_then(command);
            let outcome = result.as_ref().map(|_| ()).map_err(Clone::clone);
            // A failed commit counts more than the command's own answer, which may rest on what was rolled back. The receiver
            // may have given up.
            let answer = Box::new(move |committed: Result<()>| drop(answer.send(committed.and(result))));
            Ran { outcome, scrub, answer }
        });
        self.enqueue(Job { claimed: Arc::clone(&claimed), run }, deadline)?;
        match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                Err(CatalogueError::DeadlineExceeded { may_take_effect: claimed.swap(true, Ordering::SeqCst) })
            }
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }

    fn enqueue(&self, job: Job, deadline: Instant) -> Result<()> {
        let mut queue = self.shared.queue();
        while queue.jobs.len() >= self.limits.queue && !queue.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CatalogueError::Overloaded);
            }
            queue = self.shared.taken.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if queue.ended {
            return Err(ended());
        }
        queue.jobs.push_back(job);
        self.shared.arrived.notify_one();
        Ok(())
    }
}

impl Drop for Writer {
    /// Lets the writer finish what waits and close its connection; a hung disk does not hang the process.
    fn drop(&mut self) {
        let deadline = Instant::now() + self.limits.wait;
        let mut queue = self.shared.queue();
        queue.open = false;
        self.shared.arrived.notify_all();
        while !queue.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.shared.taken.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(queue);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_group(&self) -> Option<Vec<Job>> {
        let mut queue = self.queue();
        while queue.jobs.is_empty() {
            if !queue.open {
                return None;
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let many = queue.jobs.len().min(GROUP);
        let group = queue.jobs.drain(..many).collect();
        self.taken.notify_all();
        Some(group)
    }
}

/// Tells callers that nobody will answer, also when the thread panics.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.ended = true;
        // Dropping a job drops its answer's sender, which its caller hears.
        queue.jobs.clear();
        self.0.taken.notify_all();
    }
}

struct Service<'a> {
    path: PathBuf,
    conn: Connection,
    key: Arc<RowKey>,
    clock: Arc<dyn Clock>,
    shared: &'a Shared,
    /// Why nothing is written any more. After a failed write or fsync the kernel may have dropped the bytes and yet report
    /// success next time, so what the file holds is known again only after it was opened anew.
    stopped: Option<CatalogueError>,
}

impl Service<'_> {
    fn serve(&mut self, group: Vec<Job>) {
        let mut waiting = VecDeque::from(group);
        while !waiting.is_empty() {
            let mut ran = Vec::with_capacity(waiting.len());
            let committed = match &self.stopped {
                Some(why) => Err(why.clone()),
                None => self.transaction(&mut waiting, &mut ran),
            };
            let committed = committed.inspect_err(|e| self.after_failure(e));
            let scrubbed = match &committed {
                Ok(()) if ran.iter().any(|r| r.scrub && r.outcome.is_ok()) => {
                    scrub(&self.conn).inspect_err(|e| self.after_failure(e))
                }
                other => other.clone(),
            };
            let (committed, scrubbed) = (self.named(committed), self.named(scrubbed));
            if committed.is_ok() {
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
                self.shared.commands.fetch_add(ran.len() as u64, Ordering::Relaxed);
            }
            let ran_none = ran.is_empty();
            for command in ran {
                (command.answer)(if command.scrub { scrubbed.clone() } else { committed.clone() });
            }
            // The commands after one that broke the transaction get a transaction of their own, but not where none can begin.
            if let (Err(why), true) = (&committed, ran_none) {
                for job in waiting.drain(..) {
                    ((job.run)(Err(why.clone())).answer)(Err(why.clone()));
                }
            }
        }
    }

    fn named(&self, outcome: Result<()>) -> Result<()> {
        outcome.map_err(|e| e.of_file(&self.path))
    }

    /// Runs commands until none waits, or one of them broke the transaction, and commits.
    fn transaction(&self, waiting: &mut VecDeque<Job>, ran: &mut Vec<Ran>) -> Result<()> {
        let db = Db { conn: &self.conn, key: &self.key, now: self.clock.now() };
        db.execute("BEGIN IMMEDIATE", [])?;
        while let Some(job) = waiting.pop_front() {
            if job.claimed.swap(true, Ordering::SeqCst) {
                continue;
            }
            let command = match db.execute("SAVEPOINT command", []) {
                Ok(_) => (job.run)(Ok(&db)),
                Err(e) => (job.run)(Err(e)),
            };
            let failed = command.outcome.clone().err();
            ran.push(command);
            // SQLite rolls the whole transaction back by itself after some errors (disk full, failed writes): then the
            // commands before this one were undone too.
            if self.conn.is_autocommit() {
                return Err(failed.unwrap_or_else(|| CatalogueError::Internal("the transaction ended early".into())));
            }
            if failed.is_some() {
                db.execute("ROLLBACK TO command", [])?;
            }
            db.execute("RELEASE command", [])?;
        }
        db.execute("COMMIT", [])?;
        Ok(())
    }

    fn after_failure(&mut self, why: &CatalogueError) {
        if !self.conn.is_autocommit()
            && let Err(e) = self.conn.execute_batch("ROLLBACK")
        {
            self.stopped = Some(e.into());
        }
        if matches!(why, CatalogueError::Io(_) | CatalogueError::Damaged(_)) {
            tracing::error!("the catalogue stops writing until it is opened again: {why}");
            self.stopped = Some(why.clone());
        }
    }
}

/// Moves every page of the log into the database and cuts the log to nothing. Waits for readers as long as the connection's
/// busy time-out says.
pub(super) fn scrub(conn: &Connection) -> Result<()> {
    let busy: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 {
        return Ok(());
    }
    Err(CatalogueError::Busy("a reader keeps deleted bytes alive; the same command again finishes it".into()))
}

fn ended() -> CatalogueError {
    CatalogueError::Internal("the writer has ended".into())
}
