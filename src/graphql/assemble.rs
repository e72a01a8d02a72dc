//! Tables and declarations to type definitions, in the order in which the declarations name them.
//!
//! Only what a field can reach is defined: a table that no field and no return type names stays out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Operation, PgType, Table, Transition};

use super::columns;
use super::declare::{BoundField, Enum, Object, Returns};
use super::error::SchemaError;
use super::federation;
use super::name;
use super::scalar::Scalar;
use super::sdl::{Definition, Definitions, Kind, Member};
use super::type_ref::TypeRef;

/// What a schema is made of before it is parsed.
pub(super) struct Assembled {
    pub definitions: Definitions,
    pub fields: Vec<SubscriptionField>,
    pub attributes: Attributes,
}

/// For each object type that a resolver may return: its fields and where their values are found.
pub(super) type Attributes = HashMap<String, HashMap<String, String>>;

/// A root field.
#[derive(Clone, Debug)]
pub(super) struct SubscriptionField {
    pub name: String,
    pub source: RootSource,
    /// What the resolver returns; `None` is the event envelope.
    pub returns: Option<TypeRef>,
    /// Whether all changes of one commit are delivered in one message.
    pub transactions: bool,
}

impl SubscriptionField {
    /// What is delivered of one event.
    fn event_type(&self) -> TypeRef {
        let envelope = || match &self.source {
            RootSource::Table(table) => event_name(&table.type_name),
            RootSource::Topic(_) => event_name(&name::pascal_case(&self.name)),
        };
        self.returns.clone().unwrap_or_else(|| TypeRef::named(envelope()).non_null())
    }

    fn transaction_name(&self) -> String {
        format!("{}Transaction", name::pascal_case(&self.name))
    }
}

/// Where a field's events come from.
#[derive(Clone, Debug)]
pub(super) enum RootSource {
    Table(Arc<Table>),
    Topic(String),
}

/// What the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// To be executed.
    Plain,
    /// To be composed with other services' into one graph: with keys.
    Subgraph,
}

pub(super) fn assemble(tables: &[Arc<Table>], bound: &[BoundField], form: Form) -> Result<Assembled, SchemaError> {
    let fields = bound.iter().map(subscription_field).collect::<Result<Vec<_>, _>>()?;
    check_field_names(&fields)?;
    let mut assembly = Assembly::new(tables, bound, form);
    assembly.resolvable = federation::entities(&fields).map(|(_, table)| table.type_name.clone()).collect();
    assembly.subscription(&fields)?;
    for (field, bound) in fields.iter().zip(bound) {
        assembly.field(field, bound)?;
    }
    assembly.pending_types()?;
    assembly.closing_types()?;
    Ok(Assembled { definitions: assembly.definitions, fields, attributes: assembly.attributes })
}

fn subscription_field(bound: &BoundField) -> Result<SubscriptionField, SchemaError> {
    let declaration = &bound.declaration;
    let source = source(bound)?;
    let name = match (&declaration.name, &source) {
        (Some(name), _) => name.clone(),
        (None, RootSource::Table(table)) => table.field.clone(),
        (None, RootSource::Topic(topic)) => name::camel_case(topic),
    };
    let returns = match &declaration.resolver {
        None => None,
        Some(resolver) => Some(returned(resolver.returns.as_ref(), &source, &name)?),
    };
    Ok(SubscriptionField { name, source, returns, transactions: declaration.transactions })
}

fn source(bound: &BoundField) -> Result<RootSource, SchemaError> {
    let declaration = &bound.declaration;
    match (&declaration.table, &bound.table, &declaration.topic) {
        (Some(_), Some(table), None) => Ok(RootSource::Table(Arc::clone(table))),
        (None, None, Some(topic)) => Ok(RootSource::Topic(topic.clone())),
        (Some(table), None, None) => {
            let field = declaration.name.clone().unwrap_or_else(|| table.clone());
            Err(SchemaError::UnknownTable { field, table: table.clone() })
        }
        (table, _, topic) => {
            let field = declaration.name.as_ref().or(table.as_ref()).or(topic.as_ref());
            Err(SchemaError::Source { field: field.cloned().unwrap_or_default() })
        }
    }
}

fn returned(returns: Option<&Returns>, source: &RootSource, field: &str) -> Result<TypeRef, SchemaError> {
    match (returns, source) {
        (Some(returns), _) => parse_reference(&returns.type_ref, &format!("return type of field {field}")),
        (None, RootSource::Table(table)) => Ok(TypeRef::named(&table.type_name).non_null()),
        (None, RootSource::Topic(_)) => Ok(TypeRef::named(Scalar::Json.name()).non_null()),
    }
}

fn parse_reference(text: &str, place: &str) -> Result<TypeRef, SchemaError> {
    TypeRef::parse(text).ok_or_else(|| SchemaError::TypeReference { text: text.to_owned(), place: place.to_owned() })
}

fn check_field_names(fields: &[SubscriptionField]) -> Result<(), SchemaError> {
    let mut seen = HashSet::new();
    for SubscriptionField { name, .. } in fields {
        if !name::is_definable(name) {
            let place = "a subscription field".to_owned();
            return Err(SchemaError::InvalidName { name: name.clone(), place });
        }
        if !seen.insert(name) {
            return Err(SchemaError::DuplicateField { name: name.clone() });
        }
    }
    Ok(())
}

struct Assembly<'a> {
    form: Form,
    /// Types whose rows this service gives by their key.
    resolvable: HashSet<String>,
    definitions: Definitions,
    attributes: Attributes,
    tables: HashMap<&'a str, &'a Table>,
    /// Names that an enum of the database has to avoid.
    taken: HashSet<String>,
    scalars: HashSet<&'static str>,
    declared_enums: HashSet<String>,
    /// References of return types, to be resolved when every resolver's types are known, each with its place.
    pending: Vec<(String, String)>,
}

impl<'a> Assembly<'a> {
    fn new(tables: &'a [Arc<Table>], bound: &'a [BoundField], form: Form) -> Self {
        let bound_tables = bound.iter().filter_map(|field| field.table.as_ref());
        let tables: HashMap<_, _> =
            tables.iter().chain(bound_tables).map(|table| (table.type_name.as_str(), table.as_ref())).collect();
        Assembly {
            form,
            resolvable: HashSet::new(),
            taken: taken_names(&tables, bound),
            tables,
            definitions: Definitions::default(),
            attributes: Attributes::new(),
            scalars: HashSet::new(),
            declared_enums: HashSet::new(),
            pending: Vec::new(),
        }
    }

    fn define(&mut self, name: &str, description: Option<&str>, kind: Kind, owner: &str) -> Result<(), SchemaError> {
        self.define_with(String::new(), name, description, kind, owner)
    }

    fn define_with(
        &mut self,
        directives: String,
        name: &str,
        description: Option<&str>,
        kind: Kind,
        owner: &str,
    ) -> Result<(), SchemaError> {
        let description = description.map(str::to_owned);
        self.definitions.define(Definition { name: name.to_owned(), description, directives, kind }, owner)
    }

    /// Each service that has an engine has these too.
    fn shareable(&self) -> &'static str {
        if self.form == Form::Subgraph { "@shareable" } else { "" }
    }

    fn key_directive(&self, table: &Table) -> String {
        if self.form == Form::Plain || !federation::has_key(table) {
            return String::new();
        }
        federation::key_directive(table, self.resolvable.contains(&table.type_name))
    }

    fn scalar(&mut self, scalar: Scalar) -> TypeRef {
        self.scalars.insert(scalar.name());
        TypeRef::named(scalar.name())
    }

    fn subscription(&mut self, fields: &[SubscriptionField]) -> Result<(), SchemaError> {
        if fields.is_empty() {
            return Ok(());
        }
        let members = fields.iter().map(root_member).collect();
        self.define("Subscription", None, Kind::Object(members), "rowcast")
    }

    fn field(&mut self, field: &SubscriptionField, bound: &BoundField) -> Result<(), SchemaError> {
        if let RootSource::Table(table) = &field.source {
            if field.returns.is_none() {
                self.event(table)?;
            }
            self.filter(table)?;
        } else if field.returns.is_none() {
            self.topic_event(&field.name)?;
        }
        if let Some(returns) = &field.returns {
            self.pending.push((returns.innermost().to_owned(), format!("return type of field {}", field.name)));
        }
        if field.transactions {
            self.transaction(field)?;
        }
        let declared = bound.declaration.resolver.as_ref().and_then(|resolver| resolver.returns.as_ref());
        declared.map_or(Ok(()), |returns| self.declared_types(returns, &field.name))
    }

    fn event(&mut self, table: &Table) -> Result<(), SchemaError> {
        let mut members = vec![
            Member::new("operation", TypeRef::named("Operation").non_null()).described("What was done."),
            Member::new("transition", TypeRef::named("Transition").non_null())
                .described("What it means to this subscription."),
            Member::new("row", TypeRef::named(&table.type_name)).described(
                "The row as it is now; null when it left the view, the table was emptied or a snapshot ended.",
            ),
        ];
        if !table.key.is_empty() {
            members.push(
                Member::new("key", TypeRef::named(key_name(table)))
                    .described("The row's primary key; null when the table was emptied or a snapshot ended."),
            );
        }
        members.push(
            Member::new("changed", TypeRef::named("String").non_null().list().non_null())
                .described("The fields whose values an update changed, as far as the old row is known."),
        );
        members.extend(self.position_members());
        let description = format!("A change of {}.", table.name);
        self.define(&event_name(&table.type_name), Some(&description), Kind::Object(members), &owner(table))?;
        self.row(table)?;
        self.key(table)
    }

    /// A resolver that fails for one change must not make null of all: its values may be null in the list.
    fn transaction(&mut self, field: &SubscriptionField) -> Result<(), SchemaError> {
        let change = field.event_type();
        let change = if field.returns.is_some() { change.nullable() } else { change };
        let mut members = vec![
            Member::new("begin", TypeRef::named("Boolean").non_null())
                .described("Whether this is the first part; only large transactions have several."),
            Member::new("end", TypeRef::named("Boolean").non_null())
                .described("Whether this is the last part: the rows delivered up to here existed at one moment."),
            Member::new("changes", change.list().non_null()).described("What it changed, in order."),
        ];
        members.extend(self.position_members());
        let description = format!("What one commit changed in {}.", field.name);
        let owner = format!("field {}", field.name);
        self.define(&field.transaction_name(), Some(&description), Kind::Object(members), &owner)
    }

    fn topic_event(&mut self, field: &str) -> Result<(), SchemaError> {
        let json = self.scalar(Scalar::Json);
        let mut members = vec![
            Member::new("operation", TypeRef::named("Operation").non_null()).described("Always MESSAGE."),
            Member::new("topic", TypeRef::named("String").non_null()).described("The topic it was published to."),
            Member::new("payload", json.non_null()).described("What was published."),
        ];
        members.extend(self.position_members());
        let name = event_name(&name::pascal_case(field));
        self.define(&name, Some("A manual publication."), Kind::Object(members), &format!("topic field {field}"))
    }

    fn position_members(&mut self) -> [Member; 2] {
        let moment = self.scalar(Scalar::DateTime);
        [
            Member::new("cursor", TypeRef::named("String").non_null())
                .described("Its place in the stream, opaque; empty inside a snapshot."),
            Member::new("committedAt", moment.non_null())
                .described("When its transaction committed, or the snapshot was taken."),
        ]
    }

    fn row(&mut self, table: &Table) -> Result<(), SchemaError> {
        if self.attributes.contains_key(&table.type_name) {
            return Ok(());
        }
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let members = self.column_members(table, &all);
        let description = table.comment.as_deref();
        let (directives, owner) = (self.key_directive(table), owner(table));
        self.define_with(directives, &table.type_name, description, Kind::Object(members), &owner)?;
        let attributes = table.columns.iter().map(|column| (column.field.clone(), column.name.clone())).collect();
        self.attributes.insert(table.type_name.clone(), attributes);
        self.enums(table)
    }

    fn key(&mut self, table: &Table) -> Result<(), SchemaError> {
        if table.key.is_empty() {
            return Ok(());
        }
        let members = self.column_members(table, &table.key);
        let description = format!("The primary key of {}.", table.name);
        self.define(&key_name(table), Some(&description), Kind::Object(members), &owner(table))
    }

    fn column_members(&mut self, table: &Table, columns: &[usize]) -> Vec<Member> {
        let columns = columns.iter().filter_map(|index| table.columns.get(*index));
        columns
            .map(|column| {
                let type_ref = self.column_type(&column.pg_type);
                Member::new(&column.field, type_ref.non_null_if(column.not_null))
            })
            .collect()
    }

    fn column_type(&mut self, pg_type: &PgType) -> TypeRef {
        let type_ref = columns::output(pg_type, &|name| enum_name(&self.taken, name));
        self.scalars.extend(Scalar::from_name(type_ref.innermost()).map(Scalar::name));
        type_ref
    }

    fn filter(&mut self, table: &Table) -> Result<(), SchemaError> {
        let name = where_name(table);
        let this = || TypeRef::named(&name);
        let mut members = Vec::new();
        let mut filters = Vec::new();
        for column in &table.columns {
            let output = self.column_type(&column.pg_type);
            let filter = columns::filter(&column.pg_type, &output);
            members.push(Member::new(&column.field, TypeRef::named(&filter.name)));
            filters.push(filter);
        }
        members.push(Member::new("AND", this().non_null().list()).described("All of these."));
        members.push(Member::new("OR", this().non_null().list()).described("At least one of these."));
        members.push(Member::new("NOT", this()).described("Not this."));
        let description = format!("Which rows of {} are in view. Fields side by side must all hold.", table.name);
        self.define(&name, Some(&description), Kind::Input(members), &owner(table))?;
        self.enums(table)?;
        filters.into_iter().try_for_each(|filter| self.definitions.define(filter, "a filter"))
    }

    fn enums(&mut self, table: &Table) -> Result<(), SchemaError> {
        for column in &table.columns {
            let pg_type = match &column.pg_type {
                PgType::Array(array) => &array.element,
                scalar => scalar,
            };
            if let PgType::Enum(labels) = pg_type
                && columns::is_graphql_enum(&labels.labels)
            {
                let name = enum_name(&self.taken, &labels.name);
                let owner = format!("enum {} of column {}.{}", labels.name, table.name, column.name);
                self.define(&name, None, Kind::Enum(labels.labels.clone()), &owner)?;
            }
        }
        Ok(())
    }

    fn declared_types(&mut self, returns: &Returns, field: &str) -> Result<(), SchemaError> {
        let owner = format!("the resolver of field {field}");
        for Enum { name, values } in &returns.enums {
            self.declared_enums.insert(name.clone());
            self.define(name, None, Kind::Enum(values.clone()), &owner)?;
        }
        returns.objects.iter().try_for_each(|object| self.declared_object(object, &owner))
    }

    fn declared_object(&mut self, object: &Object, owner: &str) -> Result<(), SchemaError> {
        let mut members = Vec::new();
        for field in &object.fields {
            let place = format!("field {} of type {}", field.name, object.name);
            let type_ref = parse_reference(&field.type_ref, &place)?;
            self.pending.push((type_ref.innermost().to_owned(), place));
            members.push(Member { description: field.description.clone(), ..Member::new(&field.name, type_ref) });
        }
        self.define(&object.name, object.description.as_deref(), Kind::Object(members), owner)?;
        let attributes = object.fields.iter().map(|field| (field.name.clone(), field.attribute.clone())).collect();
        match self.attributes.insert(object.name.clone(), attributes) {
            Some(other) if other != self.attributes[&object.name] => Err(SchemaError::DuplicateType {
                name: object.name.clone(),
                first: "another resolver".to_owned(),
                second: owner.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn pending_types(&mut self) -> Result<(), SchemaError> {
        for (name, place) in std::mem::take(&mut self.pending) {
            if let Some(scalar) = Scalar::from_name(&name) {
                self.scalar(scalar);
            } else if let Some(table) = self.tables.get(name.as_str()).copied() {
                self.row(table)?;
            } else if !self.attributes.contains_key(&name) && !self.declared_enums.contains(&name) {
                // Types of ours (events, keys, inputs) are not for resolvers to return.
                return Err(SchemaError::UnknownType { name, place });
            }
        }
        Ok(())
    }

    fn closing_types(&mut self) -> Result<(), SchemaError> {
        if self.definitions.contains("Subscription") {
            self.vocabulary()?;
        }
        let directives = self.shareable();
        let rowcast = Member::new("rowcast", TypeRef::named("Rowcast").non_null());
        let rowcast = Member { directives, ..rowcast.described("About the engine itself.") };
        let version = Member::new("version", TypeRef::named("String").non_null()).described("Its version.");
        self.define("Query", None, Kind::Object(vec![rowcast]), "rowcast")?;
        let about = Some("The engine behind the subscriptions.");
        self.define_with(directives.to_owned(), "Rowcast", about, Kind::Object(vec![version]), "rowcast")?;
        let mut scalars: Vec<_> = self.scalars.iter().filter_map(|name| Scalar::from_name(name)).collect();
        scalars.sort_unstable_by_key(|scalar| scalar.name());
        for scalar in scalars {
            if let Some(description) = scalar.description() {
                self.define(scalar.name(), Some(description), Kind::Scalar, "rowcast")?;
            }
        }
        Ok(())
    }

    fn vocabulary(&mut self) -> Result<(), SchemaError> {
        let transitions = TRANSITIONS.map(|transition| transition.name().to_owned()).to_vec();
        let operations = OPERATIONS.map(|operation| operation.name().to_owned()).to_vec();
        let about = "What was done: to a row, to the table, or a manual publication. With snapshot: true first SNAPSHOT for \
                     each row that is there, then, without a row, SNAPSHOT_END.";
        self.define("Operation", Some(about), Kind::Enum(operations), "rowcast")?;
        let about = "Whether the row came into the subscription's view, changed within it, or left it.";
        self.define("Transition", Some(about), Kind::Enum(transitions), "rowcast")
    }
}

const TRANSITIONS: [Transition; 3] = [Transition::Enter, Transition::Stay, Transition::Leave];

/// In the order of the schema.
pub(super) const OPERATIONS: [Operation; 7] = [
    Operation::Insert,
    Operation::Update,
    Operation::Delete,
    Operation::Truncate,
    Operation::Message,
    Operation::Snapshot,
    Operation::SnapshotEnd,
];

fn root_member(field: &SubscriptionField) -> Member {
    let told = field.event_type();
    let told = if field.transactions { TypeRef::named(field.transaction_name()).non_null() } else { told };
    let member = Member::new(&field.name, told);
    match &field.source {
        RootSource::Table(table) => Member {
            arguments: vec![
                ("where", TypeRef::named(where_name(table))),
                ("operations", TypeRef::named("Operation").non_null().list()),
                ("after", TypeRef::named("String")),
                ("snapshot", TypeRef::named("Boolean")),
            ],
            ..member.described(format!("Changes of {}.", table.name))
        },
        RootSource::Topic(topic) => Member {
            arguments: vec![("after", TypeRef::named("String"))],
            ..member.described(format!("Publications to topic {topic}."))
        },
    }
}

pub(super) fn event_name(type_name: &str) -> String {
    format!("{type_name}Event")
}

pub(super) fn key_name(table: &Table) -> String {
    format!("{}Key", table.type_name)
}

fn where_name(table: &Table) -> String {
    format!("{}Where", table.type_name)
}

fn owner(table: &Table) -> String {
    format!("table {}", table.name)
}

/// An enum is called as in the database; where that name is taken by something that cannot move, `Enum` follows it.
fn enum_name(taken: &HashSet<String>, name: &str) -> String {
    let name = name::pascal_case(name);
    if taken.contains(&name) { name + "Enum" } else { name }
}

fn taken_names(tables: &HashMap<&str, &Table>, bound: &[BoundField]) -> HashSet<String> {
    let mut taken: HashSet<String> = ["Query", "Subscription", "Rowcast", "Operation", "Transition", "Mutation"]
        .into_iter()
        .chain(Scalar::ALL.map(Scalar::name))
        .map(str::to_owned)
        .collect();
    for table in tables.values() {
        taken.extend([table.type_name.clone(), event_name(&table.type_name), key_name(table), where_name(table)]);
    }
    for field in bound.iter().filter(|field| field.declaration.transactions) {
        let name = subscription_field(field).map(|field| field.transaction_name());
        taken.extend(name);
    }
    for returns in bound.iter().filter_map(|field| field.declaration.resolver.as_ref()?.returns.as_ref()) {
        taken.extend(returns.objects.iter().map(|object| object.name.clone()));
        taken.extend(returns.enums.iter().map(|declared| declared.name.clone()));
    }
    taken
}
