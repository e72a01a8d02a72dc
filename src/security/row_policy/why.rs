//! Why a part of a policy is not compiled.

/// A reason, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It cannot be read as an expression, or is nested too deeply.
    #[error("it is not an expression that is read here")]
    Syntax,
    /// It has an operator or a cast that is not PostgreSQL's own, and its text may not show which.
    #[error("an operator or a cast of the user's own")]
    Hidden,
    /// It reads other tables.
    #[error("it contains a query")]
    Subquery,
    /// It calls a function whose answer only PostgreSQL knows.
    #[error("function {0}")]
    Function(Box<str>),
    /// An operator that is not known, or not for these operands.
    #[error("operator {0} on these operands")]
    Operator(Box<str>),
    /// Text that compares in a language's way.
    #[error("the collation of column {0}")]
    Collation(Box<str>),
    /// A type whose values are not compared here.
    #[error("the type of column {0}")]
    ColumnType(Box<str>),
    /// Values of two types meet.
    #[error("a comparison of {left} with {right}")]
    CrossType {
        /// The column's type.
        left: Box<str>,
        /// The type of the other side.
        right: Box<str>,
    },
    /// A cast that may change or refuse a value.
    #[error("a cast from {from} to {to}")]
    Cast {
        /// From this type.
        from: Box<str>,
        /// To this one.
        to: Box<str>,
    },
    /// It names the row as a whole.
    #[error("it names the whole row")]
    WholeRow,
    /// A column that the table does not have, or that is not sent.
    #[error("column {0} is not known")]
    Column(Box<str>),
    /// A setting of PostgreSQL's own.
    #[error("setting {0} is not a custom one")]
    Setting(Box<str>),
    /// A value that PostgreSQL may read in a way that depends on its version or on settings.
    #[error("a value that is not plainly written {0}")]
    Spelling(Box<str>),
    /// Something else.
    #[error("{0}")]
    Form(&'static str),
}

/// A part that PostgreSQL is asked about, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Why.
    pub why: Why,
    /// The part, as SQL. It is the policy's own text: no setting's value is in it.
    pub text: Box<str>,
}
