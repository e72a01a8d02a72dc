//! Brings the schema of a database to the version of this binary.
//!
//! One transaction holds it all: the advisory lock, the history table, every pending migration and its history row. So
//! ten processes may start at once (nine wait, then find nothing to do), a failure or a dropped future leaves the
//! database as it was, and no lock outlives its session. refinery embeds, numbers and checksums the files and defines
//! the history's form; its own runner is not used, as it commits between steps, would need a session lock that a pool
//! may leak, and panics on a damaged history.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, GenericClient, Transaction};

use super::StoreError;

#[allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::wildcard_imports)] // what the macro writes
mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Held until the end of the transaction by [`migrate`]. The first number is "rowc" in ASCII; (1919907683, 1) is
/// `rowcast.watch`'s.
pub(super) const LOCK: &str = "select pg_catalog.pg_advisory_xact_lock(1919907683, 0)";

/// What a migration creates is bound to what its names mean then: to PostgreSQL's own, whatever stands in other schemas.
const SEARCH_PATH: &str = "set local search_path = pg_catalog, pg_temp";

/// Sooner than the server looks for deadlocks, in which it might choose one of those who wait for us. In milliseconds.
pub(super) const LOCK_TIMEOUT: &str = "
    select set_config('lock_timeout',
        greatest(1, 800 * extract(epoch from current_setting('deadlock_timeout')::interval))::int::text, true)";

/// How long [`migrate`] tries where tables are in use, and how long between two attempts.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// For [`history`]: whether there is one. `to_regclass` answers null also for a schema that is missing.
const HISTORY_EXISTS: &str = "select pg_catalog.to_regclass('rowcast.migration') is not null";

/// For [`history`]; by its primary key.
const HISTORY: &str = "select version, name, checksum from rowcast.migration order by version";

/// For [`prepare`]: the schema may have been made by an administrator for a role that may not create one.
const SCHEMA_EXISTS: &str = "select pg_catalog.to_regnamespace('rowcast') is not null";

/// For [`prepare`].
const CREATE_SCHEMA: &str = include_str!("../../sql/schema.sql");

/// For [`prepare`].
const CREATE_HISTORY: &str = include_str!("../../sql/migration.sql");

/// For [`apply`]: the row as refinery writes it, time in RFC 3339.
const RECORD: &str = "insert into rowcast.migration (version, name, applied_on, checksum) \
     values ($1, $2, to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), $3)";

/// One embedded migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Such as `V2__watch`.
    pub name: String,
    /// Its statements.
    pub sql: String,
}

/// A row of `rowcast.migration`.
struct Applied {
    name: String,
    checksum: String,
}

/// Apply what is missing; the names of the migrations that were applied. Needs no privilege but to read the history
/// when nothing is missing; otherwise CREATE on the database. What is in use is tried again for ten seconds.
pub async fn migrate(client: &mut Client) -> Result<Vec<String>, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match migrate_once(client).await {
            Err(error) if error.is_locked() && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            decided => return decided,
        }
    }
}

async fn migrate_once(client: &mut Client) -> Result<Vec<String>, StoreError> {
    if plan(&history(&*client).await?)?.is_empty() {
        return Ok(Vec::new());
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(SEARCH_PATH).await?;
    transaction.batch_execute(LOCK).await?;
    transaction.batch_execute(LOCK_TIMEOUT).await?;
    prepare(&transaction).await?;
    let missing = plan(&history(&transaction).await?)?;
    for migration in &missing {
        apply(&transaction, migration)
            .await
            .map_err(|source| StoreError::MigrationFailed { name: migration.to_string(), source: Box::new(source) })?;
    }
    transaction.commit().await?;
    Ok(missing.iter().map(ToString::to_string).collect())
}

/// What [`migrate`] would apply now. Changes nothing.
pub async fn pending(client: &Client) -> Result<Vec<Migration>, StoreError> {
    Ok(plan(&history(client).await?)?.iter().map(described).collect())
}

/// Every embedded migration in order.
pub fn migrations() -> Vec<Migration> {
    embedded().iter().map(described).collect()
}

/// Names of the tables and views that the migrations make in schema `rowcast`.
pub(super) fn relations() -> Vec<String> {
    let sql: Vec<String> = migrations().into_iter().map(|migration| migration.sql).collect();
    let statements = sql.iter().flat_map(|sql| sql.lines()).chain(CREATE_HISTORY.lines());
    statements.filter_map(created).map(str::to_owned).collect()
}

/// Signatures of the functions that the migrations make in schema `rowcast`, such as `rowcast.tenant_attnum(regclass, name)`:
/// each has a comment.
pub(super) fn functions() -> Vec<String> {
    let sql: Vec<String> = migrations().into_iter().map(|migration| migration.sql).collect();
    let commented = |line: &str| Some(line.strip_prefix("comment on function ")?.split_once(" is")?.0.to_owned());
    sql.iter().flat_map(|sql| sql.lines()).filter_map(commented).collect()
}

/// The name in the first line of a statement such as `create table rowcast.watched (`.
fn created(line: &str) -> Option<&str> {
    let (kind, rest) = line.strip_prefix("create ")?.split_once(" rowcast.")?;
    let name = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next();
    name.filter(|_| kind.ends_with("table") || kind.ends_with("view"))
}

fn described(migration: &refinery::Migration) -> Migration {
    Migration { name: migration.to_string(), sql: migration.sql().unwrap_or_default().to_owned() }
}

fn embedded() -> Vec<refinery::Migration> {
    let mut all = embedded::migrations::runner().get_migrations().clone();
    all.sort();
    all
}

async fn history<C: GenericClient>(client: &C) -> Result<BTreeMap<i32, Applied>, StoreError> {
    if !client.query_one(HISTORY_EXISTS, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(BTreeMap::new());
    }
    let mut applied = BTreeMap::new();
    for row in client.query(HISTORY, &[]).await? {
        let text = |column| Ok::<_, StoreError>(row.try_get::<_, Option<String>>(column)?.unwrap_or_default());
        applied.insert(row.try_get(0)?, Applied { name: text(1)?, checksum: text(2)? });
    }
    Ok(applied)
}

/// Pure: which embedded migrations the history lacks, or why it does not fit them.
fn plan(history: &BTreeMap<i32, Applied>) -> Result<Vec<refinery::Migration>, StoreError> {
    let embedded = embedded();
    let newest = embedded.last().map_or(0, refinery::Migration::version);
    for (version, applied) in history.range(..=newest) {
        let same = embedded.iter().find(|migration| migration.version() == *version);
        if same.is_none_or(|same| same.name() != applied.name || same.checksum().to_string() != applied.checksum) {
            return Err(StoreError::SchemaDivergent {
                applied: format!("V{version}__{}", applied.name),
                embedded: same.map_or_else(|| "none".to_owned(), ToString::to_string),
            });
        }
    }
    if let Some((&database, _)) = history.last_key_value().filter(|(version, _)| **version > newest) {
        return Err(StoreError::SchemaNewer { database, binary: newest });
    }
    let (behind, missing): (Vec<_>, Vec<_>) = embedded
        .into_iter()
        .filter(|migration| !history.contains_key(&migration.version()))
        .partition(|migration| history.keys().any(|applied| *applied > migration.version()));
    match behind.first() {
        Some(skipped) => Err(StoreError::SchemaDivergent { applied: "none".to_owned(), embedded: skipped.to_string() }),
        None => Ok(missing),
    }
}

async fn prepare(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    if !transaction.query_one(SCHEMA_EXISTS, &[]).await?.try_get::<_, bool>(0)? {
        transaction.batch_execute(CREATE_SCHEMA).await?;
    }
    if !transaction.query_one(HISTORY_EXISTS, &[]).await?.try_get::<_, bool>(0)? {
        transaction.batch_execute(CREATE_HISTORY).await?;
    }
    Ok(())
}

async fn apply(transaction: &Transaction<'_>, migration: &refinery::Migration) -> Result<(), StoreError> {
    transaction.batch_execute(migration.sql().unwrap_or_default()).await?;
    let checksum = migration.checksum().to_string();
    transaction.execute(RECORD, &[&migration.version(), &migration.name(), &checksum]).await?;
    Ok(())
}
