//! Watches the health of the slots over a session of the engine's pool: how much WAL the server keeps for the engine's
//! own slot, how close the server is to invalidating it, and which slots of the pool are unclaimed.
//!
//! If the slot is in danger, the engine logs it before the server's limit is reached, and drops the replay window:
//! recent events for resuming clients are worth less than the stream itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use tokio_postgres::Client;

use crate::capture::IdleSlots;
use crate::engine::deliver::Core;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(5);

/// What `rowcast.status()` tells people, for one slot (manual, section 54.19 "`pg_replication_slots`").
const HEALTH: &str = "select slot_name::text, wal_status, safe_wal_size,
        pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::bigint
    from pg_catalog.pg_replication_slots
    where plugin = 'pgoutput' and database = pg_catalog.current_database() and slot_name = $1::text";

/// What the server says of a slot.
struct Health {
    status: Option<String>,
    safe_bytes: Option<i64>,
    retained_bytes: Option<i64>,
}

/// Runs until it is aborted.
pub(crate) async fn run(core: Arc<Core>, pool: Pool, slots: String) {
    let idle_max = Duration::from_secs_f64(core.settings.slot_idle_s);
    let mut idle = IdleSlots::new(&slots, idle_max);
    let mut in_danger = false;
    loop {
        tokio::time::sleep(INTERVAL.min(idle_max)).await;
        let Ok(client) = pool.get().await else { continue };
        let look = look(&core, &client, &mut idle, &mut in_danger);
        if tokio::time::timeout(INTERVAL, look).await.is_err() {
            // A session that does not answer must not go back to the pool.
            drop(Object::take(client));
        }
    }
}

async fn look(core: &Core, client: &Client, idle: &mut IdleSlots, in_danger: &mut bool) {
    for name in idle.sweep(client, Instant::now()).await {
        tracing::warn!(slot = name, "no process streamed from the slot for slot_idle_s: it was dropped");
    }
    let Some(name) = core.slot.lock().clone() else { return };
    let Some(health) = health(client, &name).await else { return };
    core.metrics.slot_retained_bytes.set(unsigned(health.retained_bytes).unwrap_or(0));
    core.metrics.slot_safe_bytes.set(unsigned(health.safe_bytes));
    let was = std::mem::replace(in_danger, health.is_in_danger());
    if *in_danger {
        core.ring.lock().release();
        if !was {
            tracing::warn!(
                code = "SLOT_IN_DANGER",
                slot = name,
                retained_bytes = health.retained_bytes,
                safe_bytes = health.safe_bytes,
                "the server is about to give the slot up: the replay window is let go; raise max_slot_wal_keep_size"
            );
        }
    }
}

async fn health(client: &Client, slot: &str) -> Option<Health> {
    let row = client.query_opt(HEALTH, &[&slot]).await.ok()??;
    Some(Health {
        status: row.try_get(1).ok()?,
        safe_bytes: row.try_get(2).ok()?,
        retained_bytes: row.try_get(3).ok()?,
    })
}

impl Health {
    /// Less than a third of what is kept already may be written.
    fn is_in_danger(&self) -> bool {
        let near = self.safe_bytes.zip(self.retained_bytes).is_some_and(|(safe, retained)| safe < retained / 3);
        near || self.status.as_deref() == Some("unreserved")
    }
}

fn unsigned(bytes: Option<i64>) -> Option<u64> {
    bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn a_slot_is_in_danger_before_the_server_says_so() {
        let health = |status: &str, safe, retained| Health {
            status: Some(status.to_owned()),
            safe_bytes: safe,
            retained_bytes: Some(retained),
        };
        assert!(!health("reserved", None, 1 << 40).is_in_danger(), "without a limit nothing is given up");
        assert!(!health("extended", Some(100), 100).is_in_danger());
        assert!(health("extended", Some(20), 100).is_in_danger());
        assert!(health("unreserved", Some(0), 0).is_in_danger());
    }
}
