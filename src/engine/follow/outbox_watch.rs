//! Keeps an outbox small and whole: the engine confirms what it has read, removes what no engine needs, and adds
//! triggers to partitions that were attached later, if its role may.
//!
//! This runs beside the stream, over a session of the engine's pool, so that a stream that waits for its clients still
//! counts as alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, IsolationLevel, Row};

use crate::engine::deliver::Core;
use crate::store::StoreError;

/// How often. Nothing is kept for a reader that was silent for a minute.
const INTERVAL: Duration = Duration::from_secs(5);
/// See `sql/outbox/read/trim_outbox.sql`.
const TRIM: &str = "select rowcast.trim_outbox($1, $2)";

const BYTES: &str = "
    select coalesce(sum(pg_catalog.pg_relation_size(i.inhrelid)), 0)::int8
    from pg_catalog.pg_inherits i where i.inhparent = 'rowcast.outbox'::regclass";

/// Which tables lack triggers, and whether the engine can add them. It cannot if all changes of a table are being lost:
/// that table is no longer served, and its subscriptions have to end first. A partition may have another owner.
const MISSING: &str = "
    select m.relation, m.relation::regclass::text, pg_catalog.bool_and(m.installable and m.problem <> 'not_captured')
    from rowcast.missing_trigger m
    group by m.relation
    order by m.relation";

/// One engine at a time, see `sql/watch/watch.sql`.
const IS_FREE: &str = "select pg_catalog.pg_try_advisory_xact_lock(1919907683, 1)";
const INSTALL: &str = "select rowcast.install_outbox_triggers($1::oid::regclass)";
/// Each attempt that finds a table in use has its writers wait for a moment, so the pause doubles up to this.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// A table that lacks triggers.
struct Incomplete {
    relation: u32,
    name: String,
    is_ours: bool,
}

/// When to try again what could not be mended.
struct Patience {
    pause: Duration,
    due: Instant,
    /// Nothing where it was in use and no more than that.
    obstacle: String,
}

/// One for each table: a table that is always in use does not delay the others.
type Patiences = HashMap<u32, Patience>;

/// Runs until it is aborted. What is wrong is logged once.
pub(crate) async fn run(core: Arc<Core>, pool: Pool, reader: String) {
    let mut told = String::new();
    let mut patiences = Patiences::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Ok(mut client) = pool.get().await else { continue };
        let trouble = match tokio::time::timeout(INTERVAL, tend(&core, &mut client, &reader, &mut patiences)).await {
            Ok(Ok(missing)) => missing,
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                // A session that does not answer must not go back to the pool.
                drop(Object::take(client));
                continue;
            }
        };
        if !trouble.is_empty() && trouble != told {
            tracing::warn!("the outbox was not tended: {trouble}");
        }
        told = trouble;
    }
}

/// What an administrator has to repair, or nothing.
async fn tend(core: &Core, client: &mut Client, reader: &str, patiences: &mut Patiences) -> Result<String, StoreError> {
    trim(core, client, reader).await?;
    let bytes: i64 = client.query_one(BYTES, &[]).await?.try_get(0)?;
    core.metrics.outbox_bytes.set(bytes.cast_unsigned());
    mend(client, patiences).await
}

async fn trim(core: &Core, client: &mut Client, reader: &str) -> Result<(), StoreError> {
    let confirmed = PgLsn::from(core.metrics.confirmed_lsn.get());
    let read_committed = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let trimming = read_committed.start().await?;
    // It locks out readers until it has committed, which must not wait for a standby.
    trimming.batch_execute("set local synchronous_commit = local").await?;
    trimming.execute(TRIM, &[&reader, &confirmed]).await?;
    Ok(trimming.commit().await?)
}

async fn mend(client: &mut Client, patiences: &mut Patiences) -> Result<String, StoreError> {
    let rows = client.query(MISSING, &[]).await?;
    let incomplete = rows.iter().map(Incomplete::read).collect::<Result<Vec<_>, _>>()?;
    patiences.retain(|relation, _| incomplete.iter().any(|table| table.relation == *relation));
    let mut left = Vec::new();
    for table in incomplete {
        let patience = patiences.entry(table.relation).or_insert_with(Patience::new);
        if table.is_ours && patience.is_over() && install(client, table.relation, patience).await? {
            tracing::info!("{}: triggers that were missing are there now", table.name);
        } else {
            left.push(table.name + &patience.obstacle);
        }
    }
    Ok(match left.join(", ") {
        left if left.is_empty() => left,
        left => format!("{left}: some changes are not captured, or not in order, as rowcast.status() explains"),
    })
}

/// Returns whether the installation was possible now. An error on one table does not delay others; a lost session does.
async fn install(client: &mut Client, relation: u32, patience: &mut Patience) -> Result<bool, StoreError> {
    let installing = client.build_transaction().read_only(false).start().await?;
    if !installing.query_one(IS_FREE, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    // An attempt that takes so long that it is given up was one as well.
    patience.double();
    let installed = match installing.execute(INSTALL, &[&relation]).await {
        Ok(_) => installing.commit().await,
        Err(error) => Err(error),
    };
    match installed.map_err(StoreError::from) {
        Ok(()) => *patience = Patience::new(),
        Err(error @ StoreError::ConnectionLost(_)) => return Err(error),
        Err(error) => {
            patience.obstacle = obstacle(&error);
            return Ok(false);
        }
    }
    Ok(true)
}

fn obstacle(error: &StoreError) -> String {
    match error {
        StoreError::Locked { .. } => String::new(),
        error => format!(" ({error})"),
    }
}

impl Incomplete {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self { relation: row.try_get(0)?, name: row.try_get(1)?, is_ours: row.try_get(2)? })
    }
}

impl Patience {
    fn new() -> Self {
        Self { pause: INTERVAL, due: Instant::now(), obstacle: String::new() }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.due
    }

    fn double(&mut self) {
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.due = Instant::now() + self.pause;
    }
}
