//! The tenant rule as a condition: the row's tenant is the principal's.

use super::{Operator, Predicate, PredicateError, Scalar, operand, operators};
use crate::model::{Column, Table};

impl Predicate {
    /// `tenant column = tenant`, the text read as the column's type: a UUID in upper case is the same tenant.
    ///
    /// Refused when the table has no tenant column, when that column's type has no equality here, and when the text is
    /// not a value of it. A caller that meets a refusal shows no rows.
    pub fn tenant(table: &Table, tenant: &str) -> Result<Predicate, PredicateError> {
        let refused = |column: String, expected| PredicateError::Tenant { column, expected };
        let (index, column) = table
            .tenant
            .and_then(|index| Some((index, table.columns.get(index)?)))
            .ok_or_else(|| refused(table.name.to_string(), "a table that is watched with a tenant column".into()))?;
        let name = || format!("{}.{}", table.name, column.name);
        if let Some(reason) = incomparable(column) {
            return Err(PredicateError::TenantColumn { column: name(), reason });
        }
        Scalar::from_text(&column.pg_type, tenant.as_bytes())
            .map(|tenant| Predicate::eq(index, tenant))
            .ok_or_else(|| refused(name(), operand::expected(&column.pg_type)))
    }
}

fn incomparable(column: &Column) -> Option<&'static str> {
    let equates = operators(&column.pg_type).contains(&Operator::Eq);
    if equates { column.incomparable() } else { Some("its type is not compared") }
}
