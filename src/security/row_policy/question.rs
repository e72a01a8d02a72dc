//! What PostgreSQL is asked about a row image, where a policy was not compiled.

use crate::model::TableName;

/// The columns of the table that the condition reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reads {
    /// All of them: it names the row as a whole.
    Row,
    /// These, by index.
    Columns(Box<[usize]>),
}

/// One condition, as one role with certain settings. Equal questions have equal answers for equal images, so everybody
/// with the same role and settings shares one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The table whose policies these are.
    pub table: TableName,
    /// The role to ask as.
    pub role: Box<str>,
    /// Settings to set before asking, by name. Values may be secrets: never print them.
    pub settings: Box<[(Box<str>, Box<str>)]>,
    /// An SQL condition over the table's columns: the policies that apply, put together as PostgreSQL does it.
    pub condition: Box<str>,
    /// What an image must carry for the answer to be certain.
    pub reads: Reads,
}

impl Question {
    /// The statement that PostgreSQL is given, with the images as one array of JSON objects in `$1`: one row for each, in
    /// their order, and in it whether the image may be seen. The images bear the table's name, by which policies that
    /// name columns in full, or the whole row, find them.
    pub fn sql(&self) -> String {
        let (schema, name) = (quoted(&self.table.schema), quoted(&self.table.name));
        format!(
            "select ({}) is true from pg_catalog.jsonb_populate_recordset(null::{schema}.{name}, $1) as {name}",
            self.condition
        )
    }
}

/// An identifier that means itself.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
