//! What the application declares: its subscription fields, as Python sends them in JSON.

use std::sync::Arc;

use serde::Deserialize;

use crate::model::Table;

/// One subscription field. Keys that belong to other rooms (tenant, scopes, …) are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Field {
    /// The field's name; without one the table's own, or the topic in camel case.
    #[serde(default)]
    pub name: Option<String>,
    /// The table, with or without its schema. Exactly one of `table` and `topic` is given.
    #[serde(default)]
    pub table: Option<String>,
    /// The topic of `rowcast.publish`.
    #[serde(default)]
    pub topic: Option<String>,
    /// The service that the field belongs to; none belongs to whichever serves it.
    #[serde(default)]
    pub service: Option<String>,
    /// The resolver, if the field has one: its results replace the event envelope.
    #[serde(default)]
    pub resolver: Option<Resolver>,
    /// Whether the changes of one commit are delivered as one message.
    #[serde(default)]
    pub transactions: bool,
}

/// A resolver, as far as the schema must know it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolver {
    /// Its place among the application's resolvers.
    pub index: usize,
    /// What it returns; `None` (Python `dict`) is the table's row type, or JSON for a topic.
    #[serde(default)]
    pub returns: Option<Returns>,
    /// Whether it is called for rows that leave the view.
    #[serde(default)]
    pub leave: bool,
}

/// A resolver's return type with the types that only it knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Returns {
    /// A type reference, such as `OrderView` or `[OrderView!]!`.
    #[serde(rename = "type")]
    pub type_ref: String,
    /// Object types that it brings.
    #[serde(default)]
    pub objects: Vec<Object>,
    /// Enum types that it brings.
    #[serde(default)]
    pub enums: Vec<Enum>,
}

/// An object type: a dataclass, a `TypedDict`, a pydantic model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// The GraphQL type's name.
    pub name: String,
    /// Its docstring.
    #[serde(default)]
    pub description: Option<String>,
    /// Its fields in order.
    pub fields: Vec<ObjectField>,
}

/// A field of an object type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectField {
    /// The GraphQL name.
    pub name: String,
    /// The attribute or key that holds it.
    pub attribute: String,
    /// A type reference.
    #[serde(rename = "type")]
    pub type_ref: String,
    /// Its documentation.
    #[serde(default)]
    pub description: Option<String>,
}

/// An enum type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enum {
    /// The GraphQL type's name.
    pub name: String,
    /// Its values in order.
    pub values: Vec<String>,
}

/// A declaration together with the table that it names, which the caller found in the catalog.
#[derive(Clone, Debug)]
pub struct BoundField {
    /// The declaration.
    pub declaration: Field,
    /// The table of `declaration.table`.
    pub table: Option<Arc<Table>>,
}
