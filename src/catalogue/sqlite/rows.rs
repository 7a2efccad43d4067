//! Rows that carry their own authentication.
//!
//! `mac` is HMAC-SHA256 under the catalogue key over the table's name and every other column, each with its type and length
//! before it, so that no two rows have the same encoding. It is checked, in constant time, each time a row is read; a row is
//! written through its table's description only. So a row cannot be altered, moved to another table or made up without the key.

use std::marker::PhantomData;
use std::str::FromStr;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params_from_iter};

use super::super::{CatalogueError, Result};
use crate::crypto;
use crate::crypto::keys::{CatalogueKey, Key};
use crate::names::Timestamp;

/// A table of authenticated rows.
pub(super) struct Table {
    pub name: &'static str,
    /// All columns but `mac`, in the order they were added; the first `key` of them are the primary key.
    pub columns: &'static [&'static str],
    pub key: usize,
    /// How many of the last ones were added by a later schema. While such a column is NULL it is not in the MAC: rows from
    /// before stay authentic, and a value cannot be put in or taken out without the key.
    pub added: usize,
}

/// What a row means.
pub(super) trait Row: Sized {
    const TABLE: Table;

    /// The columns of the table, in order.
    fn values(&self) -> Result<Vec<Value>>;

    /// The same, backwards.
    fn read(columns: &mut Columns<'_>) -> Result<Self>;
}

/// A connection, the key of its rows and the time: what a command works with.
pub(super) struct Db<'a> {
    pub conn: &'a Connection,
    pub key: &'a RowKey,
    pub now: Timestamp,
}

impl Db<'_> {
    /// A condition on a table, to be asked many times.
    pub fn query<T: Row>(&self, condition: &str) -> Result<Query<'_, T>> {
        let statement = self.conn.prepare_cached(&select::<T>(condition))?;
        Ok(Query { statement, key: self.key, of: PhantomData })
    }

    /// The row of a condition that at most one row meets.
    pub fn one<T: Row>(&self, condition: &str, params: impl Params) -> Result<Option<T>> {
        self.query(condition)?.one(params)
    }

    /// The rows of a condition.
    pub fn many<T: Row>(&self, condition: &str, params: impl Params) -> Result<Vec<T>> {
        self.query(condition)?.many(params)
    }

    /// Hands on one row after the other until told `false`. A row that does not authenticate is handed on as its error.
    pub fn each<T: Row>(
        &self,
        condition: &str,
        params: impl Params,
        take: impl FnMut(Result<T>) -> Result<bool>,
    ) -> Result<()> {
        self.query(condition)?.each(params, take)
    }

    /// A new row.
    pub fn insert<T: Row>(&self, row: &T) -> Result<()> {
        let Table { name, columns, .. } = T::TABLE;
        let places: Vec<String> = (1..=columns.len() + 1).map(|i| format!("?{i}")).collect();
        let sql = format!("INSERT INTO {name} ({}, mac) VALUES ({})", columns.join(", "), places.join(", "));
        self.conn.prepare_cached(&sql)?.execute(params_from_iter(self.with_mac(row)?))?;
        Ok(())
    }

    /// A new row, or the row of the same primary key becomes this one if its `revision` is lower.
    pub fn replace_older<T: Row>(&self, row: &T, revision: &str) -> Result<()> {
        let Table { name, columns, key, .. } = T::TABLE;
        let places: Vec<String> = (1..=columns.len() + 1).map(|i| format!("?{i}")).collect();
        let assign: Vec<String> =
            columns[key..].iter().chain([&"mac"]).map(|c| format!("{c} = excluded.{c}")).collect();
        let sql = format!(
            "INSERT INTO {name} ({}, mac) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {} \
             WHERE excluded.{revision} > {name}.{revision}",
            columns.join(", "),
            places.join(", "),
            columns[..key].join(", "),
            assign.join(", ")
        );
        self.conn.prepare_cached(&sql)?.execute(params_from_iter(self.with_mac(row)?))?;
        Ok(())
    }

    /// The row of the same primary key becomes this one.
    pub fn update<T: Row>(&self, row: &T) -> Result<()> {
        let Table { name, columns, key, .. } = T::TABLE;
        let assign = |from: usize, to: usize, between: &str| {
            let parts: Vec<String> = (from..to).map(|i| format!("{} = ?{}", columns[i], i + 1)).collect();
            parts.join(between)
        };
        let sql = format!(
            "UPDATE {name} SET {}, mac = ?{} WHERE {}",
            assign(key, columns.len(), ", "),
            columns.len() + 1,
            assign(0, key, " AND ")
        );
        match self.conn.prepare_cached(&sql)?.execute(params_from_iter(self.with_mac(row)?))? {
            1 => Ok(()),
            n => Err(CatalogueError::Internal(format!("{n} rows of {name} changed instead of one"))),
        }
    }

    /// Runs a statement and says how many rows it changed.
    pub fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// The first column of every row: texts that nothing authenticates.
    pub fn texts(&self, sql: &str) -> Result<Vec<String>> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let texts = statement.query_map([], |row| row.get(0))?;
        Ok(texts.collect::<std::result::Result<_, _>>()?)
    }

    /// The first column of the first row, if there is one.
    pub fn value<V: rusqlite::types::FromSql>(&self, sql: &str, params: impl Params) -> Result<Option<V>> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?)
    }

    /// A count or a sum.
    pub fn number(&self, sql: &str, params: impl Params) -> Result<u64> {
        let number: i64 = self.value(sql, params)?.unwrap_or(0);
        u64::try_from(number).map_err(|_| CatalogueError::Damaged(format!("a negative count: {number}")))
    }

    fn with_mac<T: Row>(&self, row: &T) -> Result<Vec<Value>> {
        let mut values = row.values()?;
        debug_assert_eq!(values.len(), T::TABLE.columns.len());
        let mac = self.key.mac(&T::TABLE, values.iter().map(ValueRef::from).collect::<Vec<_>>().as_slice());
        values.push(Value::Blob(mac.to_vec()));
        Ok(values)
    }
}

/// A prepared condition on a table.
pub(super) struct Query<'a, T> {
    statement: CachedStatement<'a>,
    key: &'a RowKey,
    of: PhantomData<T>,
}

impl<T: Row> Query<'_, T> {
    /// As [`Db::one`].
    pub fn one(&mut self, params: impl Params) -> Result<Option<T>> {
        let mut rows = self.statement.query(params)?;
        rows.next()?.map(|row| verified(self.key, row)).transpose()
    }

    /// As [`Db::many`].
    pub fn many(&mut self, params: impl Params) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.each(params, |row| {
            all.push(row?);
            Ok(true)
        })?;
        Ok(all)
    }

    /// As [`Db::each`].
    pub fn each(&mut self, params: impl Params, mut take: impl FnMut(Result<T>) -> Result<bool>) -> Result<()> {
        let mut rows = self.statement.query(params)?;
        while let Some(row) = rows.next()? {
            if !take(verified(self.key, row))? {
                break;
            }
        }
        Ok(())
    }
}

fn verified<T: Row>(key: &RowKey, row: &rusqlite::Row<'_>) -> Result<T> {
    let Table { name, columns, .. } = T::TABLE;
    let values = (0..columns.len()).map(|i| row.get_ref(i)).collect::<Result<Vec<_>, _>>()?;
    let stored = row.get_ref(columns.len())?.as_blob().unwrap_or_default();
    if !crypto::equal(&key.mac(&T::TABLE, &values), stored) {
        return Err(CatalogueError::Damaged(format!("a row of {name} was altered, or this is another vault's key")));
    }
    T::read(&mut Columns { values, at: 0, table: name })
}

fn select<T: Row>(condition: &str) -> String {
    format!("SELECT {}, mac FROM {} {condition}", T::TABLE.columns.join(", "), T::TABLE.name)
}

/// Authenticates rows.
pub(super) struct RowKey(pub Key<CatalogueKey>);

impl RowKey {
    pub fn mac(&self, table: &Table, values: &[ValueRef<'_>]) -> [u8; 32] {
        let mut text = Vec::with_capacity(1024);
        let mut field = |kind: u8, bytes: &[u8]| {
            text.push(kind);
            text.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            text.extend_from_slice(bytes);
        };
        field(b'T', table.name.as_bytes());
        let first = values.len().saturating_sub(table.added);
        let absent = values[first..].iter().rev().take_while(|v| **v == ValueRef::Null).count();
        for value in &values[..values.len() - absent] {
            match *value {
                ValueRef::Null => field(b'n', &[]),
                ValueRef::Integer(n) => field(b'i', &n.to_le_bytes()),
                ValueRef::Real(n) => field(b'r', &n.to_bits().to_le_bytes()),
                ValueRef::Text(t) => field(b't', t),
                ValueRef::Blob(b) => field(b'b', b),
            }
        }
        crypto::hash::hmac(&self.0.expose(), &[&text])
    }
}

/// The columns of an authentic row, one after the other.
pub(super) struct Columns<'r> {
    values: Vec<ValueRef<'r>>,
    at: usize,
    table: &'static str,
}

impl<'r> Columns<'r> {
    fn next(&mut self) -> ValueRef<'r> {
        let value = self.values.get(self.at).copied().unwrap_or(ValueRef::Null);
        self.at += 1;
        value
    }

    fn bad(&self) -> CatalogueError {
        CatalogueError::Damaged(format!("column {} of a row of {} has an impossible value", self.at, self.table))
    }

    pub fn id<T: for<'b> TryFrom<&'b [u8]>>(&mut self) -> Result<T> {
        let value = self.next();
        value.as_blob().ok().and_then(|b| T::try_from(b).ok()).ok_or_else(|| self.bad())
    }

    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        let value = self.next();
        value.as_blob().map(Into::into).map_err(|_| self.bad())
    }

    /// Text that means something: a name, a tag, a kind, or itself.
    pub fn text<T: FromStr>(&mut self) -> Result<T> {
        let value = self.next();
        value.as_str().ok().and_then(|t| t.parse().ok()).ok_or_else(|| self.bad())
    }

    pub fn text_if_any<T: FromStr>(&mut self) -> Result<Option<T>> {
        match self.values.get(self.at) {
            Some(ValueRef::Null) => {
                self.at += 1;
                Ok(None)
            }
            _ => self.text().map(Some),
        }
    }

    /// An integer of any width that holds it.
    pub fn number<T: TryFrom<i64>>(&mut self) -> Result<T> {
        let value = self.next();
        value.as_i64().ok().and_then(|n| T::try_from(n).ok()).ok_or_else(|| self.bad())
    }

    pub fn number_if_any<T: TryFrom<i64>>(&mut self) -> Result<Option<T>> {
        match self.values.get(self.at) {
            Some(ValueRef::Null) => {
                self.at += 1;
                Ok(None)
            }
            _ => self.number().map(Some),
        }
    }

    pub fn time(&mut self) -> Result<Timestamp> {
        self.number().map(Timestamp::from_millis)
    }

    pub fn time_if_any(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.number_if_any()?.map(Timestamp::from_millis))
    }
}

/// A number as a column; SQLite has 63 bits.
pub(super) fn number(n: u64) -> Result<Value> {
    i64::try_from(n).map(Value::Integer).map_err(|_| CatalogueError::InvalidArgument(format!("{n} is too large")))
}

pub(super) fn blob(bytes: &[u8]) -> Value {
    Value::Blob(bytes.into())
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(super) fn time(time: Timestamp) -> Value {
    Value::Integer(time.as_millis())
}

pub(super) fn time_if_any(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, time)
}

impl From<rusqlite::Error> for CatalogueError {
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        use rusqlite::ErrorCode as C;
        let text = e.to_string();
        match &e {
            E::SqliteFailure(failure, _) => match failure.code {
                C::DiskFull => Self::DiskFull(text),
                C::DatabaseBusy | C::DatabaseLocked | C::FileLockingProtocolFailed => Self::Busy(text),
                C::DatabaseCorrupt | C::NotADatabase | C::TypeMismatch => Self::Damaged(text),
                C::SystemIoFailure | C::CannotOpen | C::ReadOnly | C::PermissionDenied => Self::Io(text),
                C::ConstraintViolation => match failure.extended_code {
                    rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                        Self::AlreadyExists(format!("an id or name that must be unique is taken: {text}"))
                    }
                    rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Self::NotFound("what the row refers to".into()),
                    _ => Self::InvalidArgument(text),
                },
                C::TooBig => Self::InvalidArgument(text),
                _ => Self::Internal(text),
            },
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..) => Self::Damaged(text),
            _ => Self::Internal(text),
        }
    }
}
