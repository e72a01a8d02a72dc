//! Which slot this process streams from: a pool of slots under one name.
//!
//! Any number of processes are given the same name. The first streams from the slot of that name, the others from
//! `name_2`, `name_3` and so on; a slot is claimed by streaming from it, which the server allows one session at a time. A slot
//! that has to be made begins as a copy of one that is whole, so that a cursor which one process gave out is good at the
//! next. A slot that the server invalidated is dropped and created again; the engine reports the gap.
//!
//! Slots belong to the cluster, and their names with them: so the default name of a pool contains
//! the database's OID, and a name that another database, plugin or kind of slot uses is skipped.
//!
//! A slot that another session streams from, or that belongs to another database or plugin, is never touched.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::settings::WalSettings;
use crate::capture::consumer::Capture;
use crate::capture::error::CaptureError;
use crate::postgres::{ConnectionError, Conninfo};
use crate::store::StoreError;

/// Processes that start at the same time choose the same slot, and all but one choose again.
const ATTEMPTS: usize = 64;

/// How long a start waits for a process that is on its way out to leave its slot, where there may be no more of them.
const CROWDED: Duration = Duration::from_secs(5);

/// The interval between two checks while waiting.
const GLANCE: Duration = Duration::from_millis(200);

/// The slots with a name of the pool; those that hold most come first.
const SLOTS: &str = r"select slot_name::text, active_pid is not null, coalesce(wal_status = 'lost', false),
        coalesce(plugin = 'pgoutput' and database = pg_catalog.current_database() and not temporary, false)
    from pg_catalog.pg_replication_slots
    where slot_name = $1::text or slot_name ~ ('^' || $1::text || '_[0-9]+$')
    order by confirmed_flush_lsn";

/// The OID and not the name: a database that is renamed keeps its slots. Behind a letter, so that it is not one of the pool
/// `rowcast`.
const NAME: &str =
    "select 'rowcast_db' || oid::text from pg_catalog.pg_database where datname = pg_catalog.current_database()";

const COPY: &str = "select pg_catalog.pg_copy_logical_replication_slot($1::text::name, $2::text::name)";

/// The conditions are looked at once more: the slot may have been claimed since.
const DISCARD: &str = "select pg_catalog.pg_drop_replication_slot(slot_name) from pg_catalog.pg_replication_slots
    where slot_name = $1::text and active_pid is null and wal_status = 'lost'";

const DROP: &str = "select pg_catalog.pg_drop_replication_slot(slot_name) from pg_catalog.pg_replication_slots
    where slot_name = $1::text and active_pid is null";

/// A pool of slots.
#[derive(Clone, Debug)]
pub struct SlotPool {
    conninfo: Conninfo,
    settings: WalSettings,
}

/// One slot of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pooled {
    name: String,
    active: bool,
    lost: bool,
    /// Else it only has the name.
    ours: bool,
}

impl Pooled {
    fn is_free(&self) -> bool {
        self.ours && !self.active
    }
}

impl SlotPool {
    /// `settings.slot` is the pool's name.
    pub fn new(conninfo: Conninfo, settings: WalSettings) -> Self {
        SlotPool { conninfo, settings }
    }

    /// The name of a pool: as given, or else after the database.
    pub async fn name(client: &Client, given: Option<&str>) -> Result<String, StoreError> {
        match given {
            Some(name) => Ok(name.to_owned()),
            None => Ok(client.query_one(NAME, &[]).await?.try_get(0)?),
        }
    }

    /// Streams from a slot that is free, and is made if there is none; with the settings that name it.
    pub async fn claim(&self) -> Result<(Capture, WalSettings), CaptureError> {
        self.settings.check()?;
        let (client, connection) = self.conninfo.connect().await?;
        let claimed = self.claim_with(&client).await;
        connection.abort();
        claimed
    }

    async fn claim_with(&self, client: &Client) -> Result<(Capture, WalSettings), CaptureError> {
        let (mut attempt, began) = (1, Instant::now());
        loop {
            let slots = look(client, &self.settings.slot).await;
            let name = choose(&self.settings.slot, &slots);
            prepare(client, &slots, &name).await;
            let settings = WalSettings { slot: name, ..self.settings.clone() };
            match Capture::wal(self.conninfo.clone(), settings.clone(), None).await {
                Err(CaptureError::SlotActive { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(
                    CaptureError::SlotsExhausted { .. }
                    | CaptureError::Connection(ConnectionError::SendersExhausted { .. }),
                ) if began.elapsed() < CROWDED => {
                    tokio::time::sleep(GLANCE).await;
                }
                started => return started.map(|capture| (capture, settings)),
            }
        }
    }
}

/// Slots of a pool that nobody streams from: dropped after a time, as they keep WAL for nobody.
#[derive(Debug)]
pub struct IdleSlots {
    pool: String,
    idle_max: Duration,
    since: Vec<(String, Instant)>,
}

impl IdleSlots {
    /// None known yet.
    pub fn new(pool: &str, idle_max: Duration) -> Self {
        IdleSlots { pool: pool.to_owned(), idle_max, since: Vec::new() }
    }

    /// Looks once; the names of those that were dropped.
    pub async fn sweep(&mut self, client: &Client, now: Instant) -> Vec<String> {
        let due = self.due(&look(client, &self.pool).await, now);
        let mut dropped = Vec::new();
        for name in due {
            match client.execute(DROP, &[&name]).await {
                Ok(1..) => dropped.push(name),
                Ok(0) => {}
                Err(error) => tracing::debug!(slot = name, %error, "an idle slot was not dropped"),
            }
        }
        dropped
    }

    fn due(&mut self, slots: &[Pooled], now: Instant) -> Vec<String> {
        let idle = |name: &str| slots.iter().any(|slot| slot.name == name && slot.is_free());
        self.since.retain(|(name, _)| idle(name));
        for slot in slots.iter().filter(|slot| slot.is_free()) {
            if self.since.iter().all(|(name, _)| *name != slot.name) {
                self.since.push((slot.name.clone(), now));
            }
        }
        let is_due = |since: &Instant| now.saturating_duration_since(*since) >= self.idle_max;
        self.since.iter().filter(|(_, since)| is_due(since)).map(|(name, _)| name.clone()).collect()
    }
}

/// Names of the pool's slots that this database has.
pub async fn pool_slots(client: &Client, pool: &str) -> Vec<String> {
    look(client, pool).await.into_iter().filter(|slot| slot.ours).map(|slot| slot.name).collect()
}

/// Nothing when the server does not say: then the claim itself will say why.
async fn look(client: &Client, pool: &str) -> Vec<Pooled> {
    let rows = client.query(SLOTS, &[&pool]).await.unwrap_or_default();
    let read = |row: &tokio_postgres::Row| {
        let flag = |at: usize| row.try_get(at).ok();
        Some(Pooled { name: row.try_get(0).ok()?, active: flag(1)?, lost: flag(2)?, ours: flag(3)? })
    };
    rows.iter().filter_map(read).collect()
}

/// One that is free, the pool's own before others; else the first name that is not taken.
fn choose(pool: &str, slots: &[Pooled]) -> String {
    let name = |number: usize| if number == 1 { pool.to_owned() } else { format!("{pool}_{number}") };
    let known = |name: &String| slots.iter().find(|slot| slot.name == *name);
    let names = || (1..=slots.len() + 1).map(name);
    let free = names().find(|name| known(name).is_some_and(Pooled::is_free));
    let other = || slots.iter().find(|slot| slot.is_free()).map(|slot| slot.name.clone());
    free.or_else(other).or_else(|| names().find(|name| known(name).is_none())).unwrap_or_else(|| pool.to_owned())
}

/// Drops it if it is lost, and copies it from another if it is not there. What fails here the claim will meet again.
async fn prepare(client: &Client, slots: &[Pooled], name: &str) {
    let there = slots.iter().find(|slot| slot.name == name);
    if there.is_some_and(|slot| slot.lost) {
        let dropped = client.execute(DISCARD, &[&name]).await;
        tracing::warn!(slot = name, ?dropped, "the server invalidated the slot; creating it again");
    }
    let source = slots.iter().find(|slot| slot.ours && !slot.lost && slot.name != name);
    if let Some(source) = source.filter(|_| there.is_none_or(|slot| slot.lost)) {
        let copied = client.execute(COPY, &[&source.name, &name]).await;
        tracing::debug!(slot = name, source = source.name, ?copied, "a slot was copied");
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{IdleSlots, Pooled, choose};

    fn slot(name: &str, active: bool) -> Pooled {
        Pooled { name: name.to_owned(), active, lost: false, ours: true }
    }

    #[test]
    fn a_free_slot_is_taken_before_a_new_one_is_made() {
        assert_eq!(choose("feed", &[]), "feed");
        assert_eq!(choose("feed", &[slot("feed", true)]), "feed_2");
        assert_eq!(choose("feed", &[slot("feed_2", false), slot("feed", false)]), "feed");
        assert_eq!(choose("feed", &[slot("feed", true), slot("feed_7", false)]), "feed_7");
        assert_eq!(choose("feed", &[slot("feed", true), slot("feed_3", true)]), "feed_2");
    }

    #[test]
    fn a_name_that_another_database_has_is_passed_over() {
        let foreign = |name| Pooled { ours: false, ..slot(name, false) };
        assert_eq!(choose("feed", &[foreign("feed")]), "feed_2");
        assert_eq!(choose("feed", &[slot("feed", true), foreign("feed_2")]), "feed_3");
        assert!(IdleSlots::new("feed", Duration::ZERO).due(&[foreign("feed")], Instant::now()).is_empty());
    }

    #[test]
    fn a_slot_goes_when_nobody_claimed_it_for_long_and_not_because_of_a_pause() {
        let (mut idle, start) = (IdleSlots::new("feed", Duration::from_mins(1)), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (free, taken) = ([slot("feed", false)], [slot("feed", true)]);
        assert!(idle.due(&free, at(0)).is_empty() && idle.due(&free, at(59)).is_empty());
        assert!(idle.due(&taken, at(60)).is_empty() && idle.due(&free, at(61)).is_empty());
        assert!(idle.due(&free, at(120)).is_empty());
        assert_eq!(idle.due(&free, at(121)), ["feed"]);
    }
}
