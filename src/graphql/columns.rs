//! The GraphQL types of columns, and the input types that filter them.
//!
//! A filter offers exactly the operators that the predicate language has for the column's type.

use super::name;
use super::scalar::Scalar;
use super::sdl::{Definition, Kind, Member};
use super::type_ref::TypeRef;
use crate::model::PgType;

/// A column's output type, nullable, with the definition it needs if it is not built in.
pub(super) fn output(pg_type: &PgType, enums: &dyn Fn(&str) -> String) -> TypeRef {
    match pg_type {
        PgType::Array(array) => output(&array.element, enums).list(),
        PgType::Enum(labels) if is_graphql_enum(&labels.labels) => TypeRef::named(enums(&labels.name)),
        PgType::Composite(_) => TypeRef::named(Scalar::Json.name()),
        PgType::Enum(_) | PgType::Other => TypeRef::named(Scalar::String.name()),
        scalar => TypeRef::named(Scalar::of_column(scalar).unwrap_or(Scalar::String).name()),
    }
}

/// A PostgreSQL enum is a GraphQL enum when each label can be a value; otherwise its labels are strings.
pub(super) fn is_graphql_enum(labels: &[String]) -> bool {
    !labels.is_empty() && labels.iter().all(|label| name::is_enum_value(label))
}

/// The filter of a column whose output type is `output`.
pub(super) fn filter(pg_type: &PgType, output: &TypeRef) -> Definition {
    let operand = output.innermost();
    match pg_type {
        PgType::Bool | PgType::Bytea => filter_of(operand, "", EQUALITY, &[]),
        PgType::Enum(labels) if is_graphql_enum(&labels.labels) => filter_of(operand, "", EQUALITY, &[]),
        PgType::Enum(_) => filter_of(operand, "Label", EQUALITY, &[]),
        PgType::Text | PgType::Bpchar => filter_of(operand, "", ORDER, &["like", "ilike", "contains"]),
        PgType::Json => filter_of(operand, "", &[], &["contains"]),
        PgType::Array(array) => list_filter(&array.element, operand),
        PgType::Composite(_) | PgType::Other => presence_filter(),
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
        | PgType::TimestampTz => filter_of(operand, "", ORDER, &[]),
    }
}

const EQUALITY: &[&str] = &["eq", "neq"];
const ORDER: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte"];

/// `scalar` operators, then the list operators that equality implies, then `isNull`, then the type's own.
fn filter_of(operand: &str, kind: &str, scalar: &[&str], own: &[&str]) -> Definition {
    let one = |name: &&str| Member::new(*name, TypeRef::named(operand));
    let several = |name: &str| Member::new(name, TypeRef::named(operand).non_null().list());
    let mut members: Vec<_> = scalar.iter().map(one).collect();
    if !scalar.is_empty() {
        members.extend(["in", "nin"].map(several));
    }
    members.push(is_null());
    members.extend(own.iter().map(one));
    input(format!("{kind}{operand}Filter"), members)
}

fn list_filter(element: &PgType, operand: &str) -> Definition {
    // Elements without an equality of their own cannot be looked for.
    if matches!(element, PgType::Json | PgType::Composite(_) | PgType::Other | PgType::Array(_)) {
        return presence_filter();
    }
    let labels = matches!(element, PgType::Enum(labels) if !is_graphql_enum(&labels.labels));
    let contains = Member::new("contains", TypeRef::named(operand).non_null().list());
    input(format!("{}{operand}ListFilter", if labels { "Label" } else { "" }), vec![contains, is_null()])
}

fn presence_filter() -> Definition {
    input("PresenceFilter".to_owned(), vec![is_null()])
}

fn is_null() -> Member {
    Member::new("isNull", TypeRef::named(Scalar::Boolean.name()))
}

fn input(name: String, members: Vec<Member>) -> Definition {
    Definition { name, description: None, directives: String::new(), kind: Kind::Input(members) }
}
