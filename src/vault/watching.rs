//! Rules over the vault's own log: rows are read as they become durable, alerts become rows themselves, and holds are placed.
//!
//! What was learned is in memory, and now and then in a file of the home, sealed with a key of the vault: a restart goes on from
//! there. Without the file, or with one that was altered, it is learned anew from the newest rows, silently. How far rows were
//! judged is in the catalogue, so that each is judged, and seldom twice (after a crash, those of the last seconds).

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::gate::Subject;
use super::hold::{HoldSpec, HoldTarget};
use super::{Caller, Channel, Counted, Evidence, Vault};
use crate::audit::{Act, FIRST_SEQ, Record};
use crate::catalogue::CatalogueError;
use crate::crypto::hash::sha256;
use crate::crypto::record;
use crate::error::{Error, ErrorId, Result};
use crate::home::{read_bounded, replace_file};
use crate::names::{Principal, PrincipalKind, RequestId, Timestamp};
use crate::watch::{Alert, Event, Response, Rules, SNAPSHOT_MAX, Watcher, Webhook};

/// Rows that are learned from after a restart, at most.
const LEARNED_ROWS: u64 = 500_000;
/// The file of what was learned, in the home.
const SNAPSHOT: &str = "watch.snapshot";
const SNAPSHOT_LABEL: &[u8] = b"model-vault watch snapshot 1";
/// It is written after so long, or after so many rows but not more often than that.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(600);
const SNAPSHOT_ROWS: u64 = 100_000;
const SNAPSHOT_LEAST: Duration = Duration::from_secs(60);
/// Rows that are read in one go, so that whoever waits for this is not kept for long.
const ROWS_AT_ONCE: u64 = 20_000;
const BATCH: u32 = 1000;
/// How far rows were judged is kept so often.
const KEPT_EVERY: Duration = Duration::from_secs(10);

/// The watcher of this vault, and where it is.
pub(super) struct Watching {
    watcher: Watcher,
    rules_version: u64,
    /// The next row to read.
    next: u64,
    /// Alerts that are not on record yet, and those that nobody was told of yet: of one batch of rows at most.
    pending: VecDeque<Pending>,
    raised: Vec<Raised>,
    /// Rows up to here are learned from and not judged.
    judged: u64,
    kept: u64,
    kept_at: Timestamp,
    /// The next row when what was learned was written last, and when that was, also if it failed.
    written: u64,
    written_at: Timestamp,
}

/// An alert on its way to the record, then to the hold that it asks for.
struct Pending {
    alert: Alert,
    /// It is on record: what failed was the hold.
    noted: bool,
}

/// An alert that is on record.
#[derive(Clone, Debug)]
pub struct Raised {
    /// What was noticed.
    pub alert: Alert,
    /// Whether a hold was placed.
    pub held: bool,
    /// Who else is to be told.
    pub webhook: Option<Webhook>,
}

impl Vault {
    /// Looks at the rows that have become durable, raises alerts and places the holds that rules ask for. Without an end it is
    /// repeated; it reads a bounded number of rows at a time.
    pub fn watch(&self) -> Result<Vec<Raised>> {
        let mut slot = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, rules) = self.setting::<Rules>();
        let watching = match &mut *slot {
            Some(watching) => watching,
            none => none.insert(self.begin_watching(version, &rules)?),
        };
        if watching.rules_version != version {
            watching.watcher.set_rules((*rules).clone());
            watching.rules_version = version;
        }
        // What could not be written the last time comes first: no row is judged twice, and no alert is lost. How far rows were
        // judged is kept only when nothing is pending, so a process that dies before that judges them again.
        self.raise_pending(watching, &rules)?;
        let until = watching.next.saturating_add(ROWS_AT_ONCE);
        while watching.next < until {
            let rows = self.audit_rows_again(watching.next, BATCH)?;
            if rows.is_empty() {
                break;
            }
            self.metrics().watched(rows.len() as u64);
            for (seq, row) in rows {
                // Rows that no release of ours wrote are for vault audit verify.
                let Ok(record) = Record::parse(&row) else {
                    watching.next = seq + 1;
                    watching.watcher.pass(seq);
                    continue;
                };
                let mut event = Event::of(seq, &record);
                event.labels = self.labels_at(&rules, &event, &record)?;
                // From here on nothing fails: a row is looked at once, or not passed.
                watching.next = seq + 1;
                let alerts = watching.watcher.observe(&event);
                if seq > watching.judged {
                    watching.pending.extend(alerts.into_iter().map(|alert| Pending { alert, noted: false }));
                }
            }
            self.raise_pending(watching, &rules)?;
        }
        self.keep_watched(watching, !watching.raised.is_empty())?;
        self.keep_learned(watching, false);
        Ok(std::mem::take(&mut watching.raised))
    }

    /// Keeps what was learned, for the next process. What cannot be kept is learned anew.
    pub fn end_watching(&self) {
        if let Some(watching) = &mut *self.watching.lock().unwrap_or_else(PoisonError::into_inner) {
            self.keep_learned(watching, true);
        }
    }

    fn raise_pending(&self, watching: &mut Watching, rules: &Rules) -> Result<()> {
        while let Some(pending) = watching.pending.front_mut() {
            let raised = self.raise(pending, rules)?;
            watching.raised.push(raised);
            watching.pending.pop_front();
        }
        Ok(())
    }

    /// Labels that the artifact of a read has now: they may make it a sensitive one.
    fn labels_at(&self, rules: &Rules, event: &Event, record: &Record) -> Result<Vec<String>> {
        let named = event.object.as_deref().is_some_and(|object| rules.is_sensitive(object, &[]));
        let asked = !named && (event.is_opening() || event.is_read());
        let artifact = record.object().and_then(|object| object.artifact_id).filter(|_| asked);
        let Some(artifact) = artifact else { return Ok(Vec::new()) };
        match self.catalogue.marks(artifact) {
            Err(CatalogueError::NotFound(_)) => Ok(Vec::new()),
            marks => Ok(marks?.labels.iter().map(ToString::to_string).collect()),
        }
    }

    fn begin_watching(&self, version: u64, rules: &Arc<Rules>) -> Result<Watching> {
        let rows = self.catalogue.audit_len()?;
        // A log that was never watched is learned from: what is long past raises no alerts.
        let judged = match self.catalogue.watched()? {
            0 => rows,
            judged => judged.min(rows),
        };
        let earliest = judged.saturating_sub(LEARNED_ROWS) + FIRST_SEQ;
        let learned = self.learned(rules, rows).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "what the alert rules had learned cannot be read: it is learned anew");
            None
        });
        let (watcher, next) = match learned {
            Some(learned) => learned,
            None => {
                let mut salt = [0; 32];
                self.random().fill(&mut salt)?;
                (Watcher::new((**rules).clone(), salt), earliest)
            }
        };
        Ok(Watching {
            watcher,
            rules_version: version,
            next: next.max(earliest),
            // What is in the file was judged: it is written when nothing is pending.
            judged: judged.max(next - FIRST_SEQ),
            pending: VecDeque::new(),
            raised: Vec::new(),
            kept: 0,
            kept_at: self.now(),
            written: next,
            written_at: self.now(),
        })
    }

    /// What the process before had learned, and the row after it.
    fn learned(&self, rules: &Rules, rows: u64) -> Result<Option<(Watcher, u64)>> {
        let path = self.snapshot_path();
        let sealed = match read_bounded(&path, SNAPSHOT_MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|e| Error::from(e).on(path.display()))?,
        };
        let damaged = |why: &str| Error::new(ErrorId::CatalogueDamaged, format!("{}: {why}", path.display()));
        let opened = record::open(
            self.keyring().catalogue_key(),
            SNAPSHOT_LABEL,
            &self.vault_id().to_string().into_bytes(),
            &sealed,
        );
        let opened = opened.map_err(|_| damaged("it was altered, or is not of this vault"))?;
        let place = opened.split_first_chunk::<8>().and_then(|(n, rest)| Some((n, rest.split_first_chunk::<32>()?)));
        let (next, (leaf, memory)) = place.ok_or_else(|| damaged("it is too short"))?;
        let next = u64::from_le_bytes(*next);
        // A home that was put back from a copy may have a log that goes on in another way.
        if next <= FIRST_SEQ || next - FIRST_SEQ > rows || self.row_digest(next - 1)? != Some(*leaf) {
            return Err(damaged("it is of another log"));
        }
        Ok(Watcher::resume(rules.clone(), memory).map(|watcher| (watcher, next)))
    }

    /// Writes what was learned, if it is time, or if `ends`.
    fn keep_learned(&self, watching: &mut Watching, ends: bool) {
        let now = self.now();
        let passed = if now < watching.written_at { SNAPSHOT_EVERY } else { now.since(watching.written_at) };
        let rows = watching.next.saturating_sub(watching.written);
        let due = passed >= SNAPSHOT_EVERY || (rows >= SNAPSHOT_ROWS && passed >= SNAPSHOT_LEAST);
        // Rows that were read and whose alerts are not on record yet must be judged again by the next process.
        if rows == 0 || !(due || ends) || !watching.pending.is_empty() {
            return;
        }
        watching.written_at = now;
        match self.write_learned(watching) {
            Ok(()) => watching.written = watching.next,
            Err(e) => tracing::warn!(error = %e, "what the alert rules have learned could not be kept"),
        }
    }

    fn write_learned(&self, watching: &Watching) -> Result<()> {
        let Some(leaf) = self.row_digest(watching.next - 1)? else { return Ok(()) };
        let text = [&watching.next.to_le_bytes()[..], &leaf, &watching.watcher.to_bytes()].concat();
        let context = self.vault_id().to_string().into_bytes();
        let sealed = record::seal(self.keyring().catalogue_key(), SNAPSHOT_LABEL, &context, &text, self.random())?;
        let path = self.snapshot_path();
        replace_file(&path, &sealed).map_err(|e| Error::from(e).on(path.display()))
    }

    fn row_digest(&self, seq: u64) -> Result<Option<[u8; 32]>> {
        let row = self.audit_rows_again(seq, 1)?.into_iter().next();
        Ok(row.filter(|(found, _)| *found == seq).map(|(_, row)| sha256(&row).0))
    }

    fn snapshot_path(&self) -> PathBuf {
        self.home().path().join(SNAPSHOT)
    }

    fn keep_watched(&self, watching: &mut Watching, now: bool) -> Result<()> {
        let (rows, time) = (watching.next - FIRST_SEQ, self.now());
        let due = now || time < watching.kept_at || time.since(watching.kept_at) >= KEPT_EVERY;
        if due && rows > watching.kept.max(watching.judged) || watching.kept == 0 {
            self.catalogue.set_watched(rows.max(watching.judged))?;
            (watching.kept, watching.kept_at) = (rows.max(watching.judged).max(1), time);
        }
        Ok(())
    }

    /// Puts an alert on record and does what its rule asks for.
    fn raise(&self, pending: &mut Pending, rules: &Rules) -> Result<Raised> {
        let alert = pending.alert.clone();
        let caller = self.watch_caller()?;
        let rule = alert.rule.as_str();
        let named = alert.object.as_deref().and_then(|object| object.split_once('/'));
        let named = named.and_then(|(namespace, name)| Some((namespace.parse().ok()?, name.parse().ok()?)));
        let mut subject = named.map_or_else(Subject::vault, |(namespace, name)| Subject::named(&namespace, &name));
        subject = subject.with("rule", rule).with("severity", alert.severity).with("row", alert.seq);
        if let Some(principal) = &alert.principal {
            subject = subject.with("principal", principal);
        }
        let subject = subject.with("seen", &alert.seen).with("usual", &alert.usual).with("action", alert.response);
        if !pending.noted {
            self.note(&caller, Act::AlertRaise, &subject)?;
            self.metrics().alert(rule);
            pending.noted = true;
        }
        let held = match (&alert.principal, alert.response) {
            (Some(principal), Response::StepUp | Response::Throttle | Response::Suspend) => {
                let minutes = u64::from(alert.hold_minutes);
                let spec = HoldSpec {
                    target: HoldTarget::Principal(principal.to_string()),
                    kind: alert.response.to_string(),
                    reason: format!("rule {rule}: {}", alert.seen),
                    lasts: (minutes > 0).then(|| Duration::from_secs(60 * minutes)),
                };
                match self.hold_by_rule(&caller, principal, &spec, rule) {
                    // There are too many holds. It will not go away by itself, and alerts about others must not wait for it.
                    Err(e) if e.id() == ErrorId::InvalidArgument => {
                        tracing::error!(error = %e, %principal, rule, "the hold that a rule asks for was not placed");
                        false
                    }
                    held => held?,
                }
            }
            _ => false,
        };
        let webhook = rules.webhook.clone().filter(|hook| alert.severity >= hook.least);
        Ok(Raised { alert, held, webhook })
    }

    /// In whose name alerts are raised.
    fn watch_caller(&self) -> Result<Caller> {
        let principal = Principal {
            kind: PrincipalKind::Operator,
            issuer: "vault".into(),
            subject: "watch".into(),
            namespace: None,
        };
        let request_id = RequestId::generate(self.now(), self.random())?;
        Ok(Caller {
            principal,
            request_id,
            channel: Channel::local(),
            evidence: Evidence::default(),
            counted: Counted::default(),
        })
    }
}
