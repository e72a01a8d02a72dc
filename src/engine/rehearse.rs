//! The engine without a database, for an application's tests: the test commits changes and moves the clock.
//!
//! The input is tables as the test describes them, and commits of changes to them. Everything behind the capture is the
//! engine's own (journal, index, gate, encoder, resolvers, sessions), and a commit is delivered when [`Engine::commit`]
//! returns. No policy is guessed: a subscription with a delegated policy is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Engine;
use super::client;
use super::clock::Clock;
use super::explain::carried;
use crate::catalog::{CatalogError, Tables};
use crate::config::{Bus, Rehearsal};
use crate::decode::json;
use crate::engine::deliver::Core;
use crate::engine::served::{Declaration, Live};
use crate::error::Error;
use crate::model::{
    Change, Column, Datum, Event, Lsn, Message, Operation, PgType, Position, RowChange, Table, Timestamp, Tuple,
};

/// What one commit did, as a test writes it down.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "operation", rename_all = "UPPERCASE")]
enum Written {
    Insert {
        table: String,
        new: Row,
    },
    Update {
        table: String,
        old: Option<Row>,
        new: Row,
    },
    Delete {
        table: String,
        old: Row,
    },
    Truncate {
        table: String,
    },
    /// The payload is JSON text.
    Message {
        topic: String,
        tenant: Option<Box<str>>,
        payload: String,
    },
}

/// Texts in PostgreSQL's output format, by column; one that is left out is not carried.
type Row = BTreeMap<String, Option<String>>;

/// Work that has not finished; all zero when nothing more will be delivered by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// Resolver calls that wait or run.
    pub resolver_calls: u64,
    /// Subscriptions that are catching up.
    pub replays: usize,
    /// Endings that are decided and not carried out.
    pub endings: usize,
}

/// The clock of this bus.
pub(crate) fn clock(bus: &Bus) -> Clock {
    match bus {
        Bus::Rehearsal(rehearsal) => Clock::by_hand(rehearsal.begins),
        Bus::Memory | Bus::PostgreSql(_) => Clock::default(),
    }
}

/// What would be served: the tables that are declared, followed as they are declared.
pub(crate) fn describe(core: &Core, rehearsal: &Rehearsal, fields: &str) -> Result<Live, Error> {
    let (declared, mut written) = (Declaration::parse(fields)?, rehearsal.tables.clone());
    let naming = core.settings.naming;
    let tables = Tables::written(&written, &rehearsal.roles, naming)?;
    for request in declared.iter().filter_map(Declaration::watch_request) {
        let name = &tables.find(&request.relation).map_err(|error| unwritten(error, &request.relation))?.name;
        let followed = written.iter_mut().filter(|table| table.is(name));
        followed.for_each(|table| table.watch(request.tenant_column.as_deref(), request.public));
    }
    Live::build(Tables::written(&written, &rehearsal.roles, naming)?, &declared, &core.settings)
}

fn unwritten(error: CatalogError, table: &str) -> Error {
    match error {
        CatalogError::UnknownTable(_) => invalid(
            "TABLE_UNKNOWN",
            format!(
                "a subscription is declared on {table}, but its columns are not: describe the table, since this engine has no database to read them from"
            ),
        ),
        error => error.into(),
    }
}

impl Engine {
    /// Commits these changes, a JSON array, and returns the cursor of each event. When this returns, all its effects in
    /// this engine have happened, except what [`unsettled`](Self::unsettled) counts.
    pub fn commit(&self, changes: &str, committed_at: Option<Timestamp>) -> Result<Vec<String>, Error> {
        let live = self.core.live()?;
        let Bus::Rehearsal(_) = &self.bus else { return Err(not_rehearsing()) };
        let written: Vec<Written> = serde_json::from_str(changes)
            .map_err(|error| invalid("ROW_INVALID", format!("the changes are not what the engine expects: {error}")))?;
        let changes = written.into_iter().map(|written| written.change(&live)).collect::<Result<Vec<_>, _>>()?;
        let committed_at = committed_at.unwrap_or_else(|| self.core.clock.date());
        let mut published = self.published.lock();
        *published += 1;
        let commit_lsn = Lsn(*published);
        let event = |(change, ordinal)| {
            let position = Position { commit_lsn, ordinal };
            Arc::new(Event { position, committed_at, xid: 0, change })
        };
        let numbers = (0..).step_by(Event::NUMBERS as usize);
        let events: Vec<_> = changes.into_iter().zip(numbers).map(event).collect();
        self.core.transactions.begin(commit_lsn);
        for event in &events {
            self.core.dispatch(event);
        }
        self.core.commit();
        let position = |event: &Arc<Event>| event.halves().map_or(event.position, |[_, last]| last.position);
        Ok(events.iter().map(|event| self.core.outbound.history.cursor(position(event)).to_string()).collect())
    }

    /// Moves the clock to the next moment at which a session has something to do, `by` at most, and does it; how much of
    /// `by` is left.
    pub fn advance(&self, by: Duration) -> Result<Duration, Error> {
        let now = self.core.clock.now();
        let sessions = self.clients.sessions();
        let next = sessions.iter().filter_map(|session| session.next_deadline()).filter(|at| *at > now).min();
        let step = next.map_or(by, |at| by.min(at.duration_since(now)));
        // The clock counts in microseconds: less than one would never come to an end.
        let step = step.max(Duration::from_micros(1)).min(by);
        if !self.core.clock.advance(step) {
            return Err(not_rehearsing());
        }
        self.core.ring.lock().trim(self.core.clock.now());
        client::tick(&self.clients);
        Ok(by.saturating_sub(step))
    }

    /// What the clock of this engine shows.
    pub fn date(&self) -> Timestamp {
        self.core.clock.date()
    }

    /// Effects of commits that have not happened yet.
    pub fn unsettled(&self) -> Unsettled {
        Unsettled {
            resolver_calls: self.core.metrics.resolver_calls.get(),
            replays: self.core.replaying.load(Ordering::SeqCst),
            endings: self.core.outbound.evictions.waiting(),
        }
    }
}

impl Written {
    fn change(self, live: &Live) -> Result<Change, Error> {
        let (table, operation, old, new) = match self {
            Written::Message { topic, tenant, payload } => {
                if !is_text_of(&PgType::Json, &payload) {
                    return Err(invalid("PAYLOAD_INVALID", "the payload is not JSON".to_owned()));
                }
                return Ok(Change::Message(Message { topic: topic.into(), tenant, payload: payload.into() }));
            }
            Written::Truncate { table } => return Ok(Change::Truncate(find(live, &table)?)),
            Written::Insert { table, new } => (table, Operation::Insert, None, Some(new)),
            Written::Update { table, old, new } => (table, Operation::Update, old, Some(new)),
            Written::Delete { table, old } => (table, Operation::Delete, Some(old), None),
        };
        let table = find(live, &table)?;
        let image = |row: Option<Row>| row.map(|row| tuple(&table, row)).transpose();
        let (old, new) = (image(old)?, image(new)?);
        let old = carried(&table, operation, old, new.as_ref(), &mut Vec::new());
        Ok(Change::Row(RowChange { table, operation, old, new }))
    }
}

fn find(live: &Live, table: &str) -> Result<Arc<Table>, Error> {
    let found = live.tables.find(table).map(Arc::clone);
    found.map_err(|_| invalid("TABLE_UNKNOWN", format!("nobody said that there is a table {table}")))
}

fn tuple(table: &Table, mut row: Row) -> Result<Tuple, Error> {
    if let Some(name) = row.keys().find(|name| table.column(name).is_none()) {
        return Err(invalid("COLUMN_UNKNOWN", format!("{} has no column {name:?}", table.name)));
    }
    let values = table.columns.iter().map(|column| datum(table, column, &mut row)).collect::<Result<Vec<_>, _>>()?;
    Ok(Tuple::new(values))
}

fn datum(table: &Table, column: &Column, row: &mut Row) -> Result<Datum, Error> {
    let of = || format!("column {} of {}", column.name, table.name);
    match row.remove(&column.name) {
        None => Ok(Datum::Absent),
        Some(None) if column.not_null => Err(invalid("ROW_INVALID", format!("{} is NULL and must not be", of()))),
        Some(None) => Ok(Datum::Null),
        Some(Some(text)) if is_text_of(&column.pg_type, &text) => Ok(Datum::Text(text.into())),
        Some(Some(_)) => Err(invalid("ROW_INVALID", format!("{} cannot have the value that is given for it", of()))),
    }
}

/// As far as this can be checked without the type's own input function.
fn is_text_of(pg_type: &PgType, text: &str) -> bool {
    match pg_type {
        PgType::Enum(kind) => kind.labels.iter().any(|label| label == text),
        PgType::Json => serde_json::from_str::<&RawValue>(text).is_ok(),
        _ => json::write(pg_type, text.as_bytes(), &mut Vec::new()).is_ok(),
    }
}

fn not_rehearsing() -> Error {
    invalid(
        "NOT_REHEARSING",
        "this engine has a real source of changes and a real clock: see rowcast.testing".to_owned(),
    )
}

fn invalid(code: &'static str, message: String) -> Error {
    Error::Declaration { code, message }
}
