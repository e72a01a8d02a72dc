//! Changes in the database, each shared by all subscriptions that get it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Column, Datum, Lsn, Table, Tuple};

/// Where an event stands in commit order: the LSN of its transaction's commit record, then its number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// `Begin.final_lsn`: known before the first change of the transaction arrives.
    pub commit_lsn: Lsn,
    /// 0 for the first event of the transaction, then in steps of [`Event::NUMBERS`]. Changes of tables that are not
    /// watched are counted as well, so the number does not depend on the set of watched tables.
    pub ordinal: u32,
}

/// Microseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// One committed change. Shared as `Arc<Event>`: its values are slices of the message that brought them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in commit order.
    pub position: Position,
    /// When its transaction committed, by the server's clock.
    pub committed_at: Timestamp,
    /// The top-level transaction id, 32 bits as the wire has it.
    pub xid: u32,
    /// What happened.
    pub change: Change,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A row was inserted, updated or deleted.
    Row(RowChange),
    /// A table was emptied.
    Truncate(Arc<Table>),
    /// A call of `rowcast.publish`.
    Message(Message),
    /// The snapshot of one subscription is complete. Never in the stream.
    SnapshotEnd(Arc<Table>),
}

/// A changed row: INSERT, SNAPSHOT and an arrival have `new`, DELETE and a departure have `old`, UPDATE has `new` and
/// as much of `old` as the replica identity provides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The table (the root, when a partition changed).
    pub table: Arc<Table>,
    /// `Insert`, `Update`, `Departure`, `Arrival`, `Delete` or `Snapshot`.
    pub operation: Operation,
    /// The row before; columns that the replica identity does not cover are `Absent`.
    pub old: Option<Tuple>,
    /// The row after; `Unchanged` only where the old image could not fill it in.
    pub new: Option<Tuple>,
}

/// A manual publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic's name.
    pub topic: Box<str>,
    /// The tenant it is for; `None` is for topics that are declared public.
    pub tenant: Option<Box<str>>,
    /// JSON text, valid.
    pub payload: Bytes,
}

/// The kind of change, as the GraphQL enum `Operation` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `INSERT`
    Insert,
    /// `UPDATE`
    Update,
    /// `UPDATE`, first half of one that changed the key: the row leaves its old key.
    Departure,
    /// `UPDATE`, second half of one that changed the key: the row enters under its new key.
    Arrival,
    /// `DELETE`
    Delete,
    /// `TRUNCATE`
    Truncate,
    /// `MESSAGE`
    Message,
    /// `SNAPSHOT`: nothing was done, the row was there.
    Snapshot,
    /// `SNAPSHOT_END`: the snapshot is complete.
    SnapshotEnd,
}

impl Operation {
    /// The GraphQL enum value.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Insert => "INSERT",
            Operation::Update | Operation::Departure | Operation::Arrival => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Truncate => "TRUNCATE",
            Operation::Message => "MESSAGE",
            Operation::Snapshot => "SNAPSHOT",
            Operation::SnapshotEnd => "SNAPSHOT_END",
        }
    }
}

/// What a change means to one subscriber's view, from its old and its new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The row was not in view and is now.
    Enter,
    /// The row was in view and still is.
    Stay,
    /// The row was in view and no longer is: only its key is delivered.
    Leave,
}

impl Transition {
    /// The GraphQL enum value.
    pub fn name(self) -> &'static str {
        match self {
            Transition::Enter => "ENTER",
            Transition::Stay => "STAY",
            Transition::Leave => "LEAVE",
        }
    }
}

impl Event {
    /// How many positions a change takes, whether or not it is split: of a table that is not watched that is not known.
    pub const NUMBERS: u32 = 2;

    /// An UPDATE that changed the key, as two events with a position each: a client that keeps rows by key has to take
    /// the old key out before it puts the new one in. `None` for every other event.
    pub fn halves(&self) -> Option<[Event; 2]> {
        let Change::Row(change) = &self.change else { return None };
        let [departure, arrival] = change.halves()?.map(|half| Event { change: Change::Row(half), ..*self });
        let position = Position { ordinal: self.position.ordinal + 1, ..self.position };
        Some([departure, Event { position, ..arrival }])
    }

    /// The kind of change.
    pub fn operation(&self) -> Operation {
        match &self.change {
            Change::Row(row) => row.operation,
            Change::Truncate(_) => Operation::Truncate,
            Change::Message(_) => Operation::Message,
            Change::SnapshotEnd(_) => Operation::SnapshotEnd,
        }
    }

    /// The bytes that it keeps alive.
    pub fn weight(&self) -> usize {
        let datum = |datum: &Datum| size_of::<Datum>() + datum.text().map_or(0, <[u8]>::len);
        let values = match &self.change {
            Change::Row(row) => row.old.iter().chain(&row.new).flat_map(Tuple::values).map(datum).sum(),
            Change::Truncate(_) | Change::SnapshotEnd(_) => 0,
            Change::Message(message) => message.payload.len(),
        };
        size_of::<Event>() + values
    }

    /// The same in the shape that its table has in `table`: columns are paired by name and type, and what the event
    /// does not have is `Absent`.
    #[must_use]
    pub fn reshaped(&self, table: &Arc<Table>) -> Event {
        let change = match &self.change {
            Change::Row(row) => Change::Row(row.reshaped(table)),
            Change::Truncate(_) => Change::Truncate(Arc::clone(table)),
            Change::SnapshotEnd(_) => Change::SnapshotEnd(Arc::clone(table)),
            Change::Message(message) => Change::Message(message.clone()),
        };
        Event { change, ..*self }
    }
}

impl RowChange {
    /// The halves of an UPDATE that changed the primary key, as far as the old image contains the key.
    pub fn halves(&self) -> Option<[RowChange; 2]> {
        let (Operation::Update, Some(old), Some(new)) = (self.operation, &self.old, &self.new) else { return None };
        let half = |operation, old, new| RowChange { table: Arc::clone(&self.table), operation, old, new };
        self.table.key_differs(old, new).then(|| {
            let departure = half(Operation::Departure, Some(old.clone()), None);
            [departure, half(Operation::Arrival, None, Some(new.clone()))]
        })
    }

    fn reshaped(&self, table: &Arc<Table>) -> RowChange {
        let place = |column: &Column| {
            let same = |known: &Column| known.name == column.name && known.type_oid == column.type_oid;
            self.table.columns.iter().position(same)
        };
        let places: Vec<_> = table.columns.iter().map(place).collect();
        let value = |tuple: &Tuple, at: Option<usize>| at.map_or(Datum::Absent, |at| tuple.get(at).clone());
        let image = |tuple: &Tuple| Tuple::new(places.iter().map(|at| value(tuple, *at)).collect::<Vec<_>>());
        RowChange {
            table: Arc::clone(table),
            operation: self.operation,
            old: self.old.as_ref().map(image),
            new: self.new.as_ref().map(image),
        }
    }
}
