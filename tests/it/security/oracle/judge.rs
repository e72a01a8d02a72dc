//! PostgreSQL's own answer: every image of every row is put into the table itself, and each principal selects.
//!
//! The table keeps its policies, grants, owner and partitions; its key constraint goes, so that all versions of a row fit in
//! at once. Where the SELECT of all images raises, each image is put there alone and selected alone: then an error hides that
//! image from that principal and no other.
//!
//! Whether a SELECT raises may depend on its plan:
//!
//! - The planner evaluates what does not depend on the row, such as `current_setting('app.n')::int`, to estimate how many
//!   rows there are. If that raises, no SELECT shows anything, although the condition may hold for a row before it comes to
//!   that.
//! - A subquery in the condition is evaluated for the row, or as a whole into a hash table: then it meets rows that raise.
//!
//! So for an image whose SELECT raises, PostgreSQL is asked for the condition alone, with settings that no planner can know.
//! If it does not hold even then, the image must not be delivered; if it holds, it may be.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::delivery::{Change, Image};
use super::principal::Principal;
use super::rights::Rights;
use super::session::{self, rows, run, try_rows};
use super::sql::{literal, name};
use super::table::Table;
use super::world::World;
use crate::postgres::Server;

/// What a SELECT of one image came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    Shown,
    Hidden,
    Raised,
    /// The SELECT raised, and the condition alone holds.
    Unplanned,
}

/// What happened to one table, and what PostgreSQL shows of it.
pub(super) struct Judgement {
    pub(super) changes: Vec<Change>,
    pub(super) images: Vec<Image>,
    /// By principal and image.
    pub(super) selected: Vec<Vec<Selected>>,
    /// By principal and image: whether its filter holds, and whether the image is of its tenant.
    pub(super) filtered: Vec<Vec<bool>>,
    pub(super) of_tenant: Vec<Vec<bool>>,
}

impl Judgement {
    pub(super) async fn of(server: &Server, world: &World, at: usize, rights: &[Rights]) -> Self {
        let table = &world.tables[at];
        let client = session::superuser(server).await;
        let this = table.sql_name(&world.schema);
        let (mut changes, texts) = history(&client, world, table).await;
        empty(&client, &this, table, world, rights).await;
        let places = load(&client, world, &this, &texts).await;
        let images = describe(&client, table, &this, &places, texts).await;
        for change in &mut changes {
            change.look_at_key(table, &images);
        }
        let mut filtered = Vec::new();
        let mut of_tenant = Vec::new();
        for (principal, filter) in world.principals.iter().zip(&world.filters[at]) {
            filtered.push(holds(&client, &this, &places, &filter.sql).await);
            of_tenant.push(holds(&client, &this, &places, &tenant_rule(table, principal, world)).await);
        }
        let selected = select(server, &client, world, &this, &places, &images).await;
        Judgement { changes, images, selected, filtered, of_tenant }
    }
}

/// The changes in commit order, and the distinct images.
async fn history(client: &Client, world: &World, table: &Table) -> (Vec<Change>, Vec<String>) {
    let sql = format!(
        "select op, old, new from {}.log where field = {} order by ord",
        name(&world.schema),
        literal(&table.field)
    );
    let mut texts = Vec::new();
    let mut known = HashMap::new();
    let mut image = |text: &Option<String>| {
        let text = text.clone().unwrap_or_default();
        *known.entry(text.clone()).or_insert_with(|| {
            texts.push(text);
            texts.len() - 1
        })
    };
    let log = rows(client, &sql).await;
    let changes: Vec<_> = log
        .iter()
        .map(|row| match row[0].as_deref() {
            Some("INSERT") => Change::Insert(image(&row[2])),
            Some("UPDATE") => Change::Update(image(&row[1]), image(&row[2]), false),
            Some("DELETE") => Change::Delete(image(&row[1])),
            _ => Change::Truncate,
        })
        .collect();
    (changes, texts)
}

async fn empty(client: &Client, this: &str, table: &Table, world: &World, rights: &[Rights]) {
    let mut sql = format!(
        "drop trigger note on {this}; drop trigger note_truncate on {this}; alter table {this} drop constraint {}_key; \
         truncate {this};",
        table.field
    );
    // The place of a row is how the oracle knows it again.
    for (principal, rights) in world.principals.iter().zip(rights) {
        if let (Some(role), true, false) = (&principal.role, rights.by_column, rights.readable.is_empty()) {
            let _ = write!(sql, "grant select (tableoid, ctid) on {this} to {};", name(role));
        }
    }
    run(client, &sql).await;
}

/// Where each image is.
async fn load(client: &Client, world: &World, this: &str, texts: &[String]) -> HashMap<String, usize> {
    let s = name(&world.schema);
    let values: Vec<_> = texts.iter().enumerate().map(|(at, text)| format!("({at}, {})", literal(text))).collect();
    let filled =
        if values.is_empty() { String::new() } else { format!("insert into {s}.images values {};", values.join(", ")) };
    let sql = format!(
        "drop table if exists {s}.images; create table {s}.images (n int, image text, place text); {filled} \
         do $do$ declare r record; o oid; c tid; begin for r in select n, image from {s}.images order by n loop \
         insert into {this} select (r.image::{this}).* returning tableoid, ctid into o, c; \
         update {s}.images set place = o::text || c::text where n = r.n; end loop; end $do$"
    );
    run(client, &sql).await;
    let places = rows(client, &format!("select place, n from {s}.images")).await;
    places.into_iter().map(|row| (row[0].clone().unwrap(), row[1].as_ref().unwrap().parse().unwrap())).collect()
}

async fn describe(
    client: &Client,
    table: &Table,
    this: &str,
    places: &HashMap<String, usize>,
    texts: Vec<String>,
) -> Vec<Image> {
    let json: Vec<_> = table.columns.iter().map(|column| column.json()).collect();
    let text: Vec<_> = table.columns.iter().map(|column| format!("{}::text", column.sql())).collect();
    let sql = format!(
        "select tableoid::text || ctid::text, json_build_array({}), {} from {this}",
        json.join(", "),
        text.join(", ")
    );
    let mut images: Vec<_> = texts.into_iter().map(|text| Image { text, values: Vec::new() }).collect();
    for row in rows(client, &sql).await {
        let at = places[row[0].as_deref().unwrap()];
        let json: Vec<Value> = serde_json::from_str(row[1].as_deref().unwrap()).unwrap();
        images[at].values = json.into_iter().zip(row.into_iter().skip(2)).collect();
    }
    images
}

/// For each image whether a condition holds, as the superuser, whom no policy concerns.
async fn holds(client: &Client, this: &str, places: &HashMap<String, usize>, condition: &str) -> Vec<bool> {
    let found = rows(client, &format!("select tableoid::text || ctid::text from {this} where {condition}")).await;
    let mut holds = vec![false; places.len()];
    for row in found {
        holds[places[row[0].as_deref().unwrap()]] = true;
    }
    holds
}

fn tenant_rule(table: &Table, principal: &Principal, world: &World) -> String {
    match (&table.tenant, principal.tenant.as_deref()) {
        (None, _) => "true".to_owned(),
        (Some(column), Some("not a uuid")) if !column.kind.is_text() => "false".to_owned(),
        (Some(column), Some(tenant)) => {
            format!("{} = {}::{}", column.sql(), literal(tenant), column.kind.type_name(&world.schema))
        }
        (Some(_), None) => "false".to_owned(),
    }
}

/// By principal and image what a SELECT shows.
async fn select(
    server: &Server,
    client: &Client,
    world: &World,
    this: &str,
    places: &HashMap<String, usize>,
    images: &[Image],
) -> Vec<Vec<Selected>> {
    let mut selected = vec![vec![Selected::Hidden; images.len()]; world.principals.len()];
    let mut raised = Vec::new();
    let sql = format!("select tableoid::text || ctid::text from {this}");
    for (at, principal) in world.principals.iter().enumerate() {
        let session = session::of(server, principal).await;
        match try_rows(&session, &sql).await {
            Ok(found) => {
                for row in found {
                    selected[at][places[row[0].as_deref().unwrap()]] = Selected::Shown;
                }
            }
            Err(_) => raised.push((at, session)),
        }
    }
    alone(client, this, images, &raised, &sql, |at, image, found| selected[at][image] = found).await;
    let raised = permitted(this, raised).await;
    if raised.is_empty() {
        return selected;
    }
    // From here on the table is no longer what it was.
    run(client, &format!("alter table {this} disable row level security; {}", unforeseen(&name(&world.schema)))).await;
    for (at, session) in raised {
        let principal = &world.principals[at];
        let role = principal.role.as_deref().unwrap_or_default();
        run(client, &format!("grant select on {this} to {}", name(role))).await;
        let sql = format!(
            "select 1 from (select exists (select where {}) as holds from {this} offset 0) as row where holds",
            condition(client, &name(&world.schema), this, role).await
        );
        alone(client, this, images, &[(at, session)], &sql, |at, image, found| {
            if (selected[at][image], found) == (Selected::Raised, Selected::Shown) {
                selected[at][image] = Selected::Unplanned;
            }
        })
        .await;
    }
    selected
}

/// Each image alone in the table, for each of these sessions.
async fn alone(
    client: &Client,
    this: &str,
    images: &[Image],
    sessions: &[(usize, Client)],
    sql: &str,
    mut found: impl FnMut(usize, usize, Selected),
) {
    if sessions.is_empty() {
        return;
    }
    for (image, Image { text, .. }) in images.iter().enumerate() {
        run(client, &format!("delete from {this}; insert into {this} select ({}::{this}).*", literal(text))).await;
        for (at, session) in sessions {
            let selected = match try_rows(session, sql).await {
                Ok(rows) if rows.is_empty() => Selected::Hidden,
                Ok(_) => Selected::Shown,
                Err(_) => Selected::Raised,
            };
            found(*at, image, selected);
        }
    }
}

/// Those whose SELECT does not raise for want of a privilege.
async fn permitted(this: &str, sessions: Vec<(usize, Client)>) -> Vec<(usize, Client)> {
    let mut permitted = Vec::new();
    for (at, session) in sessions {
        let error = try_rows(&session, &format!("explain select tableoid, ctid from {this}")).await.err();
        if error.is_none_or(|error| error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE)) {
            permitted.push((at, session));
        }
    }
    permitted
}

/// What settings say, by functions that are volatile and not inlined: the planner does not evaluate them.
fn unforeseen(schema: &str) -> String {
    let function = |head: &str, body: &str| {
        format!(
            "create or replace function {schema}.{head} language plpgsql volatile as $$ begin return {body}; end $$;"
        )
    };
    [
        function("unforeseen(n text) returns text", "current_setting(n)"),
        function("unforeseen(n text, m boolean) returns text", "current_setting(n, m)"),
        function("unforeseen_tenant() returns uuid", &format!("{schema}.my_tenant()")),
    ]
    .concat()
}

/// The policies for a SELECT as this role, put together as PostgreSQL does it: restrictive ones by name, before permissive
/// ones in the opposite order.
async fn condition(client: &Client, schema: &str, this: &str, role: &str) -> String {
    let sql = format!(
        "set search_path = ''; \
         select polpermissive, pg_get_expr(polqual, polrelid) from pg_policy \
         where polrelid = {}::regclass and polcmd in ('r', '*') and polqual is not null \
         and exists (select from unnest(polroles) r where r = 0 or pg_has_role({}, r, 'usage')) \
         order by polname; reset search_path",
        literal(this),
        literal(role)
    );
    let policies = rows(client, &sql).await;
    let those = |permissive: &str| -> Vec<String> {
        let those = policies.iter().filter(|row| row[0].as_deref() == Some(permissive));
        those.map(|row| format!("({})", row[1].as_deref().unwrap_or_default())).collect()
    };
    let permissive: Vec<_> = those("t").into_iter().rev().collect();
    let permissive = if permissive.is_empty() { "false".to_owned() } else { permissive.join(" or ") };
    let all = those("f").into_iter().chain([format!("({permissive})")]).collect::<Vec<_>>().join(" and ");
    all.replace("current_setting(", &format!("{schema}.unforeseen(")).replace(".my_tenant()", ".unforeseen_tenant()")
}
