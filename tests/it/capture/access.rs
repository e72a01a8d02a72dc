//! `Tables::load`: which role may read what. PostgreSQL is asked the same about each role: `pg_has_role` and the
//! `has_…_privilege` functions are the judges.

use std::time::{Duration, Instant};

use rowcast::catalog::Tables;
use rowcast::model::{PUBLIC, Policy, Role, Table};
use tokio_postgres::Client;

use crate::postgres::{Database, Server};

/// `$` in a statement stands for the prefix of this test's roles, which belong to the whole server.
struct Fixture {
    database: Database,
    client: Client,
}

impl Fixture {
    async fn with(setup: &str) -> Self {
        let (database, client) = Database::migrated().await;
        let fixture = Self { database, client };
        fixture.run(setup).await;
        fixture
    }

    async fn run(&self, statements: &str) {
        self.client.batch_execute(&self.text(statements)).await.unwrap();
    }

    async fn load(&self) -> Tables {
        Tables::load(&self.client).await.unwrap()
    }

    fn text(&self, text: &str) -> String {
        text.replace('$', &self.database.role(""))
    }

    fn role<'a>(&self, tables: &'a Tables, name: &str) -> &'a Role {
        tables.roles.named(&self.text(name)).unwrap()
    }

    async fn version(&self) -> i32 {
        let query = "select current_setting('server_version_num')::int";
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }
}

fn table<'a>(tables: &'a Tables, name: &str) -> &'a Table {
    tables.find(name).unwrap()
}

fn may_select(role: &Role, table: &Table) -> bool {
    role.is_among(&table.access.schema_usage) && role.is_among(&table.access.select)
}

fn may_read(role: &Role, table: &Table, column: &str) -> bool {
    let column = table.column(column).unwrap();
    role.is_among(&table.access.schema_usage)
        && (role.is_among(&table.access.select) || role.is_among(&table.access.select_column[column]))
}

fn using(policy: &Policy) -> &str {
    policy.using.as_deref().unwrap()
}

const ORDERS: &str = "create table orders (id int primary key, tenant text, secret text);
                      select rowcast.watch('orders', 'tenant');";

#[tokio::test]
async fn a_table_that_nobody_granted_is_its_owners_and_the_superusers() {
    let fixture = Fixture::with(ORDERS).await;
    fixture.run("create role $owner; create role $other; alter table orders owner to $owner").await;
    let tables = fixture.load().await;
    let orders = table(&tables, "orders");
    assert_eq!(orders.access.owner, fixture.role(&tables, "$owner").oid);
    assert!(may_select(fixture.role(&tables, "$owner"), orders));
    assert!(!may_select(fixture.role(&tables, "$other"), orders));
    assert!(may_select(tables.roles.named("postgres").unwrap(), orders));
    assert!(tables.roles.named("postgres").unwrap().superuser);
    assert!(tables.roles.named("nobody at all").is_none());
}

#[tokio::test]
async fn an_owner_who_revoked_from_himself_may_not_read() {
    let fixture = Fixture::with(ORDERS).await;
    fixture.run("create role $owner; alter table orders owner to $owner; revoke select on orders from $owner").await;
    let tables = fixture.load().await;
    assert!(!may_select(fixture.role(&tables, "$owner"), table(&tables, "orders")));
}

#[tokio::test]
async fn what_is_granted_to_public_is_everybodys() {
    let fixture = Fixture::with(ORDERS).await;
    fixture.run("create role $one; grant select on orders to public").await;
    let tables = fixture.load().await;
    let orders = table(&tables, "orders");
    assert!(orders.access.select.contains(&PUBLIC));
    assert!(may_select(fixture.role(&tables, "$one"), orders));
    fixture.run("revoke select on orders from public").await;
    let tables = fixture.load().await;
    assert!(!may_select(fixture.role(&tables, "$one"), table(&tables, "orders")));
}

#[tokio::test]
async fn a_grant_on_columns_opens_those_columns_alone() {
    let fixture = Fixture::with(ORDERS).await;
    fixture.run("create role $clerk; grant select (id, tenant) on orders to $clerk; grant insert (secret) on orders to $clerk").await;
    let tables = fixture.load().await;
    let (clerk, orders) = (fixture.role(&tables, "$clerk"), table(&tables, "orders"));
    assert!(!may_select(clerk, orders));
    assert!(may_read(clerk, orders, "id") && may_read(clerk, orders, "tenant") && !may_read(clerk, orders, "secret"));
}

#[tokio::test]
async fn a_schema_without_usage_closes_its_tables() {
    let fixture = Fixture::with(
        "create schema app; create table app.orders (id int primary key); select rowcast.watch('app.orders', public => true);
         create role $in; create role $out; grant usage on schema app to $in; grant select on app.orders to $in, $out",
    )
    .await;
    let tables = fixture.load().await;
    let orders = table(&tables, "app.orders");
    assert!(may_select(fixture.role(&tables, "$in"), orders));
    assert!(!may_select(fixture.role(&tables, "$out"), orders));
}

#[tokio::test]
async fn a_reader_of_all_data_may_read_without_a_grant() {
    let fixture = Fixture::with(
        "create schema app; create table app.orders (id int primary key); select rowcast.watch('app.orders', public => true);
         create role $auditor; grant pg_read_all_data to $auditor; create role $aside noinherit; grant pg_read_all_data to $aside",
    )
    .await;
    let tables = fixture.load().await;
    let orders = table(&tables, "app.orders");
    assert!(may_select(fixture.role(&tables, "$auditor"), orders));
    assert!(!may_select(fixture.role(&tables, "$aside"), orders));
}

#[tokio::test]
async fn a_member_has_what_its_groups_have_unless_it_does_not_inherit() {
    let fixture = Fixture::with(ORDERS).await;
    fixture
        .run(
            "create role $top; create role $middle in role $top; create role $low in role $middle;
             create role $aside noinherit in role $top; create role $stranger; grant select on orders to $top",
        )
        .await;
    let tables = fixture.load().await;
    let orders = table(&tables, "orders");
    let may = |name| may_select(fixture.role(&tables, name), orders);
    assert!(may("$top") && may("$middle") && may("$low"));
    assert!(!may("$aside") && !may("$stranger"));
}

#[tokio::test]
async fn from_postgresql_16_on_each_membership_says_whether_it_inherits_and_may_be_set() {
    let fixture = Fixture::with(ORDERS).await;
    if fixture.version().await < 160_000 {
        return;
    }
    fixture
        .run(
            "create role $group; create role $with; create role $without; grant select on orders to $group;
             create role $engine login; grant $with to $engine with set true; grant $without to $engine with set false;
             grant $group to $with with inherit true; grant $group to $without with inherit false;
             select rowcast.grant_engine('$engine')",
        )
        .await;
    let engine = fixture.database.connect_as(&fixture.text("$engine")).await;
    let tables = Tables::load(&engine).await.unwrap();
    let (with, without) = (fixture.role(&tables, "$with"), fixture.role(&tables, "$without"));
    assert!(may_select(with, table(&tables, "orders")) && !may_select(without, table(&tables, "orders")));
    assert!(with.settable && !without.settable);
}

#[tokio::test]
async fn the_engine_may_set_the_roles_that_it_was_granted() {
    let fixture = Fixture::with(ORDERS).await;
    fixture
        .run(
            "create role $mine; create role $foreign; create role $engine login; grant $mine to $engine;
             select rowcast.grant_engine('$engine')",
        )
        .await;
    let engine = fixture.database.connect_as(&fixture.text("$engine")).await;
    let tables = Tables::load(&engine).await.unwrap();
    assert!(fixture.role(&tables, "$mine").settable && !fixture.role(&tables, "$foreign").settable);
    assert!(fixture.role(&tables, "$engine").settable);
    let tables = fixture.load().await;
    assert!(fixture.role(&tables, "$foreign").settable, "a superuser may be everybody");
}

#[tokio::test]
async fn policies_are_those_that_decide_about_reading_in_the_order_of_their_names() {
    let fixture = Fixture::with(ORDERS).await;
    fixture
        .run(
            "create role $clerk; alter table orders enable row level security, force row level security;
             create policy z_own on orders for select to $clerk using (tenant = current_user);
             create policy \"A'll\" on orders using (id > 0) with check (secret is null);
             create policy narrow on orders as restrictive for select using (id < 100);
             create policy writes on orders for insert with check (true);
             create policy changes on orders for update using (true); create policy removes on orders for delete using (true)",
        )
        .await;
    let tables = fixture.load().await;
    let access = &table(&tables, "orders").access;
    assert!(access.row_security && access.force_row_security);
    let names: Vec<&str> = access.policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["A'll", "narrow", "z_own"]);
    let [all, narrow, own] = &*access.policies else { panic!() };
    assert_eq!((using(all), using(narrow)), ("(id > 0)", "(id < 100)"));
    assert_eq!(using(own), "(tenant = CURRENT_USER)");
    assert!(all.permissive && !narrow.permissive && own.permissive);
    assert_eq!((&*all.roles, &*own.roles), ([PUBLIC].as_slice(), [fixture.role(&tables, "$clerk").oid].as_slice()));
    assert_eq!(&*narrow.columns, ["id".into()]);
    assert_eq!(&*all.columns, ["id".into(), "secret".into()], "its check reads more: too many, never too few");
    assert!(may_have_policy(fixture.role(&tables, "$clerk"), own));
}

fn may_have_policy(role: &Role, policy: &Policy) -> bool {
    policy.roles.iter().any(|named| role.has_privileges_of(*named))
}

#[tokio::test]
async fn a_policy_reads_other_tables_by_their_full_names() {
    let fixture = Fixture::with(
        "create schema \"My App\"; create table \"My App\".\"Members\" (\"Who\" text, team int);
         create type \"My App\".level as enum ('low'); create function \"My App\".seen(int) returns bool language sql as 'select true';
         create table orders (id int primary key, \"Team\" int, lvl \"My App\".level); select rowcast.watch('orders');
         alter table orders enable row level security; set search_path = \"My App\", public;
         create policy p on orders using (seen(id) and lvl = 'low' and exists (
             select from \"Members\" m where m.team = \"Team\" and m.\"Who\" = current_user))",
    )
    .await;
    let tables = fixture.load().await;
    let policy = &table(&tables, "orders").access.policies[0];
    for qualified in ["\"My App\".seen(id)", "'low'::\"My App\".level", "\"My App\".\"Members\" m", "orders.\"Team\""] {
        assert!(using(policy).contains(qualified), "{qualified}: {policy:?}");
    }
    assert_eq!(&*policy.columns, ["Team".into(), "id".into(), "lvl".into()]);
}

#[tokio::test]
async fn columns_that_the_stream_does_not_carry_are_told() {
    let fixture = Fixture::with(
        "create table orders (id int primary key, twice int generated always as (id * 2) stored, alias text, gone int);
         alter table orders drop gone; select rowcast.watch('orders', public => true, replica_identity => 'keep')",
    )
    .await;
    let unsent = |tables: &Tables| table(tables, "orders").access.unsent.to_vec();
    assert_eq!(unsent(&fixture.load().await), ["twice".into()]);
    let tables = fixture.load().await;
    assert_eq!(table(&tables, "orders").access.select_column.len(), 2, "one for each column that is served");
    if fixture.version().await >= 150_000 {
        fixture.run("alter publication rowcast set table orders (id)").await;
        assert_eq!(unsent(&fixture.load().await), ["alias".into(), "twice".into()]);
    }
}

#[tokio::test]
async fn of_a_partitioned_table_the_access_of_the_table_named_counts() {
    let fixture = Fixture::with(
        "create table p (id int primary key) partition by list (id); create table p1 partition of p for values in (1);
         select rowcast.watch('p', public => true); create role $one; create role $two;
         grant select on p to $one; grant select on p1 to $two; alter table p1 enable row level security",
    )
    .await;
    let tables = fixture.load().await;
    let p = table(&tables, "p");
    assert!(may_select(fixture.role(&tables, "$one"), p) && !may_select(fixture.role(&tables, "$two"), p));
    assert!(!p.access.row_security);
}

#[tokio::test]
async fn settings_that_policies_name_have_the_value_of_a_fresh_session() {
    let fixture = Fixture::with(ORDERS).await;
    let database = &fixture.database.name;
    fixture
        .run(&format!(
            "alter database {database} set app.region = 'it''s north'; alter table orders enable row level security;
             create policy a on orders using (tenant = current_setting('app.region') or tenant = current_setting('app.none', true));
             create policy b on orders using (tenant = current_setting('timezone'))"
        ))
        .await;
    let client = fixture.database.connect().await;
    let tables = Tables::load(&client).await.unwrap();
    let defaults: Vec<(&str, &str)> = tables.setting_defaults.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(defaults, [("app.region", "it's north")]);
    let again = Tables::load(&client).await.unwrap();
    assert_eq!(again.setting_defaults, tables.setting_defaults, "reading sets nothing");
}

#[tokio::test]
async fn reading_leaves_the_search_path_as_it_was() {
    let fixture = Fixture::with("create schema app; set search_path = app, public").await;
    fixture.load().await;
    let path: String = fixture.client.query_one("show search_path", &[]).await.unwrap().get(0);
    assert_eq!(path, "app, public");
}

#[tokio::test]
async fn a_dropped_table_takes_its_access_with_it() {
    let fixture = Fixture::with(ORDERS).await;
    fixture.run("create table plain (id int primary key); select rowcast.watch('plain', public => true)").await;
    fixture.run("drop table orders").await;
    let tables = fixture.load().await;
    assert!(tables.find("orders").is_err());
    let plain = &table(&tables, "plain").access;
    assert!(plain.policies.is_empty() && !plain.row_security && !plain.force_row_security);
}

/// Changes of which no row tells, and whether they decide about anybody: the fingerprint may say too much.
const CHANGES: [(&str, bool); 18] = [
    ("grant select on orders to a", true),
    ("grant select (id) on orders to b", true),
    ("revoke select on orders from a", true),
    ("grant usage on schema app to a", true),
    ("alter schema app owner to b", true),
    ("create policy p on orders using (true)", true),
    ("alter policy p on orders using (false)", true),
    ("alter policy p on orders to a", true),
    ("alter policy p on orders rename to q", true),
    ("drop policy q on orders", true),
    ("alter table orders enable row level security", true),
    ("alter table orders force row level security", true),
    ("alter table orders owner to a", true),
    ("grant a to b", true),
    ("revoke a from b", true),
    ("alter role b bypassrls", true),
    ("alter role b noinherit", false),
    ("create role c", true),
];

/// On a server of its own, as everybody's roles count.
#[tokio::test]
async fn every_change_of_access_control_is_another_fingerprint() {
    let server = Server::logical();
    let mut client = server.admin().await;
    rowcast::store::migrate(&mut client).await.unwrap();
    let setup = "create schema app; create table app.orders (id int primary key); set search_path = app, public;
                 select rowcast.watch('app.orders', public => true); create role a; create role b";
    client.batch_execute(setup).await.unwrap();
    let mut before = Tables::load(&client).await.unwrap();
    for (change, decides) in CHANGES {
        client.batch_execute(change).await.unwrap();
        let now = before.fingerprint.again(&client).await.unwrap();
        assert_ne!(now, before.fingerprint, "{change}");
        let tables = Tables::load(&client).await.unwrap().keeping(&before);
        assert_eq!(tables.fingerprint, now, "{change}");
        assert_eq!(!tables.decide_as(&before), decides, "{change}");
        before = tables;
    }
    client.batch_execute("create table other (id int primary key); grant select on other to a").await.unwrap();
    let now = Tables::load(&client).await.unwrap().keeping(&before);
    assert_eq!(now.fingerprint, before.fingerprint, "what nobody watches is of no concern");
    assert!(now.decide_as(&before) && std::sync::Arc::ptr_eq(&now.roles, &before.roles));
}

#[tokio::test]
async fn membership_is_what_postgresql_says_in_every_case() {
    let fixture = Fixture::with(ORDERS).await;
    let owner = format!("alter database {} owner to $r5; grant $r5 to $r7", fixture.database.name);
    let memberships = "do '
        begin
            for i in 0..29 loop
                execute format(''create role $r%s %s'', i, case when i % 3 = 0 then ''noinherit'' else ''inherit'' end);
                for up in 0..i - 1 loop
                    if (i * 7 + up * 5) % 11 < 2 then execute format(''grant $r%s to $r%s'', up, i); end if;
                end loop;
                if i % 4 = 0 then execute format(''grant select on orders to $r%s'', i); end if;
            end loop;
        end'";
    fixture.run(memberships).await;
    fixture.run(&owner).await;
    let tables = fixture.load().await;
    let named: Vec<u32> = tables.roles.named("postgres").unwrap().privileges_of.to_vec();
    assert!(named.contains(&6171) && named.len() > 9, "{named:?}");
    let query =
        "select r.rolname, array(select x from unnest($1::oid[]) x where pg_has_role(r.oid, x, 'USAGE') order by x)
                 from pg_roles r";
    let mut member_of_many = 0;
    for row in fixture.client.query(query, &[&named]).await.unwrap() {
        let (name, expected): (String, Vec<u32>) = (row.get(0), row.get(1));
        if let Some(role) = tables.roles.named(&name) {
            assert_eq!(*role.privileges_of, expected, "{name}");
            member_of_many += usize::from(expected.len() > 2);
        }
    }
    assert!(member_of_many > 5, "{member_of_many}");
}

/// Prints what it took: `cargo test --test it ten_thousand_roles -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement: it makes 10,000 roles"]
async fn ten_thousand_roles_are_affordable() {
    let fixture = Fixture::with(ORDERS).await;
    fixture
        .run(
            "set client_min_messages = error; do '
                begin
                    for i in 1..20 loop execute format(''create role $g%s; grant select on orders to $g%s'', i, i); end loop;
                    for i in 1..10000 loop
                        execute format(''create role $u%s in role $g%s, $g%s'', i, 1 + i % 20, 1 + i * 7 % 20);
                    end loop;
                end'",
        )
        .await;
    for _ in 0..3 {
        let start = Instant::now();
        let tables = fixture.load().await;
        let loaded = start.elapsed();
        tables.fingerprint.again(&fixture.client).await.unwrap();
        let looked = start.elapsed().saturating_sub(loaded);
        println!("{} roles: load {loaded:?}, fingerprint {looked:?}", tables.roles.by_name.len());
        assert!(loaded < Duration::from_secs(5));
    }
}
