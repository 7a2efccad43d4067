//! Rules over the vault's own log: rows are read as they become durable, alerts become rows themselves, and holds are placed.
//!
//! What was learned is in memory. After a restart it is learned anew from the newest rows, silently; how far rows were judged is in
//! the catalogue, so that each is judged, and seldom twice (after a crash, those of the last seconds).

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::gate::Subject;
use super::hold::{HoldSpec, HoldTarget};
use super::{Caller, Channel, Evidence, Vault};
use crate::audit::{Act, FIRST_SEQ, Record};
use crate::error::Result;
use crate::names::{Principal, PrincipalKind, RequestId, Timestamp};
use crate::watch::{Alert, Event, Response, Rules, Watcher, Webhook};

/// Rows that are learned from after a restart.
const LEARNED_ROWS: u64 = 500_000;
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
    pending: VecDeque<Alert>,
    raised: Vec<Raised>,
    /// Rows up to here are learned from and not judged.
    judged: u64,
    kept: u64,
    kept_at: Timestamp,
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
        // What could not be written the last time comes first: no row is judged twice, and no alert is lost.
        self.raise_pending(watching, &rules)?;
        let until = watching.next.saturating_add(ROWS_AT_ONCE);
        while watching.next < until {
            let rows = self.audit_rows_again(watching.next, BATCH)?;
            if rows.is_empty() {
                break;
            }
            for (seq, row) in rows {
                watching.next = seq + 1;
                // Rows that no release of ours wrote are for vault audit verify.
                let Ok(record) = Record::parse(&row) else {
                    watching.watcher.pass(seq);
                    continue;
                };
                let alerts = watching.watcher.observe(&Event::of(seq, &record));
                if seq > watching.judged {
                    watching.pending.extend(alerts);
                }
            }
            self.raise_pending(watching, &rules)?;
        }
        self.keep_watched(watching, !watching.raised.is_empty())?;
        Ok(std::mem::take(&mut watching.raised))
    }

    fn raise_pending(&self, watching: &mut Watching, rules: &Rules) -> Result<()> {
        while let Some(alert) = watching.pending.front() {
            let raised = self.raise(alert.clone(), rules)?;
            watching.raised.push(raised);
            watching.pending.pop_front();
        }
        Ok(())
    }

    fn begin_watching(&self, version: u64, rules: &Arc<Rules>) -> Result<Watching> {
        let rows = self.catalogue.audit_len()?;
        // A log that was never watched is learned from: what is long past raises no alerts.
        let judged = match self.catalogue.watched()? {
            0 => rows,
            judged => judged.min(rows),
        };
        let mut salt = [0; 32];
        self.random().fill(&mut salt)?;
        Ok(Watching {
            watcher: Watcher::new((**rules).clone(), salt),
            rules_version: version,
            next: judged.saturating_sub(LEARNED_ROWS) + FIRST_SEQ,
            judged,
            pending: VecDeque::new(),
            raised: Vec::new(),
            kept: 0,
            kept_at: self.now(),
        })
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
    fn raise(&self, alert: Alert, rules: &Rules) -> Result<Raised> {
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
        self.note(&caller, Act::AlertRaise, &subject)?;
        let held = match (&alert.principal, alert.response) {
            (Some(principal), Response::StepUp | Response::Throttle | Response::Suspend) => {
                let minutes = u64::from(alert.hold_minutes);
                let spec = HoldSpec {
                    target: HoldTarget::Principal(principal.to_string()),
                    kind: alert.response.to_string(),
                    reason: format!("rule {rule}: {}", alert.seen),
                    lasts: (minutes > 0).then(|| Duration::from_secs(60 * minutes)),
                };
                self.hold_by_rule(&caller, principal, &spec, rule)?
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
        Ok(Caller { principal, request_id, channel: Channel::local(), evidence: Evidence::default() })
    }
}
