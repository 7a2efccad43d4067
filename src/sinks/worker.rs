//! One sink: reads the log from where the receiver is, sends, and remembers how far the receiver has come.
//!
//! What is remembered is what the receiver is known to have, never what was merely written to it. After a crash, or a
//! connection that broke, the records in between are sent again: each event bears its number, so a receiver can tell.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::deliver::{Delivery, Got};
use crate::audit::{Decision, FIRST_SEQ, Record};
use crate::error::{Error, ErrorId, Result};
use crate::siem::{Origin, Sink, Source};
use crate::vault::Vault;

/// Rows read at once, and so the memory of a sink: a record is 64 KiB at most, and mostly half of one.
const ROWS: u32 = 256;
/// How often new rows are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often the place in the log is made durable, at most.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Pauses between attempts: doubled from the first to the last, and spread.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How often a failure that lasts is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    vault: Arc<Vault>,
    source: Arc<Source>,
    sink: Sink,
    stop: watch::Receiver<bool>,
    /// The receiver has everything up to this record.
    confirmed: u64,
    /// What is on disk of that.
    kept: u64,
    kept_at: Instant,
    /// Written, and not yet known to have arrived: the last record of a batch, its events, and when.
    waiting: VecDeque<(u64, u64, Instant)>,
    told: Option<Instant>,
}

impl Worker {
    pub(super) fn new(vault: Arc<Vault>, source: Arc<Source>, sink: Sink, stop: watch::Receiver<bool>) -> Self {
        let kept_at = Instant::now();
        Self { vault, source, sink, stop, confirmed: 0, kept: 0, kept_at, waiting: VecDeque::new(), told: None }
    }

    /// Until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSES.0;
        let mut begun = false;
        while !self.stopping() {
            let outcome = match begun {
                false => self.begin().await.map(|()| begun = true),
                true => self.deliver().await,
            };
            match outcome {
                Ok(()) => pause = PAUSES.0,
                Err(e) => {
                    // The first failure after all was well: short pauses again.
                    pause = if self.told.is_none() { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
                    self.failed(&e);
                    self.wait(self.spread(pause)).await;
                }
            }
        }
        if let Err(e) = self.keep(true).await {
            self.failed(&e);
        }
    }

    /// Where the receiver is.
    async fn begin(&mut self) -> Result<()> {
        let name = self.sink.name.clone();
        let (known, records) =
            self.blocking(move |vault| Ok((vault.sink_cursor(&name)?, vault.audit_records()?))).await?;
        let fresh = match self.sink.from {
            Origin::Beginning => 0,
            Origin::Now => records,
        };
        self.confirmed = known.unwrap_or(fresh);
        if self.confirmed > records {
            tracing::warn!(sink = %self.sink.name, cursor = self.confirmed, records,
                "the audit log is shorter than what this sink has sent: was an old backup restored? It goes on from its end");
            self.confirmed = records;
        }
        self.kept = known.unwrap_or(u64::MAX);
        let cursor = self.confirmed;
        self.vault.tell_sink(&self.sink.name, |p| p.cursor = cursor);
        self.keep(true).await
    }

    /// Connects and sends until something breaks, or all is said at the end.
    async fn deliver(&mut self) -> Result<()> {
        self.waiting.clear();
        let mut delivery = Delivery::open(&self.sink, self.vault.home().path()).await?;
        let outcome = self.send_on(&mut delivery).await;
        match outcome {
            Ok(()) => {
                // Only a receiver that closed its side after us has read it all.
                if delivery.close().await {
                    self.arrived(Duration::ZERO);
                }
                self.keep(true).await
            }
            Err(e) => {
                self.keep(true).await?;
                Err(e)
            }
        }
    }

    async fn send_on(&mut self, delivery: &mut Delivery) -> Result<()> {
        let mut next = self.confirmed + FIRST_SEQ;
        let opened = Instant::now();
        loop {
            let ending = self.stopping();
            let rows = self.blocking(move |vault| vault.audit_rows_again(next, ROWS)).await?;
            let last = rows.last().map(|(seq, _)| *seq);
            let events: Vec<String> = rows
                .iter()
                .filter(|(_, row)| self.wants(row))
                .map(|(seq, row)| delivery.event(&self.sink, &self.source, *seq, row))
                .collect();
            if let Some(last) = last {
                let got = if events.is_empty() { Got::Confirmed } else { delivery.send(&self.source, &events).await? };
                next = last + 1;
                self.waiting.push_back((last, events.len() as u64, Instant::now()));
                match got {
                    Got::Confirmed if self.waiting.len() == 1 => self.arrived(Duration::ZERO),
                    // In order: what was skipped waits for what was written before it.
                    Got::Confirmed | Got::Written => {}
                }
            }
            delivery.check()?;
            if opened.elapsed() >= delivery.proof() {
                self.well();
            }
            self.arrived(delivery.proof());
            self.keep(false).await?;
            if last.is_none() {
                if ending {
                    return Ok(());
                }
                self.wait(LOOK_EVERY).await;
            }
        }
    }

    /// Rows that cannot be read are for every sink.
    fn wants(&self, row: &[u8]) -> bool {
        Record::parse(row).map_or(true, |r| self.sink.wants(r.act().as_str(), *r.decision() != Decision::Allow))
    }

    /// What was written this long ago over a connection that still stands has arrived.
    fn arrived(&mut self, ago: Duration) {
        let mut events = 0;
        while let Some((seq, count, _)) = self.waiting.pop_front_if(|(_, _, at)| at.elapsed() >= ago) {
            self.confirmed = seq;
            events += count;
        }
        let (cursor, now) = (self.confirmed, self.vault.clock().now());
        self.vault.tell_sink(&self.sink.name, |p| {
            p.cursor = cursor;
            p.events += events;
            if events > 0 {
                p.delivered = Some(now);
            }
        });
    }

    /// The receiver is there and takes what comes.
    fn well(&mut self) {
        if self.told.take().is_some() {
            self.vault.tell_sink(&self.sink.name, |p| p.error = None);
            tracing::info!(sink = %self.sink.name, cursor = self.confirmed, "the audit log is being sent again");
        }
    }

    async fn keep(&mut self, now: bool) -> Result<()> {
        if self.kept == self.confirmed || !(now || self.kept_at.elapsed() >= KEEP_EVERY) {
            return Ok(());
        }
        let (name, seq) = (self.sink.name.clone(), self.confirmed);
        self.blocking(move |vault| vault.keep_sink_cursor(&name, seq)).await?;
        (self.kept, self.kept_at) = (seq, Instant::now());
        Ok(())
    }

    fn failed(&mut self, e: &Error) {
        self.vault.tell_sink(&self.sink.name, |p| {
            p.failures += 1;
            p.error = Some(e.to_string());
        });
        if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(sink = %self.sink.name, cursor = self.confirmed, error = %e, "the audit log is not being sent");
        }
    }

    fn stopping(&self) -> bool {
        // No sender: the daemon is gone.
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    async fn wait(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Half to all of a pause, so that many vaults do not come back at once.
    fn spread(&self, pause: Duration) -> Duration {
        let mut byte = [0];
        // Without randomness the pause is the longest.
        let share = self.vault.random().fill(&mut byte).map_or(255, |()| byte[0]);
        pause.mul_f64(0.5 + f64::from(share) / 510.0)
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Vault) -> Result<T> + Send + 'static) -> Result<T> {
        let vault = Arc::clone(&self.vault);
        let broke = |_| Error::new(ErrorId::Internal, "the work for a sink broke off");
        tokio::task::spawn_blocking(move || work(&vault)).await.map_err(broke)?
    }
}
