//! Why a principal receives a row, or does not: the verdict of each module on one principal, one table and one change.
//!
//! The input is a principal, a table, and a change as an operator writes it. The code that serves also decides here: the
//! catalog, the gate, the index, PostgreSQL and the encoder, each asked once for a subscription to everything that the
//! principal may read. Nothing is served or written, and no slot is made or claimed. The operator's settings and rows are
//! shown; passwords are not.

mod image;
mod modules;
mod policies;
mod report;
mod row;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Engine;
use super::follow::catalog;
use super::follow::start;
use crate::engine::deliver::Core;
use crate::engine::served::{Declaration, Field, Live};
use crate::error::Error;
use crate::model::{Operation, Principal, Table};
pub(crate) use image::carried;
use image::sent;
use report::Report;

/// What is to be explained.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// The table, as in `watch`.
    pub table: String,
    /// What its field was declared with, a JSON object as for [`Engine::start`], without the table.
    pub field: Option<String>,
    /// The row after, a JSON object by column names.
    pub row: Option<String>,
    /// The row before.
    pub old: Option<String>,
    /// What happened; without it, what the images tell.
    pub operation: Option<Operation>,
}

/// What everything is asked about.
struct Case<'a> {
    core: &'a Core,
    live: Live,
    table: Arc<Table>,
    principal: &'a Principal,
}

impl Engine {
    /// What each module says, as a JSON object: see `SubscriptionExecutor.explain` in `_engine.pyi`. Needs no start.
    pub async fn explain(&self, principal: &Principal, inquiry: &Inquiry) -> Result<String, Error> {
        let declared = declaration(inquiry)?;
        let conninfo = self.conninfo()?;
        let (client, connection) = conninfo.connect().await?;
        let prepared = async {
            let mode = self.mode(&client).await?;
            let tables = catalog::load(&client, self.core.settings.naming, mode).await?;
            let table = Arc::clone(tables.find(&inquiry.table)?);
            let sent = sent(&client, &table, inquiry).await?;
            Ok::<_, Error>((tables, table, sent))
        };
        let prepared = prepared.await;
        connection.abort();
        let (tables, table, sent) = prepared?;
        let live = Live::build(tables, &declared, &self.core.settings)?;
        let case = Case { core: &self.core, live, table, principal };
        let mut report = case.report();
        if let Some(sent) = sent {
            let probe = start::probe(&self.core, &conninfo)?;
            report.row = Some(case.row(sent, &probe).await);
        }
        Ok(report.to_json())
    }
}

impl Case<'_> {
    /// The only field that was declared.
    fn field(&self) -> &Field {
        self.live.field(0)
    }

    fn report(&self) -> Report {
        let modules = self.modules();
        let admitted = modules.iter().all(|module| module.admitted);
        let subscription = admitted.then(|| self.subscription()).and_then(Result::ok);
        Report {
            table: self.table.name.to_string(),
            admitted,
            problems: self.problems(),
            modules,
            row_policy: self.policies(),
            columns: self.columns(),
            condition: subscription.map(|subscription| subscription.found_by(&self.table)),
            row: None,
        }
    }

    fn problems(&self) -> Vec<report::Problem> {
        let of_table = self.live.tables.problems.iter().filter(|problem| problem.table == self.table.name);
        of_table.map(|problem| report::Problem { code: problem.code.clone(), hint: problem.hint.clone() }).collect()
    }
}

/// As an application would declare it.
fn declaration(inquiry: &Inquiry) -> Result<Vec<Declaration>, Error> {
    let text = inquiry.field.as_deref().unwrap_or("{}");
    let mut field: Map<String, Value> = serde_json::from_str(text).map_err(|error| Error::Declaration {
        code: "FIELDS_INVALID",
        message: format!("the field's declaration is not a JSON object: {error}"),
    })?;
    field.insert("table".to_owned(), inquiry.table.as_str().into());
    Declaration::parse(&Value::Array(vec![field.into()]).to_string())
}

/// What the operator asked cannot be answered.
fn invalid(code: &'static str, message: impl Into<String>) -> Error {
    Error::Declaration { code, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_field_is_declared_with_is_read_as_the_engine_reads_it() {
        let of =
            |field: &str| declaration(&Inquiry { table: "t".into(), field: Some(field.into()), ..Inquiry::default() });
        assert_eq!(of(r#"{"scopes": ["read"]}"#).unwrap().len(), 1);
        for broken in ["", "[]", r#"{"scope": "read"}"#] {
            assert_eq!(of(broken).unwrap_err().code(), "FIELDS_INVALID", "{broken}");
        }
    }
}
