//! What one commit changed, in one payload: shared changes between a head and a tail of its own.
//!
//! ```text
//! {"data":{"orders":{"begin":true,"changes":[…,…],"end":true}},"errors":[…],"extensions":{"rowcast":{…}}}
//! ```

use bytes::Bytes;

use super::body::{Body, FieldError, Meta, PathSegment, close, open_data};
use super::json;
use crate::graphql::Plan;
use crate::graphql::plan::{TransactionSelection, TransactionValue};
use crate::model::Timestamp;

/// The operation of `extensions.rowcast`.
const OPERATION: &str = "TRANSACTION";

/// Which part of a transaction a payload is, and where it can be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Whether it is the first.
    pub begin: bool,
    /// Whether it is the last.
    pub end: bool,
    /// The position of its last change.
    pub cursor: &'a str,
    /// The commit's time.
    pub committed_at: Timestamp,
}

/// Changes of one transaction, in commit order, as one payload.
#[derive(Debug, PartialEq, Eq)]
pub struct Transaction {
    head: Vec<u8>,
    /// Empty if the selection does not include them.
    changes: Vec<Bytes>,
    tail: Vec<u8>,
    len: usize,
}

impl Transaction {
    /// `plan` is one for transactions, and `changes` were encoded by it.
    pub fn new(plan: &Plan, selection: &TransactionSelection, changes: &[Body], part: &Part<'_>) -> Self {
        let mut pen = Pen { selection, part, head: Vec::with_capacity(128), tail: Vec::with_capacity(256), told: None };
        open_data(plan, &mut pen.head);
        pen.object();
        let errors = pen.told.map_or_else(Vec::new, |key| errors(changes, key));
        let changes = pen.told.map_or_else(Vec::new, |_| changes.iter().map(|change| change.json.clone()).collect());
        let Pen { head, mut tail, .. } = pen;
        tail.push(b'}');
        let meta = Meta { cursor: part.cursor, operation: OPERATION, committed_at: part.committed_at };
        close(&errors, &meta, &mut tail);
        let commas = changes.len().saturating_sub(1);
        let len = head.len() + changes.iter().map(Bytes::len).sum::<usize>() + commas + tail.len();
        Transaction { head, changes, tail, len }
    }

    /// Its bytes.
    #[allow(clippy::len_without_is_empty)] // none is empty
    pub fn len(&self) -> usize {
        self.len
    }

    /// Appends its text.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        for (index, change) in self.changes.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(change);
        }
        out.extend_from_slice(&self.tail);
    }
}

/// Writes what stands around the changes.
struct Pen<'a> {
    selection: &'a TransactionSelection,
    part: &'a Part<'a>,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// The key of the changes, once they have been reached.
    told: Option<&'a str>,
}

impl Pen<'_> {
    fn object(&mut self) {
        let mut separator = b'{';
        for field in &self.selection.fields {
            let out = if self.told.is_none() { &mut self.head } else { &mut self.tail };
            out.push(std::mem::replace(&mut separator, b','));
            out.extend_from_slice(&field.key);
            match &field.value {
                TransactionValue::Typename(name) => out.extend_from_slice(name),
                TransactionValue::Begin => write_bool(self.part.begin, out),
                TransactionValue::End => write_bool(self.part.end, out),
                TransactionValue::Cursor => json::write_string(self.part.cursor, out),
                TransactionValue::CommittedAt => json::write_moment(self.part.committed_at, out),
                TransactionValue::Changes => {
                    out.push(b'[');
                    self.tail.push(b']');
                    self.told = Some(&field.name);
                }
            }
        }
        let out = if self.told.is_none() { &mut self.head } else { &mut self.tail };
        out.extend_from_slice(if separator == b'{' { b"{}" } else { b"}" });
    }
}

fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Errors of the changes, each with its place in the list.
fn errors(changes: &[Body], key: &str) -> Vec<FieldError> {
    let each = changes.iter().enumerate().flat_map(|(index, change)| {
        let errors = change.errors.iter().flat_map(|errors| errors.iter());
        errors.map(move |error| (index, error))
    });
    let placed = each.map(|(index, error)| {
        let mut error = error.clone();
        let root = error.path.len().min(1);
        error.path.splice(root..root, [PathSegment::Key(key.into()), PathSegment::Index(index)]);
        error
    });
    placed.collect()
}
