//! Whatever is planted, whenever, under whichever engine: decisions are those of SELECT, a policy that cannot be bound is
//! refused by its code, and nothing planted is ever called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rowcast::capture::CaptureMode;
use rowcast::config::{Bus, PostgreSqlBus, Settings};
use rowcast::engine::Engine;
use rowcast::model::Principal;
use serde_json::{Value, json};
use tokio_postgres::Client as Sql;

use super::things;
use crate::engine::client::{Client, PATIENCE, patient};
use crate::postgres::Server;

/// Each is the policy of a table of its own, and whether it still means what is stored once everything is planted.
const POLICIES: [(&str, bool); 13] = [
    ("shop.ok(owner) and format('%s', owner) = 'red'", true),
    ("shop.ok(owner) and concat(owner, '') = 'red'", true),
    ("shop.ok(owner) and nullif(m, 'blue') is not null", true),
    ("shop.ok(owner) and case m when 'red' then true else false end", true),
    ("shop.ok(owner) and short in ('red', 'pink')", true),
    ("shop.ok(owner) and short::text || '' <> 'blue'", true),
    ("shop.ok(owner) and array[owner] <@ array['red', 'pink']", true),
    ("shop.ok(owner) and owner = current_setting('app.m', true)", true),
    ("owner in (select x.owner from shop.members x)", true),
    ("owner = current_setting('app.m')", true),
    ("m = current_setting('app.m')::mood", true),
    ("shop.ok(owner) and m is distinct from current_setting('app.m')::mood", false),
    ("public.any_ok(owner) and owner = 'red'", false),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    BeforeTheMigration,
    BeforeTheStart,
    WhileItRuns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Superuser,
    LeastPrivileged,
}

impl User {
    fn name(self) -> &'static str {
        match self {
            User::Superuser => "postgres",
            User::LeastPrivileged => "engine",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    when: When,
    user: User,
    capture: CaptureMode,
}

impl Case {
    fn all() -> impl Iterator<Item = Case> {
        let of = |when, user| [CaptureMode::Wal, CaptureMode::Outbox].map(|capture| Case { when, user, capture });
        [When::BeforeTheMigration, When::BeforeTheStart, When::WhileItRuns].into_iter().flat_map(move |when| {
            [User::Superuser, User::LeastPrivileged].into_iter().flat_map(move |user| of(when, user))
        })
    }

    fn database(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}_{}_{:?}", self.when, self.user.name(), self.capture).map_err(|_| fmt::Error)
    }
}

/// One database.
struct World<'s> {
    server: &'s Server,
    case: Case,
    admin: Sql,
}

impl<'s> World<'s> {
    async fn new(server: &'s Server, case: Case) -> Self {
        let database = case.database().to_lowercase();
        server.sql(&format!("create database {database}")).await;
        let mut admin = server.session("postgres", &database).await;
        admin.batch_execute(&tables(&database)).await.unwrap();
        let world = World { server, case, admin: server.session("postgres", &database).await };
        world.plant(When::BeforeTheMigration).await;
        rowcast::store::migrate(&mut admin).await.unwrap();
        admin.batch_execute(&watched(case)).await.unwrap();
        world.plant(When::BeforeTheStart).await;
        world
    }

    async fn plant(&self, now: When) {
        if self.case.when == now {
            self.admin.batch_execute(&things::sql(&["app", "public", "postgres", "engine"])).await.unwrap();
        }
    }

    async fn serving(&self) -> Arc<Engine> {
        let database = self.case.database().to_lowercase();
        let bus = PostgreSqlBus {
            url: Some(self.server.url_as(self.case.user.name(), &database)),
            slot: None,
            publication: "rowcast".to_owned(),
            capture: Some(self.case.capture),
        };
        let engine =
            Arc::new(Engine::new(Bus::PostgreSql(bus), Settings { service: Some("shop".into()), ..patient() }));
        engine.start(&fields().to_string()).await.unwrap_or_else(|error| panic!("{}: {error}", self.case));
        engine
    }

    /// By a session in which everything that was planted is nearer than PostgreSQL's own, temporary relations included.
    async fn write(&self) {
        let database = self.case.database().to_lowercase();
        let writer = self.server.session("writer", &database).await;
        writer.batch_execute(&shadows()).await.unwrap();
        writer.batch_execute("insert into shop.keyed values ('abc', 'red', 1), ('xyz', 'red', 2)").await.unwrap();
        for at in 0..=POLICIES.len() {
            let rows = "(1, 'red', 'red', 'red'), (2, 'blue', 'blue', 'blue'), (3, 'pink', 'red', 'pink'), (4, 'none', null, null)";
            writer.batch_execute(&format!("insert into shop.t{at} values {rows}")).await.unwrap();
        }
    }

    /// The owner of a type and an administrator, in sessions like that: the event trigger runs in them, and so do rowcast's
    /// functions and views.
    async fn administer(&self) {
        let database = self.case.database().to_lowercase();
        let statements = [
            ("planter", "alter function app.to_mood(pg_catalog.text) stable"),
            (
                "postgres",
                "table rowcast.tables; table rowcast.coverage; select rowcast.status(), rowcast.note_coverage()",
            ),
            (
                "postgres",
                "select rowcast.watch('shop.t0'), rowcast.publish('alerts', '1'), rowcast.ensure_publication()",
            ),
            (
                "postgres",
                "create table shop.more (id int primary key); select rowcast.watch('shop.more', public => true)",
            ),
            ("postgres", "select rowcast.unwatch('shop.more'); drop table shop.more"),
        ];
        for (user, statement) in statements {
            let session = self.server.session(user, &database).await;
            session.batch_execute(&shadows()).await.unwrap();
            if let Err(error) = session.batch_execute(statement).await {
                panic!("{statement}: {error:?}");
            }
        }
    }

    /// Rows by keys of types that have an operator of their own, or none.
    async fn gives_rows_by_key(&self, engine: &Engine) {
        let mut client = reader(engine);
        let key = |code: &str| json!({ "__typename": "Keyed", "code": code, "m": "red" });
        let query = "query ($r: [_Any!]!) { _entities(representations: $r) { ... on Keyed { v } } }";
        client.send("1", &json!({ "query": query, "variables": { "r": [key("ABC"), key("none"), key("Xyz")] } }));
        assert_eq!(client.next().await, json!([{ "v": 1 }, null, { "v": 2 }]), "{}", self.case);
    }

    /// What SELECT shows to the role.
    async fn shown(&self, table: usize) -> BTreeSet<i64> {
        let as_reader = "set search_path = pg_catalog, pg_temp; set app.m = 'red'; set role reader";
        self.admin.batch_execute(as_reader).await.unwrap();
        let of_tenant = if table == POLICIES.len() { "where t.m operator(pg_catalog.=) 'red'" } else { "" };
        let rows = self.admin.query(&format!("select id from shop.t{table} t {of_tenant}"), &[]).await.unwrap();
        self.admin.batch_execute("reset role; reset search_path").await.unwrap();
        rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).collect()
    }

    /// Who was called in this database, by any session but those that set something off on purpose.
    fn called(&self) -> Vec<String> {
        let (here, on_purpose) = (format!(" in {} by", self.case.database().to_lowercase()), "by spring");
        let log = self.server.log();
        let marks = log.lines().filter(|line| line.contains("LOG:  planted") && line.contains(&here));
        marks.filter(|line| !line.ends_with(on_purpose)).map(str::to_owned).collect()
    }

    /// Each of them can be called, and is seen.
    async fn are_armed(&self) {
        let database = self.case.database().to_lowercase();
        let victim = self.server.session("postgres", &database).await;
        victim.batch_execute("set application_name = spring; set search_path = app, public, pg_catalog").await.unwrap();
        let marks = |what| self.server.log().matches(&format!("planted {what} in {database} by spring")).count();
        for (spring, what) in things::springs() {
            let before = marks(what);
            if let Err(error) = victim.simple_query(&spring).await {
                panic!("{spring}: {error:?}");
            }
            assert!(marks(what) > before, "{what} is not called by {spring}");
        }
    }
}

/// A type as an extension brings one: it compares without regard to case, and is text where its own operators are not found.
const KEYED: &str = "
    create schema ext; create type ext.code; grant usage on schema ext to public;
    create function ext.code_in(cstring) returns ext.code language internal immutable strict as 'textin';
    create function ext.code_out(ext.code) returns cstring language internal immutable strict as 'textout';
    create type ext.code (input = ext.code_in, output = ext.code_out);
    create cast (ext.code as text) without function as implicit;
    create function ext.compare(a ext.code, b ext.code) returns int language sql immutable as
        $$ select pg_catalog.bttextcmp(pg_catalog.lower(a::pg_catalog.text collate pg_catalog.\"C\"),
                                       pg_catalog.lower(b::pg_catalog.text collate pg_catalog.\"C\")) $$;
    create function ext.lt(a ext.code, b ext.code) returns bool language sql immutable as 'select ext.compare(a, b) operator(pg_catalog.<) 0';
    create function ext.le(a ext.code, b ext.code) returns bool language sql immutable as 'select ext.compare(a, b) operator(pg_catalog.<=) 0';
    create function ext.eq(a ext.code, b ext.code) returns bool language sql immutable as 'select ext.compare(a, b) operator(pg_catalog.=) 0';
    create function ext.ge(a ext.code, b ext.code) returns bool language sql immutable as 'select ext.compare(a, b) operator(pg_catalog.>=) 0';
    create function ext.gt(a ext.code, b ext.code) returns bool language sql immutable as 'select ext.compare(a, b) operator(pg_catalog.>) 0';
    create operator ext.< (leftarg = ext.code, rightarg = ext.code, function = ext.lt);
    create operator ext.<= (leftarg = ext.code, rightarg = ext.code, function = ext.le);
    create operator ext.= (leftarg = ext.code, rightarg = ext.code, function = ext.eq);
    create operator ext.>= (leftarg = ext.code, rightarg = ext.code, function = ext.ge);
    create operator ext.> (leftarg = ext.code, rightarg = ext.code, function = ext.gt);
    create operator class ext.code_ops default for type ext.code using btree as
        operator 1 ext.<, operator 2 ext.<=, operator 3 ext.=, operator 4 ext.>=, operator 5 ext.>, function 1 ext.compare(ext.code, ext.code);
    create table shop.keyed (code ext.code, m mood, v int, primary key (code, m));
    grant select on shop.keyed to reader; grant insert on shop.keyed to writer;";

fn tables(database: &str) -> String {
    let mut sql = format!(
        "create schema shop; create schema app; create schema postgres; create schema engine;
         grant create, usage on schema app, public, postgres, engine to planter; grant usage on schema shop to reader, writer;
         grant usage on schema app, postgres, engine to public;
         create type public.mood as enum ('red', 'blue'); alter type public.mood owner to planter;
         create function shop.ok(text) returns bool language sql stable as 'select true';
         create function public.any_ok(anyelement) returns bool language sql stable as 'select true';
         grant usage on schema shop to engine;
         create table shop.members (owner text); insert into shop.members values ('red'), ('none');
         grant select on shop.members to reader;
         alter database {database} set search_path = \"$user\", app, public, pg_catalog;"
    );
    for at in 0..=POLICIES.len() {
        sql += &format!(
            "create table shop.t{at} (id int primary key, owner text, m mood, short varchar(9));
             grant select on shop.t{at} to reader; grant insert on shop.t{at} to writer;"
        );
    }
    for (at, (policy, _)) in POLICIES.iter().enumerate() {
        sql += &format!(
            "alter table shop.t{at} enable row level security; create policy p on shop.t{at} to reader using ({policy});"
        );
        sql += &format!("create policy w on shop.t{at} for insert to writer with check (true);");
    }
    sql + KEYED
}

/// As a migration of the application does it, which runs as the tables' owner.
fn watched(case: Case) -> String {
    let mut sql = "set search_path = pg_catalog; select rowcast.grant_engine('engine');".to_owned();
    for at in 0..POLICIES.len() {
        sql += &format!("select rowcast.watch('shop.t{at}');");
    }
    sql +=
        &format!("select rowcast.watch('shop.t{}', 'm'), rowcast.watch('shop.keyed', public => true);", POLICIES.len());
    if case.capture == CaptureMode::Outbox {
        sql += "select rowcast.start_outbox();";
    }
    sql
}

fn fields() -> Value {
    let policies = (0..POLICIES.len()).map(|at| json!({ "table": format!("shop.t{at}") }));
    let of_tenant = json!({ "table": format!("shop.t{}", POLICIES.len()), "tenant": "m" });
    policies.chain([of_tenant, json!({ "table": "shop.keyed", "public": true })]).collect()
}

fn reader(engine: &Engine) -> Client {
    let settings = BTreeMap::from([("app.m".to_owned(), "red".to_owned())]);
    let (role, tenant_id) = (Some("reader".into()), Some("red".into()));
    Client::connect(engine, Principal { role, tenant_id, settings, ..Principal::default() })
}

fn subscribed(engine: &Engine, table: usize, snapshot: bool) -> Client {
    let client = reader(engine);
    let query = format!("subscription {{ t{table}(snapshot: {snapshot}) {{ operation row {{ id }} }} }}");
    client.subscribe("1", &query);
    client
}

/// Of a session in which everything that was planted is nearer than PostgreSQL's own, temporary relations included.
fn shadows() -> String {
    let names = ["pg_class", "pg_attribute", "pg_publication", "pg_namespace", "pg_roles", "pg_locks", "text", "oid"];
    let tables: String =
        names.iter().map(|name| format!("create temporary table {name} (of_a_session int);")).collect();
    tables + "set search_path = pg_temp, app, public, pg_catalog; set jit = off"
}

fn is_bound(table: usize) -> bool {
    POLICIES.get(table).is_none_or(|(_, bound)| *bound)
}

async fn is_refused(client: &mut Client, case: Case, table: usize) {
    let (code, _) = client.error().await;
    assert_eq!(code, "POLICY_UNBOUND", "{case}: {}", POLICIES[table].0);
}

async fn holds(server: &Server, case: Case) {
    let world = World::new(server, case).await;
    let engine = world.serving().await;
    let mut clients: Vec<_> = (0..=POLICIES.len()).map(|table| subscribed(&engine, table, false)).collect();
    world.plant(When::WhileItRuns).await;
    for (table, client) in clients.iter_mut().enumerate().filter(|(table, _)| !is_bound(*table)) {
        is_refused(client, case, table).await;
    }
    world.write().await;
    world.administer().await;
    for (table, client) in clients.iter_mut().enumerate() {
        decides_as_select(&world, &engine, client, table).await;
    }
    world.gives_rows_by_key(&engine).await;
    clients[0].is_quiet().await;
    engine.stop(PATIENCE).await;
    assert_eq!(world.called(), Vec::<String>::new(), "{case}");
    world.are_armed().await;
}

/// Rows that come alive, and then a snapshot of them.
async fn decides_as_select(world: &World<'_>, engine: &Engine, client: &mut Client, table: usize) {
    let mut late = subscribed(engine, table, true);
    if !is_bound(table) {
        return is_refused(&mut late, world.case, table).await;
    }
    let (shown, policy) = (world.shown(table).await, POLICIES.get(table));
    let delivered = client.rows(shown.len(), "id").await;
    assert_eq!(
        delivered.iter().filter_map(Value::as_i64).collect::<BTreeSet<_>>(),
        shown,
        "{}: {policy:?}",
        world.case
    );
    let mut snapshot = BTreeSet::new();
    loop {
        let event = late.next().await;
        match event["row"]["id"].as_i64() {
            Some(id) => snapshot.insert(id),
            None => break,
        };
    }
    assert_eq!(snapshot, shown, "{}: {policy:?}", world.case);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_planted_and_whenever_decisions_are_those_of_select_and_nothing_planted_is_called() {
    let server = Server::with(&["wal_level=logical", "max_replication_slots=20", "max_wal_senders=20"]);
    let roles = "create role planter login; create role reader; create role writer login;
                 create role engine login replication; grant reader to engine;
                 alter role engine set search_path = app, \"$user\", public, pg_catalog, pg_temp";
    server.sql(roles).await;
    for case in Case::all() {
        holds(&server, case).await;
    }
}
