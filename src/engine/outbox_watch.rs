//! The engine's part in keeping an outbox small and whole: it says what it needs no more, has emptied what nobody needs, and
//! gives their triggers to partitions that came later, where it may.
//!
//! Beside the stream, over a session of the engine's pool: a stream that waits for its clients is heard of all the same.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, IsolationLevel};

use super::core::Core;
use crate::store::{self, StoreError};

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
    select pg_catalog.string_agg(distinct m.relation::regclass::text, ', '),
           coalesce(pg_catalog.bool_and(m.problem <> 'not_captured'), false)
               and pg_catalog.pg_has_role((select relowner from pg_class where oid = 'rowcast.outbox'::regclass), 'usage')
    from rowcast.missing_trigger m";

/// Runs until it is aborted. What is wrong is logged once.
pub(super) async fn run(core: Arc<Core>, pool: Pool, reader: String) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Ok(mut client) = pool.get().await else { continue };
        let trouble = match tokio::time::timeout(INTERVAL, tend(&core, &mut client, &reader)).await {
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
async fn tend(core: &Core, client: &mut Client, reader: &str) -> Result<String, StoreError> {
    let confirmed = PgLsn::from(core.metrics.confirmed_lsn.get());
    let read_committed = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let trimming = read_committed.start().await?;
    // It locks out readers until it has committed, which must not wait for a standby.
    trimming.batch_execute("set local synchronous_commit = local").await?;
    trimming.execute(TRIM, &[&reader, &confirmed]).await?;
    trimming.commit().await?;
    let bytes: i64 = client.query_one(BYTES, &[]).await?.try_get(0)?;
    core.metrics.outbox_bytes.set(bytes.cast_unsigned());
    mend(client).await
}

async fn mend(client: &Client) -> Result<String, StoreError> {
    let row = client.query_one(MISSING, &[]).await?;
    let (Some(tables), is_ours): (Option<String>, bool) = (row.try_get(0)?, row.try_get(1)?) else {
        return Ok(String::new());
    };
    if is_ours && store::start_outbox(client).await? {
        tracing::info!("{tables}: triggers that were missing are there now");
        return Ok(String::new());
    }
    Ok(format!(
        "{tables}: some changes are not captured, or not in order, as rowcast.status() explains; \
         as the owner, run: select rowcast.start_outbox()"
    ))
}
