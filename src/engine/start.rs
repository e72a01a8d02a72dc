//! From nothing to serving: connect, migrate, watch, read the catalog, make the schema, open the stream.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{Notify, watch};
use tokio_postgres::Client;

use super::ask::{self, Teller};
use super::core::Core;
use super::declare::Declaration;
use super::live::Live;
use super::refresh::Refresher;
use super::stream::{Stream, history};
use super::{Tasks, policy_watch, slot_watch, snapshot};
use crate::capture::{Conninfo, SlotPool, Tables, WalSettings};
use crate::config::PostgreSqlBus;
use crate::decode::Decoder;
use crate::error::Error;
use crate::journal::{History, Journal, Origin, Ring};
use crate::model::Lsn;
use crate::probe::Probe;
use crate::store;

/// For the statements around the pages of a snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves what this process itself tells.
pub(super) fn memory(core: &Core, live: Live) -> Result<Tasks, Error> {
    // Positions begin anew in each process: a cursor of another must not be taken for one of this.
    core.follow(History { origin: Origin { system_id: rand::random(), timeline: 0 }, ..History::default() });
    core.serve(&Arc::new(live))?;
    Ok(Tasks::default())
}

/// Topics that this process publishes.
pub(super) fn describe_memory(core: &Core, fields: &str) -> Result<Live, Error> {
    Live::build(Tables::default(), &Declaration::parse(fields)?, &core.settings)
}

/// Serves a database.
pub(super) async fn postgresql(
    core: &Arc<Core>,
    bus: &PostgreSqlBus,
    pool: Pool,
    fields: &str,
    stop: watch::Receiver<bool>,
) -> Result<Tasks, Error> {
    let declared = Declaration::parse(fields)?;
    let conninfo = Conninfo::resolve(bus.url.as_deref())?;
    let probe = Arc::new(probe(core, &conninfo)?);
    let snapshots = Probe::new(conninfo.manager(), snapshot::SESSIONS, SNAPSHOT_TIMEOUT)?;
    let (mut client, connection) = conninfo.connect().await?;
    let prepared = prepare_to_stream(core, &mut client, &declared).await;
    connection.abort();
    let (tables, live_from) = prepared?;
    let _ = core.pool.set(pool.clone());
    let refresher = Refresher { pool: pool.clone(), declared };
    let stream = open(core, bus, conninfo, tables, live_from, refresher).await?;
    let watch = tokio::spawn(policy_watch::run(Arc::clone(core), pool.clone(), Arc::clone(&stream.moved)));
    let slots = tokio::spawn(slot_watch::run(Arc::clone(core), pool, bus.slot.clone()));
    let _ = core.snapshots.set(snapshots);
    let _ = core.by_key.set(Arc::clone(&probe));
    let ask = tokio::spawn(ask_policies(core, probe));
    Ok(Tasks { stream: Some(tokio::spawn(stream.run(stop))), helpers: vec![watch, slots, ask] })
}

/// Connects when the first question comes.
pub(super) fn probe(core: &Core, conninfo: &Conninfo) -> Result<Probe, Error> {
    let settings = &core.settings;
    let timeout = Duration::from_secs_f64(settings.policy_timeout_s);
    Ok(Probe::new(conninfo.manager(), settings.policy_sessions, timeout)?)
}

fn ask_policies(core: &Arc<Core>, probe: Arc<Probe>) -> impl Future<Output = ()> + use<> {
    let (ready, metrics, sessions) = (core.policies.ready(), Arc::clone(&core.metrics), core.settings.policy_sessions);
    ask::run(ready, metrics, Arc::clone(core) as Arc<dyn Teller>, probe, sessions)
}

/// What [`postgresql`] would serve; declared tables are watched for it.
pub(super) async fn describe_postgresql(core: &Core, bus: &PostgreSqlBus, fields: &str) -> Result<Live, Error> {
    let declared = Declaration::parse(fields)?;
    let (mut client, connection) = Conninfo::resolve(bus.url.as_deref())?.connect().await?;
    let tables = prepare(core, &mut client, &declared).await;
    connection.abort();
    Live::build(tables?, &declared, &core.settings)
}

async fn prepare(core: &Core, client: &mut Client, declared: &[Declaration]) -> Result<Tables, Error> {
    if core.settings.auto_migrate {
        for name in store::migrate(client).await.map_err(Error::Migrate)? {
            tracing::info!("applied migration {name}");
        }
    }
    for declaration in declared {
        if let Some(request) = declaration.watch_request() {
            store::watch(client, &request).await?;
        }
    }
    store::ensure_publication(client).await?;
    Ok(Tables::load_named(client, core.settings.naming).await?)
}

/// Nobody can have subscribed before this process serves, so what the slot still holds from before the position that
/// is read here is passed over.
async fn prepare_to_stream(core: &Core, client: &mut Client, declared: &[Declaration]) -> Result<(Tables, Lsn), Error> {
    let tables = prepare(core, client, declared).await?;
    Ok((tables, store::wal_position(client).await?))
}

/// Opening the slot comes last: a start that fails before it leaves nothing behind.
async fn open(
    core: &Arc<Core>,
    bus: &PostgreSqlBus,
    conninfo: Conninfo,
    tables: Tables,
    live_from: Lsn,
    refresher: Refresher,
) -> Result<Stream, Error> {
    let decoder = Decoder::new(Arc::new(tables.by_oid.clone()));
    let live = Arc::new(Live::build(tables, &refresher.declared, &core.settings)?);
    let slots = SlotPool::new(conninfo.clone(), WalSettings::new(&bus.slot, &bus.publication));
    let (capture, settings) = slots.claim().await?;
    *core.ring.lock() = Ring::new(core.settings.replay_window(), capture.begins_at(), live_from);
    core.follow(history(capture.identity()));
    *core.slot.lock() = Some(settings.slot.clone());
    core.serve(&live)?;
    Ok(Stream {
        core: Arc::clone(core),
        conninfo,
        slots,
        settings,
        capture,
        decoder,
        journal: Journal::new(live_from),
        refresher,
        moved: Arc::new(Notify::new()),
        xid: 0,
        stale: None,
        doubt: None,
    })
}
