//! The schema of one set of declarations, and requests compiled against it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apollo_compiler::collections::HashMap;
use apollo_compiler::executable;
use apollo_compiler::schema::Implementers;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Name, Schema};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::assemble::{Attributes, Form, OPERATIONS, assemble};
use super::coerce;
use super::declare::BoundField;
use super::document::{Cache, parse, root_fields, weight};
use super::entities::{Entities, EntityRequest};
use super::error::{RequestError, RequestErrorKind, SchemaError};
use super::federation;
use super::field::SubscriptionField;
use super::intern::Plans;
use super::limits::Limits;
use super::one_of;
use super::plan::Plan;
use super::planner::Planner;
use super::query;
use super::select::Collector;
use crate::model;
use crate::model::{Request, Table};

/// What the developer may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether clients may query the schema. Default: yes.
    pub introspection: bool,
    /// How large requests may be.
    pub limits: Limits,
    /// This service's name in a federated graph. Default: none, and the schema is not a subgraph.
    pub service: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { introspection: true, limits: Limits::default(), service: None }
    }
}

/// A request that is ready.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Answered already: the response as JSON, `{"data":{…}}`.
    Query(Bytes),
    /// Rows to be fetched by their keys.
    Entities(Box<EntityRequest>),
    /// To be registered.
    Subscription(Box<CompiledSubscription>),
}

/// A subscription that passed every check but those of security.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledSubscription {
    /// The field, as an index into the declarations that the schema was built from.
    pub field: usize,
    /// What to write for each event; equal selections share it.
    pub plan: Arc<Plan>,
    /// What the field was asked for.
    pub arguments: Arguments,
    /// The operation's variables in canonical form, for the resolver.
    pub variables: Map<String, Value>,
    /// The root field's name in the response.
    pub response_key: Box<str>,
}

/// The arguments of a subscription field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    /// `where`, in canonical form; `Null` when not given.
    pub filter: Value,
    /// `operations`; `None` is all of them.
    pub operations: Option<Vec<model::Operation>>,
    /// `after`: the cursor behind which to go on.
    pub after: Option<Box<str>>,
    /// `snapshot`: the current rows come first.
    pub snapshot: bool,
}

/// A schema with everything that requests need. Shared between threads; only the caches lock, and never while parsing.
#[derive(Debug)]
pub struct GraphSchema {
    sdl: String,
    schema: Valid<Schema>,
    implementers: HashMap<Name, Implementers>,
    fields: Vec<SubscriptionField>,
    attributes: Attributes,
    /// In a federated graph: the types whose rows are given by key.
    entities: Entities,
    options: Options,
    documents: Mutex<Cache<Arc<Valid<ExecutableDocument>>>>,
    /// Responses to queries, which depend on nothing but the schema.
    answers: Mutex<Cache<Bytes>>,
    plans: Mutex<Plans>,
}

impl GraphSchema {
    /// The schema of `fields`. `tables` are those whose row types resolvers may return by name.
    pub fn build(tables: &[Arc<Table>], fields: &[BoundField], options: Options) -> Result<Self, SchemaError> {
        let assembled = assemble(tables, fields, Form::Plain)?;
        let mut text = assembled.definitions.to_string();
        let mut sdl = text.clone();
        let mut entities = Entities::default();
        if let Some(service) = &options.service {
            let foreign = |field: &BoundField| field.declaration.service.as_ref().is_some_and(|of| of != service);
            let own: Vec<_> = fields.iter().filter(|field| !foreign(field)).cloned().collect();
            let served = assembled.fields.iter().zip(fields).enumerate().filter(|(_, (_, bound))| !foreign(bound));
            entities = Entities::of(served.map(|(index, (field, _))| (index, field)));
            sdl = federation::subgraph(&assemble(tables, &own, Form::Subgraph)?.definitions);
            text += &entities.machinery(&assembled.definitions)?;
        }
        let schema = Schema::parse_and_validate(text.as_str(), "schema.graphql")
            .map_err(|failed| SchemaError::Refused { message: failed.errors.to_string() })?;
        let schema = one_of::define(schema);
        Ok(GraphSchema {
            sdl,
            implementers: schema.implementers_map(),
            schema,
            fields: assembled.fields,
            attributes: assembled.attributes,
            entities,
            documents: Mutex::new(Cache::new(options.limits.cache_bytes_max)),
            answers: Mutex::new(Cache::new(options.limits.cache_bytes_max)),
            plans: Mutex::default(),
            options,
        })
    }

    /// The schema's text, for `rowcast schema`; with a service's name that of a subgraph, without other services'
    /// fields.
    pub fn sdl(&self) -> &str {
        &self.sdl
    }

    /// Checks `request` and makes it ready. An error is the request's own and says nothing about others.
    pub fn compile(&self, request: &Request) -> Result<Operation, Vec<RequestError>> {
        let document = self.document(request)?;
        let operation = select_operation(&document, request.operation_name.as_deref()).map_err(one)?;
        let given = request.variables.as_ref();
        let variables = coerce::variables(&self.schema, &document, operation, given.unwrap_or(&Map::new()))?;
        match operation.operation_type {
            executable::OperationType::Query => {
                self.query(&document, operation, variables, &request.query).map_err(one)
            }
            executable::OperationType::Subscription => self.subscription(&document, operation, variables).map_err(one),
            executable::OperationType::Mutation => Err(one(RequestError::new(
                RequestErrorKind::OperationNotSupported,
                "Schema is not configured to execute mutation operation.",
            ))),
        }
    }

    /// The fields that a request selects directly, also those that this schema does not have; none of what is too
    /// large.
    pub(crate) fn root_fields(&self, request: &Request) -> Vec<String> {
        let limits = &self.options.limits;
        if limits.check_text(&request.query).is_ok() { root_fields(limits, &request.query) } else { Vec::new() }
    }

    fn document(&self, request: &Request) -> Result<Arc<Valid<ExecutableDocument>>, Vec<RequestError>> {
        refuse_persisted(request).map_err(one)?;
        self.options.limits.check_values(request.variables.iter().chain(&request.extensions)).map_err(one)?;
        self.options.limits.check_text(&request.query).map_err(one)?;
        if let Some(document) = lock(&self.documents).get(&request.query) {
            return Ok(document);
        }
        let document = Arc::new(parse(&self.schema, &self.options.limits, &request.query)?);
        lock(&self.documents).insert(&request.query, &document, weight(&request.query));
        Ok(document)
    }

    fn query(
        &self,
        document: &Valid<ExecutableDocument>,
        operation: &executable::Operation,
        variables: Map<String, Value>,
        text: &str,
    ) -> Result<Operation, RequestError> {
        if !self.options.introspection {
            query::refuse_introspection(document, operation)?;
        }
        if operation.root_fields(document).any(|field| field.name == federation::ENTITIES) {
            return self.rows_by_key(document, operation, variables);
        }
        let subgraph = self.options.service.as_ref().map(|_| self.sdl.as_str());
        let name = operation.name.as_deref().unwrap_or_default();
        let key = format!("{name} {} {text}", Value::Object(variables.clone()));
        if let Some(answer) = lock(&self.answers).get(&key) {
            return Ok(Operation::Query(answer));
        }
        let answer = query::execute(&self.schema, &self.implementers, document, operation, &variables, subgraph)?;
        lock(&self.answers).insert(&key, &answer, key.len() + answer.len());
        Ok(Operation::Query(answer))
    }

    /// Whether the request queries the schema, which costs about a thousand times as much as a subscription. False for
    /// a request that cannot be parsed.
    pub fn introspects(&self, request: &Request) -> bool {
        // Most do not, and need not be looked up for it.
        if !["__schema", "__type", "_service"].iter().any(|name| request.query.contains(name)) {
            return false;
        }
        let Ok(document) = self.document(request) else { return false };
        let operation = select_operation(&document, request.operation_name.as_deref());
        operation.is_ok_and(|operation| operation.is_query() && query::introspection(&document, operation).is_some())
    }

    fn rows_by_key(
        &self,
        document: &ExecutableDocument,
        operation: &executable::Operation,
        variables: Map<String, Value>,
    ) -> Result<Operation, RequestError> {
        let collector = Collector::new(document, &variables);
        let planner = Planner { schema: &self.schema, attributes: &self.attributes, collector };
        let roots = planner.collector.collect(operation.object_type(), &[&operation.selection_set]);
        let asked = roots.iter().map(|root| {
            let argument = (operation.object_type().as_str(), root.field);
            let given = coerce::argument(
                &self.schema,
                &self.options.limits,
                document,
                argument,
                "representations",
                &variables,
            )?;
            self.entities.asked(&planner, root, given.unwrap_or_default())
        });
        let roots = asked.collect::<Result<_, _>>()?;
        Ok(Operation::Entities(Box::new(EntityRequest { roots, variables })))
    }

    fn subscription(
        &self,
        document: &Valid<ExecutableDocument>,
        operation: &executable::Operation,
        variables: Map<String, Value>,
    ) -> Result<Operation, RequestError> {
        let collector = Collector::new(document, &variables);
        let planner = Planner { schema: &self.schema, attributes: &self.attributes, collector };
        let roots = planner.collector.collect(operation.object_type(), &[&operation.selection_set]);
        let root = roots.first().and_then(|root| {
            let field = self.fields.iter().position(|field| field.name == root.field.name.as_str())?;
            Some((root, field))
        });
        let Some((selected, field)) = root else {
            return Err(RequestError::new(
                RequestErrorKind::InternalServerError,
                "The subscription has no root field.",
            ));
        };
        let plan = lock(&self.plans).intern(planner.plan(&self.fields[field], selected)?);
        let arguments = self.arguments(document, selected.field, &variables)?;
        let response_key = plan.response_key.clone();
        Ok(Operation::Subscription(Box::new(CompiledSubscription { field, plan, arguments, variables, response_key })))
    }

    fn arguments(
        &self,
        document: &ExecutableDocument,
        field: &executable::Field,
        variables: &Map<String, Value>,
    ) -> Result<Arguments, RequestError> {
        let limits = &self.options.limits;
        let argument =
            |name| coerce::argument(&self.schema, limits, document, ("Subscription", field), name, variables);
        Ok(Arguments {
            filter: argument("where")?.unwrap_or_default(),
            operations: argument("operations")?
                .and_then(|operations| operations.as_array().map(|all| named(all)))
                .transpose()?,
            after: argument("after")?.and_then(|after| after.as_str().map(Into::into)),
            snapshot: argument("snapshot")?.and_then(|snapshot| snapshot.as_bool()).unwrap_or_default(),
        })
    }
}

/// What can be watched: a snapshot is asked for by its own argument.
fn named(operations: &[Value]) -> Result<Vec<model::Operation>, RequestError> {
    let is = |name: &Value| OPERATIONS.into_iter().find(|operation| name == operation.name());
    let named: Vec<_> = operations.iter().filter_map(is).collect();
    let of_snapshot = |operation: &&_| matches!(operation, model::Operation::Snapshot | model::Operation::SnapshotEnd);
    match named.iter().find(of_snapshot) {
        None => Ok(named),
        Some(operation) => {
            let message = format!("operations cannot contain {}: give snapshot: true", operation.name());
            Err(RequestError::new(RequestErrorKind::BadUserInput, message))
        }
    }
}

fn select_operation<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Result<&'d executable::Operation, RequestError> {
    let unresolved = |message: String| RequestError::new(RequestErrorKind::OperationResolutionFailure, message);
    let operations = &document.operations;
    match name {
        Some(name) => match operations.named.get(name) {
            Some(operation) => Ok(operation),
            None => Err(unresolved(format!("Unknown operation named \"{name}\"."))),
        },
        None if operations.len() > 1 => {
            Err(unresolved("Must provide operation name if query contains multiple operations.".to_owned()))
        }
        None => operations
            .iter()
            .next()
            .map(|operation| &**operation)
            .ok_or_else(|| unresolved("Must provide an operation.".to_owned())),
    }
}

/// Clients that send a hash first send the text after an error in these words.
fn refuse_persisted(request: &Request) -> Result<(), RequestError> {
    let persisted = request.extensions.as_ref().is_some_and(|extensions| extensions.contains_key("persistedQuery"));
    if persisted && request.query.is_empty() {
        let kind = RequestErrorKind::PersistedQueryNotSupported;
        return Err(RequestError::new(kind, "PersistedQueryNotSupported"));
    }
    Ok(())
}

fn one(error: RequestError) -> Vec<RequestError> {
    vec![error]
}

/// A panic in another thread leaves a cache that is whole: each change is one call of a collection.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
