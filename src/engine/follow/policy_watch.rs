//! The catalog is looked at every [`INTERVAL`] (2 s): for what no message of the stream tells (roles, memberships, dropped
//! partitions), and for everything else where the event trigger is not installed (see `sql/ddl/install_event_trigger.sql`)
//! or did not fire. What is looked at is listed in `src/catalog/facts.rs`.
//!
//! One statement over the catalog gives a [`Fingerprint`], over a session of the engine's pool, beside the stream. The
//! bound: a change is noticed [`INTERVAL`] after its commit at the latest, plus the time of that statement; in force
//! when the catalog is read again. While the database does not answer, nothing is noticed, and nothing new arrives
//! either.
//!
//! The catalog that was read has the fingerprint of its own snapshot, so nothing is lost between a reading and a look.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::sync::Notify;

use crate::catalog::Fingerprint;
use crate::engine::deliver::Core;
use crate::error::Error;
use crate::store;

/// How long after its commit a change may be unknown.
const INTERVAL: Duration = Duration::from_secs(2);

/// Rings when the catalog says something else than what is served, and mends the publication once for each catalog that
/// leaves changes out. Runs until it is aborted.
pub(crate) async fn run(core: Arc<Core>, pool: Pool, moved: Arc<Notify>) {
    let (mut told, mut mended) = (None, None);
    loop {
        tokio::time::sleep(INTERVAL).await;
        match look(&core, &pool).await {
            Ok(seen) => {
                if seen.is_some() && seen != told {
                    moved.notify_one();
                }
                told = seen;
            }
            Err(error) => tracing::debug!("the catalog could not be looked up: {error}"),
        }
        let Ok(live) = core.live() else { continue };
        if live.tables.leaves_out() && mended.as_ref() != Some(&live.tables.fingerprint) {
            mended = Some(live.tables.fingerprint.clone());
            mend(&pool).await;
        }
    }
}

/// An altered publication omits changes for all subscribers. If this role may not repair it, `rowcast.status` reports
/// which role has to.
async fn mend(pool: &Pool) {
    let Ok(mut client) = pool.get().await else { return };
    match tokio::time::timeout(INTERVAL, store::mend_publication(&mut client)).await {
        Ok(Ok(true)) => tracing::warn!("publication rowcast was altered and left out changes; mended it"),
        Ok(Ok(false)) => {
            tracing::error!(
                "publication rowcast leaves out changes and cannot be mended by this role: see rowcast.status()"
            );
        }
        Ok(Err(error)) => tracing::error!("publication rowcast leaves out changes; mending it failed: {error}"),
        // A session that does not answer must not go back to the pool.
        Err(_) => drop(Object::take(client)),
    }
}

/// What is there now, if it is not what is served. Told once: the stream, once it is rung for, tries until it has read
/// the catalog, and may find that nothing has changed that matters.
async fn look(core: &Core, pool: &Pool) -> Result<Option<Fingerprint>, Error> {
    let served = core.live()?;
    let served = &served.tables.fingerprint;
    let client = pool.get().await?;
    let Ok(found) = tokio::time::timeout(INTERVAL, served.again(&client)).await else {
        // A session that does not answer must not go back to the pool.
        drop(Object::take(client));
        return Ok(None);
    };
    let found = found?;
    Ok((found != *served).then_some(found))
}
