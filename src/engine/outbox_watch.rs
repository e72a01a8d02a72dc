//! The engine's part in keeping an outbox small: it says what it needs no more, and has emptied what nobody needs.
//!
//! Beside the stream, over a session of the engine's pool: a stream that waits for its clients is heard of all the same.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Error};

use super::core::Core;

/// How often. Of whom nothing was heard for a minute nothing is kept.
const INTERVAL: Duration = Duration::from_secs(5);
/// A transaction that is open for longer holds everything back for longer than anybody expects.
const LONG_MS: i64 = 10_000;

/// See `sql/functions/trim_outbox.sql`.
const TRIM: &str = "select rowcast.trim_outbox($1, $2)";

/// Of other users' sessions only who may read all statistics sees when they began.
const HEALTH: &str = "
    select (select coalesce(sum(pg_catalog.pg_relation_size(i.inhrelid)), 0)
            from pg_catalog.pg_inherits i where i.inhparent = 'rowcast.outbox'::regclass)::int8,
           (select coalesce(max(extract(epoch from pg_catalog.clock_timestamp() - o.since) * 1000), 0)
            from (
                select a.xact_start from pg_catalog.pg_stat_activity a
                where a.backend_xid is not null and a.pid <> pg_catalog.pg_backend_pid()
                union all
                select p.prepared from pg_catalog.pg_prepared_xacts p
            ) o (since))::int8";

/// Runs until it is aborted.
pub(super) async fn run(core: Arc<Core>, pool: Pool, reader: String) {
    let mut held_back = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Ok(client) = pool.get().await else { continue };
        match tokio::time::timeout(INTERVAL, look(&core, &client, &reader)).await {
            Ok(Ok(ms)) => tell(&mut held_back, ms),
            Ok(Err(error)) => tracing::debug!("the outbox was not trimmed: {error}"),
            // A session that does not answer is of no use to whoever would get it next.
            Err(_) => drop(Object::take(client)),
        }
    }
}

/// How long the outbox has been held back.
async fn look(core: &Core, client: &Client, reader: &str) -> Result<i64, Error> {
    let confirmed = PgLsn::from(core.metrics.confirmed_lsn.get());
    client.execute(TRIM, &[&reader, &confirmed]).await?;
    let row = client.query_one(HEALTH, &[]).await?;
    let (bytes, ms): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    core.metrics.outbox_bytes.set(bytes.cast_unsigned());
    core.metrics.outbox_held_back_ms.set(ms.cast_unsigned());
    Ok(ms)
}

fn tell(held_back: &mut bool, ms: i64) {
    let was = std::mem::replace(held_back, ms >= LONG_MS);
    if *held_back && !was {
        tracing::warn!(
            code = "OUTBOX_HELD_BACK",
            ms,
            "a transaction that writes is open for long (pg_stat_activity, pg_prepared_xacts): what is younger is told when it ends"
        );
    }
}
