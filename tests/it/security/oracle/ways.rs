//! How the engine comes to a decision, for the figures: whether its policies were compiled, asked, or both.

use rowcast::catalog::Tables;
use rowcast::predicate::Predicate;
use rowcast::security::{RowRule, TablePolicies};
use tokio_postgres::Client;

use super::principal::Principal;
use super::world::World;

/// By table and principal. Asked while the tables are watched.
pub(super) async fn of(client: &Client, world: &World) -> Vec<Vec<&'static str>> {
    let tables = Tables::load(client).await.expect("the catalog");
    let of_table = |table: &super::table::Table| {
        let table = tables.find(&table.sql_name(&world.schema)).expect("a watched table");
        let policies = TablePolicies::of(table);
        let way = |principal: &Principal| {
            let role = principal.role.as_deref().and_then(|role| tables.roles.named(role));
            match role {
                _ if !table.access.row_security => "no policies",
                None => "no role",
                Some(role) => {
                    name(policies.bind(table, role, &principal.model(), &tables.setting_defaults).as_ref().ok())
                }
            }
        };
        world.principals.iter().map(way).collect()
    };
    world.tables.iter().map(of_table).collect()
}

fn name(rule: Option<&RowRule>) -> &'static str {
    match rule {
        None => "refused",
        Some(RowRule::All) => "exempt",
        Some(RowRule::Decided(_)) => "compiled",
        Some(RowRule::Delegated { possible: Predicate::True, certain: Predicate::False, .. }) => "delegated",
        Some(RowRule::Delegated { .. }) => "mixed",
    }
}
