//! Rows as an operator writes them down, as the stream would carry them.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{Inquiry, invalid};
use crate::error::Error;
use crate::model::{Datum, Operation, ReplicaIdentity, Table, Tuple};

/// Nothing is written, and an input function may not take for ever.
const BEGIN: &str = "begin read only; set local statement_timeout = '10s'";

/// One change.
pub(super) struct Sent {
    pub(super) operation: Operation,
    pub(super) old: Option<Tuple>,
    pub(super) new: Option<Tuple>,
    /// What is not as it was given.
    pub(super) notes: Vec<String>,
}

/// What the stream would say of it; none when no row was given.
pub(super) async fn sent(client: &Client, table: &Table, inquiry: &Inquiry) -> Result<Option<Sent>, Error> {
    let Some(operation) = operation(inquiry)? else { return Ok(None) };
    let mut notes = Vec::new();
    let new = read(client, table, "row", inquiry.row.as_deref(), &mut notes).await?;
    let old = read(client, table, "old", inquiry.old.as_deref(), &mut notes).await?;
    let old = carried(table, operation, old, new.as_ref(), &mut notes);
    Ok(Some(Sent { operation, old, new, notes }))
}

fn operation(inquiry: &Inquiry) -> Result<Option<Operation>, Error> {
    let (row, old) = (inquiry.row.is_some(), inquiry.old.is_some());
    let told = match (row, old) {
        (true, true) => Operation::Update,
        (true, false) => Operation::Insert,
        (false, true) => Operation::Delete,
        (false, false) if inquiry.operation.is_none() => return Ok(None),
        (false, false) => return Err(invalid("ROW_MISSING", "an operation happens to a row: say which")),
    };
    let operation = inquiry.operation.unwrap_or(told);
    let fits = match operation {
        Operation::Insert => row && !old,
        Operation::Update => row,
        Operation::Delete => old && !row,
        Operation::Departure
        | Operation::Arrival
        | Operation::Truncate
        | Operation::Message
        | Operation::Snapshot
        | Operation::SnapshotEnd => false,
    };
    if fits {
        return Ok(Some(operation));
    }
    let rule = "INSERT has the row, UPDATE the row and as a rule the old one, DELETE the old one alone";
    Err(invalid("OPERATION_MISMATCH", format!("{} does not go with these images: {rule}", operation.name())))
}

async fn read(
    client: &Client,
    table: &Table,
    what: &str,
    json: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Option<Tuple>, Error> {
    let Some(json) = json else { return Ok(None) };
    let given: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json)
        .map_err(|error| invalid("ROW_NOT_JSON", format!("{what} is not a JSON object of columns: {error}")))?;
    for name in given.keys().filter(|name| table.column(name).is_none()) {
        if !table.access.unsent.iter().any(|unsent| **unsent == **name) {
            return Err(invalid("COLUMN_UNKNOWN", format!("{what}: {} has no column {name:?}", table.name)));
        }
        notes.push(format!("{what}: the stream does not carry column {name}, so it is left out"));
    }
    let values = populate(client, table, json).await.map_err(|error| {
        let said = error.as_db_error().map_or_else(|| error.to_string(), |server| server.message().to_owned());
        invalid("ROW_INVALID", format!("{what} cannot be a row of {}: {said}", table.name))
    })?;
    let datum = |(column, value): (&crate::model::Column, Option<String>)| match value {
        Some(text) => Datum::Text(text.into()),
        None if given.contains_key(&column.name) => Datum::Null,
        None => Datum::Absent,
    };
    Ok(Some(Tuple::new(table.columns.iter().zip(values).map(datum).collect::<Vec<_>>())))
}

/// Each value by its type's input and output function.
async fn populate(client: &Client, table: &Table, json: &str) -> Result<Vec<Option<String>>, tokio_postgres::Error> {
    let column = |name: &str| {
        let name = quoted(name);
        format!("case when t.{name} is distinct from null then pg_catalog.format('%s', t.{name}) end")
    };
    let columns: Vec<_> = table.columns.iter().map(|of| column(&of.name)).collect();
    let from = format!("{}.{}", quoted(&table.name.schema), quoted(&table.name.name));
    // `json` rather than `jsonb`: a `json` column keeps its text.
    let statement = format!(
        "select {} from pg_catalog.json_populate_record(null::{from}, $1::pg_catalog.json) as t",
        columns.join(", ")
    );
    client.batch_execute(BEGIN).await?;
    let rows = client.query_typed(&statement, &[(&json, Type::TEXT)]).await;
    client.batch_execute("rollback").await?;
    let rows = rows?;
    rows.first().map_or(Ok(Vec::new()), |row| (0..table.columns.len()).map(|at| row.try_get(at)).collect())
}

/// What the replica identity gives of the old row (manual, `ALTER TABLE`, "REPLICA IDENTITY").
pub(crate) fn carried(
    table: &Table,
    operation: Operation,
    old: Option<Tuple>,
    new: Option<&Tuple>,
    notes: &mut Vec<String>,
) -> Option<Tuple> {
    if table.identity == ReplicaIdentity::Full {
        if operation == Operation::Update && old.is_none() {
            notes.push("without the old row nobody knows whether the row was in view before".to_owned());
        }
        return old;
    }
    let old = old?;
    let is_key_changed = || table.key.iter().any(|index| new.is_some_and(|new| new.get(*index) != old.get(*index)));
    let is_carried = match table.identity {
        ReplicaIdentity::Full => true,
        ReplicaIdentity::Nothing => false,
        ReplicaIdentity::Default | ReplicaIdentity::Index => operation == Operation::Delete || is_key_changed(),
    };
    let part = if is_carried { "the key alone" } else { "nothing" };
    notes.push(format!("the replica identity is not full: of the old row the stream carries {part}"));
    let datum = |index| if table.key.contains(&index) { old.get(index).clone() } else { Datum::Absent };
    is_carried.then(|| Tuple::new((0..table.columns.len()).map(datum).collect::<Vec<_>>()))
}

/// An identifier that means itself.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_tell_what_happened_and_must_go_with_what_is_said() {
        use Operation::{Delete, Insert, Truncate, Update};
        let of = |row: bool, old: bool, operation| {
            let given = |is: bool| is.then(|| "{}".to_owned());
            operation_of(&Inquiry { row: given(row), old: given(old), operation, ..Inquiry::default() })
        };
        assert_eq!(of(false, false, None), Ok(None));
        assert_eq!(of(true, false, None), Ok(Some(Insert)));
        assert_eq!(of(true, true, None), Ok(Some(Update)));
        assert_eq!(of(false, true, None), Ok(Some(Delete)));
        assert_eq!(of(true, false, Some(Update)), Ok(Some(Update)));
        assert_eq!(of(false, false, Some(Insert)), Err("ROW_MISSING".to_owned()));
        for (row, old, operation) in
            [(true, true, Insert), (false, true, Update), (true, false, Delete), (true, true, Truncate)]
        {
            assert_eq!(of(row, old, Some(operation)), Err("OPERATION_MISMATCH".to_owned()));
        }
    }

    fn operation_of(inquiry: &Inquiry) -> Result<Option<Operation>, String> {
        operation(inquiry).map_err(|error| error.code().to_owned())
    }
}
