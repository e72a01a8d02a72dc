//! Reads all rows of a table as one role, page by page in one snapshot. PostgreSQL applies grants and policies.
//!
//! A [`Scan`] names the table, the tenant, the role and its settings. The result is the [`Moment`] of the snapshot
//! (which transactions it sees), and then the rows in the order of the primary key, as text in the formats of the
//! replication stream.
//!
//! - Only the tenant and PostgreSQL's own grants and policies exclude rows.
//! - Neither rowcast nor the server keeps a page after it was returned.
//! - A session that is not given back is closed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Error, Row};

use super::error::Trouble;
use super::reading::{Compared, FORMATS, blame, compared, lost, set, text, told};
use super::session::{Lease, Names, ProbeSession};
use super::statement::{qualified, quoted};
use super::{Probe, ProbeError};
use crate::model::{Lsn, Table, Timestamp};

/// The server's time limit for one page of a large table, and rowcast's own limit for the answer.
const PAGE: Duration = Duration::from_secs(30);
/// How long the session may stay idle between two pages.
const IDLE: &str = "60s";

/// The snapshot is the one of the first statement that needs one.
const BEGIN: &str = "begin transaction isolation level repeatable read, read only";
/// Everything that the snapshot sees was written to the WAL before the position that this statement reads after it.
const MOMENT: &str = "\
    select pg_catalog.pg_current_snapshot()::pg_catalog.text, \
    (case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() \
     else pg_catalog.pg_current_wal_insert_lsn() end - '0/0'::pg_catalog.pg_lsn)::pg_catalog.int8, \
    (extract(epoch from pg_catalog.transaction_timestamp()) * 1000000)::pg_catalog.int8, \
    (select c.relkind = 'p' from pg_catalog.pg_class c where c.oid = $1)";
/// TRUNCATE and statements that rewrite a table empty it for older snapshots as well, because its file is no longer the
/// one that the snapshot knows. Run once the table is locked.
const REWRITTEN: &str = "\
    select exists (select from pg_catalog.pg_class c where c.relkind = 'r' \
    and (c.oid = $1 or c.oid in (select p.relid from pg_catalog.pg_partition_tree($1) p)) \
    and c.relfilenode is distinct from pg_catalog.pg_relation_filenode(c.oid))";

/// What to read, and as whom.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    /// The table.
    pub table: &'a Table,
    /// The columns to read, as indexes.
    pub columns: &'a [usize],
    /// The value of the table's tenant column that rows must have; without one, rows of all tenants are read.
    pub tenant: Option<&'a str>,
    /// The role to read as; without one as rowcast's own user.
    pub role: Option<&'a str>,
    /// Settings that policies read.
    pub settings: &'a BTreeMap<String, String>,
}

/// What is known of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which transactions it sees, as `pg_snapshot` prints it.
    pub snapshot: String,
    /// Every transaction that it sees has its commit record before this position.
    pub written: Lsn,
    /// When it was taken.
    pub at: Timestamp,
}

/// A transaction in which pages are read.
pub struct Pages {
    lease: Lease,
    table: String,
    role: Box<str>,
    columns: usize,
    moment: Moment,
    process: i32,
}

/// A row's columns in text form.
pub type Texts = Vec<Option<String>>;

/// The result of the first statement.
struct Begun {
    moment: Moment,
    partitioned: bool,
}

impl Probe {
    /// Takes a snapshot. `None` when the table was rewritten at that moment: the caller takes another one.
    pub async fn pages(&self, scan: &Scan<'_>) -> Result<Option<Pages>, ProbeError> {
        let names = Names::these(scan.settings.keys().map(String::as_str));
        let mut lease = self.session(&names).await?;
        let Some(session) = lease.session() else { return Err(lost("it is closed".to_owned())) };
        session.remember(&names);
        let (table, role) = (scan.table.name.to_string(), Box::from(scan.role.unwrap_or_default()));
        let begun = within(scan.begin(session)).await.map_err(|trouble| blame(&table, &role, trouble))?;
        let pages = begun.map(|moment| (moment, scan.columns.len()));
        let Some((moment, columns)) = pages else {
            let ended = within(end(session)).await;
            ended.map_err(|trouble| blame(&table, &role, trouble))?;
            lease.give_back();
            return Ok(None);
        };
        let process = within(process(session)).await.map_err(|trouble| blame(&table, &role, trouble))?;
        Ok(Some(Pages { lease, table, role, columns, moment, process }))
    }
}

impl Pages {
    /// The moment of the snapshot.
    pub fn moment(&self) -> &Moment {
        &self.moment
    }

    /// The server process that holds it, for `pg_locks`.
    pub fn process(&self) -> i32 {
        self.process
    }

    /// Returns up to `rows` further rows; fewer at the end of the table.
    pub async fn page(&mut self, rows: usize) -> Result<Vec<Texts>, ProbeError> {
        let columns = self.columns;
        let Some(session) = self.lease.session() else { return Err(lost("it is closed".to_owned())) };
        let read = within(async {
            let rows = session.client.query_typed(&format!("fetch forward {rows} from pages"), &[]).await;
            let rows = rows.map_err(|error| Trouble::of(&error, Trouble::Condition))?;
            rows.iter().map(|row| texts(row, columns)).collect::<Result<_, _>>().map_err(|error| told(&error))
        });
        let read = read.await;
        read.map_err(|trouble| blame(&self.table, &self.role, trouble))
    }

    /// Ends the transaction.
    pub async fn close(mut self) -> Result<(), ProbeError> {
        let Some(session) = self.lease.session() else { return Err(lost("it is closed".to_owned())) };
        let ended = within(end(session)).await;
        ended.map_err(|trouble| blame(&self.table, &self.role, trouble))?;
        self.lease.give_back();
        Ok(())
    }
}

impl Scan<'_> {
    async fn begin(&self, session: &ProbeSession) -> Result<Option<Moment>, Trouble> {
        let lost = |error: Error| Trouble::of(&error, |code| Trouble::Lost(format!("SQLSTATE {code}")));
        session.client.batch_execute(BEGIN).await.map_err(lost)?;
        let begun = self.moment(session).await?;
        let role = self.role.map(|role| ("role", role));
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        set(session, role.into_iter().chain(settings)).await?;
        let timeout = PAGE.as_millis().to_string();
        let timeouts = [("statement_timeout", &*timeout), ("idle_in_transaction_session_timeout", IDLE)];
        set(session, FORMATS.into_iter().chain(timeouts)).await?;
        let of_tenant = self.of_tenant(session).await?;
        let declare = self.declare(begun.partitioned, of_tenant.as_deref().unwrap_or_default());
        let tenant = self.tenant.filter(|_| of_tenant.is_some()).map(Literal);
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            tenant.iter().map(|tenant| (tenant as &(dyn ToSql + Sync), Type::UNKNOWN)).collect();
        let declared = session.client.query_typed(&declare, &parameters).await;
        declared.map_err(|error| Trouble::of(&error, Trouble::Condition))?;
        let rewritten = session.client.query_typed(REWRITTEN, &[(&self.table.oid, Type::OID)]).await;
        let rewritten = rewritten.map_err(|error| Trouble::of(&error, Trouble::Condition))?;
        let rewritten: bool = first(&rewritten, 0)?;
        Ok((!rewritten).then_some(begun.moment))
    }

    async fn moment(&self, session: &ProbeSession) -> Result<Begun, Trouble> {
        let rows = session.client.query_typed(MOMENT, &[(&self.table.oid, Type::OID)]).await;
        let rows = rows.map_err(|error| Trouble::of(&error, Trouble::Condition))?;
        let written: i64 = first(&rows, 1)?;
        let moment = Moment {
            snapshot: first(&rows, 0)?,
            written: Lsn(u64::try_from(written).unwrap_or_default()),
            at: Timestamp(first(&rows, 2)?),
        };
        let partitioned: Option<bool> = first(&rows, 3)?;
        Ok(Begun { moment, partitioned: partitioned.unwrap_or_default() })
    }

    /// The condition on the tenant, if there is one. A dropped column is an error: without it, rows of all tenants
    /// would be read.
    async fn of_tenant(&self, session: &ProbeSession) -> Result<Option<String>, Trouble> {
        let Some(index) = self.table.tenant.filter(|_| self.tenant.is_some()) else { return Ok(None) };
        let name = &self.table.columns[index].name;
        let compared = compared(session, self.table, std::iter::once(index)).await?;
        let gone = || Trouble::Condition(SqlState::UNDEFINED_COLUMN.code().into());
        let Compared { operator, of } = compared.get(name).ok_or_else(gone)?;
        Ok(Some(format!(" where t.{} {operator} $1::{of}", quoted(name))))
    }

    /// A table that others inherit from contains their rows as well, but the stream reports those as rows of the child.
    fn declare(&self, partitioned: bool, of_tenant: &str) -> String {
        let name = |index: &usize| format!("t.{}", quoted(&self.table.columns[*index].name));
        let columns: Vec<_> = self.columns.iter().map(|index| text(self.table, *index)).collect();
        let only = if partitioned { "" } else { "only " };
        let table = qualified(&self.table.name);
        let is_read = |index: &usize| self.columns.contains(index);
        let key: Vec<_> = self.table.key.iter().map(name).collect();
        let sorted = !key.is_empty() && self.table.key.iter().all(is_read);
        let order = if sorted { format!(" order by {}", key.join(", ")) } else { String::new() };
        let columns = if columns.is_empty() { "null".to_owned() } else { columns.join(", ") };
        format!("declare pages no scroll cursor for select {columns} from {only}{table} as t{of_tenant}{order}")
    }
}

/// A text that its type's input function converts to a value. No cast is used.
#[derive(Debug)]
struct Literal<'a>(&'a str);

impl ToSql for Literal<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

async fn process(session: &ProbeSession) -> Result<i32, Trouble> {
    let rows = session.client.query_typed("select pg_catalog.pg_backend_pid()", &[]).await;
    first(&rows.map_err(|error| Trouble::of(&error, Trouble::Condition))?, 0)
}

async fn end(session: &ProbeSession) -> Result<(), Trouble> {
    let ended = session.client.execute(&session.end, &[]).await;
    ended.map(drop).map_err(|error| Trouble::of(&error, |code| Trouble::Lost(format!("SQLSTATE {code}"))))
}

async fn within<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    timeout_at(Instant::now() + PAGE, work).await.unwrap_or(Err(Trouble::Unanswered))
}

fn first<'r, T: tokio_postgres::types::FromSql<'r>>(rows: &'r [Row], at: usize) -> Result<T, Trouble> {
    let row = rows.first().ok_or_else(|| Trouble::Lost("no answer".to_owned()))?;
    row.try_get(at).map_err(|error| told(&error))
}

fn texts(row: &Row, columns: usize) -> Result<Texts, Error> {
    (0..columns).map(|at| row.try_get(at)).collect()
}
