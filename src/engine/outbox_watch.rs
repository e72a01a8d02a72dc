//! The engine's part in keeping an outbox small and whole: it says what it needs no more, has emptied what nobody needs, and
//! gives their triggers to partitions that came later, where it may.
//!
//! Beside the stream, over a session of the engine's pool: a stream that waits for its clients is heard of all the same.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Error, IsolationLevel};

use super::core::Core;
use crate::store::{self, StoreError};

/// How often. Of whom nothing was heard for a minute nothing is kept.
const INTERVAL: Duration = Duration::from_secs(5);
/// See `sql/functions/trim_outbox.sql`.
const TRIM: &str = "select rowcast.trim_outbox($1, $2)";

const BYTES: &str = "
    select coalesce(sum(pg_catalog.pg_relation_size(i.inhrelid)), 0)::int8
    from pg_catalog.pg_inherits i where i.inhparent = 'rowcast.outbox'::regclass";

/// Whether triggers are missing, and of no table all of whose changes are lost meanwhile: such a table is not served any more, and
/// whoever follows it has to be told first.
const IS_MENDABLE: &str = "select coalesce(bool_and(problem <> 'not_captured'), false) from rowcast.missing_trigger";

/// Runs until it is aborted.
pub(super) async fn run(core: Arc<Core>, pool: Pool, reader: String) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Ok(mut client) = pool.get().await else { continue };
        match tokio::time::timeout(INTERVAL, look(&core, &mut client, &reader, &mut told)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("the outbox was not trimmed: {error}"),
            // A session that does not answer is of no use to whoever would get it next.
            Err(_) => drop(Object::take(client)),
        }
    }
}

/// What is wrong is logged once.
async fn mend(client: &Client, told: &mut String) {
    let Err(error) = try_to_mend(client).await else { return told.clear() };
    let error = error.to_string();
    if *told != error {
        tracing::warn!(
            "a partition or a trigger that came later is not captured in order, see rowcast.status(): {error}"
        );
        *told = error;
    }
}

async fn try_to_mend(client: &Client) -> Result<(), StoreError> {
    if client.query_one(IS_MENDABLE, &[]).await?.try_get(0)? && store::start_outbox(client).await? {
        tracing::info!("the outbox has the triggers that were missing");
    }
    Ok(())
}

async fn look(core: &Core, client: &mut Client, reader: &str, told: &mut String) -> Result<(), Error> {
    let confirmed = PgLsn::from(core.metrics.confirmed_lsn.get());
    let trimming = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
    // It locks out readers until it has committed, which must not wait for a standby.
    trimming.batch_execute("set local synchronous_commit = local").await?;
    trimming.execute(TRIM, &[&reader, &confirmed]).await?;
    trimming.commit().await?;
    let bytes: i64 = client.query_one(BYTES, &[]).await?.try_get(0)?;
    core.metrics.outbox_bytes.set(bytes.cast_unsigned());
    mend(client, told).await;
    Ok(())
}
