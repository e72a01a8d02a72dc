//! The engine's own envelopes, written in one pass.
//!
//! A non-null column without a value makes the row null, as the specification wants it (section 6.4.4 "Handling
//! Execution Errors"): what was written of the row is cut off again, with the errors below it.

use bytes::Bytes;

use super::body::{Body, FieldError, Meta, PathSegment, close, open_data};
use super::json;
use crate::graphql::Plan;
use crate::graphql::plan::{
    ColumnValue, EventSelection, EventValue, PlanRoot, PlannedTable, RowSelection, TopicSelection, TopicValue,
};
use crate::model::{Change, Datum, Message, PgType, RowChange, Tuple};
use crate::security::{Image, Visible};

/// Writes a column's text as JSON. A function pointer, so that this stage need not know the decoder.
pub type WriteValue = fn(&PgType, &[u8], &mut Vec<u8>) -> ValueForm;

/// The result of writing a value. Unless it is `Value`, the encoder removes what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueForm {
    /// It is written.
    Value,
    /// JSON has no form for it: NaN and the infinities of floating point.
    None,
    /// The text is not what its type promises.
    Malformed,
}

/// The buffers of one encoding thread.
#[derive(Debug, Default)]
pub struct Scratch {
    body: Vec<u8>,
}

/// Encodes events.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    write_value: WriteValue,
}

impl Encoder {
    /// An encoder of column values by `write_value`.
    pub fn new(write_value: WriteValue) -> Self {
        Encoder { write_value }
    }

    /// The body of a `next`, or of one change of a transaction. `None` for a plan that wants a resolver's result: see
    /// [`resolved_body`](super::resolved_body).
    pub fn event_body(&self, plan: &Plan, visible: &Visible<'_>, cursor: &str, scratch: &mut Scratch) -> Option<Body> {
        let body = &mut scratch.body;
        body.clear();
        let meta = Meta::of(visible.event(), cursor);
        let mut pass = Pass { write_value: self.write_value, plan, visible, meta, body, errors: Vec::new() };
        if plan.transaction.is_some() {
            pass.change()?;
            return Some(Body::change(Bytes::copy_from_slice(pass.body), pass.errors));
        }
        pass.write()?;
        close(&pass.errors, &meta, pass.body);
        Some(Body::whole(Bytes::copy_from_slice(pass.body)))
    }
}

/// Why a value is missing, with the code and the sentence that the client reads.
#[derive(Clone, Copy)]
enum Missing {
    Absent,
    Unchanged,
    NoForm,
    Malformed,
    Null,
    Reshaped,
    Forbidden,
}

impl Missing {
    fn code(self) -> &'static str {
        match self {
            Missing::Absent | Missing::Unchanged | Missing::Reshaped => "COLUMN_UNAVAILABLE",
            Missing::NoForm => "VALUE_WITHOUT_JSON_FORM",
            Missing::Malformed => "VALUE_MALFORMED",
            Missing::Null => "NULL_IN_NON_NULL",
            Missing::Forbidden => "COLUMN_FORBIDDEN",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Missing::Absent => {
                "The change does not carry this column; `replica identity full` on the table makes it carry all."
            }
            Missing::Unchanged => {
                "The update left this large value alone, so PostgreSQL did not send it; `replica identity full` on the \
                 table makes it do so."
            }
            Missing::NoForm => "JSON has no number for this value.",
            Missing::Malformed => "The value is not in the form of its type.",
            Missing::Null => "Cannot return null for a non-nullable field.",
            Missing::Reshaped => "The table's columns changed after this subscription began; subscribe again.",
            Missing::Forbidden => "This column may not be read.",
        }
    }
}

struct Pass<'a> {
    write_value: WriteValue,
    plan: &'a Plan,
    visible: &'a Visible<'a>,
    meta: Meta<'a>,
    body: &'a mut Vec<u8>,
    /// Rare, so they are values until the end.
    errors: Vec<FieldError>,
}

impl Pass<'_> {
    fn write(&mut self) -> Option<()> {
        let plan = self.plan;
        open_data(plan, self.body);
        match &plan.root {
            PlanRoot::Event(event) => self.event(event),
            PlanRoot::Topic(topic) => return self.topic(topic),
            PlanRoot::Value(_) => return None,
        }
        self.body.push(b'}');
        Some(())
    }

    /// Only a table's changes come in transactions.
    fn change(&mut self) -> Option<()> {
        let plan = self.plan;
        let PlanRoot::Event(event) = &plan.root else { return None };
        self.event(event);
        Some(())
    }

    fn event(&mut self, event: &EventSelection) {
        let mut separator = b'{';
        for field in &event.fields {
            self.key(&mut separator, &field.key);
            match &field.value {
                EventValue::Typename(name) => self.body.extend_from_slice(name),
                EventValue::Operation => self.word(self.meta.operation),
                EventValue::Transition => self.word(self.visible.transition().name()),
                EventValue::Row(selection) => match self.visible.image() {
                    Image::Row(change, tuple) => self.row(&event.table, change, tuple, selection, &field.name),
                    Image::Key(..) | Image::None => self.null(),
                },
                EventValue::Key(selection) => match self.visible.image() {
                    Image::Row(change, tuple) | Image::Key(change, tuple) => {
                        self.row(&event.table, change, tuple, selection, &field.name);
                    }
                    Image::None => self.null(),
                },
                EventValue::Changed => self.changed(),
                EventValue::Cursor => json::write_string(self.meta.cursor, self.body),
                EventValue::CommittedAt => json::write_moment(self.meta.committed_at, self.body),
            }
        }
        self.end_object(separator);
    }

    fn row(&mut self, table: &PlannedTable, change: &RowChange, tuple: &Tuple, selection: &RowSelection, at: &str) {
        let (start, errors_start) = (self.body.len(), self.errors.len());
        // If the table's shape is not the plan's, no column is named: the plan's indexes could mean other columns.
        let tuple = table.fits(&change.table).then_some(tuple);
        let mut separator = b'{';
        for field in &selection.fields {
            self.key(&mut separator, &field.key);
            let (index, non_null) = match &field.value {
                ColumnValue::Column { index, non_null } => (*index, *non_null),
                ColumnValue::Typename(name) => {
                    self.body.extend_from_slice(name);
                    continue;
                }
            };
            let Err(missing) = self.column(change, tuple, index, non_null) else { continue };
            if non_null {
                self.body.truncate(start);
                self.errors.truncate(errors_start);
            }
            self.null();
            self.error(missing, &[at, &field.name]);
            if non_null {
                return;
            }
        }
        self.end_object(separator);
    }

    fn column(
        &mut self,
        change: &RowChange,
        tuple: Option<&Tuple>,
        index: usize,
        non_null: bool,
    ) -> Result<(), Missing> {
        let (Some(tuple), Some(column)) = (tuple, change.table.columns.get(index)) else {
            return Err(Missing::Reshaped);
        };
        if !self.visible.columns().contains(index) {
            return Err(Missing::Forbidden);
        }
        match tuple.get(index) {
            Datum::Text(text) => self.value(&column.pg_type, text),
            Datum::Null if non_null => Err(Missing::Null),
            Datum::Null => {
                self.null();
                Ok(())
            }
            Datum::Absent => Err(Missing::Absent),
            Datum::Unchanged => Err(Missing::Unchanged),
        }
    }

    fn value(&mut self, pg_type: &PgType, text: &[u8]) -> Result<(), Missing> {
        let start = self.body.len();
        let missing = match (self.write_value)(pg_type, text, self.body) {
            ValueForm::Value => return Ok(()),
            ValueForm::None => Missing::NoForm,
            ValueForm::Malformed => Missing::Malformed,
        };
        self.body.truncate(start);
        Err(missing)
    }

    /// Names of the columns that an update changed. None for a row that left the view: they would describe
    /// the image that the subscriber may not see.
    fn changed(&mut self) {
        self.body.push(b'[');
        if let Image::Row(change, _) = self.visible.image() {
            for (at, index) in self.visible.changed_columns().enumerate() {
                if at > 0 {
                    self.body.push(b',');
                }
                self.word(&change.table.columns[index].field);
            }
        }
        self.body.push(b']');
    }

    fn topic(&mut self, topic: &TopicSelection) -> Option<()> {
        let Change::Message(message) = &self.visible.event().change else { return None };
        let mut separator = b'{';
        for field in &topic.fields {
            self.key(&mut separator, &field.key);
            match &field.value {
                TopicValue::Typename(name) => self.body.extend_from_slice(name),
                TopicValue::Operation => self.word(self.meta.operation),
                TopicValue::Topic => json::write_string(&message.topic, self.body),
                TopicValue::Payload if is_null(message) => {
                    // Nothing above the payload may be null, so all of the data is.
                    self.body.clear();
                    self.body.extend_from_slice(br#"{"data":null"#);
                    self.error(Missing::Null, &[&field.name]);
                    return Some(());
                }
                TopicValue::Payload => self.body.extend_from_slice(&message.payload),
                TopicValue::Cursor => json::write_string(self.meta.cursor, self.body),
                TopicValue::CommittedAt => json::write_moment(self.meta.committed_at, self.body),
            }
        }
        self.end_object(separator);
        self.body.push(b'}');
        Some(())
    }

    fn key(&mut self, separator: &mut u8, key: &[u8]) {
        self.body.push(*separator);
        *separator = b',';
        self.body.extend_from_slice(key);
    }

    /// `@skip` and `@include` may leave nothing selected.
    fn end_object(&mut self, separator: u8) {
        if separator == b'{' {
            self.body.push(b'{');
        }
        self.body.push(b'}');
    }

    fn null(&mut self) {
        self.body.extend_from_slice(b"null");
    }

    /// A name that needs no escape.
    fn word(&mut self, word: &str) {
        self.body.push(b'"');
        self.body.extend_from_slice(word.as_bytes());
        self.body.push(b'"');
    }

    fn error(&mut self, missing: Missing, below: &[&str]) {
        let names = std::iter::once(&*self.plan.response_key).chain(below.iter().copied());
        let path = names.map(|name| PathSegment::Key(name.into())).collect();
        let (message, code) = (missing.sentence().to_owned(), missing.code().to_owned());
        self.errors.push(FieldError { message, path, code });
    }
}

fn is_null(message: &Message) -> bool {
    message.payload.trim_ascii() == b"null"
}
