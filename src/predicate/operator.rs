//! The words of a `where` argument, and which of them a column type understands.

use std::cmp::Ordering;

use crate::model::{Column, PgType};

/// An operator by its GraphQL name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `eq`: equal. Takes a value of the column's type.
    Eq,
    /// `neq`: not equal. Takes a value of the column's type.
    Neq,
    /// `gt`: greater. Takes a value of the column's type.
    Gt,
    /// `gte`: greater or equal. Takes a value of the column's type.
    Gte,
    /// `lt`: less. Takes a value of the column's type.
    Lt,
    /// `lte`: less or equal. Takes a value of the column's type.
    Lte,
    /// `in`: equal to a member. Takes a list of values of the column's type.
    In,
    /// `nin`: equal to no member. Takes a list of values of the column's type.
    Nin,
    /// `isNull`: takes a Boolean.
    IsNull,
    /// `like`: takes a pattern, a String.
    Like,
    /// `ilike`: takes a pattern, a String.
    Ilike,
    /// `contains`: takes a String (text), a list of elements (arrays) or JSON (jsonb).
    Contains,
}

impl Operator {
    /// Every operator, in the order in which schemas list them.
    pub const ALL: [Operator; 12] = [
        Operator::Eq,
        Operator::Neq,
        Operator::Gt,
        Operator::Gte,
        Operator::Lt,
        Operator::Lte,
        Operator::In,
        Operator::Nin,
        Operator::IsNull,
        Operator::Like,
        Operator::Ilike,
        Operator::Contains,
    ];

    /// The GraphQL input field.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Eq => "eq",
            Operator::Neq => "neq",
            Operator::Gt => "gt",
            Operator::Gte => "gte",
            Operator::Lt => "lt",
            Operator::Lte => "lte",
            Operator::In => "in",
            Operator::Nin => "nin",
            Operator::IsNull => "isNull",
            Operator::Like => "like",
            Operator::Ilike => "ilike",
            Operator::Contains => "contains",
        }
    }
}

const NULLNESS: &[Operator] = &[Operator::IsNull];
const CONTAINMENT: &[Operator] = &[Operator::IsNull, Operator::Contains];
const EQUALITY: &[Operator] = &[Operator::Eq, Operator::Neq, Operator::In, Operator::Nin, Operator::IsNull];
const ORDER: &[Operator] = &[
    Operator::Eq,
    Operator::Neq,
    Operator::Gt,
    Operator::Gte,
    Operator::Lt,
    Operator::Lte,
    Operator::In,
    Operator::Nin,
    Operator::IsNull,
];

/// The operators that a column of this type offers, in schema order.
///
/// A type whose equality is more than equality of its text (`inet`, `interval`, composites, …) and is not modelled here
/// offers `isNull` alone: a wrong answer would be worse than none.
pub fn operators(pg_type: &PgType) -> &'static [Operator] {
    match pg_type {
        PgType::Text | PgType::Bpchar => &Operator::ALL,
        PgType::Bool => EQUALITY,
        PgType::Int2
        | PgType::Int4
        | PgType::Int8
        | PgType::Numeric
        | PgType::Float4
        | PgType::Float8
        | PgType::Uuid
        | PgType::Date
        | PgType::Time
        | PgType::Timestamp
        | PgType::TimestampTz
        | PgType::Bytea
        | PgType::Enum(_) => ORDER,
        PgType::Json => CONTAINMENT,
        PgType::Array(array) if operators(&array.element).contains(&Operator::Eq) => CONTAINMENT,
        PgType::Array(_) | PgType::Composite(_) | PgType::Other => NULLNESS,
    }
}

/// The operators that this column offers: those of its type, unless its values compare in a way that is not known here.
pub fn offered(column: &Column) -> &'static [Operator] {
    if column.incomparable().is_some() { NULLNESS } else { operators(&column.pg_type) }
}

/// A comparison of two values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    Neq,
    /// `<`
    Lt,
    /// `<=`
    Lte,
    /// `>`
    Gt,
    /// `>=`
    Gte,
}

impl Comparison {
    /// Whether it holds when the row's value stands so to the operand.
    pub fn admits(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Eq => ordering.is_eq(),
            Comparison::Neq => ordering.is_ne(),
            Comparison::Lt => ordering.is_lt(),
            Comparison::Lte => ordering.is_le(),
            Comparison::Gt => ordering.is_gt(),
            Comparison::Gte => ordering.is_ge(),
        }
    }

    /// The one that holds exactly when this one does not: all orders here are total.
    #[must_use]
    pub fn negated(self) -> Comparison {
        match self {
            Comparison::Eq => Comparison::Neq,
            Comparison::Neq => Comparison::Eq,
            Comparison::Lt => Comparison::Gte,
            Comparison::Gte => Comparison::Lt,
            Comparison::Gt => Comparison::Lte,
            Comparison::Lte => Comparison::Gt,
        }
    }
}
