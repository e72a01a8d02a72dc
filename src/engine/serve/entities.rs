//! Rows by their keys, for a federated graph's gateway: the answer to `_entities`.
//!
//! The input is an [`EntityRequest`] and its principal. The gate's modules decide as for a subscription, then PostgreSQL
//! itself as the principal. The answer has the references' order and length; a row that is unknown, not visible or cannot
//! be named is null. Nothing is answered out of memory, and only the request itself waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::admit::{refuse_expired, refused};
use crate::decode::json::{self as text, Written};
use crate::engine::deliver::Core;
use crate::engine::served::Live;
use crate::failure::Failure;
use crate::graphql::plan::ColumnValue;
use crate::graphql::{Entity, EntityRequest, EntityRoot, EntityType};
use crate::model::{PgType, Principal, Table};
use crate::predicate::Predicate;
use crate::probe::{Fetch, Fetched, Probe, ProbeError};
use crate::security::{AccessRequest, SourceAccess};

/// Rows by their place among the references; each with its columns' text.
type Rows = HashMap<usize, HashMap<usize, Option<String>>>;

/// The response.
pub(crate) async fn answer(
    core: &Core,
    live: &Live,
    principal: &Principal,
    request: &EntityRequest,
) -> Result<Bytes, Failure> {
    refuse_expired(principal, core.clock.date())?;
    let probe = core.by_key.get().ok_or_else(Failure::entities_unsupported)?;
    let mut response = Response::default();
    for root in &request.roots {
        let mut rows = Rows::new();
        for (of, places) in by_type(root) {
            admit_rows(core, live, principal, &of, &request.variables)?;
            rows.extend(read(probe, principal, root, &of, &places).await?);
        }
        response.add(root, &rows);
    }
    Ok(response.finish())
}

/// Whether the principal may use one of the fields that give these rows, and read these columns.
fn admit_rows(
    core: &Core,
    live: &Live,
    principal: &Principal,
    of: &EntityType,
    variables: &Map<String, Value>,
) -> Result<(), Failure> {
    let reads = columns(of).into_iter().chain(of.table.key.iter().copied()).collect();
    let source = SourceAccess::Table(&of.table, &reads);
    let ask = |index: &usize| {
        let field = &live.field(*index).rules;
        live.gate.admit(&AccessRequest { principal, field, variables, operations: None, source })
    };
    let mut answers = of.fields.iter().map(ask);
    let first = answers.next().ok_or_else(Failure::entities_unsupported)?;
    answers.fold(first, Result::or).map_err(|refusal| refused(&core.metrics, &refusal))?;
    Ok(())
}

/// The references of each type, by their places.
fn by_type(root: &EntityRoot) -> Vec<(Arc<EntityType>, Vec<usize>)> {
    let mut types: BTreeMap<&str, (Arc<EntityType>, Vec<usize>)> = BTreeMap::new();
    for (place, entity) in root.entities.iter().enumerate() {
        let of = &entity.of;
        let (_, places) = types.entry(&of.table.type_name).or_insert_with(|| (Arc::clone(of), Vec::new()));
        places.push(place);
    }
    types.into_values().collect()
}

async fn read(
    probe: &Probe,
    principal: &Principal,
    root: &EntityRoot,
    of: &EntityType,
    places: &[usize],
) -> Result<Rows, ProbeError> {
    let (places, keys): (Vec<usize>, Vec<Value>) =
        places.iter().filter_map(|place| Some((*place, key(&root.entities[*place])?))).unzip();
    let columns = columns(of);
    if keys.is_empty() {
        return Ok(Rows::new());
    }
    let table = &of.table;
    let fetch = Fetch {
        table,
        columns: &columns,
        keys: Value::Array(keys).to_string(),
        tenant: principal.tenant_id.as_deref(),
        role: principal.role.as_deref(),
        settings: &principal.settings,
    };
    let row = |(at, values): Fetched| {
        Some((*places.get(at)?, columns.iter().copied().zip(values).collect::<HashMap<_, _>>()))
    };
    Ok(probe.fetch(&fetch).await?.into_iter().filter_map(row).collect())
}

/// The key as an object by column names; `None` when no row can have it: PostgreSQL would raise.
fn key(entity: &Entity) -> Option<Value> {
    let table = &entity.of.table;
    let mut key = Map::new();
    for (index, value) in table.key.iter().zip(&entity.key) {
        let column = &table.columns[*index];
        if !can_be(table, &column.field, &column.pg_type, value) {
            return None;
        }
        key.insert(column.name.clone(), value.clone());
    }
    Some(Value::Object(key))
}

/// The filter language reads values as PostgreSQL does. What it does not know is left to PostgreSQL.
fn can_be(table: &Table, field: &str, pg_type: &PgType, value: &Value) -> bool {
    if value.as_str().is_some_and(|text| text.contains('\0')) {
        return false;
    }
    let is_known = !matches!(pg_type, PgType::Other | PgType::Composite(_) | PgType::Json | PgType::Enum(_));
    !is_known || Predicate::parse_where(table, &json!({ field: { "eq": value } })).is_ok()
}

fn columns(of: &EntityType) -> Vec<usize> {
    let selected = of.row.fields.iter().filter_map(|field| match field.value {
        ColumnValue::Column { index, .. } => Some(index),
        ColumnValue::Typename(_) => None,
    });
    let mut columns: Vec<_> = selected.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// The response as it is written.
#[derive(Default)]
struct Response {
    data: Vec<u8>,
    errors: Vec<Value>,
}

impl Response {
    fn add(&mut self, root: &EntityRoot, rows: &Rows) {
        self.data.push(if self.data.is_empty() { b'{' } else { b',' });
        self.data.extend_from_slice(&root.key);
        self.data.push(b'[');
        for (place, entity) in root.entities.iter().enumerate() {
            if place > 0 {
                self.data.push(b',');
            }
            let start = self.data.len();
            let written = rows.get(&place).ok_or(None).and_then(|row| self.row(&entity.of, row).map_err(Some));
            if let Err(failed) = written {
                self.data.truncate(start);
                self.data.extend_from_slice(b"null");
                self.errors.extend(failed.map(|field| error(root, place, field)));
            }
        }
        self.data.push(b']');
    }

    /// The field that makes the whole row null is the error.
    fn row<'e>(&mut self, of: &'e EntityType, row: &HashMap<usize, Option<String>>) -> Result<(), &'e str> {
        self.data.push(b'{');
        for (at, field) in of.row.fields.iter().enumerate() {
            if at > 0 {
                self.data.push(b',');
            }
            self.data.extend_from_slice(&field.key);
            match &field.value {
                ColumnValue::Typename(name) => self.data.extend_from_slice(name),
                ColumnValue::Column { index, non_null } => {
                    let value = row.get(index).and_then(Option::as_deref);
                    let is_written = self.value(&of.table.columns[*index].pg_type, value);
                    if !is_written && *non_null {
                        return Err(&field.name);
                    }
                }
            }
        }
        self.data.push(b'}');
        Ok(())
    }

    /// False when there is nothing to be written but null.
    fn value(&mut self, pg_type: &PgType, value: Option<&str>) -> bool {
        let start = self.data.len();
        let written = value.map(|value| text::write(pg_type, value.as_bytes(), &mut self.data));
        let is_written = matches!(written, Some(Ok(Written::Value)));
        if !is_written {
            self.data.truncate(start);
            self.data.extend_from_slice(b"null");
        }
        is_written
    }

    fn finish(mut self) -> Bytes {
        let mut body = b"{\"data\":".to_vec();
        body.append(&mut self.data);
        body.push(b'}');
        if !self.errors.is_empty() {
            body.extend_from_slice(b",\"errors\":");
            body.extend_from_slice(Value::Array(self.errors).to_string().as_bytes());
        }
        body.push(b'}');
        body.into()
    }
}

fn error(root: &EntityRoot, place: usize, field: &str) -> Value {
    let message = "a column that is never null has no value that JSON can hold";
    let path = json!([root.response_key, place, field]);
    json!({ "message": message, "path": path, "extensions": { "code": "VALUE_UNAVAILABLE" } })
}

impl From<ProbeError> for Failure {
    /// The error names roles, and what the server or the network said: that is for the log.
    fn from(error: ProbeError) -> Self {
        tracing::warn!(code = error.code(), "rows could not be read for a client: {error}");
        let then = if error.is_transient() { "try again later" } else { "the server's log has the reason" };
        Failure::new(error.code(), format!("the rows cannot be read now: {then}"))
    }
}
