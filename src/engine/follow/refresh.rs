//! A changed catalog: read it again, make a new schema, and carry every live subscription over.
//!
//! A transaction is in the stream before other sessions see it (up to 0.1 s, measured, and for as long as a synchronous
//! standby keeps it waiting). So the catalog is not read before the transaction that announced the change has released
//! its own lock: what is read then contains the change.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::catalog;
use crate::catalog::{CaptureMode, CatalogError, Tables};
use crate::decode;
use crate::engine::client::Clients;
use crate::engine::deliver::{Core, Source, Subscription};
use crate::engine::serve::{Renewal, renew};
use crate::engine::served::{Declaration, Live};
use crate::error::Error;
use crate::failure::Failure;
use crate::graphql::Naming;
use crate::model::{Lsn, Seen, Table};
use crate::store;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the stream waits for answers to earlier events, and how long between two looks.
const LANE_PATIENCE: Duration = Duration::from_millis(200);
const LANE_PAUSE: Duration = Duration::from_millis(1);

/// How often the catalog is read while it changes under the reader.
const NOTES_MAX: u32 = 10;

/// A transaction holds a lock on its own number until others see what it did.
const IS_OPEN: &str = "select exists (select from pg_catalog.pg_locks \
                       where locktype = 'transactionid' and transactionid = $1::text::xid)";

/// A stream whose publication was dropped is about to end with `PUBLICATION_MISSING`, which says more than that its tables
/// are not published.
const IS_PUBLISHED: &str = "select exists (select from pg_catalog.pg_publication where pubname = 'rowcast')";

/// What is needed to read the catalog again.
pub(crate) struct Refresher {
    pub(crate) pool: Pool,
    pub(crate) declared: Vec<Declaration>,
    pub(crate) mode: CaptureMode,
}

/// A catalog that was read.
pub(crate) struct Refreshed {
    /// The tables that the decoder is to use.
    pub(crate) by_oid: Arc<decode::Tables>,
    /// The transactions whose changes of the catalog it has.
    pub(crate) seen: Option<Seen>,
}

/// Why the catalog was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    /// The transaction that changed it is not visible yet.
    #[error("the transaction that changed it is not visible to others yet")]
    NotVisible,
    /// No answer.
    #[error("no answer within {PATIENCE:?}")]
    Silence,
    /// The database cannot be asked, or what it says makes no schema.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl RefreshError {
    /// Whether the same question may have another answer a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::NotVisible | Self::Silence => true,
            Self::Engine(error) => {
                matches!(error, Error::Connection(_) | Error::Pool(_) | Error::Catalog(CatalogError::Store(_)))
            }
        }
    }
}

impl Refresher {
    /// What is served from here on; it contains what transaction `xid` did.
    pub(crate) async fn refresh(&self, clients: &Clients, xid: u32) -> Result<Refreshed, RefreshError> {
        let core = &clients.core;
        let served = core.live().map_err(Error::from)?;
        let Some(tables) = self.read(core.settings.naming, xid).await? else {
            return Ok(Refreshed { by_oid: Arc::new(served.tables.by_oid.clone()), seen: None });
        };
        let tables = tables.keeping(&served.tables);
        let refreshed = Refreshed { by_oid: Arc::new(tables.by_oid.clone()), seen: tables.seen.clone() };
        // The stream may only have been behind, and the tables known already.
        if !served.serves(&tables) {
            let live = Arc::new(Live::rebuild(tables, &self.declared, &core.settings)?);
            live.report(Some(&served));
            core.serve(&live)?;
            tell_gaps(clients, &served, &live);
            carry_over(core, &served, &live).await;
        }
        core.readmit();
        Ok(refreshed)
    }

    /// Up to where the server's WAL is on disk; `None` when it does not say.
    pub(crate) async fn wal_position(&self) -> Option<Lsn> {
        let client = timeout(PATIENCE, self.pool.get()).await.ok()?.ok()?;
        timeout(PATIENCE, store::wal_position(&client)).await.ok()?.ok()
    }

    /// `None` while the publication of the stream is missing.
    async fn read(&self, naming: Naming, xid: u32) -> Result<Option<Tables>, RefreshError> {
        let client = timeout(PATIENCE, self.pool.get()).await.map_err(|_| RefreshError::Silence)?;
        let mut client = client.map_err(Error::from)?;
        if let Ok(read) = timeout(PATIENCE, read(&mut client, naming, self.mode, xid)).await {
            return read;
        }
        // A session that does not answer must not go back to the pool.
        drop(Object::take(client));
        Err(RefreshError::Silence)
    }
}

async fn read(
    client: &mut Client,
    naming: Naming,
    mode: CaptureMode,
    xid: u32,
) -> Result<Option<Tables>, RefreshError> {
    if holds(client, IS_OPEN, &[&xid.to_string()]).await? {
        return Err(RefreshError::NotVisible);
    }
    if mode == CaptureMode::Wal && !holds(client, IS_PUBLISHED, &[]).await? {
        return Ok(None);
    }
    Ok(Some(load_noted(client, naming, mode).await?))
}

/// A statement that changes the catalog between the note and the reading would be taken for a loss: both are repeated.
async fn load_noted(client: &mut Client, naming: Naming, mode: CaptureMode) -> Result<Tables, Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let noted = store::note_coverage(client).await;
        let tables = catalog::load(client, naming, mode).await?;
        match noted {
            Ok(_) if !tables.is_noted() && attempts < NOTES_MAX => {}
            Ok(_) => return Ok(tables),
            Err(error) => {
                tracing::debug!("since when captured changes are whole could not be noted: {error}");
                return Ok(tables);
            }
        }
    }
}

async fn holds(client: &Client, question: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<bool, Error> {
    let answer = client.query_one(question, parameters).await;
    Ok(answer.and_then(|row| row.try_get(0)).map_err(CatalogError::from)?)
}

/// Ends the subscriptions to tables of which changes were lost; a client that keeps rows gets a new snapshot.
fn tell_gaps(clients: &Clients, before: &Live, live: &Live) {
    let is_broken = |table: &&Arc<Table>| before.is_broken_by(&live.tables, table.oid);
    for table in
        live.tables.by_oid.values().filter(|table| before.tables.by_oid.contains_key(&table.oid)).filter(is_broken)
    {
        tracing::warn!(table = %table.name, "changes may have been lost, subscriptions to the table end with GAP");
        clients.tell_gap(table);
    }
}

/// Compiles each subscription again whose table or whose principal's role has changed, and asks the gate again. One that
/// no longer fits or is no longer admitted ends with the reason.
///
/// A subscription that gets another lane by this waits until the old one is empty, so that its events stay in order. The
/// stream waits for that, so it takes a moment, or the subscription ends.
async fn carry_over(core: &Arc<Core>, before: &Live, live: &Live) {
    let deadline = Instant::now() + LANE_PATIENCE;
    let mut concerned = core.subscriptions();
    concerned.retain(|subscription| !is_current(subscription, before, live));
    loop {
        concerned.retain(|subscription| !is_renewed(core, live, subscription));
        if concerned.is_empty() || Instant::now() >= deadline {
            break;
        }
        sleep(LANE_PAUSE).await;
    }
    for subscription in concerned {
        let message = "the table has changed while answers for earlier events were outstanding: subscribe again";
        subscription.fail_later(Failure::new("SCHEMA_CHANGED", message));
    }
}

/// Whether nothing is left to do for it.
fn is_renewed(core: &Arc<Core>, live: &Live, subscription: &Subscription) -> bool {
    match renew(core, live, subscription) {
        Ok(Renewal::Done) => true,
        Ok(Renewal::Later) => false,
        Err(failure) => {
            subscription.fail_later(failure);
            true
        }
    }
}

fn is_current(subscription: &Subscription, before: &Live, live: &Live) -> bool {
    match &subscription.source {
        Source::Table(table) => {
            live.tables.by_oid.get(&table.oid).is_some_and(|served| Arc::ptr_eq(served, table))
                && !live.sets_aside(table)
                && live.gate.treats_alike(&before.gate, &subscription.principal)
        }
        Source::Topic(_) => true,
    }
}
