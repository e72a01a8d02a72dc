//! What PostgreSQL is asked about a row image, where a policy was not compiled.

use super::tree;
use crate::model::TableName;

/// The columns of the table that the condition reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reads {
    /// All of them: it names the row as a whole.
    Row,
    /// These, by index.
    Columns(Box<[usize]>),
}

impl Reads {
    /// Whether it reads the column of this index.
    pub fn contain(&self, index: usize) -> bool {
        match self {
            Reads::Row => true,
            Reads::Columns(columns) => columns.contains(&index),
        }
    }
}

/// One condition, evaluated as one role with certain settings. Equal questions have equal answers for equal images, so
/// all principals with the same role and settings share one.
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
    /// What the text must mean; `None` for a condition that no policy has.
    pub binding: Option<Binding>,
}

/// A condition's text is parsed again, so what it calls then is compared with what is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The columns that must still have these names.
    pub columns: Box<[Box<str>]>,
    /// Whether what casts call is part of it.
    casts: bool,
    stored: Box<[(Box<str>, u32)]>,
}

impl Binding {
    /// Made from the stored trees, in the order of their texts in the condition.
    pub fn of<'t>(columns: Box<[Box<str>]>, trees: impl Iterator<Item = &'t str>) -> Self {
        let trees: Vec<&str> = trees.collect();
        let casts = trees.iter().any(|tree| tree::has_types(tree));
        let calls = trees.into_iter().flat_map(|tree| tree::calls(tree, casts));
        Binding { columns, casts, stored: calls.map(|(field, oid)| (field.into(), oid)).collect() }
    }

    /// Whether its text may mean something else: what it names is not all PostgreSQL's own.
    pub fn is_doubtful(&self) -> bool {
        self.casts || !self.stored.is_empty()
    }

    /// Whether a query over one row of the table calls what is stored: its tree begins with the type of the row.
    pub fn is_of(&self, tree: &str) -> bool {
        let found = tree::calls(tree, self.casts);
        let stored = self.stored.iter().map(|(field, oid)| (&**field, *oid));
        !found.is_empty() && found.into_iter().skip(1).eq(stored)
    }
}
