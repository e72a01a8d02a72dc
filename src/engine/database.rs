//! What the engine itself asks of the database, and manual publication.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Pool, Runtime};
use serde_json::value::RawValue;
use tokio_postgres::Client;

use crate::capture::{SlotPool, pool_slots};
use crate::catalog::CaptureMode;
use crate::config::{Bus, PostgreSqlBus};
use crate::engine::Engine;
use crate::error::Error;
use crate::model::{Change, Disconnect, Event, Lsn, Message, Position, Selector};
use crate::postgres::Conninfo;
use crate::store::{self, StatusLine, Uninstall, WatchRequest};

/// Publishing takes a session for one round trip.
const POOL_SIZE: usize = 4;
const POOL_WAIT: Duration = Duration::from_secs(5);

/// A close frame has room for 123 bytes: what is cut off anyway is not sent to other processes.
const REASON_CHARS: usize = 124;

impl Engine {
    /// Applies the migrations that the database lacks; their names.
    pub async fn migrate(&self) -> Result<Vec<String>, Error> {
        let (mut client, connection) = self.conninfo()?.connect().await?;
        let applied = store::migrate(&mut client).await;
        connection.abort();
        applied.map_err(Error::Migrate)
    }

    /// The names of the migrations that the database lacks.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, Error> {
        let pending = store::pending(&*self.pool()?.get().await?).await.map_err(Error::Migrate)?;
        Ok(pending.into_iter().map(|migration| migration.name).collect())
    }

    /// Publishes JSON text to a topic, in a transaction of its own.
    pub async fn publish(&self, topic: &str, payload: &str, tenant: Option<&str>) -> Result<(), Error> {
        match &self.bus {
            Bus::Memory | Bus::Rehearsal(_) => {
                self.publish_here(topic, payload, tenant)?;
                self.clients.pace().await;
                Ok(())
            }
            Bus::PostgreSql(_) => {
                let client = self.pool()?.get().await?;
                store::publish(&client, topic, payload, tenant).await.map(drop).map_err(Error::Publish)
            }
        }
    }

    /// Follows a table from now on; whether anything changed.
    pub async fn watch(&self, request: &WatchRequest) -> Result<bool, Error> {
        Ok(store::watch(&*self.pool()?.get().await?, request).await?)
    }

    /// Stops following a table; whether it was followed.
    pub async fn unwatch(&self, table: &str) -> Result<bool, Error> {
        Ok(store::unwatch(&*self.pool()?.get().await?, table).await?)
    }

    /// The health of rowcast in the database, in the order in which to read it.
    pub async fn status(&self) -> Result<Vec<StatusLine>, Error> {
        Ok(store::status(&*self.pool()?.get().await?).await?)
    }

    /// Removes what rowcast made in the database and the slots of this engine's pool, or with `dry_run` only says so.
    pub async fn uninstall(&self, dry_run: bool) -> Result<Uninstall, Error> {
        let (mut client, connection) = self.conninfo()?.connect().await?;
        let pool = SlotPool::name(&client, self.given_slot()).await?;
        let slots = pool_slots(&client, &pool).await;
        let removed = store::uninstall(&mut client, &slots, dry_run).await;
        connection.abort();
        Ok(removed?)
    }

    fn given_slot(&self) -> Option<&str> {
        match &self.bus {
            Bus::PostgreSql(bus) => bus.slot.as_deref(),
            Bus::Memory | Bus::Rehearsal(_) => None,
        }
    }

    /// The number is locked until its event is dispatched, so two threads that publish at once keep the order of numbers.
    fn publish_here(&self, topic: &str, payload: &str, tenant: Option<&str>) -> Result<(), Error> {
        self.core.live()?;
        let valid: &RawValue = serde_json::from_str(payload).map_err(|error| Error::Declaration {
            code: "PAYLOAD_INVALID",
            message: format!("the payload is not JSON: {error}"),
        })?;
        let tenant = tenant.map(Into::into);
        let message = Message { topic: topic.into(), tenant, payload: valid.get().to_owned().into() };
        let mut published = self.published.lock();
        *published += 1;
        self.core.dispatch(&Arc::new(Event {
            position: Position { commit_lsn: Lsn(*published), ordinal: 0 },
            committed_at: self.core.clock.date(),
            xid: 0,
            change: Change::Message(message),
        }));
        Ok(())
    }

    /// Sessions for the few statements that the engine itself runs; made when first needed.
    pub(crate) fn pool(&self) -> Result<&Pool, Error> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let pool = Pool::builder(self.conninfo()?.manager())
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_WAIT))
            .build()?;
        Ok(self.pool.get_or_init(|| pool))
    }

    /// How changes are captured.
    pub(crate) async fn mode(&self, client: &Client) -> Result<CaptureMode, Error> {
        match &self.bus {
            Bus::PostgreSql(bus) => bus.mode(client).await,
            Bus::Memory | Bus::Rehearsal(_) => Ok(CaptureMode::Wal),
        }
    }

    pub(crate) fn conninfo(&self) -> Result<Conninfo, Error> {
        match &self.bus {
            Bus::PostgreSql(bus) => Ok(Conninfo::resolve(bus.url.as_deref())?),
            Bus::Memory | Bus::Rehearsal(_) => Err(Error::Declaration {
                code: "NO_DATABASE",
                message: "this engine has an in-memory bus and no database: use EventBusConfig.postgresql()".into(),
            }),
        }
    }
}

impl PostgreSqlBus {
    /// How changes are captured: as the user says, or as the database has it and allows.
    pub(crate) async fn mode(&self, client: &Client) -> Result<CaptureMode, Error> {
        match self.capture {
            Some(mode) => Ok(mode),
            None => Ok(CaptureMode::choose(client).await?),
        }
    }
}

impl Engine {
    /// Closes the sessions of these principals with 4403 and ends their registered subscriptions with `REVOKED`: here at
    /// once, and in every other process of the database in the order of commits. How many sessions were closed here.
    pub async fn revoke(&self, who: Selector) -> Result<usize, Error> {
        self.end(who, None).await
    }

    /// Closes the sessions of these principals with a code and a reason, behind what waits for them: here at once, and in
    /// every other process of the database. How many were closed here.
    pub async fn disconnect(&self, who: Selector, code: u16, reason: &str) -> Result<usize, Error> {
        self.end(who, Some(Disconnect { code, reason: reason.chars().take(REASON_CHARS).collect() })).await
    }

    async fn end(&self, who: Selector, disconnect: Option<Disconnect>) -> Result<usize, Error> {
        let (closed, ending) = self.clients.end_here(who, disconnect)?;
        if let Bus::PostgreSql(_) = self.bus {
            store::close_sessions(&*self.pool()?.get().await?, &ending).await?;
        }
        Ok(closed)
    }
}
