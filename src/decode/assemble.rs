//! Turns messages into events, each with its transaction and its ordinal there.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::partition::Partitions;
use super::pgoutput::{Description, Message, Row};
use super::relation::{Relation, Shape};
use super::{DecodeError, Ignored, publication};
use crate::model::{Change, Datum, Ending, Event, Lsn, Operation, Position, RowChange, Table, Timestamp, Tuple};

/// The prefix of logical messages that `rowcast.publish` writes.
const PREFIX_PUBLISH: &str = "rowcast.publish";
/// The prefix of logical messages by which the event triggers report a catalog change.
const PREFIX_CATALOG: &str = "rowcast.catalog";
/// The prefix of logical messages that `rowcast.revoke` and `rowcast.disconnect` write.
const PREFIX_CLOSE: &str = "rowcast.close";

/// The watched tables by `pg_class.oid`.
pub type Tables = HashMap<u32, Arc<Table>>;

/// The result of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Nothing to deliver: a change of a table that is not watched, a message with another prefix, a description.
    Nothing,
    /// A transaction begins.
    Begin {
        /// Where its commit record is; the position of all its events.
        commit_lsn: Lsn,
        /// Its top-level id.
        xid: u32,
        /// When it committed, by the server's clock.
        committed_at: Timestamp,
    },
    /// Something happened.
    Event(Arc<Event>),
    /// A TRUNCATE emptied several watched tables at once.
    Events(Vec<Arc<Event>>),
    /// The transaction is complete.
    Commit {
        /// As in its `Begin`.
        commit_lsn: Lsn,
        /// Where its commit record ends: what may be acknowledged once all its events are safe.
        end_lsn: Lsn,
    },
    /// A watched table has a different shape in the stream than in the catalog that the decoder was given. Returned
    /// once for each shape, before the first row of that shape: rows before [`Decoder::set_tables`] lack the columns
    /// that differ.
    SchemaChanged {
        /// `pg_class.oid`.
        oid: u32,
    },
    /// An event trigger reports that policies, grants or tables changed at this place of the stream.
    CatalogChanged,
    /// The catalog has changed, and changes of a table before this place of the stream may not have been captured.
    ChangesLost {
        /// `pg_class.oid`.
        table: u32,
        /// The place.
        at: Position,
    },
    /// Sessions must be closed at this place of the stream.
    Ending(Position, Box<Ending>),
    /// A message that cannot be understood was set aside; the stream goes on.
    Ignored(Ignored),
}

/// Turns the messages of one stream, in order, into events.
///
/// After an error the stream's position is unknown: [`reset`](Self::reset) and let the server repeat.
pub struct Decoder {
    tables: Arc<Tables>,
    relations: FxHashMap<u32, Relation>,
    partitions: Partitions,
    transaction: Option<Transaction>,
}

struct Transaction {
    commit_lsn: Lsn,
    committed_at: Timestamp,
    xid: u32,
    /// The ordinal of the next change.
    next: u32,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(tables: Arc<Tables>) -> Self {
        Decoder { tables, relations: FxHashMap::default(), partitions: Partitions::default(), transaction: None }
    }

    /// Replaces the watched tables, at any place of the stream.
    pub fn set_tables(&mut self, tables: Arc<Tables>) {
        for relation in self.relations.values_mut() {
            relation.look_up(&tables);
        }
        self.tables = tables;
    }

    /// Forgets an open transaction: the next message is the first of a new connection, which repeats it from its Begin.
    /// What tables look like is kept; the server describes them again before it sends their rows.
    pub fn reset(&mut self) {
        self.transaction = None;
        self.partitions.interrupted();
    }

    /// Takes the next message, from its tag on.
    #[allow(clippy::needless_pass_by_value)] // The events share it.
    pub fn decode(&mut self, body: Bytes) -> Result<Decoded, DecodeError> {
        let message = Message::parse(&body)?;
        if !matches!(message, Message::Row(_) | Message::Relation(_) | Message::Type) {
            self.partitions.interrupted();
        }
        match message {
            Message::Row(row) => self.row(row),
            Message::Begin { commit_lsn, committed_at, xid } => self.begin(commit_lsn, committed_at, xid),
            Message::Commit { commit_lsn, end_lsn } => self.commit(commit_lsn, end_lsn),
            Message::Relation(description) => Ok(self.relation(&description)),
            Message::Truncate { relations } => self.truncate(&relations),
            Message::Logical { transactional: true, prefix, content } => self.logical(prefix, &content),
            Message::Origin => self.open("Origin").map(|_| Decoded::Nothing),
            Message::Type | Message::Logical { transactional: false, .. } => Ok(Decoded::Nothing),
        }
    }

    fn begin(&mut self, commit_lsn: Lsn, committed_at: Timestamp, xid: u32) -> Result<Decoded, DecodeError> {
        if let Some(open) = &self.transaction {
            return Err(DecodeError::NestedBegin { open: open.commit_lsn });
        }
        self.transaction = Some(Transaction { commit_lsn, committed_at, xid, next: 0 });
        Ok(Decoded::Begin { commit_lsn, xid, committed_at })
    }

    fn commit(&mut self, commit_lsn: Lsn, end_lsn: Lsn) -> Result<Decoded, DecodeError> {
        let begin = self.open("Commit")?.commit_lsn;
        if begin != commit_lsn {
            return Err(DecodeError::CommitMismatch { begin, commit: commit_lsn });
        }
        self.transaction = None;
        Ok(Decoded::Commit { commit_lsn, end_lsn })
    }

    fn relation(&mut self, description: &Description<'_>) -> Decoded {
        let (oid, shape) = (description.oid, Shape::new(description));
        self.partitions.described(oid, shape.has_full_identity(), |root| {
            self.relations.get(&root).is_some_and(|root| shape.has_columns_of(root.shape()))
        });
        if self.relations.get(&oid).is_some_and(|known| *known.shape() == shape) {
            return Decoded::Nothing;
        }
        let relation = Relation::new(shape, &self.tables);
        let moved = relation.has_moved();
        self.relations.insert(oid, relation);
        if moved { Decoded::SchemaChanged { oid } } else { Decoded::Nothing }
    }

    fn row(&mut self, row: Row<'_>) -> Result<Decoded, DecodeError> {
        let whole = self.partitions.row(row.relation);
        let transaction = self.transaction.as_mut().ok_or(DecodeError::OutsideTransaction { what: "a row" })?;
        let relation = self.relations.get(&row.relation).ok_or(DecodeError::UnknownRelation { oid: row.relation })?;
        let stamp = transaction.stamp()?;
        let Some(watched) = relation.watched() else {
            return Ok(Decoded::Nothing);
        };
        let operation = row.operation;
        let (old, new) = row.images(|image, columns| watched.tuple(image, whole, columns))?;
        let change = row_change(watched.table(), operation, old, new);
        Ok(Decoded::Event(stamp.event(Change::Row(change))))
    }

    fn truncate(&mut self, oids: &[u32]) -> Result<Decoded, DecodeError> {
        let transaction = self.transaction.as_mut().ok_or(DecodeError::OutsideTransaction { what: "Truncate" })?;
        let mut events = Vec::new();
        for &oid in oids {
            let relation = self.relations.get(&oid).ok_or(DecodeError::UnknownRelation { oid })?;
            let stamp = transaction.stamp()?;
            events.extend(relation.watched().map(|watched| stamp.event(Change::Truncate(watched.table()))));
        }
        Ok(match events.len() {
            0 => Decoded::Nothing,
            1 => Decoded::Event(events.remove(0)),
            _ => Decoded::Events(events),
        })
    }

    fn logical(&mut self, prefix: &str, content: &Bytes) -> Result<Decoded, DecodeError> {
        let stamp = self.open("a transactional message")?.stamp()?;
        Ok(match prefix {
            PREFIX_PUBLISH => match publication::parse(content) {
                Ok(message) => Decoded::Event(stamp.event(Change::Message(message))),
                Err(reason) => Decoded::Ignored(reason),
            },
            PREFIX_CATALOG => match publication::lost(content) {
                Some(table) => Decoded::ChangesLost { table, at: stamp.position },
                None => Decoded::CatalogChanged,
            },
            PREFIX_CLOSE => match publication::ending(content) {
                Ok(ending) => Decoded::Ending(stamp.position, Box::new(ending)),
                Err(reason) => Decoded::Ignored(reason),
            },
            _ => Decoded::Nothing,
        })
    }

    fn open(&mut self, what: &'static str) -> Result<&mut Transaction, DecodeError> {
        self.transaction.as_mut().ok_or(DecodeError::OutsideTransaction { what })
    }
}

/// Everything of an event except what happened.
struct Stamp {
    position: Position,
    committed_at: Timestamp,
    xid: u32,
}

impl Transaction {
    /// Counts one change, whether or not its table is watched.
    fn stamp(&mut self) -> Result<Stamp, DecodeError> {
        let Transaction { commit_lsn, committed_at, xid, next: ordinal } = *self;
        self.next = ordinal.checked_add(Event::NUMBERS).ok_or(DecodeError::TooManyChanges { commit_lsn })?;
        Ok(Stamp { position: Position { commit_lsn, ordinal }, committed_at, xid })
    }
}

impl Stamp {
    fn event(self, change: Change) -> Arc<Event> {
        Arc::new(Event { position: self.position, committed_at: self.committed_at, xid: self.xid, change })
    }
}

fn row_change(table: Arc<Table>, operation: Operation, old: Option<Tuple>, new: Option<Tuple>) -> RowChange {
    let new = match (&old, new) {
        (Some(old), Some(new)) => Some(fill_unchanged(new, old)),
        (_, new) => new,
    };
    RowChange { table, operation, old, new }
}

/// Copies TOASTed values that the UPDATE did not change from the old image, if it has them.
fn fill_unchanged(new: Tuple, old: &Tuple) -> Tuple {
    if !new.values().contains(&Datum::Unchanged) {
        return new;
    }
    let fill = |(index, datum): (usize, &Datum)| match (datum, old.get(index)) {
        (Datum::Unchanged, Datum::Text(text)) => Datum::Text(text.clone()),
        (datum, _) => datum.clone(),
    };
    Tuple::new(new.values().iter().enumerate().map(fill).collect::<Box<[Datum]>>())
}
