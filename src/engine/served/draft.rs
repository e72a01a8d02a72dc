//! Fields on their way into a schema: each is bound to its table, and one that cannot be served is set aside alone.

use std::collections::HashSet;
use std::sync::Arc;

use super::declare::{Declaration, Field};
use crate::catalog::{CatalogError, TableProblem, Tables};
use crate::config::Settings;
use crate::error::Error;
use crate::failure::Failure;
use crate::graphql::Naming;
use crate::graphql::{BoundField, GraphSchema, Options, SchemaError};
use crate::model::{Table, TableName};

type Bound = (BoundField, Field);

/// A field that is not served, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aside {
    pub(crate) field: String,
    /// `None` for a topic.
    pub(crate) table: Option<TableName>,
    code: String,
    reason: String,
}

impl Aside {
    fn of(declaration: &Declaration, problem: TableProblem, naming: Naming) -> Self {
        let field = declaration.name.clone().unwrap_or_else(|| naming.field(&problem.table.name));
        Aside { field, table: Some(problem.table), code: problem.code, reason: problem.hint }
    }

    fn unfit((bound, _): Bound, error: &SchemaError) -> Self {
        let named = || bound.table.as_ref().map(|table| table.field.clone()).or(bound.declaration.topic.clone());
        Aside {
            field: bound.declaration.name.clone().or_else(named).unwrap_or_default(),
            table: bound.table.map(|table| table.name.clone()),
            code: error.code().to_owned(),
            reason: error.to_string(),
        }
    }

    /// What its subscribers get. The reason is the operator's.
    pub(crate) fn failure(&self) -> Failure {
        let message = format!("the field {} is not served at present: the server's log has the reason", self.field);
        Failure::new("TABLE_NOT_SERVED", message)
    }

    pub(crate) fn report(&self) {
        let Aside { field, table, code, reason } = self;
        let what = table.as_ref().map_or_else(String::new, |table| format!(" of table {table}"));
        tracing::error!(code, "the field {field}{what} is not served ({code}); other fields are: {reason}");
    }
}

/// Fields that make one schema.
pub(crate) struct Drafted {
    pub(crate) schema: GraphSchema,
    /// The tables of its fields.
    pub(crate) served: Vec<Arc<Table>>,
    /// In the order of the schema's own.
    pub(crate) fields: Vec<Field>,
    pub(crate) aside: Vec<Aside>,
}

/// Fields that shall make one schema.
pub(crate) struct SchemaDraft<'a> {
    tables: &'a Tables,
    naming: Naming,
    options: Options,
    bound: Vec<Bound>,
    aside: Vec<Aside>,
    /// The schema of the bound fields, once they are known to fit.
    schema: Option<GraphSchema>,
}

impl<'a> SchemaDraft<'a> {
    pub(crate) fn new(tables: &'a Tables, settings: &Settings) -> Self {
        let (introspection, service) = (settings.introspection, settings.service.clone());
        let options = Options { introspection, service, limits: settings.request };
        SchemaDraft { tables, naming: settings.naming, options, bound: Vec::new(), aside: Vec::new(), schema: None }
    }

    /// Adds a declared field, or sets it aside when its table cannot be served.
    pub(crate) fn bind(&mut self, declaration: &Declaration) -> Result<(), Error> {
        match declaration.bind(self.tables) {
            Err(Error::Catalog(CatalogError::NotServed(problem))) => {
                self.aside.push(Aside::of(declaration, *problem, self.naming));
            }
            bound => self.bound.push(bound?),
        }
        Ok(())
    }

    /// Adds every table that is not declared and fits beside the others. One whose declared field was set aside has no
    /// second field without the declaration's scopes.
    fn add_undeclared(&mut self) -> Result<(), Error> {
        let served = self.bound.iter().filter_map(|(bound, _)| bound.table.as_ref().map(|table| &table.name));
        let aside = self.aside.iter().filter_map(|aside| aside.table.as_ref());
        let declared: HashSet<&TableName> = served.chain(aside).collect();
        let undeclared = self.tables.iter().filter(|table| !declared.contains(&table.name));
        let fields = undeclared.map(|table| Declaration::of_table(table).bind(self.tables));
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        self.fit(fields);
        Ok(())
    }

    /// Sets aside what does not fit, in the order of the declarations.
    pub(crate) fn settle(&mut self) {
        let fields = std::mem::take(&mut self.bound);
        self.fit(fields);
    }

    /// Makes the schema of all that is bound; the last one that could be made stays when it cannot.
    pub(crate) fn make(&mut self) -> Result<(), SchemaError> {
        self.schema = Some(self.build()?);
        Ok(())
    }

    fn build(&self) -> Result<GraphSchema, SchemaError> {
        let fields: Vec<BoundField> = self.bound.iter().map(|(bound, _)| bound.clone()).collect();
        GraphSchema::build(&self.served(), &fields, self.options.clone())
    }

    /// The schema; with `serve_watched` of undeclared tables too.
    pub(crate) fn finish(mut self, serve_watched: bool) -> Result<Drafted, Error> {
        if serve_watched {
            self.add_undeclared()?;
        }
        let schema = match self.schema.take() {
            Some(schema) => schema,
            None => self.build()?,
        };
        let served = self.served();
        let fields = self.bound.into_iter().map(|(_, field)| field).collect();
        Ok(Drafted { schema, served, fields, aside: self.aside })
    }

    /// All at once where they fit, else in halves: a few misfits among many cost a few schemas each.
    fn fit(&mut self, mut fields: Vec<Bound>) {
        let (fitting, rest) = (self.bound.len(), fields.len() / 2);
        self.bound.append(&mut fields);
        let Err(error) = self.make() else { return };
        let mut fields = self.bound.split_off(fitting);
        match fields.len() {
            0 => {}
            1 => self.aside.extend(fields.pop().map(|field| Aside::unfit(field, &error))),
            _ => {
                let later = fields.split_off(rest);
                self.fit(fields);
                self.fit(later);
            }
        }
    }

    /// The tables of its fields, each once.
    fn served(&self) -> Vec<Arc<Table>> {
        let mut seen = HashSet::new();
        let tables = self.bound.iter().filter_map(|(bound, _)| bound.table.as_ref());
        tables.filter(|table| seen.insert(table.oid)).cloned().collect()
    }
}
