//! The SQL functions of schema `rowcast`, as Rust functions. The rules are in `sql/`; this only converts.

use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, IsolationLevel};

use super::StoreError;
use crate::model::{Ending, Lsn};

/// The table that `$1` names, as SQL reads it: folding, quotes and the configured `search_path` apply. No statement runs
/// with that path, on which there may be operators and functions of anybody: it is taken apart here, and a name without a
/// schema is looked up in its schemas, in their order.
macro_rules! named {
    () => {
        r#"
    coalesce((
        select c.oid::regclass
        from pg_catalog.pg_settings s
        cross join lateral pg_catalog.regexp_matches(s.reset_val, '"((?:[^"]|"")*)"|([^",\s]+)', 'g') with ordinality p (part, nth)
        join pg_catalog.pg_namespace n on n.nspname = case
                when coalesce(p.part[1], p.part[2]) = '$user' then current_user
                else coalesce(pg_catalog.replace(p.part[1], '""', '"'), pg_catalog.lower(p.part[2]))
            end
        join pg_catalog.pg_class c on c.relnamespace = n.oid
        where s.name = 'search_path'
          and case when $1::text ~ '^[0-9]+$' then false else array[c.relname] = pg_catalog.parse_ident($1::text)::name[] end
          and pg_catalog.has_schema_privilege(n.oid, 'usage')
        order by p.nth
        limit 1
    ), $1::text::regclass)::oid"#
    };
}

/// For [`watch`]. One statement: where the schema is missing, that is what is wrong, and not the table.
const WATCH: &str = concat!("select rowcast.watch((", named!(), ")::regclass, $2::text::name, $3, $4)");

/// For [`relation`].
const RELATION: &str = concat!("select ", named!());

/// For [`unwatch`]: the overload for names, which also finds tables that are gone.
const UNWATCH: &str = "select rowcast.unwatch($1::text)";

/// For [`publish`]. The payload goes as text, so the server is its one judge.
const PUBLISH: &str = "select rowcast.publish($1, $2::text::jsonb, $3)";

/// For [`close_sessions`].
const CLOSE_SESSIONS: &str = "select rowcast.close_sessions($1::text::jsonb)";

/// For [`status`].
const STATUS: &str = "select name, value, ok, hint from rowcast.status()";

/// For [`ensure_publication`].
const ENSURE_PUBLICATION: &str = "select rowcast.ensure_publication()";

/// For [`mend_publication`]. A slot that is older than its publication cannot be helped, so none is made here.
const MEND_PUBLICATION: &str = "select coalesce((select rowcast.ensure_publication() from pg_catalog.pg_publication where pubname = 'rowcast'), false)";

/// For [`note_coverage`].
const NOTE_COVERAGE: &str = "select rowcast.note_coverage()";

/// For [`start_outbox`].
const START_OUTBOX: &str = "select rowcast.start_outbox()";

/// What [`watch`] does about the replica identity of the table and its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaIdentityChoice {
    /// Set it to FULL, so that old rows are whole. Takes a short exclusive lock when it was not.
    #[default]
    Full,
    /// Leave it; the table is refused when it has none.
    Keep,
}

/// How a table is to be followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRequest {
    /// As in SQL: `orders`, `public.orders`, `"My Schema"."T"`.
    pub relation: String,
    /// The tenant column as the catalog has it, without quotes.
    pub tenant_column: Option<String>,
    /// Readable by every principal; excludes a tenant column.
    pub public: bool,
    /// Whether to make old rows whole.
    pub replica_identity: ReplicaIdentityChoice,
}

impl ReplicaIdentityChoice {
    fn sql(self) -> &'static str {
        match self {
            ReplicaIdentityChoice::Full => "full",
            ReplicaIdentityChoice::Keep => "keep",
        }
    }
}

/// One line of `rowcast.status()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusLine {
    /// Such as `wal_level`, `slot rowcast`, `table public.orders`.
    pub name: String,
    /// What it is.
    pub value: String,
    /// Whether no action is needed.
    pub ok: bool,
    /// What to do, or what to know.
    pub hint: Option<String>,
}

/// Follow a table, or change how it is followed; whether anything changed.
pub async fn watch(client: &Client, request: &WatchRequest) -> Result<bool, StoreError> {
    let WatchRequest { relation, tenant_column, public, replica_identity } = request;
    call(client, WATCH, &[relation, tenant_column, public, &replica_identity.sql()]).await
}

/// The number of the table that [`watch`] would follow.
pub async fn relation(client: &Client, relation: &str) -> Result<u32, StoreError> {
    call(client, RELATION, &[&relation]).await
}

/// Stop following a table, also one that is gone; whether it was followed.
pub async fn unwatch(client: &Client, relation: &str) -> Result<bool, StoreError> {
    call(client, UNWATCH, &[&relation]).await
}

/// Send JSON text to the subscribers of a topic; where the message is in the WAL.
pub async fn publish(client: &Client, topic: &str, payload: &str, tenant: Option<&str>) -> Result<Lsn, StoreError> {
    let lsn: PgLsn = call(client, PUBLISH, &[&topic, &payload, &tenant]).await?;
    Ok(Lsn(lsn.into()))
}

/// Ask every engine of the database to close sessions; where the message is in the WAL.
pub async fn close_sessions(client: &Client, ending: &Ending) -> Result<Lsn, StoreError> {
    let request = serde_json::to_string(ending).map_err(|_| StoreError::InvalidJson)?;
    let lsn: PgLsn = call(client, CLOSE_SESSIONS, &[&request]).await?;
    Ok(Lsn(lsn.into()))
}

/// The health of rowcast in this database, in the order in which to read it.
pub async fn status(client: &Client) -> Result<Vec<StatusLine>, StoreError> {
    let rows = client.query(STATUS, &[]).await?;
    let line = |row: &tokio_postgres::Row| {
        Ok(StatusLine {
            name: row.try_get("name")?,
            value: row.try_get("value")?,
            ok: row.try_get("ok")?,
            hint: row.try_get("hint")?,
        })
    };
    rows.iter().map(line).collect()
}

/// Create publication `rowcast` with all watched tables unless it exists; whether it had to. Call it before a slot is
/// created: a slot that is older than its publication may fail for ever.
pub async fn ensure_publication(client: &Client) -> Result<bool, StoreError> {
    call(client, ENSURE_PUBLICATION, &[]).await
}

/// The same for a publication that is there, as far as the session's role may; whether anything changed.
pub async fn mend_publication(client: &mut Client) -> Result<bool, StoreError> {
    write(client, MEND_PUBLICATION).await
}

/// Note since when the captured changes of each watched table are whole; whether some may have been lost.
pub async fn note_coverage(client: &mut Client) -> Result<bool, StoreError> {
    write(client, NOTE_COVERAGE).await
}

/// Have changes captured by triggers, and those of all watched tables at once; whether anything changed.
pub async fn start_outbox(client: &Client) -> Result<bool, StoreError> {
    call(client, START_OUTBOX, &[]).await
}

/// Whatever transactions are by default.
async fn write(client: &mut Client, sql: &str) -> Result<bool, StoreError> {
    let read_committed = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let writing = read_committed.start().await?;
    let changed = writing.query_one(sql, &[]).await?.try_get(0)?;
    writing.commit().await?;
    Ok(changed)
}

async fn call<T>(client: &Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<T, StoreError>
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    Ok(client.query_one(sql, parameters).await?.try_get(0)?)
}

/// For [`wal_position`]. What is flushed, not what is written: walsenders send what is flushed, and a server that loses
/// its memory writes new commits over what was written and not flushed. Their positions would be less than the one that
/// was read, and new events would be taken for old ones. What was flushed stays.
const WAL_POSITION: &str = "select pg_catalog.pg_current_wal_flush_lsn()";

/// Up to where the server's WAL is on disk: whatever commits after this answer has a greater position, and so has what
/// has committed already without waiting for the disk (`synchronous_commit = off`).
pub async fn wal_position(client: &Client) -> Result<Lsn, StoreError> {
    let lsn: PgLsn = call(client, WAL_POSITION, &[]).await?;
    Ok(Lsn(lsn.into()))
}
