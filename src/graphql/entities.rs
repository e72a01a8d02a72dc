//! Compiles the `_entities` field: a gateway's references to rows become keys and columns.
//!
//! The input is the list of representations: objects with a `__typename` and a key.
//!
//! - Each compiled reference names a type whose rows this service provides, with a complete key in canonical form.
//! - This module does not fetch rows.
//! - This module makes no security decision: the caller must apply the gate.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use apollo_compiler::Schema;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::coerce;
use super::error::{RequestError, RequestErrorKind, SchemaError};
use super::federation::{self, ENTITIES, ENTITY};
use super::field::SubscriptionField;
use super::plan::{RowSelection, key};
use super::planner::Planner;
use super::sdl::Definitions;
use super::select::Selected;
use crate::model::Table;

/// References of one `_entities` field. A gateway sends those of one step of its plan at once.
const REPRESENTATIONS_MAX: usize = 10_000;

/// A query for rows by their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityRequest {
    /// The response's fields, each an `_entities`.
    pub roots: Vec<EntityRoot>,
    /// The operation's variables in canonical form.
    pub variables: Map<String, Value>,
}

/// One `_entities` field.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityRoot {
    /// The field's key in the response, as `"_entities":`.
    pub key: Bytes,
    /// Its name in the response, for paths of errors.
    pub response_key: Box<str>,
    /// The requested rows, in the order of the response, where a row that is unknown or hidden is `null`.
    pub entities: Vec<Entity>,
}

/// A reference to one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// The type that it is a row of; all references of one type share it.
    pub of: Arc<EntityType>,
    /// The key's values in the order of the table's key, each in the canonical form of its scalar; none is null.
    pub key: Box<[Value]>,
}

/// The selection on the rows of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityType {
    /// The table.
    pub table: Arc<Table>,
    /// The declared fields, as indexes, that give this table's rows unchanged: a principal that may use one of them may have rows.
    pub fields: Vec<usize>,
    /// The columns.
    pub row: RowSelection,
}

/// The entity types of a schema, by name.
#[derive(Debug, Default)]
pub(super) struct Entities(BTreeMap<String, (Arc<Table>, Vec<usize>)>);

impl Entities {
    /// From the fields that this service serves, each with its index.
    pub(super) fn of<'a>(served: impl Iterator<Item = (usize, &'a SubscriptionField)>) -> Self {
        let (places, fields): (Vec<_>, Vec<_>) = served.unzip();
        let mut by_name = BTreeMap::new();
        for (index, table) in federation::entities(fields) {
            let (_, fields) = by_name.entry(table.type_name.clone()).or_insert_with(|| (Arc::clone(table), Vec::new()));
            fields.push(places[index]);
        }
        Entities(by_name)
    }

    /// What an executable subgraph has beyond its own types.
    pub(super) fn machinery(&self, definitions: &Definitions) -> Result<String, SchemaError> {
        if let Some(name) = ["_Any", ENTITY, "_Service"].into_iter().find(|name| definitions.contains(name)) {
            let (first, second) = ("Apollo Federation".to_owned(), "a declaration".to_owned());
            return Err(SchemaError::DuplicateType { name: name.to_owned(), first, second });
        }
        let mut text =
            "\ntype _Service {\n  sdl: String!\n}\n\nextend type Query {\n  _service: _Service!\n".to_owned();
        if self.0.is_empty() {
            return Ok(text + "}\n");
        }
        let members = self.0.keys().map(String::as_str).collect::<Vec<_>>().join(" | ");
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "  {ENTITIES}(representations: [_Any!]!): [{ENTITY}]!\n}}\n\nscalar _Any\n\nunion {ENTITY} = {members}\n"
        );
        Ok(text)
    }

    /// Compiles the field `root` of a query.
    pub(super) fn asked(
        &self,
        planner: &Planner<'_>,
        root: &Selected<'_>,
        representations: Value,
    ) -> Result<EntityRoot, RequestError> {
        if root.field.name != ENTITIES {
            let message =
                format!("Field \"{}\" cannot stand beside \"{ENTITIES}\": ask for it alone.", root.field.name);
            return Err(RequestError::new(RequestErrorKind::OperationNotSupported, message));
        }
        let representations = match representations {
            Value::Array(each) if each.len() <= REPRESENTATIONS_MAX => each,
            Value::Array(_) => {
                let message = format!("More than {REPRESENTATIONS_MAX} representations: ask for them in parts.");
                return Err(RequestError::new(RequestErrorKind::QueryTooLarge, message));
            }
            _ => Vec::new(),
        };
        let mut types = BTreeMap::new();
        let entity = |(index, representation)| {
            self.entity(planner, root, &mut types, &representation).map_err(|problem: String| {
                let place = format!("Argument \"Query.{ENTITIES}(representations:)\" has invalid value at [{index}]");
                RequestError::new(RequestErrorKind::BadUserInput, format!("{place}: {problem}"))
            })
        };
        let entities = representations.into_iter().enumerate().map(entity).collect::<Result<_, _>>()?;
        Ok(EntityRoot { key: key(root.response_key()), response_key: root.response_key().into(), entities })
    }

    fn entity(
        &self,
        planner: &Planner<'_>,
        root: &Selected<'_>,
        types: &mut BTreeMap<String, Arc<EntityType>>,
        representation: &Value,
    ) -> Result<Entity, String> {
        let name = representation.get("__typename").and_then(Value::as_str).unwrap_or_default();
        let Some((table, fields)) = self.0.get(name) else {
            return Err("Expected \"__typename\" to name a type whose rows this service gives by key.".to_owned());
        };
        let key = key_of(planner.schema, table, representation)?;
        let of = types.entry(name.to_owned()).or_insert_with(|| {
            let row = planner.row(&table.type_name, table, &root.below);
            Arc::new(EntityType { table: Arc::clone(table), fields: fields.clone(), row })
        });
        Ok(Entity { of: Arc::clone(of), key })
    }
}

fn key_of(schema: &Schema, table: &Table, representation: &Value) -> Result<Box<[Value]>, String> {
    let columns = table.key.iter().filter_map(|index| table.columns.get(*index));
    let value = |field: &str| {
        let given = representation.get(field).filter(|value| !value.is_null());
        let given = given.ok_or_else(|| format!("Expected the key's field \"{field}\"."))?;
        let declared =
            schema.type_field(&table.type_name, field).map_err(|_| format!("\"{field}\" is not a field."))?;
        coerce::as_output(schema, &declared.ty, given)
    };
    columns.map(|column| value(&column.field)).collect()
}
