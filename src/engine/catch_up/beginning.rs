//! With what a subscription begins: the next event, the events after a cursor, or a snapshot.

use crate::failure::Failure;
use crate::graphql::{Arguments, Request};
use crate::journal::{Cursor, CursorError};
use crate::model::Position;

/// With what a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// With what is new.
    Now,
    /// With what follows a position.
    After(Position),
    /// With the rows that are there.
    Snapshot,
    /// With what follows a position, if that is still known; otherwise with the rows.
    AfterOrSnapshot(Position),
}

impl Beginning {
    /// With what a request wants to begin; `is_of_history` says whether a cursor is of the history that is followed. With a
    /// snapshot, a cursor that is too old is not an error, and the empty one that is sent inside of snapshots means that
    /// the snapshot has to begin again.
    pub(crate) fn wanted(
        arguments: &Arguments,
        request: &Request,
        is_of_history: impl Fn(&Cursor) -> bool,
    ) -> Result<Beginning, Failure> {
        let after = wanted_cursor(arguments, request)?;
        let position_of = |cursor| position_of(cursor, &is_of_history);
        if !(arguments.snapshot | wants_snapshot(request)?) {
            let after = after.map(position_of).transpose()?;
            return Ok(after.map_or(Beginning::Now, Beginning::After));
        }
        match after.filter(|cursor| !cursor.is_empty()).map(position_of) {
            Some(Ok(after)) => Ok(Beginning::AfterOrSnapshot(after)),
            None => Ok(Beginning::Snapshot),
            Some(Err(failure)) if is_outlived(&failure) => Ok(Beginning::Snapshot),
            Some(Err(failure)) => Err(failure),
        }
    }

    /// Whether its client can get the rows.
    pub(crate) fn keeps_rows(self) -> bool {
        matches!(self, Beginning::Snapshot | Beginning::AfterOrSnapshot(_))
    }

    /// What its client has already received.
    pub(crate) fn after(self) -> Option<Position> {
        match self {
            Beginning::After(after) | Beginning::AfterOrSnapshot(after) => Some(after),
            Beginning::Now | Beginning::Snapshot => None,
        }
    }
}

fn position_of(cursor: &str, is_of_history: impl Fn(&Cursor) -> bool) -> Result<Position, Failure> {
    let cursor: Cursor = cursor.parse().map_err(|error: CursorError| invalid(&error.to_string()))?;
    if is_of_history(&cursor) { Ok(cursor.position) } else { Err(ahead()) }
}

/// The cursor after which a request wants to go on: the field's argument, or `extensions.rowcast.after` of a client that
/// cannot change its document. A `Last-Event-ID` is newer than both: an `EventSource` comes back with the URL that it
/// began with.
fn wanted_cursor<'a>(arguments: &'a Arguments, request: &'a Request) -> Result<Option<&'a str>, Failure> {
    if let Some(last_event_id) = extension(request, "lastEventId")? {
        return Ok(Some(last_event_id));
    }
    match (arguments.after.as_deref(), extension(request, "after")?) {
        (Some(argument), Some(extension)) if argument != extension => {
            Err(invalid("the argument after and extensions.rowcast.after name different cursors: give one"))
        }
        (argument, extension) => Ok(argument.or(extension)),
    }
}

/// The field's argument for a client that cannot change its document.
fn wants_snapshot(request: &Request) -> Result<bool, Failure> {
    match request.extensions.as_ref().and_then(|all| all.get("rowcast")?.get("snapshot")) {
        None | Some(serde_json::Value::Null) => Ok(false),
        Some(serde_json::Value::Bool(snapshot)) => Ok(*snapshot),
        Some(_) => Err(Failure::new("SNAPSHOT_INVALID", "extensions.rowcast.snapshot must be true or false")),
    }
}

/// A cursor in `extensions.rowcast`.
fn extension<'a>(request: &'a Request, name: &str) -> Result<Option<&'a str>, Failure> {
    match request.extensions.as_ref().and_then(|all| all.get("rowcast")?.get(name)) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(cursor)) => Ok(Some(cursor)),
        Some(_) => Err(invalid(&format!("extensions.rowcast.{name} must be a string"))),
    }
}

/// Whether a snapshot answers this.
pub(crate) fn is_outlived(failure: &Failure) -> bool {
    matches!(failure.code(), "CURSOR_EXPIRED" | "CURSOR_AHEAD")
}

fn invalid(reason: &str) -> Failure {
    Failure::new("CURSOR_INVALID", reason)
}

pub(crate) fn expired() -> Failure {
    let message = "the events after this cursor are no longer kept: subscribe without it and load the rows again";
    Failure::new("CURSOR_EXPIRED", message)
}

pub(crate) fn ahead() -> Failure {
    let message = "this cursor is of another database, or of a history that the database has left (a restored backup, a \
                   failover): subscribe without it and load the rows again";
    Failure::new("CURSOR_AHEAD", message)
}
