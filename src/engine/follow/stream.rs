//! The loop that reads what is captured: capture, decode, journal, dispatch, confirm.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::feed::{End, Feed};
use super::refresh::Refresher;
use crate::capture::{Capture, CaptureError, Captured, ServerIdentity};
use crate::decode::{DecodeError, Decoded, Decoder};
use crate::engine::client::Clients;
use crate::engine::deliver::Core;
use crate::journal::{Durable, History, Journal, Novelty, Origin, Ring};
use crate::model::{Ending, Event, Lsn, Position, Seen};

/// How many messages are handled before the loop looks up.
const BATCH: usize = 1024;

/// One stream, from its start to the engine's stop.
pub(crate) struct Stream {
    pub(crate) core: Arc<Core>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) feed: Feed,
    pub(crate) capture: Capture,
    pub(crate) decoder: Decoder,
    pub(crate) journal: Journal,
    pub(crate) refresher: Refresher,
    /// Rings when the catalog has changed in a way that the stream does not announce.
    pub(crate) moved: Arc<Notify>,
    /// The transaction that is open or was last.
    pub(crate) xid: u32,
    /// What the snapshot saw in which the catalog was read that is served; `None` when it may have been of another
    /// history.
    pub(crate) known: Option<Seen>,
    /// What was visible before this process served: `authenticate` has read nothing older. `None` once the stream was
    /// interrupted, when numbers may be given again.
    pub(crate) visible: Option<Seen>,
    /// When to read a catalog that could not be read.
    pub(crate) stale: Option<Instant>,
    /// Where the stream could not be understood.
    pub(crate) doubt: Option<Lsn>,
}

/// What ends a connection, or the stream.
enum Trouble {
    /// The engine stops.
    Stopped,
    /// The rest of the stream cannot be trusted; the server can send it again.
    Garbled(DecodeError, Lsn),
    /// It will not be better the next time.
    Final(End),
}

/// What a message asks for that takes time.
enum Next {
    Nothing,
    /// The catalog has changed; the table that looks different, if it is one.
    Refresh(Option<u32>),
    /// Changes of a table were lost.
    Lost(u32, Position),
    /// Sessions were closed, of which not too many may be remembered.
    Ended,
}

/// Ends all subscriptions when the stream's task ends by a defect.
struct Vigil(Arc<Core>);

impl Drop for Vigil {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("DEFECT", "a defect ended the stream; the log has its traces");
        }
    }
}

impl Stream {
    /// Runs until `stop` says so or the capture fails for good; then all subscriptions end.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let core = Arc::clone(&self.core);
        let _vigil = Vigil(Arc::clone(&core));
        core.metrics.capture_streaming.set(1);
        let leave = self.feed.leave(self.refresher.pool.clone());
        let mut stream = Some(self);
        while let Some(mut following) = stream.take() {
            let trouble = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => Trouble::Stopped,
                trouble = following.follow() => trouble,
            };
            let mending = match trouble {
                Trouble::Stopped => {
                    following.capture.stop().await;
                    break;
                }
                trouble => following.mend(trouble),
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => {}
                mended = mending => match mended {
                    Ok(mended) => stream = Some(mended),
                    Err(end) => core.fail(end.code, &end.reason),
                },
            }
        }
        if *stop.borrow() {
            leave.await;
        }
        core.metrics.capture_streaming.set(0);
    }

    /// Returns when something is wrong.
    async fn follow(&mut self) -> Trouble {
        loop {
            if let Err(trouble) = self.step().await {
                return trouble;
            }
            // While there is always more to read nothing above waits, and neither a stop nor another task has its turn.
            tokio::task::yield_now().await;
        }
    }

    async fn step(&mut self) -> Result<(), Trouble> {
        let stale = self.stale;
        let trim_at = self.core.ring.lock().trim_at().map(Instant::from_std);
        tokio::select! {
            captured = self.capture.next() => return self.drain(captured).await,
            () = self.moved.notified() => {}
            () = tokio::time::sleep_until(stale.unwrap_or_else(Instant::now)), if stale.is_some() => {}
            () = tokio::time::sleep_until(trim_at.unwrap_or_else(Instant::now)), if trim_at.is_some() => {
                self.release();
                return Ok(());
            }
        }
        self.refresh_now().await;
        Ok(())
    }

    /// What one read of the socket brought, or a good part of it.
    async fn drain(&mut self, first: Captured) -> Result<(), Trouble> {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(captured) = next else { return Ok(()) };
            self.handle(captured).await?;
            next = self.capture.try_next();
        }
        match next {
            Some(captured) => self.handle(captured).await,
            None => Ok(()),
        }
    }

    async fn handle(&mut self, captured: Captured) -> Result<(), Trouble> {
        match captured {
            Captured::Data { body, wal_start } => match self.message(body) {
                Ok(Next::Nothing) => self.clients.pace().await,
                Ok(Next::Refresh(table)) => self.refresh(table).await,
                Ok(Next::Lost(table, at)) => self.lost(table, at).await,
                Ok(Next::Ended) => self.clients.revocations.room().await,
                Err(error) => return Err(Trouble::Garbled(error, wal_start)),
            },
            Captured::Keepalive { wal_end } => {
                let oldest = self.reach(wal_end);
                if let Some(durable) = self.journal.keepalive(wal_end, oldest) {
                    self.confirm(durable);
                }
            }
            Captured::Horizon { snapshot } => self.core.horizon.get().iter().for_each(|known| known.reach(&snapshot)),
            Captured::Interrupted(error) => self.interrupted(&error),
            Captured::Resumed(identity) => {
                self.core.outbound.history.follow(history(&identity));
                self.resumed();
            }
            Captured::Failed(error) => return Err(Trouble::Final(End::from(&error))),
        }
        Ok(())
    }

    fn message(&mut self, body: Bytes) -> Result<Next, DecodeError> {
        match self.decoder.decode(body)? {
            Decoded::Begin { xid, commit_lsn, .. } => {
                self.xid = xid;
                self.core.transactions.begin(commit_lsn);
                self.journal.begin();
            }
            Decoded::Event(event) => self.event(&event),
            Decoded::Events(events) => events.iter().for_each(|event| self.event(event)),
            Decoded::Commit { end_lsn, .. } => {
                self.core.commit();
                let oldest = self.reach(end_lsn);
                let durable = self.journal.commit(end_lsn, oldest);
                self.confirm(durable);
            }
            Decoded::SchemaChanged { oid } => return Ok(Next::Refresh(Some(oid))),
            Decoded::ChangesLost { table, at } => return Ok(Next::Lost(table, at)),
            Decoded::CatalogChanged if self.is_known() => {}
            Decoded::CatalogChanged => return Ok(Next::Refresh(None)),
            Decoded::Ending(position, ending) => {
                self.end(position, *ending);
                return Ok(Next::Ended);
            }
            Decoded::Ignored(ignored) => {
                self.core.metrics.messages_ignored_total.add(1);
                tracing::warn!(code = ignored.code(), "ignored a message in the stream: {ignored}");
            }
            Decoded::Nothing => {}
        }
        Ok(Next::Nothing)
    }

    /// The catalog comes first: it ends every subscription that is older than what it says, and those that keep the
    /// rows begin again.
    async fn lost(&mut self, table: u32, at: Position) {
        self.core.losses.announce(table, at);
        if !self.is_known() {
            self.refresh(None).await;
        }
        self.clients.end_resumed(table, at);
    }

    fn event(&mut self, event: &Arc<Event>) {
        match self.journal.observe(event.position) {
            Novelty::New => self.core.dispatch(event),
            Novelty::Repeat => self.core.metrics.events_repeated_total.add(1),
            Novelty::Backlog => {
                self.core.metrics.events_backlog_total.add(1);
                self.core.remember(event);
            }
        }
    }

    /// What comes again was carried out before, and what was visible before this process served concerns no session of
    /// it.
    fn end(&mut self, position: Position, ending: Ending) {
        let was_visible = self.visible.as_ref().is_some_and(|visible| visible.sees(self.xid));
        if self.journal.observe(position) != Novelty::Repeat && !was_visible {
            self.clients.end_by_stream(self.xid, ending);
        }
    }

    /// An idle database must not keep WAL for events that a client can no longer resume from.
    fn release(&mut self) {
        let oldest = self.reach(Lsn::default());
        if let Some(durable) = self.journal.released(oldest) {
            self.confirm(durable);
        }
    }

    /// Lets the ring know how far the stream has come; where its oldest event committed.
    fn reach(&self, lsn: Lsn) -> Option<Lsn> {
        let mut ring = self.core.ring.lock();
        ring.reach(lsn);
        ring.trim(Instant::now().into_std());
        self.core.metrics.replay_window_bytes.set(ring.bytes() as u64);
        ring.oldest()
    }

    fn confirm(&mut self, durable: Durable) {
        self.core.metrics.confirmed_lsn.set(durable.lsn().0);
        self.capture.acknowledge(durable);
    }

    fn interrupted(&mut self, error: &CaptureError) {
        tracing::warn!(code = error.code(), "the replication stream was interrupted, reconnecting: {error}");
        self.start_over();
    }

    fn resumed(&mut self) {
        tracing::info!("the replication stream goes on");
        // A catalog that was read during the interruption may be that of another server.
        self.known = None;
        self.core.metrics.capture_streaming.set(1);
    }

    /// The transaction that is open comes again as a whole.
    fn start_over(&mut self) {
        self.core.metrics.capture_interruptions_total.add(1);
        self.core.metrics.capture_streaming.set(0);
        if let Some(horizon) = self.core.horizon.get() {
            horizon.forget();
        }
        self.journal.interrupted();
        self.decoder.reset();
        (self.known, self.visible) = (None, None);
    }

    async fn mend(self, trouble: Trouble) -> Result<Self, End> {
        match trouble {
            Trouble::Garbled(error, at) => self.reopen(&error, at).await,
            Trouble::Final(end) if end.is_gap => self.begin_anew(&end).await,
            Trouble::Final(end) => Err(end),
            Trouble::Stopped => Ok(self),
        }
    }

    /// Streams from a new slot. Every subscriber gets an error, because the two streams do not meet.
    async fn begin_anew(mut self, end: &End) -> Result<Self, End> {
        tracing::error!(code = end.code, "changes were lost, and every subscriber gets an error: {}", end.reason);
        self.start_over();
        self.core.metrics.confirmed_lsn.set(0);
        self.capture.stop().await;
        let capture = self.feed.reopen().await.map_err(|error| End::from(&error))?;
        let live_from = live_from(&capture, &self.refresher).await;
        let ring = Ring::new(self.core.settings.replay_window(), capture.begins_at(), live_from);
        self.clients.begin_anew(history(capture.identity()), ring, end.code);
        *self.core.slot.lock() = self.feed.slot();
        (self.capture, self.journal) = (capture, Journal::new(live_from));
        self.moved.notify_one();
        self.resumed();
        Ok(self)
    }

    /// Has the server send everything again that was not confirmed. What cannot be understood a second time is not the
    /// connection's fault.
    async fn reopen(mut self, error: &DecodeError, at: Lsn) -> Result<Self, End> {
        if self.doubt.replace(at) == Some(at) {
            return Err(End { code: error.code(), reason: format!("{error}, twice at {at}"), is_gap: false });
        }
        tracing::warn!(code = error.code(), "the replication stream at {at} is asked for again: {error}");
        self.start_over();
        let from = self.capture.handled();
        self.capture.stop().await;
        self.capture = self.feed.again(from).await?;
        self.resumed();
        Ok(self)
    }
}

/// The history that a server's positions belong to.
pub(crate) fn history(server: &ServerIdentity) -> History {
    let origin = Origin { system_id: server.system_id, database: server.database, timeline: server.timeline };
    History { origin, left: Arc::clone(&server.left) }
}

/// A client cannot have subscribed to changes before this position.
async fn live_from(capture: &Capture, refresher: &Refresher) -> Lsn {
    match capture.live_from() {
        Some(position) => position,
        None => refresher.wal_position().await.unwrap_or_else(|| capture.begins_at()),
    }
}
