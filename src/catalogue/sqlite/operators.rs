//! Second factors, step-up sessions, approvals.

use rusqlite::params;
use rusqlite::types::Value;

use super::super::*;
use super::SqliteCatalogue;
use super::artifacts::{missing, short};
use super::rows::{Columns, Db, Row, Table, blob, number, text, time, time_if_any};
use super::{log, requests};
use crate::crypto::equal;
use crate::names::{ApprovalId, Sha256};

/// Longest text of a person, a principal or what is wanted, in bytes.
const MAX_TEXT: usize = 4096;
/// Approvals are kept this much longer than they last, for who asks what became of them.
const APPROVALS_KEPT_MS: i64 = 24 * 3600 * 1000;

impl Operators for SqliteCatalogue {
    fn factor(&self, person: &str) -> Result<Option<FactorRecord>> {
        self.read(|db| factor(db, person))
    }

    fn factors(&self) -> Result<Vec<FactorRecord>> {
        self.read(|db| db.many("ORDER BY person LIMIT ?1", [number(MAX_FACTORS)?]))
    }

    fn begin_factor(&self, factor: NewFactor, entry: Entry) -> Result<Sequence> {
        self.write(move |db| begin_factor(db, factor, &entry))
    }

    fn try_factor(&self, attempt: Attempt) -> Result<Tried> {
        self.write(move |db| try_factor(db, attempt))
    }

    fn drop_factor(&self, person: &str, entry: Entry) -> Result<Sequence> {
        let person = person.to_owned();
        self.write(move |db| {
            db.execute("DELETE FROM step_ups WHERE person = ?1", [&person])?;
            match db.execute("DELETE FROM factors WHERE person = ?1", [&person])? {
                0 => Err(missing(format!("a second factor of {person}"))),
                _ => requests::append(db, &entry, 0),
            }
        })
    }

    fn step_up(&self, holder: Sha256) -> Result<Option<StepUpRecord>> {
        self.read(|db| db.one("WHERE holder = ?1", [holder.0]))
    }

    fn end_step_up(&self, holder: Sha256, audit: AuditLeaf) -> Result<bool> {
        self.write(move |db| {
            let ended = db.execute("DELETE FROM step_ups WHERE holder = ?1", [holder.0])? > 0;
            log::append(db, &audit)?;
            Ok(ended)
        })
    }

    fn request_approval(&self, approval: NewApproval, audit: AuditLeaf) -> Result<Approval> {
        self.write(move |db| request_approval(db, approval, &audit))
    }

    fn approval(&self, id: ApprovalId) -> Result<Approval> {
        self.read(|db| approval(db, id))
    }

    fn approval_of(&self, asked: Sha256) -> Result<Option<Approval>> {
        self.read(|db| approval_of(db, asked))
    }

    fn waiting_approvals(&self) -> Result<Vec<Approval>> {
        self.read(|db| {
            let rows: Vec<ApprovalRecord> = db.many(
                "WHERE expires > ?1 AND refused IS NULL AND used IS NULL ORDER BY created, id LIMIT ?2",
                params![db.now.as_millis(), MAX_PAGE as i64],
            )?;
            rows.into_iter().filter(|r| r.waits(db.now)).map(|record| with_votes(db, record)).collect()
        })
    }

    fn vote(&self, vote: VoteRecord, entry: Entry) -> Result<Approval> {
        self.write(move |db| cast(db, vote, &entry))
    }

    fn append_approved(&self, audit: AuditLeaf, approval: Spend) -> Result<Sequence> {
        self.write(move |db| requests::append(db, &Entry { leaf: audit, once: None, approval: Some(approval) }, 0))
    }
}

fn factor(db: &Db<'_>, person: &str) -> Result<Option<FactorRecord>> {
    db.one("WHERE person = ?1", [person])
}

fn begin_factor(db: &Db<'_>, new: NewFactor, entry: &Entry) -> Result<Sequence> {
    short("a person's name", &new.person, MAX_TEXT)?;
    let record = FactorRecord {
        person: new.person,
        enrolment: new.enrolment,
        secret: new.secret,
        recovery: Vec::new(),
        created: db.now,
        confirmed: None,
        last_step: i64::MIN,
        failures: 0,
        failing_since: db.now,
        locked_until: None,
    };
    match factor(db, &record.person)? {
        Some(FactorRecord { confirmed: Some(_), person, .. }) => {
            return Err(CatalogueError::AlreadyExists(format!("{person} has a second factor")));
        }
        // Beginning anew does not give new tries: what was wrong stays counted.
        Some(FactorRecord { failures, failing_since, locked_until, .. }) => {
            db.update(&FactorRecord { failures, failing_since, locked_until, ..record })?;
        }
        None if db.number("SELECT count(*) FROM factors", [])? >= MAX_FACTORS => {
            return Err(CatalogueError::InvalidArgument(format!("{MAX_FACTORS} people have a second factor")));
        }
        None => db.insert(&record)?,
    }
    requests::append(db, entry, 0)
}

fn try_factor(db: &Db<'_>, attempt: Attempt) -> Result<Tried> {
    let Attempt { person, enrolment, shown, confirms, opens, rows } = attempt;
    let mut factor = factor(db, &person)?.filter(|f| f.enrolment == enrolment).ok_or_else(|| missing(&*person))?;
    match (factor.confirmed, &confirms) {
        (Some(_), Some(_)) => return Err(CatalogueError::AlreadyExists(format!("{person} has a second factor"))),
        (None, None) => return Err(missing(person)),
        _ => {}
    }
    // A recovery code has 80 random bits: it is good also where guessing has locked the rest.
    if let (Some(until), Shown::Step(_)) = (factor.locked(db.now), &shown) {
        log::append(db, &rows.locked)?;
        return Ok(Tried::Locked(until));
    }
    let tried = match shown {
        Shown::Step(Some(step)) if step > factor.last_step => {
            factor.last_step = step;
            Tried::Used
        }
        // Right, but known to whoever saw it being used. It says nothing about codes to come, so it is no guess either.
        Shown::Step(Some(_)) => Tried::Replayed,
        Shown::Step(None) => Tried::Wrong(0),
        Shown::Recovery(digest) => match factor.recovery.iter().position(|known| equal(&known.0, &digest.0)) {
            Some(at) => {
                factor.recovery.remove(at);
                Tried::Used
            }
            None => Tried::Wrong(0),
        },
    };
    let tried = match tried {
        Tried::Used => {
            (factor.failures, factor.locked_until) = (0, None);
            if let Some(recovery) = confirms {
                (factor.confirmed, factor.recovery) = (Some(db.now), recovery);
            }
            if let Some(new) = opens {
                open_step_up(db, &person, enrolment, &new)?;
            }
            log::append(db, &rows.used)?;
            Tried::Used
        }
        Tried::Wrong(_) => {
            // A clock set back does not end the time in which they count.
            if factor.failures == 0 || db.now >= factor.failing_since.plus(FACTOR_LOCK) {
                (factor.failures, factor.failing_since) = (0, db.now);
            }
            factor.failures += 1;
            log::append(db, &rows.refused)?;
            let left = FACTOR_TRIES.saturating_sub(factor.failures);
            if left == 0 {
                (factor.failures, factor.locked_until) = (0, Some(db.now.plus(FACTOR_LOCK)));
            }
            Tried::Wrong(left)
        }
        other => {
            log::append(db, &rows.replayed)?;
            other
        }
    };
    db.update(&factor)?;
    Ok(tried)
}

fn open_step_up(db: &Db<'_>, person: &str, enrolment: [u8; 16], new: &NewStepUp) -> Result<()> {
    db.execute("DELETE FROM step_ups WHERE expires <= ?1 OR holder = ?2", params![db.now.as_millis(), new.holder.0])?;
    db.insert(&StepUpRecord {
        holder: new.holder,
        person: person.into(),
        enrolment,
        method: new.method.into(),
        at: db.now,
        expires: db.now.plus(new.lasts),
    })
}

fn request_approval(db: &Db<'_>, new: NewApproval, audit: &[u8]) -> Result<Approval> {
    for part in [&new.action, &new.what, &new.requester, &new.person] {
        short("what is to be approved", part, MAX_TEXT)?;
    }
    if let Some(waiting) = approval_of(db, new.asked)?
        && waiting.record.new.needed >= new.needed
    {
        return Ok(waiting);
    }
    db.execute("DELETE FROM approvals WHERE expires < ?1", [db.now.as_millis().saturating_sub(APPROVALS_KEPT_MS)])?;
    let waiting = db.number(
        "SELECT count(*) FROM approvals WHERE person = ?1 AND expires > ?2 AND refused IS NULL AND used IS NULL",
        params![new.person, db.now.as_millis()],
    )?;
    if waiting >= MAX_WAITING {
        return Err(CatalogueError::InvalidArgument(format!("{waiting} acts of {} wait for approval", new.person)));
    }
    let record = ApprovalRecord { new, created: db.now, refused: None, used: None };
    db.insert(&record)?;
    log::append(db, audit)?;
    Ok(Approval { record, votes: Vec::new() })
}

fn approval(db: &Db<'_>, id: ApprovalId) -> Result<Approval> {
    let record = db.one("WHERE id = ?1", [id.0])?.ok_or_else(|| missing(format!("approval {id}")))?;
    with_votes(db, record)
}

fn approval_of(db: &Db<'_>, asked: Sha256) -> Result<Option<Approval>> {
    let rows: Vec<ApprovalRecord> =
        db.many("WHERE asked = ?1 AND refused IS NULL AND used IS NULL ORDER BY created DESC LIMIT 8", [asked.0])?;
    let waiting = rows.into_iter().filter(|r| r.waits(db.now)).map(|record| with_votes(db, record));
    Ok(waiting.collect::<Result<Vec<_>>>()?.into_iter().max_by_key(Approval::approvals))
}

fn with_votes(db: &Db<'_>, record: ApprovalRecord) -> Result<Approval> {
    let votes = db.many("WHERE approval = ?1 ORDER BY person", [record.new.id.0])?;
    Ok(Approval { record, votes })
}

fn cast(db: &Db<'_>, vote: VoteRecord, entry: &Entry) -> Result<Approval> {
    let Approval { mut record, votes } = approval(db, vote.approval)?;
    if !record.waits(db.now) {
        return Err(CatalogueError::NotApproved(format!("approval {} was used, refused or has ended", vote.approval)));
    }
    if record.new.digest != vote.digest {
        return Err(CatalogueError::NotApproved(format!("approval {} is for something else", vote.approval)));
    }
    if record.new.person == vote.person && vote.approves {
        return Err(CatalogueError::InvalidArgument("nobody approves what they want to do themselves".into()));
    }
    if votes.iter().any(|v| v.person == vote.person) {
        return Err(CatalogueError::AlreadyExists(format!("{} has said so already", vote.person)));
    }
    let vote = VoteRecord { at: db.now, ..vote };
    db.insert(&vote)?;
    if !vote.approves {
        record.refused = Some(db.now);
        db.update(&record)?;
    }
    requests::append(db, entry, 0)?;
    approval(db, vote.approval)
}

/// Uses an approval up, in the transaction of its act.
pub(super) fn spend(db: &Db<'_>, spend: Option<&Spend>) -> Result<()> {
    let Some(spend) = spend else { return Ok(()) };
    let over = || CatalogueError::NotApproved(format!("approval {} was used, refused or has ended", spend.id));
    let approval = match approval(db, spend.id) {
        Err(CatalogueError::NotFound(_)) => return Err(over()),
        approval => approval?,
    };
    let enough = approval.approvals() >= spend.approvals && approval.record.new.asked == spend.asked;
    if !enough || !approval.record.waits(db.now) {
        return Err(over());
    }
    db.update(&ApprovalRecord { used: Some(db.now), ..approval.record })
}

impl Row for FactorRecord {
    const TABLE: Table = Table {
        name: "factors",
        columns: &[
            "person",
            "enrolment",
            "secret",
            "recovery",
            "created",
            "confirmed",
            "last_step",
            "failures",
            "failing_since",
            "locked_until",
        ],
        key: 1,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            text(&self.person),
            blob(&self.enrolment),
            blob(&self.secret),
            Value::Blob(self.recovery.iter().flat_map(|d| d.0).collect()),
            time(self.created),
            time_if_any(self.confirmed),
            Value::Integer(self.last_step),
            number(self.failures)?,
            time(self.failing_since),
            time_if_any(self.locked_until),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            person: c.text()?,
            enrolment: c.id()?,
            secret: c.bytes()?,
            recovery: c.bytes()?.as_chunks::<32>().0.iter().map(|d| Sha256(*d)).collect(),
            created: c.time()?,
            confirmed: c.time_if_any()?,
            last_step: c.number()?,
            failures: c.number()?,
            failing_since: c.time()?,
            locked_until: c.time_if_any()?,
        })
    }
}

impl Row for StepUpRecord {
    const TABLE: Table = Table {
        name: "step_ups",
        columns: &["holder", "person", "enrolment", "method", "at", "expires"],
        key: 1,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.holder.0),
            text(&self.person),
            blob(&self.enrolment),
            text(&self.method),
            time(self.at),
            time(self.expires),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            holder: c.id()?,
            person: c.text()?,
            enrolment: c.id()?,
            method: c.text()?,
            at: c.time()?,
            expires: c.time()?,
        })
    }
}

impl Row for ApprovalRecord {
    const TABLE: Table = Table {
        name: "approvals",
        columns: &[
            "id",
            "asked",
            "digest",
            "action",
            "what",
            "requester",
            "person",
            "needed",
            "created",
            "expires",
            "refused",
            "used",
        ],
        key: 1,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        let new = &self.new;
        Ok(vec![
            blob(&new.id.0),
            blob(&new.asked.0),
            blob(&new.digest.0),
            text(&new.action),
            text(&new.what),
            text(&new.requester),
            text(&new.person),
            number(new.needed.into())?,
            time(self.created),
            time(new.expires),
            time_if_any(self.refused),
            time_if_any(self.used),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        let (id, asked, digest) = (c.id()?, c.id()?, c.id()?);
        let (action, what, requester, person) = (c.text()?, c.text()?, c.text()?, c.text()?);
        let (needed, created, expires) = (c.number()?, c.time()?, c.time()?);
        let new = NewApproval { id, asked, digest, action, what, requester, person, needed, expires };
        Ok(Self { new, created, refused: c.time_if_any()?, used: c.time_if_any()? })
    }
}

impl Row for VoteRecord {
    const TABLE: Table = Table {
        name: "votes",
        columns: &["approval", "person", "principal", "digest", "approves", "at"],
        key: 2,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.approval.0),
            text(&self.person),
            text(&self.principal),
            blob(&self.digest.0),
            number(self.approves.into())?,
            time(self.at),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            approval: c.id()?,
            person: c.text()?,
            principal: c.text()?,
            digest: c.id()?,
            approves: c.number::<i64>()? == 1,
            at: c.time()?,
        })
    }
}
