//! The types whose values are compared here, by the names that `pg_get_expr` prints.

use std::fmt;

use crate::model::{Column, PgType};

const CHAR: u32 = 18;
const NAME: u32 = 19;
const CHARS: u32 = 1002;
const NAMES: u32 = 1003;
const BPCHARS: u32 = 1014;
const TEXT: u32 = 25;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const JSONB: u32 = 3802;

/// A type. `varchar` without a length is `Text`: its values and its operators are text's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Numeric,
    Double,
    Text,
    Name,
    Bpchar,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
    Json,
    Jsonb,
    /// A type that the database defines; the column that it is compared with determines which one.
    Named(Box<str>),
    Array(Box<Type>),
}

impl Type {
    /// As printed after `::`. A length or precision changes values, so such a type is not one of these.
    pub(super) fn named(printed: &str) -> Option<Type> {
        let lower = printed.to_ascii_lowercase();
        if let Some(element) = lower.strip_suffix("[]") {
            return Type::named(&printed[..element.len()]).map(|element| Type::Array(Box::new(element)));
        }
        Some(match lower.as_str() {
            "boolean" => Type::Bool,
            "smallint" => Type::Int2,
            "integer" => Type::Int4,
            "bigint" => Type::Int8,
            "numeric" => Type::Numeric,
            "double precision" => Type::Double,
            "text" | "character varying" => Type::Text,
            "name" => Type::Name,
            "bpchar" => Type::Bpchar,
            "uuid" => Type::Uuid,
            "date" => Type::Date,
            "timestamp without time zone" => Type::Timestamp,
            "timestamp with time zone" => Type::TimestampTz,
            "json" => Type::Json,
            "jsonb" => Type::Jsonb,
            // Not of pg_catalog, hence qualified.
            _ if printed.contains('.') && !printed.contains('(') => Type::Named(printed.into()),
            _ => return None,
        })
    }

    /// The type of a column's values.
    pub(super) fn of(column: &Column) -> Option<Type> {
        match (&column.pg_type, column.type_oid) {
            (PgType::Text, TEXT | VARCHAR) => Some(Type::Text),
            (PgType::Bpchar, BPCHAR) => Some(Type::Bpchar),
            (PgType::Text, NAME) => Some(Type::Name),
            // These, and elements of these, pad, cut or fold.
            (PgType::Text, CHAR) | (PgType::Array(_), CHARS | NAMES | BPCHARS) => None,
            // A domain: the catalog vouches for its text when it knows how that compares.
            (PgType::Text, _) => column.collation.is_bytewise().then_some(Type::Text),
            (PgType::Json, JSONB) => Some(Type::Jsonb),
            (PgType::Enum(of), _) => Some(Type::Named(of.name.as_str().into())),
            (PgType::Array(array), _) => Type::of_element(&array.element).map(|of| Type::Array(Box::new(of))),
            (plain, _) => Type::plain(plain),
        }
    }

    fn of_element(element: &PgType) -> Option<Type> {
        if *element == PgType::Text { Some(Type::Text) } else { Type::plain(element) }
    }

    fn plain(pg_type: &PgType) -> Option<Type> {
        Some(match pg_type {
            PgType::Bool => Type::Bool,
            PgType::Int2 => Type::Int2,
            PgType::Int4 => Type::Int4,
            PgType::Int8 => Type::Int8,
            PgType::Numeric => Type::Numeric,
            PgType::Float8 => Type::Double,
            PgType::Uuid => Type::Uuid,
            PgType::Date => Type::Date,
            PgType::Timestamp => Type::Timestamp,
            PgType::TimestampTz => Type::TimestampTz,
            _ => return None,
        })
    }

    /// Whether a value of `self` has the same meaning as a value of `to`: widening, and text among its kin.
    pub(super) fn is_read_as(&self, to: &Type) -> bool {
        match (self, to) {
            (Type::Int2, Type::Int4 | Type::Int8)
            | (Type::Int4, Type::Int8)
            | (Type::Bpchar | Type::Name, Type::Text)
            | (Type::Named(_), Type::Named(_)) => true,
            (Type::Array(from), Type::Array(to)) => from.is_read_as(to),
            (from, to) => from == to,
        }
    }

    /// Whether `=` and its kin of `pg_catalog` compare the two as they compare values of one type.
    pub(super) fn compares_with(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Json | Type::Jsonb | Type::Array(_), _) => false,
            (Type::Named(_), Type::Named(_)) => true,
            (one, other) if one.is_int() => other.is_int(),
            (Type::Text | Type::Name, Type::Text | Type::Name) => true,
            (one, other) => one == other,
        }
    }

    pub(super) fn is_int(&self) -> bool {
        matches!(self, Type::Int2 | Type::Int4 | Type::Int8)
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self, Type::Text | Type::Name | Type::Bpchar)
    }

    /// The model's type of its values; `None` where only a column has it.
    pub(super) fn pg_type(&self) -> Option<PgType> {
        Some(match self {
            Type::Bool => PgType::Bool,
            Type::Int2 => PgType::Int2,
            Type::Int4 => PgType::Int4,
            Type::Int8 => PgType::Int8,
            Type::Numeric => PgType::Numeric,
            Type::Double => PgType::Float8,
            Type::Text | Type::Name => PgType::Text,
            Type::Bpchar => PgType::Bpchar,
            Type::Uuid => PgType::Uuid,
            Type::Date => PgType::Date,
            Type::Timestamp => PgType::Timestamp,
            Type::TimestampTz => PgType::TimestampTz,
            Type::Json | Type::Jsonb => PgType::Json,
            Type::Named(_) | Type::Array(_) => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "boolean",
            Type::Int2 => "smallint",
            Type::Int4 => "integer",
            Type::Int8 => "bigint",
            Type::Numeric => "numeric",
            Type::Double => "double precision",
            Type::Text => "text",
            Type::Name => "name",
            Type::Bpchar => "character",
            Type::Uuid => "uuid",
            Type::Date => "date",
            Type::Timestamp => "timestamp",
            Type::TimestampTz => "timestamp with time zone",
            Type::Json => "json",
            Type::Jsonb => "jsonb",
            Type::Named(name) => name,
            Type::Array(element) => return write!(f, "{element}[]"),
        })
    }
}
