//! Holds, and how far the log was looked at.

use rusqlite::types::Value;

use super::super::*;
use super::SqliteCatalogue;
use super::artifacts::{missing, short};
use super::requests;
use super::rows::{Columns, Db, Row, Table, number, text, time};

impl Row for HoldRecord {
    const TABLE: Table = Table {
        name: "holds",
        columns: &[
            "number",
            "target",
            "kind",
            "reason",
            "placed_by",
            "rule",
            "since",
            "until",
            "released",
            "released_by",
        ],
        key: 1,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        let NewHold { target, kind, reason, placed_by, rule, until } = &self.hold;
        Ok(vec![
            number(self.number)?,
            text(target),
            text(kind),
            text(reason),
            text(placed_by),
            text(rule),
            time(self.since),
            until.map_or(Value::Null, time),
            self.released.map_or(Value::Null, time),
            text(&self.released_by),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        let number = c.number()?;
        let (target, kind, reason, placed_by, rule) = (c.text()?, c.text()?, c.text()?, c.text()?, c.text()?);
        let (since, until) = (c.time()?, c.time_if_any()?);
        let (released, released_by) = (c.time_if_any()?, c.text()?);
        let hold = NewHold { target, kind, reason, placed_by, rule, until };
        Ok(Self { number, hold, since, released, released_by })
    }
}

/// How far the log was looked at: one row.
pub(super) struct Watched(u64);

impl Row for Watched {
    const TABLE: Table = Table { name: "watched", columns: &["id", "rows"], key: 1, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![number(1)?, number(self.0)?])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        let _: i64 = c.number()?;
        Ok(Self(c.number()?))
    }
}

impl Holds for SqliteCatalogue {
    fn place_hold(&self, hold: NewHold, entry: Entry) -> Result<(u64, Sequence)> {
        self.write(move |db| place(db, hold, &entry))
    }

    fn release_holds(&self, target: &str, by: String, entry: Entry) -> Result<(u64, Sequence)> {
        let target = target.to_owned();
        self.write(move |db| release(db, &target, by, &entry))
    }

    fn holds(&self) -> Result<Vec<HoldRecord>> {
        self.read(|db| {
            // Rows are never deleted: a gap shows one that was.
            let missing = db.number("SELECT coalesce(max(number), 0) - count(*) FROM holds", [])?;
            if missing != 0 {
                return Err(CatalogueError::Damaged("a hold is missing".into()));
            }
            db.many("WHERE released IS NULL ORDER BY number", [])
        })
    }

    fn watched(&self) -> Result<u64> {
        self.read(|db| Ok(db.one::<Watched>("WHERE id = 1", [])?.map_or(0, |w| w.0)))
    }

    fn set_watched(&self, rows: u64) -> Result<()> {
        self.write(move |db| match db.one::<Watched>("WHERE id = 1", [])? {
            None => db.insert(&Watched(rows)),
            Some(before) if before.0 >= rows => Ok(()),
            Some(_) => db.update(&Watched(rows)),
        })
    }
}

fn place(db: &Db<'_>, hold: NewHold, entry: &Entry) -> Result<(u64, Sequence)> {
    short("what is put on hold", &hold.target, 600)?;
    short("the reason", &hold.reason, 1024)?;
    let ended = db.now.as_millis();
    let live = "SELECT count(*) FROM holds WHERE released IS NULL AND (until IS NULL OR until > ?1)";
    if db.number(live, [ended])? >= MAX_HOLDS as u64 {
        return Err(CatalogueError::InvalidArgument(format!("there are {MAX_HOLDS} holds; release some first")));
    }
    let number = db.number("SELECT coalesce(max(number), 0) FROM holds", [])? + 1;
    db.insert(&HoldRecord { number, hold, since: db.now, released: None, released_by: String::new() })?;
    Ok((number, requests::append(db, entry, number)?))
}

fn release(db: &Db<'_>, target: &str, by: String, entry: &Entry) -> Result<(u64, Sequence)> {
    let held: Vec<HoldRecord> = db.many("WHERE target = ?1 AND released IS NULL", [target])?;
    let in_force = held.iter().filter(|hold| hold.holds_at(db.now)).count() as u64;
    for hold in held {
        db.update(&HoldRecord { released: Some(db.now), released_by: by.clone(), ..hold })?;
    }
    if in_force == 0 {
        return Err(missing(format!("hold on {target}")));
    }
    Ok((in_force, requests::append(db, entry, in_force)?))
}
