//! Policies whose texts do not mean what is stored, so that PostgreSQL cannot be asked about them: looked for whenever the
//! catalog is read, so that it is known before a client subscribes.
//!
//! Only a policy that names something which is not PostgreSQL's own can be one. Its specimen is made, looked at and rolled
//! back, and never run. A caller that drops this future half-way must drop the client too.

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::statement::{self, END, TREE, WRITE};
use crate::model::{Policy, Table};
use crate::security::Binding;

/// A policy that cannot be parsed takes no other with it.
const SAVE: &str = "savepoint rowcast_policy";
const UNDO: &str = "rollback to savepoint rowcast_policy";

/// Names of a table's policies that mean something else. What this session may not find out (it may lack the privilege
/// TEMPORARY, or USAGE on a schema) is found out when the policy is asked.
pub async fn unbound(client: &Client, table: &Table) -> Result<Vec<Box<str>>, Error> {
    let doubtful = table.access.policies.iter().filter(|policy| binding(policy).is_doubtful());
    let doubtful: Vec<&Policy> = doubtful.collect();
    let mut unbound = Vec::new();
    if doubtful.is_empty() {
        return Ok(unbound);
    }
    if said(client.batch_execute(WRITE).await)?.is_some() {
        for policy in doubtful {
            if !is_bound(client, table, policy).await? {
                unbound.push(policy.name.clone());
            }
        }
    }
    client.batch_execute(END).await?;
    Ok(unbound)
}

async fn is_bound(client: &Client, table: &Table, policy: &Policy) -> Result<bool, Error> {
    let Some(using) = &policy.using else { return Ok(true) };
    let specimen = statement::specimen(&table.name, using);
    let rows = said(client.simple_query(&format!("{SAVE}; {specimen}; {TREE}")).await)?;
    client.batch_execute(UNDO).await?;
    Ok(rows.is_none_or(|rows| tree(&rows).is_none_or(|tree| binding(policy).is_of(tree))))
}

fn binding(policy: &Policy) -> Binding {
    Binding::of(Box::default(), std::iter::once(&*policy.tree))
}

fn tree(rows: &[SimpleQueryMessage]) -> Option<&str> {
    rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

/// Nothing where the server refuses.
fn said<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if error.as_db_error().is_some() => Ok(None),
        other => other.map(Some),
    }
}
