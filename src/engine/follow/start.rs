//! From nothing to serving: connect, migrate, watch, read the catalog, make the schema, open the stream.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::Tasks;
use super::catalog;
use super::feed::Feed;
use super::outbox_watch;
use super::policy_watch;
use super::refresh::Refresher;
use super::slot_watch;
use super::stream::{Stream, history};
use crate::capture::SlotPool;
use crate::catalog::{CaptureMode, Tables};
use crate::config::PostgreSqlBus;
use crate::decode::Decoder;
use crate::engine::client::{self, Clients};
use crate::engine::deliver::policies::{self, Teller};
use crate::engine::deliver::{Core, SNAPSHOT_SESSIONS};
use crate::engine::served::{Declaration, Live};
use crate::error::Error;
use crate::journal::{History, Journal, Origin, Ring};
use crate::model::Lsn;
use crate::postgres::Conninfo;
use crate::probe::Probe;
use crate::store::{self, StoreError};

/// How long a start tries to get the locks that triggers need, and how long it leaves writers alone in between.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// For the statements around the pages of a snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves what this process itself publishes.
pub(crate) fn memory(core: &Core, live: Live) -> Result<Tasks, Error> {
    // Positions start over in each process: a cursor of another must not be taken for one of this.
    core.outbound
        .history
        .follow(History { origin: Origin { system_id: rand::random(), ..Origin::default() }, ..History::default() });
    core.serve(&Arc::new(live))?;
    Ok(Tasks::default())
}

/// Topics that this process publishes.
pub(crate) fn describe_memory(core: &Core, fields: &str) -> Result<Live, Error> {
    Live::build(Tables::default(), &Declaration::parse(fields)?, &core.settings)
}

/// Serves a database.
pub(crate) async fn postgresql(
    clients: &Arc<Clients>,
    bus: &PostgreSqlBus,
    pool: Pool,
    fields: &str,
    stop: watch::Receiver<bool>,
) -> Result<Tasks, Error> {
    let core = &clients.core;
    let declared = Declaration::parse(fields)?;
    let conninfo = Conninfo::resolve(bus.url.as_deref())?;
    let probe = Arc::new(probe(core, &conninfo)?);
    let snapshots = Probe::new(conninfo.manager(), SNAPSHOT_SESSIONS, SNAPSHOT_TIMEOUT)?;
    let (mut client, connection) = conninfo.connect().await?;
    let prepared = prepare_to_stream(core, bus, &mut client, &declared).await;
    connection.abort();
    let prepared = prepared?;
    let _ = core.pool.set(pool.clone());
    let refresher = Refresher { pool: pool.clone(), declared, mode: prepared.mode };
    let slot = prepared.slot.clone();
    let stream = open(clients, bus, conninfo, prepared, refresher).await?;
    let watch = tokio::spawn(policy_watch::run(Arc::clone(core), pool.clone(), Arc::clone(&stream.moved)));
    let source = match stream.feed.reader() {
        Some(reader) => tokio::spawn(outbox_watch::run(Arc::clone(core), pool, reader)),
        None => tokio::spawn(slot_watch::run(Arc::clone(core), pool, slot)),
    };
    let revocations = tokio::spawn(client::watch_revocations(Arc::clone(clients), stream.refresher.pool.clone()));
    let _ = core.snapshots.set(snapshots);
    let _ = core.by_key.set(Arc::clone(&probe));
    let ask = tokio::spawn(ask_policies(core, probe));
    Ok(Tasks { stream: Some(tokio::spawn(stream.run(stop))), helpers: vec![watch, source, revocations, ask] })
}

/// Connects when the first question comes.
pub(crate) fn probe(core: &Core, conninfo: &Conninfo) -> Result<Probe, Error> {
    let settings = &core.settings;
    let timeout = Duration::from_secs_f64(settings.policy_timeout_s);
    Ok(Probe::new(conninfo.manager(), settings.policy_sessions, timeout)?)
}

fn ask_policies(core: &Arc<Core>, probe: Arc<Probe>) -> impl Future<Output = ()> + use<> {
    let (ready, metrics, sessions) = (core.policies.ready(), Arc::clone(&core.metrics), core.settings.policy_sessions);
    policies::run(ready, metrics, Arc::clone(core) as Arc<dyn Teller>, probe, sessions)
}

/// What [`postgresql`] would serve; declared tables are watched for it.
pub(crate) async fn describe_postgresql(core: &Core, bus: &PostgreSqlBus, fields: &str) -> Result<Live, Error> {
    let declared = Declaration::parse(fields)?;
    let (mut client, connection) = Conninfo::resolve(bus.url.as_deref())?.connect().await?;
    let tables = async {
        let mode = prepare(core, bus, &mut client, &declared).await?;
        Ok::<_, Error>(catalog::load(&client, core.settings.naming, mode).await?)
    };
    let tables = tables.await;
    connection.abort();
    Live::build(tables?, &declared, &core.settings)
}

/// Migrates, and watches what is declared; how changes are to be captured.
async fn prepare(
    core: &Core,
    bus: &PostgreSqlBus,
    client: &mut Client,
    declared: &[Declaration],
) -> Result<CaptureMode, Error> {
    if core.settings.auto_migrate {
        for name in store::migrate(client).await.map_err(Error::Migrate)? {
            tracing::info!("applied migration {name}");
        }
    }
    let mode = bus.mode(client).await?;
    rehearse(core, client, declared, mode).await?;
    for request in declared.iter().filter_map(Declaration::watch_request) {
        store::watch(client, &request).await?;
    }
    Ok(mode)
}

/// Makes the schema as if the declared tables were watched: a declaration that is wrong leaves no watch behind.
async fn rehearse(core: &Core, client: &Client, declared: &[Declaration], mode: CaptureMode) -> Result<(), Error> {
    let mut planned = Vec::new();
    for request in declared.iter().filter_map(Declaration::watch_request) {
        planned.push(store::relation(client, &request.relation).await?);
    }
    let tables = Tables::load_with(client, core.settings.naming, mode, &planned).await?;
    Live::build(tables, declared, &core.settings).map(drop)
}

/// For [`warn_of_superuser`]: whether the session has a superuser's rights.
const IS_SUPERUSER: &str = "select pg_catalog.current_setting('is_superuser')";

/// The engine reads what the stream carries and decides which principals see it. An attacker who takes it over should
/// get no more than that.
async fn warn_of_superuser(client: &Client) {
    let told = client.query_one(IS_SUPERUSER, &[]).await.and_then(|row| row.try_get::<_, String>(0));
    if told.is_ok_and(|told| told == "on") {
        tracing::warn!(
            code = "ENGINE_IS_SUPERUSER",
            "the engine connects as a superuser and needs no such rights: run \
             create role rowcast_engine login replication password '...'; select rowcast.grant_engine('rowcast_engine'); \
             and use that role in the database URL"
        );
    }
}

/// What is known before a stream is opened.
struct Prepared {
    mode: CaptureMode,
    /// The name of the pool of slots.
    slot: String,
    tables: Tables,
    /// The server's position. A client cannot have subscribed before this process serves, so the engine skips older
    /// changes that a slot still holds.
    written: Lsn,
}

async fn prepare_to_stream(
    core: &Core,
    bus: &PostgreSqlBus,
    client: &mut Client,
    declared: &[Declaration],
) -> Result<Prepared, Error> {
    let mode = prepare(core, bus, client, declared).await?;
    warn_of_superuser(client).await;
    tracing::info!(?mode, "changes are captured");
    match mode {
        CaptureMode::Wal => store::ensure_publication(client).await?,
        CaptureMode::Outbox => start_outbox(client).await?,
    };
    if let Err(error) = store::note_coverage(client).await {
        tracing::warn!("cursors from before this start expire, since what is captured could not be noted: {error}");
    }
    let tables = catalog::load(client, core.settings.naming, mode).await?;
    let slot = SlotPool::name(client, bus.slot.as_deref()).await?;
    Ok(Prepared { mode, slot, tables, written: store::wal_position(client).await? })
}

/// Waits only briefly for each lock on a table, so that it does not block other sessions, and tries again later.
async fn start_outbox(client: &Client) -> Result<bool, StoreError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match store::start_outbox(client).await {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => sleep(LOCK_PAUSE).await,
            decided => return decided,
        }
    }
}

/// Opening the source comes last: a start that fails before it leaves nothing behind.
async fn open(
    clients: &Arc<Clients>,
    bus: &PostgreSqlBus,
    conninfo: Conninfo,
    prepared: Prepared,
    refresher: Refresher,
) -> Result<Stream, Error> {
    let core = &clients.core;
    let Prepared { mode, slot, tables, written } = prepared;
    let (decoder, known) = (Decoder::new(Arc::new(tables.by_oid.clone())), tables.seen.clone());
    let live = Arc::new(Live::build(tables, &refresher.declared, &core.settings)?);
    let (feed, capture) = Feed::open(conninfo, bus, slot, mode).await?;
    let live_from = capture.live_from().unwrap_or(written);
    *core.ring.lock() = Ring::new(core.settings.replay_window(), capture.begins_at(), live_from);
    core.outbound.history.follow(history(capture.identity()));
    *core.slot.lock() = feed.slot();
    if let Some(horizon) = feed.horizon() {
        let _ = core.horizon.set(horizon);
    }
    core.serve(&live)?;
    live.report(None);
    Ok(Stream {
        core: Arc::clone(core),
        clients: Arc::clone(clients),
        feed,
        capture,
        decoder,
        journal: Journal::new(live_from),
        refresher,
        moved: Arc::new(Notify::new()),
        xid: 0,
        visible: known.clone(),
        known,
        stale: None,
        doubt: None,
    })
}
