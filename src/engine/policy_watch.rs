//! Who may see what has changed, and no message of the stream tells of it: roles and memberships always, everything else
//! where the event trigger is not installed (see `sql/functions/install_event_trigger.sql`) or did not fire.
//!
//! One statement over the catalog gives a [`Fingerprint`], over a session of the engine's pool, beside the stream. The
//! bound: a change is noticed [`INTERVAL`] (2 s) after its commit at the latest, plus the time of that statement; in force
//! when the catalog is read again. While the database does not answer, nothing is noticed, and nothing new arrives either.
//!
//! The catalog that was read has the fingerprint of its own snapshot, so nothing is lost between a reading and a look.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::sync::Notify;

use super::core::Core;
use crate::capture::Fingerprint;
use crate::error::Error;

/// How long after its commit a change may be unknown.
const INTERVAL: Duration = Duration::from_secs(2);

/// Rings when the catalog says something else than what is served. Runs until it is aborted.
pub(super) async fn run(core: Arc<Core>, pool: Pool, moved: Arc<Notify>) {
    let mut told = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        match look(&core, &pool).await {
            Ok(seen) => {
                if seen.is_some() && seen != told {
                    moved.notify_one();
                }
                told = seen;
            }
            Err(error) => tracing::debug!("access control could not be looked up: {error}"),
        }
    }
}

/// What is there now, if it is not what is served. Told once: the stream, once it is rung for, tries until it has read
/// the catalog, and may find that nothing has changed that matters.
async fn look(core: &Core, pool: &Pool) -> Result<Option<Fingerprint>, Error> {
    let served = core.live()?;
    let served = &served.tables.fingerprint;
    let client = pool.get().await?;
    let Ok(found) = tokio::time::timeout(INTERVAL, served.again(&client)).await else {
        // A session that does not answer is of no use to whoever would get it next.
        drop(Object::take(client));
        return Ok(None);
    };
    let found = found?;
    Ok((found != *served).then_some(found))
}
