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
