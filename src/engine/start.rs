//! From nothing to serving: connect, migrate, watch, read the catalog, make the schema, open the stream.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::Core;
use super::declare::Declaration;
use super::live::Live;
use super::refresh::Refresher;
use super::stream::Stream;
use crate::capture::{Conninfo, Tables, WalCapture, WalSettings};
use crate::config::PostgreSqlBus;
use crate::decode::Decoder;
use crate::error::Error;
use crate::journal::{Journal, Origin};
use crate::store;

/// Serves topics that this process publishes.
pub(super) fn memory(core: &Core, fields: &str) -> Result<Option<JoinHandle<()>>, Error> {
    core.serve(&Arc::new(describe_memory(core, fields)?));
    Ok(None)
}

/// What [`memory`] would serve.
pub(super) fn describe_memory(core: &Core, fields: &str) -> Result<Live, Error> {
    Live::build(Tables::default(), &Declaration::parse(fields)?, &core.settings)
}

/// Serves a database.
pub(super) async fn postgresql(
    core: &Arc<Core>,
    bus: &PostgreSqlBus,
    fields: &str,
    stop: watch::Receiver<bool>,
) -> Result<Option<JoinHandle<()>>, Error> {
    let declared = Declaration::parse(fields)?;
    let conninfo = Conninfo::resolve(bus.url.as_deref())?;
    let (mut client, connection) = conninfo.connect().await?;
    let stream = match prepare(core, &mut client, &declared).await {
        Ok(tables) => open(core, bus, conninfo, &client, tables, declared).await,
        Err(error) => Err(error),
    };
    connection.abort();
    Ok(Some(tokio::spawn(stream?.run(stop))))
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
        for name in store::migrate(client).await? {
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

/// Nobody can have subscribed before this process serves, so what the slot still holds from before is passed over.
async fn open(
    core: &Arc<Core>,
    bus: &PostgreSqlBus,
    conninfo: Conninfo,
    client: &Client,
    tables: Tables,
    declared: Vec<Declaration>,
) -> Result<Stream, Error> {
    let decoder = Decoder::new(Arc::new(tables.by_oid.clone()));
    let live = Arc::new(Live::build(tables, &declared, &core.settings)?);
    let settings = WalSettings::new(&bus.slot, &bus.publication);
    let capture = WalCapture::start(conninfo.clone(), settings, None).await?;
    let live_from = store::wal_position(client).await?;
    let identity = capture.identity();
    let _ = core.origin.set(Origin { system_id: identity.system_id, timeline: identity.timeline });
    core.serve(&live);
    Ok(Stream {
        core: Arc::clone(core),
        capture,
        decoder,
        journal: Journal::new(live_from),
        refresher: Refresher { conninfo, declared },
    })
}
