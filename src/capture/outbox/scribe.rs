//! Rows of one window of the outbox to messages: assigns each row to its transaction and its table's shape. Pure.

use std::collections::HashMap;

use bytes::Bytes;

use super::message::{self, Shape};
use crate::model::Lsn;

/// A row of the outbox.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    /// Which transaction of the window, from 0.
    pub(super) nth: i64,
    pub(super) xid: i64,
    pub(super) id: i64,
    /// Its position among its transaction's changes; several changes of one statement by their ids.
    pub(super) place: i64,
    pub(super) relation: Option<u32>,
    pub(super) kind: u8,
    /// Once for each statement.
    pub(super) shape: Option<Vec<String>>,
    pub(super) old: Option<&'a str>,
    pub(super) new: Option<&'a str>,
}

/// A window whose rows follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) first: Lsn,
    pub(super) last: Lsn,
    /// The last position of the window before it.
    pub(super) previous: Lsn,
    /// In microseconds since 2000.
    pub(super) closed_at: i64,
}

/// No trigger of ours has written this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {id}: {reason}")]
pub(super) struct Malformed {
    id: i64,
    reason: String,
}

/// The open transaction.
struct Open {
    nth: i64,
    last: (i64, i64),
    shapes: HashMap<u32, Shape>,
}

/// Writes the messages of one window.
pub(super) struct Scribe {
    window: Window,
    open: Option<Open>,
}

impl Scribe {
    pub(super) fn new(window: Window) -> Self {
        Self { window, open: None }
    }

    /// Appends the messages that a row comes to, each with its position.
    pub(super) fn write(&mut self, change: Change<'_>, out: &mut Vec<(Lsn, Bytes)>) -> Result<(), Malformed> {
        let id = change.id;
        let refuse = |reason: &str| Malformed { id, reason: reason.to_owned() };
        self.enter(&change, out)?;
        let position = self.position(change.nth);
        let Some(open) = &mut self.open else { return Err(refuse("it is in no transaction")) };
        open.last = (change.place, id);
        if change.kind == b'M' {
            let prefix = change.shape.as_ref().and_then(|shape| shape.first()).ok_or_else(|| refuse("no prefix"))?;
            out.push((position, message::logical(prefix, change.new.unwrap_or_default())));
            return Ok(());
        }
        let relation = change.relation.ok_or_else(|| refuse("no relation"))?;
        if let Some(words) = change.shape {
            let shape = Shape::parse(words).ok_or_else(|| refuse("its shape is not schema, name, columns"))?;
            out.push((position, message::relation(relation, &shape)));
            open.shapes.insert(relation, shape);
        }
        let shape = open.shapes.get(&relation).ok_or_else(|| refuse("its table was not described"))?;
        let body = match (change.kind, change.old, change.new) {
            (b'T', None, None) => Ok(message::truncate(relation)),
            (b'I', None, Some(_)) | (b'U', Some(_), Some(_)) | (b'D', Some(_), None) => {
                message::row(change.kind, relation, shape, change.old, change.new)
            }
            _ => return Err(refuse("its kind has other images")),
        };
        out.push((position, body.map_err(|error| refuse(&error.to_string()))?));
        Ok(())
    }

    /// Ends the last transaction.
    pub(super) fn finish(&mut self, out: &mut Vec<(Lsn, Bytes)>) {
        if let Some(open) = self.open.take() {
            let position = self.position(open.nth);
            out.push((position, message::commit(position, behind(position), self.window.closed_at)));
        }
    }

    /// Begins a transaction, unless the row is of the open one. The order of rows is what everything rests on, so it is not
    /// left to the planner alone.
    fn enter(&mut self, change: &Change<'_>, out: &mut Vec<(Lsn, Bytes)>) -> Result<(), Malformed> {
        let (id, nth, at) = (change.id, change.nth, (change.place, change.id));
        match &self.open {
            Some(open) if open.nth == nth && open.last < at => return Ok(()),
            Some(open) if open.nth >= nth => {
                return Err(Malformed { id, reason: "it came out of order".to_owned() });
            }
            _ => {}
        }
        self.finish(out);
        let position = self.position(nth);
        out.push((position, message::begin(position, self.window.closed_at, change.xid.cast_unsigned() as u32)));
        self.open = Some(Open { nth, last: at, shapes: HashMap::new() });
        Ok(())
    }

    fn position(&self, nth: i64) -> Lsn {
        Lsn(self.window.first.0.saturating_add_signed(nth))
    }
}

/// What is before this position contains the transaction at `position`.
pub(super) fn behind(position: Lsn) -> Lsn {
    Lsn(position.0.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::{Change, Scribe, Window};
    use crate::model::Lsn;

    fn scribe() -> Scribe {
        Scribe::new(Window { first: Lsn(100), last: Lsn(101), previous: Lsn(90), closed_at: 0 })
    }

    fn change(nth: i64, id: i64) -> Change<'static> {
        let shape = Some(["public", "t", "23 id"].map(str::to_owned).into());
        Change { nth, xid: 7 + nth, id, place: id, relation: Some(5), kind: b'I', shape, old: None, new: Some("(1)") }
    }

    fn tags(scribe: &mut Scribe, changes: impl IntoIterator<Item = Change<'static>>) -> Result<String, String> {
        let mut out = Vec::new();
        for change in changes {
            scribe.write(change, &mut out).map_err(|error| error.to_string())?;
        }
        scribe.finish(&mut out);
        let told: Vec<String> =
            out.iter().map(|(position, body)| format!("{}{}", char::from(body[0]), position.0)).collect();
        Ok(told.join(" "))
    }

    #[test]
    fn each_transaction_stands_between_its_begin_and_its_commit() {
        let undescribed = Change { shape: None, ..change(0, 2) };
        let told = tags(&mut scribe(), [change(0, 1), undescribed, change(1, 9)]);
        assert_eq!(told.unwrap(), "B100 R100 I100 I100 C100 B101 R101 I101 C101");
    }

    #[test]
    fn a_statement_whose_place_was_noted_stands_before_what_was_appended_before_it() {
        let noted = [Change { place: 1, ..change(0, 3) }, Change { place: 1, ..change(0, 4) }, change(0, 2)];
        assert_eq!(tags(&mut scribe(), noted).unwrap(), "B100 R100 I100 R100 I100 R100 I100 C100");
    }

    #[test]
    fn what_no_trigger_has_written_is_refused_with_its_number() {
        let order = [change(0, 2), change(0, 1)];
        let places = [Change { place: 1, ..change(0, 5) }, Change { place: 1, ..change(0, 4) }];
        let back = [change(1, 1), change(0, 2)];
        let undescribed = [Change { shape: None, ..change(0, 1) }];
        // A description is good for its transaction alone.
        let stale = [change(0, 1), Change { shape: None, ..change(1, 2) }];
        let images = [Change { old: Some("(1)"), ..change(0, 1) }];
        for wrong in
            [order.to_vec(), places.to_vec(), back.to_vec(), undescribed.to_vec(), stale.to_vec(), images.to_vec()]
        {
            let error = tags(&mut scribe(), wrong).unwrap_err();
            assert!(error.starts_with("row "), "{error}");
        }
    }
}
