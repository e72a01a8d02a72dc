//! A watched table as the catalog describes it. Every later stage speaks of columns by their index here.

use std::fmt;

use super::{Access, PgType, Tuple};

/// Schema and name as the catalog has them: unquoted, case kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// `pg_class.relreplident`: what an UPDATE or DELETE contains of the old row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// `d`: the primary key.
    Default,
    /// `n`: nothing; the server refuses UPDATE and DELETE of a published table.
    Nothing,
    /// `f`: the whole row.
    Full,
    /// `i`: the columns of one unique index.
    Index,
}

/// How text of a column compares. Of other types it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Collation {
    /// By code point; equal when the bytes are, and letters of ASCII fold among themselves.
    C,
    /// Equal when the bytes are; letters of ASCII fold among themselves; the order is a language's.
    Plain,
    /// Equal when the bytes are; how letters fold is not known (Turkish folds `I` to a dotless `ı`).
    Deterministic,
    /// A nondeterministic collation: texts of different bytes may be equal.
    Nondeterministic,
    /// Not known: a type such as `citext` compares in its own way.
    #[default]
    Other,
}

/// How `ILIKE` folds the letters of a column: as `lower()` does under its collation. Of other types it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folding {
    /// Letters of ASCII alone: the character type is `C` or `POSIX`, as that of `name` is.
    #[default]
    Ascii,
    /// Character by character, like libc and the builtin `C.UTF-8`.
    Simple,
    /// The whole text at once, where one letter may become two, and a sigma depends on where it stands: ICU, and the
    /// builtin `PG_UNICODE_FAST`.
    Full,
    /// By the rules of a language that are not known here (Turkish, Azeri, Lithuanian).
    Language,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// As in the catalog.
    pub name: String,
    /// The GraphQL name, unique within the table and valid as the specification, section 2.1.9 "Names" wants it.
    pub field: String,
    /// `pg_attribute.atttypid`, for comparison with what the stream announces.
    pub type_oid: u32,
    /// What its text means.
    pub pg_type: PgType,
    /// Declared NOT NULL (or part of the primary key).
    pub not_null: bool,
    /// How its text compares.
    pub collation: Collation,
    /// How its letters fold.
    pub folding: Folding,
}

impl Collation {
    /// Whether two texts are equal exactly when their bytes are.
    pub fn is_bytewise(self) -> bool {
        match self {
            Collation::C | Collation::Plain | Collation::Deterministic => true,
            Collation::Nondeterministic | Collation::Other => false,
        }
    }
}

impl Column {
    /// Why PostgreSQL alone can say whether two of its values are equal, though those of its type are compared here.
    pub fn incomparable(&self) -> Option<&'static str> {
        match self.collation {
            _ if !self.pg_type.is_text() => None,
            Collation::C | Collation::Plain | Collation::Deterministic => None,
            Collation::Nondeterministic => Some("its collation is not deterministic"),
            Collation::Other => Some("its type compares text in its own way, as citext does"),
        }
    }
}

/// A table that `rowcast.watch` names. Frozen: a change of its shape makes a new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema and name.
    pub name: TableName,
    /// The GraphQL type's name for its rows, such as `Orders`; unique among the tables that are served.
    pub type_name: String,
    /// The default name of its GraphQL subscription field, such as `orders`.
    pub field: String,
    /// Live columns in `attnum` order.
    pub columns: Box<[Column]>,
    /// The primary key's columns as indexes into `columns`, in key order; empty without one.
    pub key: Box<[usize]>,
    /// The column that the tenant rule reads, as an index into `columns`.
    pub tenant: Option<usize>,
    /// Declared readable by every principal: without this, a table without a tenant column has no subscribers.
    pub public: bool,
    /// Its access rules.
    pub access: Access,
    /// What old images carry.
    pub identity: ReplicaIdentity,
    /// `comment on table`, for the schema's description.
    pub comment: Option<String>,
}

impl Table {
    /// The index of the column that the catalog calls `name`.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Whether two images of one row are known to have different primary keys, as clients compare them: by their text.
    pub fn key_differs(&self, old: &Tuple, new: &Tuple) -> bool {
        self.key
            .iter()
            .map(|index| (old.get(*index), new.get(*index)))
            .any(|(old, new)| old.is_known() && new.is_known() && old != new)
    }

    /// The index of the column whose GraphQL name is `field`.
    pub fn column_of_field(&self, field: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.field == field)
    }
}
