//! What a change means to somebody, said once more and independently of the engine, in the words of a frame.

use serde_json::{Map, Value, json};

use super::column::Column;
use super::table::Table;

/// What is known of an image from the point of view of one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Shown,
    Hidden,
    /// The stream does not carry what would decide it.
    Untold,
}

/// One row change, as triggers have seen it; indexes of images.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Insert(usize),
    /// And whether the key changed.
    Update(usize, usize, bool),
    /// Half of an UPDATE that changed the key: the row leaves its old one.
    Departure(usize),
    /// The other half: the row enters under its new one.
    Arrival(usize),
    Delete(usize),
    Truncate,
}

/// One version of a row.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) text: String,
    /// By column: JSON, and text.
    pub(super) values: Vec<(Value, Option<String>)>,
}

impl Change {
    /// Whether an UPDATE changed the key.
    pub(super) fn look_at_key(&mut self, table: &Table, images: &[Image]) {
        if let Change::Update(old, new, changed) = self {
            let value = |image: usize, column: &Column| &images[image].values[at(table, *column)].1;
            *changed = table.key.iter().any(|column| value(*old, column) != value(*new, column));
        }
    }

    /// What is delivered of it: a changed key is two events, if the stream carries the old one.
    pub(super) fn parts(self) -> Vec<Change> {
        match self {
            Change::Update(old, new, true) => vec![Change::Departure(old), Change::Arrival(new)],
            whole => vec![whole],
        }
    }

    /// The images before and after.
    pub(super) fn images(self) -> (Option<usize>, Option<usize>) {
        match self {
            Change::Insert(new) | Change::Arrival(new) => (None, Some(new)),
            Change::Update(old, new, _) => (Some(old), Some(new)),
            Change::Delete(old) | Change::Departure(old) => (Some(old), None),
            Change::Truncate => (None, None),
        }
    }

    pub(super) fn operation(self) -> &'static str {
        match self {
            Change::Insert(_) => "INSERT",
            Change::Update(..) | Change::Departure(_) | Change::Arrival(_) => "UPDATE",
            Change::Delete(_) => "DELETE",
            Change::Truncate => "TRUNCATE",
        }
    }
}

/// The transition, if anything is to be delivered.
pub(super) fn transition(change: Change, old: Truth, new: Truth) -> Option<&'static str> {
    match change {
        Change::Insert(_) | Change::Arrival(_) => (new == Truth::Shown).then_some("ENTER"),
        Change::Delete(_) | Change::Departure(_) => (old == Truth::Shown).then_some("LEAVE"),
        Change::Truncate => Some("LEAVE"),
        Change::Update(..) => match (old, new) {
            (Truth::Hidden, Truth::Shown) => Some("ENTER"),
            (Truth::Shown | Truth::Untold, Truth::Shown) => Some("STAY"),
            (Truth::Shown, _) => Some("LEAVE"),
            (Truth::Hidden | Truth::Untold, _) => None,
        },
    }
}

/// What the stream carries of an old image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    All,
    Key,
    Nothing,
}

impl Carried {
    pub(super) fn of(table: &Table, change: Change) -> Self {
        match change {
            _ if table.full => Carried::All,
            Change::Update(_, _, true) | Change::Departure(_) | Change::Delete(_) => Carried::Key,
            Change::Update(_, _, false) | Change::Arrival(_) | Change::Insert(_) | Change::Truncate => Carried::Nothing,
        }
    }
}

/// The frame. `seen` says that the reader could see the image before, and gets what changed. There is none for an UPDATE
/// that is known to have changed hidden columns alone.
pub(super) fn frame(
    table: &Table,
    readable: &[Column],
    images: &[Image],
    change: Change,
    transition: &str,
    seen: bool,
) -> Option<Value> {
    let (old, new) = change.images();
    let shown = if transition == "LEAVE" { old } else { new };
    let selected = |of: &[Column]| -> Value {
        let Some(image) = shown else { return Value::Null };
        let fields = of
            .iter()
            .filter(|column| readable.contains(column))
            .map(|column| (column.field.to_owned(), images[image].values[at(table, *column)].0.clone()));
        Value::Object(fields.collect::<Map<_, _>>())
    };
    let row = if transition == "LEAVE" { Value::Null } else { selected(&table.columns) };
    let mut frame = json!({ "operation": change.operation(), "transition": transition, "row": row, "changed": [] });
    if table.key.iter().any(|column| readable.contains(column)) {
        frame["key"] = selected(&table.key);
    }
    if let (Some(old), Some(new), "STAY", true) = (old, new, transition, seen) {
        let carried = Carried::of(table, change);
        let known = |column: &Column| match carried {
            Carried::All => true,
            Carried::Key => table.key.contains(column),
            Carried::Nothing => false,
        };
        let differs = |column: &&Column| {
            let at = at(table, **column);
            images[old].values[at].1 != images[new].values[at].1
        };
        let told: Vec<_> = table.columns.iter().filter(|column| readable.contains(column)).collect();
        let changed: Vec<_> = told.iter().copied().filter(|column| known(column)).filter(differs).collect();
        if changed.is_empty() && told.len() < table.columns.len() && told.iter().all(|column| known(column)) {
            return None;
        }
        frame["changed"] = changed.iter().map(|column| json!(column.field)).collect();
    }
    Some(frame)
}

fn at(table: &Table, column: Column) -> usize {
    table.columns.iter().position(|other| *other == column).unwrap_or_default()
}
