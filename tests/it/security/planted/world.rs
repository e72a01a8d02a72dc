//! A database in which another role may create, and an engine that serves it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rowcast::catalog::CaptureMode;
use rowcast::config::{Bus, PostgreSqlBus, Settings};
use rowcast::engine::Engine;
use rowcast::model::Principal;
use serde_json::json;
use tokio_postgres::Client as Sql;

use super::tables::{self, OF_TENANTS};
use super::things;
use crate::engine::client::{Client, patient};
use crate::postgres::Server;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    BeforeTheMigration,
    BeforeTheStart,
    WhileItRuns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
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
pub(super) struct Case {
    pub(super) when: When,
    pub(super) user: User,
    pub(super) capture: CaptureMode,
}

impl Case {
    pub(super) fn all() -> impl Iterator<Item = Case> {
        let of = |when, user| [CaptureMode::Wal, CaptureMode::Outbox].map(|capture| Case { when, user, capture });
        [When::BeforeTheMigration, When::BeforeTheStart, When::WhileItRuns].into_iter().flat_map(move |when| {
            [User::Superuser, User::LeastPrivileged].into_iter().flat_map(move |user| of(when, user))
        })
    }

    fn database(self) -> String {
        self.to_string().to_lowercase()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}_{}_{:?}", self.when, self.user.name(), self.capture).map_err(|_| fmt::Error)
    }
}

/// One database.
pub(super) struct World<'s> {
    server: &'s Server,
    pub(super) case: Case,
    admin: Sql,
}

impl<'s> World<'s> {
    pub(super) async fn new(server: &'s Server, case: Case) -> Self {
        let database = case.database();
        server.sql(&format!("create database {database}")).await;
        let mut admin = server.session("postgres", &database).await;
        admin.batch_execute(&tables::create(&database)).await.unwrap();
        let world = World { server, case, admin: server.session("postgres", &database).await };
        world.plant(When::BeforeTheMigration).await;
        rowcast::store::migrate(&mut admin).await.unwrap();
        admin.batch_execute(&tables::watch(case.capture)).await.unwrap();
        world.plant(When::BeforeTheStart).await;
        world
    }

    pub(super) async fn plant(&self, now: When) {
        if self.case.when == now {
            self.admin.batch_execute(&things::sql(&["app", "public", "postgres", "engine"])).await.unwrap();
        }
    }

    pub(super) async fn serving(&self) -> Arc<Engine> {
        let database = self.case.database();
        let bus = PostgreSqlBus {
            url: Some(self.server.url_as(self.case.user.name(), &database)),
            slot: None,
            publication: "rowcast".to_owned(),
            capture: Some(self.case.capture),
        };
        let engine =
            Arc::new(Engine::new(Bus::PostgreSql(bus), Settings { service: Some("shop".into()), ..patient() }));
        engine.start(&tables::fields().to_string()).await.unwrap_or_else(|error| panic!("{}: {error}", self.case));
        engine
    }

    /// By a session in which everything that was planted is nearer than PostgreSQL's own, temporary relations included.
    pub(super) async fn write(&self) {
        let database = self.case.database();
        let writer = self.server.session("writer", &database).await;
        writer.batch_execute(&shadows()).await.unwrap();
        writer.batch_execute("insert into shop.keyed values ('abc', 'red', 1), ('xyz', 'red', 2)").await.unwrap();
        for at in 0..=OF_TENANTS {
            let rows = "(1, 'red', 'red', 'red'), (2, 'blue', 'blue', 'blue'), (3, 'pink', 'red', 'pink'), (4, 'none', null, null)";
            writer.batch_execute(&format!("insert into shop.t{at} values {rows}")).await.unwrap();
        }
    }

    /// The owner of a type and an administrator, in sessions like that: the event trigger runs in them, and so do rowcast's
    /// functions and views.
    pub(super) async fn administer(&self) {
        let database = self.case.database();
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
    pub(super) async fn gives_rows_by_key(&self, engine: &Engine) {
        let mut client = reader(engine);
        let key = |code: &str| json!({ "__typename": "Keyed", "code": code, "m": "red" });
        let query = "query ($r: [_Any!]!) { _entities(representations: $r) { ... on Keyed { v } } }";
        client.send("1", &json!({ "query": query, "variables": { "r": [key("ABC"), key("none"), key("Xyz")] } }));
        assert_eq!(client.next().await, json!([{ "v": 1 }, null, { "v": 2 }]), "{}", self.case);
    }

    /// What SELECT shows to the role.
    pub(super) async fn shown(&self, table: usize) -> BTreeSet<i64> {
        let as_reader = "set search_path = pg_catalog, pg_temp; set app.m = 'red'; set role reader";
        self.admin.batch_execute(as_reader).await.unwrap();
        let of_tenant = if table == OF_TENANTS { "where t.m operator(pg_catalog.=) 'red'" } else { "" };
        let rows = self.admin.query(&format!("select id from shop.t{table} t {of_tenant}"), &[]).await.unwrap();
        self.admin.batch_execute("reset role; reset search_path").await.unwrap();
        rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).collect()
    }

    /// Marks in this database, but for those of sessions that set something off on purpose.
    pub(super) fn called(&self) -> Vec<String> {
        let (here, on_purpose) = (format!(" in {} by", self.case.database()), "by spring");
        let log = self.server.log();
        let marks = log.lines().filter(|line| line.contains("LOG:  planted") && line.contains(&here));
        marks.filter(|line| !line.ends_with(on_purpose)).map(str::to_owned).collect()
    }

    /// Each of them can be called, and is seen.
    pub(super) async fn are_armed(&self) {
        let database = self.case.database();
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

/// Makes a session in which everything planted is nearer than PostgreSQL's own, temporary relations included.
fn shadows() -> String {
    let names = ["pg_class", "pg_attribute", "pg_publication", "pg_namespace", "pg_roles", "pg_locks", "text", "oid"];
    let tables = names.map(|name| format!("create temporary table {name} (of_a_session int)")).join("; ");
    tables + "; set search_path = pg_temp, app, public, pg_catalog; set jit = off"
}

pub(super) fn reader(engine: &Engine) -> Client {
    let settings = BTreeMap::from([("app.m".to_owned(), "red".to_owned())]);
    let (role, tenant_id) = (Some("reader".into()), Some("red".into()));
    Client::connect(engine, Principal { role, tenant_id, settings, ..Principal::default() })
}
