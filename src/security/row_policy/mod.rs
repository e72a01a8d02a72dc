//! PostgreSQL's row-level security (manual, section 5.9 "Row Security Policies").
//!
//! Policies are not evaluated yet, so a table that has any is closed: a change feed that passes them by is a leak.

mod question;

pub use question::{Question, Reads};

use super::Refusal;
use crate::model::Table;

/// Refuses a table whose rows a policy may hide.
pub(super) fn admit(table: &Table) -> Result<(), Refusal> {
    if table.access.row_security { Err(Refusal::RowSecurity { what: table.name.to_string() }) } else { Ok(()) }
}
