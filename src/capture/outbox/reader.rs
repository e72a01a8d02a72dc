//! The reader: closes windows, hands over what is in them, and waits as the rhythm says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::rhythm::{Rhythm, Wait};
use super::scribe::{Scribe, Window, behind};
use super::session::{Opened, OutboxSession};
use super::settings::OutboxSettings;
use crate::capture::captured::Captured;
use crate::capture::error::CaptureError;
use crate::capture::handover::Parcel;
use crate::capture::supervisor::{ConnectionEnd, Ends};
use crate::capture::wire::Replication;
use crate::model::Lsn;

/// How long a sleeper that was not woken sleeps: it shows that the connection lives, and finds what a poller that is stopped
/// leaves undone.
const NAP: Duration = Duration::from_secs(1);
/// How long between two questions where nobody may be woken, or a writer is still open that would not wake us.
const UNEASY: Duration = Duration::from_millis(20);
/// A parcel goes when it has as many bytes.
const PARCEL_BYTES: usize = 64 * 1024;

/// Whose business it is to poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Another engine polls; the engine that closes a window notifies the others.
    Follower,
    /// Ours.
    Poller,
    /// Ours, and whoever writes will wake us.
    Sleeper,
}

/// The life of one connection.
pub(super) struct Reading<'a> {
    session: &'a OutboxSession,
    notifies: bool,
    nudge: Arc<tokio::sync::Notify>,
    /// Transactions before this position are not handed over again.
    next: Lsn,
    /// What the consumer knows to have been handed over.
    told: String,
    seen: &'a mut Lsn,
    rhythm: Rhythm,
    role: Role,
    ends: Ends<'a>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(opened: &'a Opened, settings: &OutboxSettings, seen: &'a mut Lsn, ends: Ends<'a>) -> Self {
        Self {
            session: &opened.session,
            notifies: opened.notifies,
            nudge: Arc::clone(&settings.nudge),
            next: opened.begins_at,
            told: String::new(),
            seen,
            rhythm: Rhythm::new(Instant::now()),
            role: Role::Follower,
            ends,
        }
    }

    pub(super) async fn run(&mut self) -> Result<std::convert::Infallible, ConnectionEnd> {
        self.take_over().await?;
        loop {
            let closing = self.session.close_window().await?;
            if closing.newest >= self.next {
                self.read_windows(closing.newest).await?;
                self.rhythm.heard(Instant::now());
            }
            self.tell_horizon(closing.seen).await?;
            self.wait().await?;
        }
    }

    async fn take_over(&mut self) -> Result<(), ConnectionEnd> {
        if self.role == Role::Follower && self.session.take_over().await? {
            self.role = Role::Poller;
        }
        Ok(())
    }

    /// Hands over everything up to a position.
    async fn read_windows(&mut self, newest: Lsn) -> Result<(), ConnectionEnd> {
        while self.next <= newest {
            for window in self.unread().await? {
                self.hand_over(&window).await?;
                self.next = behind(window.last);
            }
        }
        Ok(())
    }

    /// Windows that were not read yet, each right behind the one before it, the first behind what was handed over.
    async fn unread(&self) -> Result<Vec<Window>, CaptureError> {
        let windows = self.session.windows(self.next).await?;
        let mut next = self.next;
        for window in &windows {
            if window.previous >= next {
                return Err(self.session.trimmed(self.next));
            }
            next = behind(window.last);
        }
        if windows.is_empty() { Err(self.session.trimmed(self.next)) } else { Ok(windows) }
    }

    async fn hand_over(&mut self, window: &Window) -> Result<(), ConnectionEnd> {
        let skip = self.next.0.saturating_sub(window.first.0).cast_signed();
        let mut rows = self.session.rows(window, skip).await?;
        let (mut scribe, mut messages) = (Scribe::new(*window), Vec::new());
        let mut bytes = 0;
        while let Some(row) = rows.next().await? {
            let written = messages.len();
            let change = rows.change(&row)?;
            scribe.write(change, &mut messages).map_err(|error| self.session.malformed(&error.to_string()))?;
            bytes += messages.iter().skip(written).map(|(_, body)| body.len()).sum::<usize>();
            if bytes >= PARCEL_BYTES {
                self.give(std::mem::take(&mut messages)).await?;
                bytes = 0;
            }
        }
        // While the end is not handed over it is needed: if it is gone, rows may have been gone when they were read.
        if !self.session.is_kept(window).await? {
            return Err(self.session.trimmed(self.next).into());
        }
        scribe.finish(&mut messages);
        self.give(messages).await?;
        self.hand(vec![Replication::Keepalive { wal_end: behind(window.last), answer: false }]).await
    }

    async fn give(&mut self, messages: Vec<(Lsn, bytes::Bytes)>) -> Result<(), ConnectionEnd> {
        if let Some((position, _)) = messages.last() {
            *self.seen = behind(*position).max(*self.seen);
        }
        self.hand(messages.into_iter().map(|(wal_start, body)| Replication::Data { wal_start, body }).collect()).await
    }

    async fn hand(&mut self, items: Vec<Replication>) -> Result<(), ConnectionEnd> {
        let parcel = Parcel::new(items);
        let Ends { giver, stop, .. } = &mut self.ends;
        let room = tokio::select! {
            biased;
            _ = &mut **stop => return Err(ConnectionEnd::Stopped),
            room = giver.room_for(Some(&parcel)) => room,
        };
        room.and_then(|room| giver.send(parcel, room)).map_err(|_| ConnectionEnd::Stopped)
    }

    async fn tell_horizon(&mut self, seen: String) -> Result<(), ConnectionEnd> {
        if seen == self.told {
            return Ok(());
        }
        self.told.clone_from(&seen);
        let Ends { giver, stop, .. } = &mut self.ends;
        tokio::select! {
            biased;
            _ = &mut **stop => Err(ConnectionEnd::Stopped),
            told = giver.tell_in_turn(Captured::Horizon { snapshot: seen }) => told.map_err(|_| ConnectionEnd::Stopped),
        }
    }

    async fn wait(&mut self) -> Result<(), ConnectionEnd> {
        match (self.rhythm.wait(Instant::now()), self.role) {
            (Wait::For(pause), Role::Sleeper) => {
                self.wake_up().await?;
                self.pause(pause).await.map(drop)
            }
            (Wait::For(pause), _) => self.pause(pause).await.map(drop),
            (Wait::Asleep, Role::Follower) => {
                if !self.pause(NAP).await? {
                    self.take_over().await?;
                }
                Ok(())
            }
            (Wait::Asleep, Role::Sleeper) => {
                if self.pause(NAP).await? {
                    self.rhythm.heard(Instant::now());
                }
                Ok(())
            }
            // Asked once more before it sleeps: what came before the lock was had wakes nobody.
            (Wait::Asleep, Role::Poller) if self.notifies && self.session.fall_asleep().await? => {
                self.role = Role::Sleeper;
                Ok(())
            }
            (Wait::Asleep, Role::Poller) => self.pause(UNEASY).await.map(drop),
        }
    }

    async fn wake_up(&mut self) -> Result<(), ConnectionEnd> {
        self.role = Role::Poller;
        Ok(self.session.wake_up().await?)
    }

    /// Whether somebody cut it short.
    async fn pause(&mut self, pause: Duration) -> Result<bool, ConnectionEnd> {
        let stop: &mut oneshot::Receiver<()> = self.ends.stop;
        tokio::select! {
            biased;
            _ = stop => Err(ConnectionEnd::Stopped),
            () = self.session.bell.rung() => Ok(true),
            () = self.nudge.notified() => Ok(true),
            () = sleep(pause) => Ok(false),
        }
    }
}
