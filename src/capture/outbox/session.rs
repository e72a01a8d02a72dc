//! One connection to the outbox: the statements, and what their errors mean.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Error, Row, RowStream, Statement};

use super::TIMELINE;
use super::scribe::{Change, Window, behind};
use super::settings::OutboxSettings;
use crate::capture::captured::ServerIdentity;
use crate::capture::error::CaptureError;
use crate::capture::supervisor::Purpose;
use crate::model::Lsn;
use crate::postgres::{Bell, ConnectionError, Conninfo, ServerError, classify};

/// A position that was delivered must not be lost in a crash, so the session waits for the disk. It does not wait for a
/// standby: writers do that themselves, and a position that a promoted standby does not know is recognised as lost. Windows
/// are small beside the outbox, whatever the planner believes of a table that is never analysed.
const SETUP: &str = "
    set synchronous_commit = local;
    set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
    set plan_cache_mode = force_generic_plan; set max_parallel_workers_per_gather = 0;
    set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3; set tcp_user_timeout = 60000;
    listen rowcast";

const IS_STANDBY: &str = "select pg_catalog.pg_is_in_recovery()";

const OPEN: &str = "
    select system_id, timeline, begins_at, newest, timelines, lasts, notifies, database from rowcast.open_outbox($1)";

const CLOSE: &str = "select seen::text, newest from rowcast.close_window()";

/// By the key.
const WINDOWS: &str = "
    select first, last, previous,
           (extract(epoch from closed_at - '2000-01-01 00:00:00+00'::timestamptz) * 1000000)::int8
    from rowcast.outbox_window
    where last >= $1
    order by first
    limit 64";

/// One transaction after the other by `outbox_by_transaction`, each in its order: nothing is sorted, so the first row comes at
/// once and none is kept.
const ROWS: &str = "
    select x.nth - 1, x.xid::text::int8, o.id, o.relation, o.kind, o.shape, o.old, o.new, coalesce(o.place, o.id)
    from rowcast.outbox_window w
    cross join lateral unnest(w.xids) with ordinality x (xid, nth)
    cross join lateral (select * from rowcast.outbox o where o.xid = x.xid order by coalesce(o.place, o.id), o.id) o
    where w.first = $1 and x.nth > $2";

/// Nothing that is needed is emptied, so it is gone only if nobody believed that this reader needs it.
const IS_KEPT: &str = "select exists (select from rowcast.outbox_window where first = $1)";

/// Every writer holds this lock in share mode until its transaction ends; a reader that holds it alone has to be woken.
const FALL_ASLEEP: &str = "select pg_catalog.pg_try_advisory_lock(1919907683, 3)";
const WAKE_UP: &str = "select pg_catalog.pg_advisory_unlock(1919907683, 3)";
/// Whose business it is to poll.
const TAKE_OVER: &str = "select pg_catalog.pg_try_advisory_lock(1919907683, 5)";

/// A connection that is ready.
pub(in crate::capture) struct Opened {
    pub(super) session: OutboxSession,
    pub(in crate::capture) identity: ServerIdentity,
    /// Every transaction at or behind this position follows.
    pub(in crate::capture) begins_at: Lsn,
    /// Behind everything that had a position when it was opened.
    pub(in crate::capture) live_from: Lsn,
    pub(in crate::capture) place: String,
    /// Whether writers wake whoever sleeps.
    pub(super) notifies: bool,
}

pub(super) struct OutboxSession {
    client: Client,
    driver: JoinHandle<()>,
    pub(super) bell: Arc<Bell>,
    conninfo: Conninfo,
    place: String,
    liveness: Duration,
    close: Statement,
    windows: Statement,
    rows: Statement,
}

/// What [`OutboxSession::close_window`] says.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    /// Every transaction that this snapshot sees is in a window up to `newest`.
    pub(super) seen: String,
    pub(super) newest: Lsn,
}

/// Connects, and asks for everything that is kept.
pub(in crate::capture) async fn open(
    conninfo: &Conninfo,
    settings: &OutboxSettings,
    purpose: Purpose,
) -> Result<Opened, CaptureError> {
    let session = OutboxSession::connect(conninfo, settings).await?;
    let row = session.patient(session.client.query_opt(OPEN, &[&settings.reader])).await?;
    let missing = || CaptureError::OutboxMissing { place: session.place.clone() };
    let read = read_outbox(&row.ok_or_else(missing)?).map_err(|error| session.explain(&error))?;
    check(&session.place, &read, &purpose)?;
    // Changes that no reader was there for get positions now: they precede every later subscription.
    let live_from = behind(session.close_window().await?.newest);
    let begins_at = read.begins_at.max(purpose.position());
    let place = session.place.clone();
    Ok(Opened { session, identity: read.identity, begins_at, live_from, place, notifies: read.notifies })
}

/// What `rowcast.open_outbox` says.
struct Outbox {
    identity: ServerIdentity,
    begins_at: Lsn,
    newest: Lsn,
    notifies: bool,
}

fn read_outbox(row: &Row) -> Result<Outbox, Error> {
    let (system_id, timeline): (i64, i32) = (row.try_get(0)?, row.try_get(1)?);
    let (timelines, lasts): (Vec<i32>, Vec<PgLsn>) = (row.try_get(4)?, row.try_get(5)?);
    let others = timelines.into_iter().zip(lasts).filter(|(other, _)| *other != timeline);
    let left = others.map(|(other, last)| (other.cast_unsigned() | TIMELINE, behind(lsn(last)))).collect();
    Ok(Outbox {
        identity: ServerIdentity {
            system_id: system_id.cast_unsigned(),
            database: row.try_get(7)?,
            timeline: timeline.cast_unsigned() | TIMELINE,
            left,
        },
        begins_at: lsn(row.try_get(2)?),
        newest: lsn(row.try_get(3)?),
        notifies: row.try_get(6)?,
    })
}

/// After an outage: that nothing which was handed over is undone, and nothing is missing.
fn check(place: &str, outbox: &Outbox, purpose: &Purpose) -> Result<(), CaptureError> {
    let Purpose::Again { identity, handled, seen } = purpose else { return Ok(()) };
    let place = || place.to_owned();
    let replaced = |reason| CaptureError::ServerReplaced { place: place(), reason };
    outbox.identity.check_follows(identity, *seen).map_err(replaced)?;
    if identity.timeline == outbox.identity.timeline && behind(outbox.newest) < *seen {
        return Err(replaced(format!("positions up to {} were given, and {seen} was seen", outbox.newest)));
    }
    if outbox.begins_at > *handled {
        return Err(CaptureError::OutboxTrimmed { place: place(), position: *handled });
    }
    Ok(())
}

impl OutboxSession {
    async fn connect(conninfo: &Conninfo, settings: &OutboxSettings) -> Result<Self, CaptureError> {
        let bell = Arc::new(Bell::default());
        let connecting = conninfo.connect_listening(settings.connect_timeout, Arc::clone(&bell));
        let (client, driver, place) = connecting.await?;
        let explain = |error: &Error| explain(conninfo, &place, error);
        let standby = client.query_one(IS_STANDBY, &[]).await.and_then(|row| row.try_get(0));
        // Where nobody may listen.
        if standby.map_err(|error| explain(&error))? {
            return Err(ConnectionError::ServerIsStandby { place }.into());
        }
        client.batch_execute(SETUP).await.map_err(|error| explain(&error))?;
        let prepare =
            async { Ok((client.prepare(CLOSE).await?, client.prepare(WINDOWS).await?, client.prepare(ROWS).await?)) };
        let (close, windows, rows) = prepare.await.map_err(|error| explain(&error))?;
        let (conninfo, liveness) = (conninfo.clone(), settings.liveness);
        Ok(Self { client, driver, bell, conninfo, place, liveness, close, windows, rows })
    }

    pub(super) async fn close_window(&self) -> Result<Closing, CaptureError> {
        let row = self.patient(self.client.query_one(&self.close, &[])).await?;
        let missing = || CaptureError::OutboxMissing { place: self.place.clone() };
        let told = |error: Error| self.explain(&error);
        let newest: Option<PgLsn> = row.try_get(1).map_err(told)?;
        Ok(Closing { seen: row.try_get(0).map_err(told)?, newest: newest.map(lsn).ok_or_else(missing)? })
    }

    /// Windows from the one that ends at or behind a position; not all.
    pub(super) async fn windows(&self, from: Lsn) -> Result<Vec<Window>, CaptureError> {
        let rows = self.patient(self.client.query(&self.windows, &[&PgLsn::from(from.0)])).await?;
        rows.iter().map(window).collect::<Result<_, _>>().map_err(|error| self.explain(&error))
    }

    /// The rows of a window but for its first so many transactions.
    pub(super) async fn rows(&self, window: &Window, skip: i64) -> Result<Rows<'_>, CaptureError> {
        let first = PgLsn::from(window.first.0);
        let parameters: [&(dyn ToSql + Sync); 2] = [&first, &skip];
        let rows = self.patient(self.client.query_raw(&self.rows, parameters)).await?;
        Ok(Rows { rows: Box::pin(rows), session: self })
    }

    pub(super) async fn is_kept(&self, window: &Window) -> Result<bool, CaptureError> {
        let row = self.one(IS_KEPT, &[&PgLsn::from(window.first.0)]).await?;
        row.try_get(0).map_err(|error| self.explain(&error))
    }

    /// Whether writers will wake us: none is in flight that might not.
    pub(super) async fn fall_asleep(&self) -> Result<bool, CaptureError> {
        self.flag(FALL_ASLEEP).await
    }

    pub(super) async fn wake_up(&self) -> Result<(), CaptureError> {
        self.flag(WAKE_UP).await.map(drop)
    }

    /// Whether it is ours to poll; until the connection ends.
    pub(super) async fn take_over(&self) -> Result<bool, CaptureError> {
        self.flag(TAKE_OVER).await
    }

    async fn flag(&self, sql: &str) -> Result<bool, CaptureError> {
        self.one(sql, &[]).await?.try_get(0).map_err(|error| self.explain(&error))
    }

    async fn one(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, CaptureError> {
        self.patient(self.client.query_one(sql, parameters)).await
    }

    /// A connection may be dead without a sign.
    async fn patient<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, CaptureError> {
        match timeout(self.liveness, answer).await {
            Ok(answer) => answer.map_err(|error| self.explain(&error)),
            Err(_) => Err(self.lost(format!("no answer came within {:?}", self.liveness))),
        }
    }

    fn lost(&self, reason: String) -> CaptureError {
        ConnectionError::ConnectionLost { place: self.place.clone(), reason }.into()
    }

    fn explain(&self, error: &Error) -> CaptureError {
        explain(&self.conninfo, &self.place, error)
    }

    pub(super) fn malformed(&self, reason: &str) -> CaptureError {
        CaptureError::OutboxMalformed { place: self.place.clone(), reason: reason.to_owned() }
    }

    pub(super) fn trimmed(&self, position: Lsn) -> CaptureError {
        CaptureError::OutboxTrimmed { place: self.place.clone(), position }
    }
}

impl Drop for OutboxSession {
    /// The server notices at once, and so do those who wait for our locks.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The rows of one window, read as they are wanted.
pub(super) struct Rows<'a> {
    rows: std::pin::Pin<Box<RowStream>>,
    session: &'a OutboxSession,
}

impl Rows<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<Row>, CaptureError> {
        self.session.patient(self.rows.try_next()).await
    }

    pub(super) fn change<'r>(&self, row: &'r Row) -> Result<Change<'r>, CaptureError> {
        change(row).map_err(|error| self.session.explain(&error))
    }
}

fn change(row: &Row) -> Result<Change<'_>, Error> {
    Ok(Change {
        nth: row.try_get(0)?,
        xid: row.try_get(1)?,
        id: row.try_get(2)?,
        place: row.try_get(8)?,
        relation: row.try_get(3)?,
        kind: row.try_get::<_, i8>(4)?.cast_unsigned(),
        shape: row.try_get(5)?,
        old: row.try_get(6)?,
        new: row.try_get(7)?,
    })
}

fn window(row: &Row) -> Result<Window, Error> {
    Ok(Window {
        first: lsn(row.try_get(0)?),
        last: lsn(row.try_get(1)?),
        previous: lsn(row.try_get(2)?),
        closed_at: row.try_get(3)?,
    })
}

fn lsn(position: PgLsn) -> Lsn {
    Lsn(position.into())
}

/// An undefined function or table of rowcast's means that the outbox was not created.
fn explain(conninfo: &Conninfo, place: &str, error: &Error) -> CaptureError {
    let place = place.to_owned();
    let Some(server) = error.as_db_error() else {
        let source = std::error::Error::source(error);
        let is_io = source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        let reason = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        return if is_io || error.is_closed() {
            ConnectionError::ConnectionLost { place, reason }.into()
        } else {
            CaptureError::OutboxMalformed { place, reason }
        };
    };
    match classify(place, &conninfo.user, &conninfo.database, ServerError::from(server)) {
        ConnectionError::ReplicationNotPermitted { place, server, .. } => {
            ConnectionError::Server { place, server }.into()
        }
        ConnectionError::Server { place, server }
            if ["42883", "42P01", "3F000"].contains(&server.sqlstate.as_str()) =>
        {
            CaptureError::OutboxMissing { place }
        }
        other => other.into(),
    }
}
