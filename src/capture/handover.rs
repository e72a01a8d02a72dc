//! The way from the reader to the consumer: parcels in order, bounded in bytes.
//!
//! A parcel is what one read brought. Its bytes are reserved before it is sent and freed when the consumer has taken
//! its last message. A parcel larger than the whole bound passes alone, so a huge row cannot block for ever.

use std::sync::Arc;
use std::vec;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::captured::Captured;
use super::wire::Replication;

/// What a message costs beside its body.
const ITEM_BYTES: usize = 64;

/// Opens a way that holds `bytes` at most.
pub(super) fn channel(bytes: usize) -> (Giver, Taker) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let giver = Giver { sender, room: Arc::new(Semaphore::new(bytes)), bytes };
    (giver, Taker { receiver, current: Vec::new().into_iter(), room: None })
}

/// The messages of one read.
pub(super) struct Parcel {
    pub(super) items: Vec<Replication>,
    bytes: usize,
}

impl Parcel {
    pub(super) fn new(items: Vec<Replication>) -> Self {
        let cost = |item: &Replication| match item {
            Replication::Data { body, .. } => body.len() + ITEM_BYTES,
            Replication::Keepalive { .. } => ITEM_BYTES,
        };
        let bytes = items.iter().map(cost).sum();
        Self { items, bytes }
    }
}

enum Sent {
    Items(vec::IntoIter<Replication>, OwnedSemaphorePermit),
    Event(Captured, Option<OwnedSemaphorePermit>),
}

/// The consumer is gone.
pub(super) struct Gone;

/// The reader's end.
pub(super) struct Giver {
    sender: mpsc::UnboundedSender<Sent>,
    room: Arc<Semaphore>,
    bytes: usize,
}

impl Giver {
    /// Waits for room for a parcel; without a parcel, for ever. Dropping the future gives the room back.
    pub(super) async fn room_for(&self, parcel: Option<&Parcel>) -> Result<OwnedSemaphorePermit, Gone> {
        let Some(parcel) = parcel else { return std::future::pending().await };
        let bytes = u32::try_from(parcel.bytes.min(self.bytes)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| Gone)
    }

    pub(super) fn send(&self, parcel: Parcel, room: OwnedSemaphorePermit) -> Result<(), Gone> {
        self.sender.send(Sent::Items(parcel.items.into_iter(), room)).map_err(|_| Gone)
    }

    /// An event that may come often waits for room as messages do.
    pub(super) async fn tell_in_turn(&self, event: Captured) -> Result<(), Gone> {
        let room = Arc::clone(&self.room).acquire_many_owned(ITEM_BYTES.min(self.bytes) as u32).await;
        let room = room.map_err(|_| Gone)?;
        self.sender.send(Sent::Event(event, Some(room))).map_err(|_| Gone)
    }

    /// Other events are few and need no room.
    pub(super) fn tell(&self, event: Captured) -> Result<(), Gone> {
        self.sender.send(Sent::Event(event, None)).map_err(|_| Gone)
    }
}

/// The consumer's end.
pub(super) struct Taker {
    receiver: mpsc::UnboundedReceiver<Sent>,
    current: vec::IntoIter<Replication>,
    /// What `current` has reserved; freed when it is used up.
    room: Option<OwnedSemaphorePermit>,
}

impl Taker {
    /// The next message; `None` when the reader is gone. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Captured> {
        loop {
            if let Some(item) = self.take() {
                return Some(item);
            }
            match self.receiver.recv().await? {
                Sent::Event(event, _room) => return Some(event),
                Sent::Items(items, room) => self.unpack(items, room),
            }
        }
    }

    /// The next message if it is already here.
    pub(super) fn try_next(&mut self) -> Option<Captured> {
        loop {
            if let Some(item) = self.take() {
                return Some(item);
            }
            match self.receiver.try_recv().ok()? {
                Sent::Event(event, _room) => return Some(event),
                Sent::Items(items, room) => self.unpack(items, room),
            }
        }
    }

    fn unpack(&mut self, items: vec::IntoIter<Replication>, room: OwnedSemaphorePermit) {
        self.current = items;
        self.room = Some(room);
    }

    fn take(&mut self) -> Option<Captured> {
        match self.current.next() {
            Some(Replication::Data { wal_start, body }) => Some(Captured::Data { wal_start, body }),
            Some(Replication::Keepalive { wal_end, .. }) => Some(Captured::Keepalive { wal_end }),
            None => {
                self.room = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Parcel, channel};
    use crate::capture::captured::{Captured, ServerIdentity};
    use crate::capture::wire::Replication;
    use crate::model::Lsn;
    use bytes::Bytes;
    use std::time::Duration;
    use tokio::time::timeout;

    fn parcel(lsn: u64, size: usize) -> Parcel {
        Parcel::new(vec![Replication::Data { wal_start: Lsn(lsn), body: Bytes::from(vec![0; size]) }])
    }

    #[tokio::test]
    async fn a_full_way_holds_the_reader_until_the_consumer_has_taken_a_parcel() {
        let (giver, mut taker) = channel(1000);
        let first = parcel(1, 700);
        let room = giver.room_for(Some(&first)).await.ok().unwrap();
        giver.send(first, room).ok().unwrap();
        let second = parcel(2, 700);
        let wait = Duration::from_millis(20);
        assert!(timeout(wait, giver.room_for(Some(&second))).await.is_err(), "no room yet");
        assert!(matches!(taker.next().await, Some(Captured::Data { wal_start: Lsn(1), .. })));
        assert!(taker.try_next().is_none());
        assert!(timeout(wait, giver.room_for(Some(&second))).await.is_ok(), "the parcel was taken whole");
    }

    #[tokio::test]
    async fn a_message_larger_than_the_bound_passes_alone() {
        let (giver, mut taker) = channel(10);
        let huge = parcel(1, 5000);
        let room = giver.room_for(Some(&huge)).await.ok().unwrap();
        giver.send(huge, room).ok().unwrap();
        let resumed = Captured::Resumed(ServerIdentity { system_id: 1, database: 5, timeline: 1, left: [].into() });
        giver.tell(resumed).ok().unwrap();
        assert!(matches!(taker.try_next(), Some(Captured::Data { .. })));
        assert!(matches!(taker.next().await, Some(Captured::Resumed(_))));
        drop(giver);
        assert!(taker.next().await.is_none());
    }
}
