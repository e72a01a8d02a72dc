//! Column privileges (manual, section 5.8 "Privileges"): what of a row the principal's role may select.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Refusal;
use crate::model::{Access, Role, Table};

/// The columns of a table that a principal may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Columns(Option<Arc<[bool]>>);

impl Columns {
    /// Whether this one is.
    pub fn contains(&self, index: usize) -> bool {
        self.0.as_deref().is_none_or(|readable| readable.get(index) == Some(&true))
    }

    /// Whether none is hidden.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Refuses to read any other.
    pub(super) fn require(&self, table: &Table, reads: &BTreeSet<usize>) -> Result<(), Refusal> {
        let hidden = reads.iter().find(|index| !self.contains(**index)).and_then(|index| table.columns.get(*index));
        hidden.map_or(Ok(()), |column| {
            Err(Refusal::ColumnForbidden { what: table.name.to_string(), column: column.name.clone() })
        })
    }
}

/// What the role may read; without a role the application alone decides, and nothing is hidden.
pub(super) fn admit(role: Option<&Role>, table: &Table) -> Result<Columns, Refusal> {
    let Some(role) = role else { return Ok(Columns::default()) };
    let access = &table.access;
    let refused = || Refusal::TableForbidden { what: table.name.to_string(), role: role.name.to_string() };
    if !role.is_among(&access.schema_usage) {
        return Err(refused());
    }
    if role.is_among(&access.select) {
        return Ok(Columns::default());
    }
    let readable: Arc<[bool]> = (0..table.columns.len()).map(|index| may_read(role, access, index)).collect();
    if readable.contains(&true) { Ok(Columns(Some(readable))) } else { Err(refused()) }
}

fn may_read(role: &Role, access: &Access, index: usize) -> bool {
    access.select_column.get(index).is_some_and(|grantees| role.is_among(grantees))
}
