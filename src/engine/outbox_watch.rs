//! The engine's part in keeping an outbox small and whole: it says what it needs no more, has emptied what nobody needs, and
//! gives their triggers to partitions that came later, where it may.
//!
//! Beside the stream, over a session of the engine's pool: a stream that waits for its clients is heard of all the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, IsolationLevel};

use super::core::Core;
use crate::store::StoreError;

/// How often. Of whom nothing was heard for a minute nothing is kept.
const INTERVAL: Duration = Duration::from_secs(5);
/// See `sql/functions/trim_outbox.sql`.
const TRIM: &str = "select rowcast.trim_outbox($1, $2)";

const BYTES: &str = "
    select coalesce(sum(pg_catalog.pg_relation_size(i.inhrelid)), 0)::int8
    from pg_catalog.pg_inherits i where i.inhparent = 'rowcast.outbox'::regclass";

/// Which tables lack triggers, and whether that can be mended here: not where all changes of one are lost meanwhile, which is
/// not served any more, so that whoever follows it has to be told first.
const MISSING: &str = "
    select m.relation, m.relation::regclass::text,
           pg_catalog.bool_and(m.problem <> 'not_captured' and pg_catalog.pg_has_role(c.relowner, 'usage')
               and pg_catalog.pg_has_role(o.relowner, 'usage'))
    from rowcast.missing_trigger m
    join pg_catalog.pg_class c on c.oid = m.relation
    cross join pg_catalog.pg_class o
    where o.oid = 'rowcast.outbox'::regclass
    group by m.relation";

/// One engine at a time, see `sql/functions/watch.sql`.
const IS_FREE: &str = "select pg_catalog.pg_try_advisory_xact_lock(1919907683, 1)";
const INSTALL: &str = "select rowcast.install_outbox_triggers($1::oid::regclass)";
/// Each attempt that finds a table in use has its writers wait for a moment, so the pause doubles up to this.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// When to try again what was in use.
struct Patience {
    pause: Duration,
    due: Instant,
}

/// Runs until it is aborted. What is wrong is logged once.
pub(super) async fn run(core: Arc<Core>, pool: Pool, reader: String) {
    let mut told = String::new();
    let mut patience = Patience { pause: INTERVAL, due: Instant::now() };
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Ok(mut client) = pool.get().await else { continue };
        let trouble = match tokio::time::timeout(INTERVAL, tend(&core, &mut client, &reader, &mut patience)).await {
            Ok(Ok(missing)) => missing,
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                // A session that does not answer is of no use to whoever would get it next.
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

/// What somebody else has to see to, or nothing.
async fn tend(core: &Core, client: &mut Client, reader: &str, patience: &mut Patience) -> Result<String, StoreError> {
    let confirmed = PgLsn::from(core.metrics.confirmed_lsn.get());
    let read_committed = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let trimming = read_committed.start().await?;
    // It locks out readers until it has committed, which must not wait for a standby.
    trimming.batch_execute("set local synchronous_commit = local").await?;
    trimming.execute(TRIM, &[&reader, &confirmed]).await?;
    trimming.commit().await?;
    let bytes: i64 = client.query_one(BYTES, &[]).await?.try_get(0)?;
    core.metrics.outbox_bytes.set(bytes.cast_unsigned());
    mend(client, patience).await
}

async fn mend(client: &mut Client, patience: &mut Patience) -> Result<String, StoreError> {
    let mut left = Vec::new();
    for row in client.query(MISSING, &[]).await? {
        let (relation, name, is_ours): (u32, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if is_ours && patience.is_over() && install(client, relation, patience).await? {
            tracing::info!("{name}: triggers that were missing are there now");
        } else {
            left.push(name);
        }
    }
    Ok(match left.join(", ") {
        left if left.is_empty() => left,
        left => format!("{left}: some changes are not captured, or not in order, as rowcast.status() explains"),
    })
}

/// Whether that was possible now.
async fn install(client: &mut Client, relation: u32, patience: &mut Patience) -> Result<bool, StoreError> {
    let installing = client.build_transaction().read_only(false).start().await?;
    if !installing.query_one(IS_FREE, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    match installing.execute(INSTALL, &[&relation]).await.map_err(StoreError::from) {
        Err(StoreError::Locked { .. }) => {
            patience.double();
            return Ok(false);
        }
        decided => decided?,
    };
    installing.commit().await?;
    *patience = Patience { pause: INTERVAL, due: Instant::now() };
    Ok(true)
}

impl Patience {
    fn is_over(&self) -> bool {
        Instant::now() >= self.due
    }

    fn double(&mut self) {
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.due = Instant::now() + self.pause;
    }
}
