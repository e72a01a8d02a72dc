//! What PostgreSQL says of a principal's grants, asked before it subscribes.

use tokio_postgres::Client;

use super::column::Column;
use super::principal::Principal;
use super::session::rows;
use super::sql::{literal, name};
use super::table::Table;
use super::world::World;

/// Of one principal to one table.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    pub(super) readable: Vec<Column>,
    /// The table is readable column by column alone.
    pub(super) by_column: bool,
    /// Policies apply.
    pub(super) policies: bool,
}

impl Rights {
    pub(super) async fn of(client: &Client, world: &World, table: &Table, principal: &Principal) -> Self {
        let Some(role) = &principal.role else {
            return Rights { readable: table.columns.clone(), by_column: false, policies: table.row_security };
        };
        let this = oid(client, &literal(&table.sql_name(&world.schema))).await;
        let (given, schema) = (literal(role), literal(&world.schema));
        let columns: Vec<_> = table
            .columns
            .iter()
            .map(|column| format!("has_column_privilege({given}, {this}, {}, 'select')", literal(column.name)))
            .collect();
        let sql = format!(
            "set role {}; select has_schema_privilege({given}, {schema}, 'usage'), \
             has_table_privilege({given}, {this}, 'select'), row_security_active({this}), {}; reset role",
            name(role),
            columns.join(", ")
        );
        let row = &rows(client, &sql).await[0];
        let says = |at: usize| row[at].as_deref() == Some("t");
        let readable = |(at, column): (usize, &Column)| (says(0) && says(at + 3)).then_some(*column);
        let readable = table.columns.iter().enumerate().filter_map(readable).collect();
        Rights { readable, by_column: !says(1), policies: says(2) }
    }

    /// The codes with which the engine has to refuse the table as a whole; none if it has to serve it.
    pub(super) fn refusals(&self, table: &Table, principal: &Principal) -> Vec<&'static str> {
        let mut codes = Vec::new();
        match (&table.tenant, principal.tenant.as_deref()) {
            (Some(_), None) => codes.push("TENANT_REQUIRED"),
            (Some(column), Some("not a uuid")) if !column.kind.is_text() => codes.push("TENANT_INVALID"),
            (None, _) if !table.public && !table.row_security => codes.push("NOT_PUBLIC"),
            _ => {}
        }
        if table.row_security && principal.role.is_none() {
            codes.push("ROLE_REQUIRED");
        }
        if self.readable.is_empty() {
            codes.push("TABLE_FORBIDDEN");
        }
        codes
    }
}

async fn oid(client: &Client, table: &str) -> String {
    rows(client, &format!("select {table}::regclass::oid::text || '::oid'")).await[0][0].clone().unwrap()
}
