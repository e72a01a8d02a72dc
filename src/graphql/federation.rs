//! The words of Apollo Federation 2: what a subgraph's text has beyond the schema, and what its executable schema has.
//!
//! A type is an entity when its table has a primary key that a gateway can carry. Rows are given by their key only
//! where a field gives the event envelope: what a resolver alone gives out, it may have changed or held back, so its
//! type has a key that is not resolvable here.

use std::sync::Arc;

use super::field::{RootSource, SubscriptionField};
use super::sdl::Definitions;
use crate::model::{PgType, Table};

/// The union of all entities.
pub(super) const ENTITY: &str = "_Entity";
/// The query field that gives rows by key.
pub(super) const ENTITIES: &str = "_entities";

/// 2.4 is the first version whose subgraphs may have subscriptions.
const LINK: &str = "extend schema @link(url: \"https://specs.apollo.dev/federation/v2.4\", \
                    import: [\"@key\", \"@shareable\"])\n\n";

/// The text that `_service { sdl }` gives. What every subgraph has, the specification leaves out of it.
pub(super) fn subgraph(definitions: &Definitions) -> String {
    format!("{LINK}{definitions}")
}

/// The tables whose rows are given by key, each with its field's place among `fields`.
pub(super) fn entities<'a>(
    fields: impl IntoIterator<Item = &'a SubscriptionField>,
) -> impl Iterator<Item = (usize, &'a Arc<Table>)> {
    fields.into_iter().enumerate().filter_map(|(index, field)| match (&field.source, &field.returns) {
        (RootSource::Table(table), None) if has_key(table) => Some((index, table)),
        _ => None,
    })
}

/// Whether a gateway can carry the table's key: `@key` takes no lists.
pub(super) fn has_key(table: &Table) -> bool {
    let columns = || table.key.iter().filter_map(|index| table.columns.get(*index));
    !table.key.is_empty() && columns().all(|column| !matches!(column.pg_type, PgType::Array(_)))
}

/// `@key(fields: "tenantId id")`
pub(super) fn key_directive(table: &Table, resolvable: bool) -> String {
    let columns = table.key.iter().filter_map(|index| table.columns.get(*index));
    let fields = columns.map(|column| column.field.as_str()).collect::<Vec<_>>().join(" ");
    let resolvable = if resolvable { "" } else { ", resolvable: false" };
    format!("@key(fields: \"{fields}\"{resolvable})")
}
