//! Row security that is switched on or off: no message of the stream tells of it, so the catalog is asked.
//!
//! One index lookup for each served table, over a session of the engine's pool, beside the stream.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::Notify;

use super::core::Core;
use crate::capture::CatalogError;
use crate::error::Error;

/// How long a policy may be in force before its table is closed.
const INTERVAL: Duration = Duration::from_secs(2);

const PROTECTED: &str = "select oid from pg_catalog.pg_class where relrowsecurity and oid = any ($1)";

/// Rings when a served table's row security is another than the engine knows. Runs until it is aborted.
pub(super) async fn run(core: Arc<Core>, pool: Pool, moved: Arc<Notify>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        match tokio::time::timeout(INTERVAL, has_moved(&core, &pool)).await {
            Ok(Ok(true)) => moved.notify_one(),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::debug!("row security could not be looked up: {error}"),
            Err(_) => tracing::debug!("row security could not be looked up within {INTERVAL:?}"),
        }
    }
}

async fn has_moved(core: &Core, pool: &Pool) -> Result<bool, Error> {
    let live = core.live()?;
    let served: Vec<u32> = live.tables.by_oid.keys().copied().collect();
    let rows = pool.get().await?.query(PROTECTED, &[&served]).await.map_err(CatalogError::from)?;
    let protected: Vec<u32> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    Ok(live.tables.iter().any(|table| table.access.row_security != protected.contains(&table.oid)))
}
