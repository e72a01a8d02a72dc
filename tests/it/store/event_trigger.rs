//! `rowcast.tell_of_ddl`: what may change the visibility of a watched table is in the stream with its transaction, nothing
//! else is, and nobody's statement fails for it.

use rowcast::store::{self, StatusLine};
use tokio_postgres::Client;

use crate::postgres::{Database, Server};

/// `$` in a statement stands for the prefix of this test's roles, which belong to the whole server.
struct Listening {
    database: Database,
    client: Client,
}

const SETUP: &str = "
    create schema app; create role $a; create role $b;
    create table app.orders (id int primary key, name text); create table app.other (id int primary key, name text);
    create table app.members (id int); create type app.level as enum ('low');
    create function app.seen(int) returns bool language sql as 'select true';
    create policy reads on app.orders using (app.seen(id) and exists (select from app.members));
    create policy reads on app.other using (true);
    select rowcast.watch('app.orders', public => true);";

impl Listening {
    /// Nothing that `setup` does is heard.
    async fn after(setup: &str) -> Self {
        let (database, client) = Database::migrated().await;
        let listening = Self { database, client };
        listening.run(SETUP).await;
        listening.run(setup).await;
        let slot = "select pg_create_logical_replication_slot('ddl_' || current_database(), 'test_decoding')";
        listening.client.query(slot, &[]).await.unwrap();
        listening
    }

    async fn run(&self, statements: &str) {
        self.client
            .batch_execute(&self.text(statements))
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    fn text(&self, text: &str) -> String {
        text.replace('$', &self.database.role(""))
    }

    /// The messages since the last look.
    async fn told(&self) -> Vec<String> {
        let query = "select data from pg_logical_slot_get_changes('ddl_' || current_database(), null, null)
                     where data like '%prefix: rowcast.catalog%'";
        self.client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    async fn end(self) {
        self.client.query("select pg_drop_replication_slot('ddl_' || current_database())", &[]).await.unwrap();
    }
}

async fn line(client: &Client) -> StatusLine {
    let lines = store::status(client).await.unwrap();
    lines.into_iter().find(|line| line.name == "event_trigger").unwrap()
}

/// Read as an identifier, the name would mean another role, or none.
#[tokio::test]
async fn a_superuser_whose_name_needs_quotes_may_own_the_event_trigger() {
    let owner = r#"create role "$Ad.min" superuser; set session authorization "$Ad.min";
                   select rowcast.install_event_trigger(); reset session authorization"#;
    let listening = Listening::after(owner).await;
    listening.run("create policy p on app.orders using (true)").await;
    assert_eq!(listening.told().await.len(), 1);
    listening.run(r#"select rowcast.install_event_trigger(); drop role "$Ad.min""#).await;
    listening.end().await;
}

#[tokio::test]
async fn each_statement_that_may_change_who_sees_what_is_told_once_and_only_when_it_commits() {
    let listening = Listening::after("").await;
    for statement in [
        "create policy p on app.orders using (true)",
        "alter policy p on app.orders using (false)",
        "alter policy p on app.orders rename to q",
        "drop policy q on app.orders",
        "alter table app.orders enable row level security",
        "alter table app.orders force row level security",
        "alter table app.orders owner to $a",
        "grant select on app.orders to $a",
        "grant select (id) on app.orders to $a",
        "revoke select on app.orders from $a",
        "grant select on all tables in schema app to $b",
        "grant usage on schema app to $a",
        "alter schema app owner to $a",
        "alter schema app rename to app2; alter schema app2 rename to app",
        "alter type app.level add value 'high'",
        "alter function app.seen(int) rename to noticed",
        "alter table app.members rename to people",
        "drop owned by $b",
        "drop table app.people cascade",
        "drop table app.orders",
    ] {
        listening.run(&format!("begin; {statement}; rollback")).await;
        assert_eq!(listening.told().await, Vec::<String>::new(), "rolled back: {statement}");
        listening.run(&format!("begin; {statement}; commit")).await;
        let told = listening.told().await;
        assert_eq!(told.len(), 1, "{statement}: {told:?}");
        assert!(told[0].contains("transactional: 1") && told[0].contains("\"change\" : \"ddl\""), "{told:?}");
    }
    listening.end().await;
}

#[tokio::test]
async fn what_concerns_no_watched_table_is_not_told() {
    let listening = Listening::after("").await;
    for statement in [
        "create policy p on app.other using (true)",
        "drop policy p on app.other",
        "alter table app.other enable row level security",
        "create table app.more (id int)",
        "create temp table passing (id int)",
        "drop table passing",
        "drop table app.more",
        "create index on app.orders (name)",
        "grant execute on function app.seen(int) to $a",
        "create function app.fresh() returns int language sql as 'select 1'",
        "alter function app.fresh() rename to stale",
        "comment on table app.orders is 'x'",
        "drop table app.other",
    ] {
        listening.run(statement).await;
        assert_eq!(listening.told().await, Vec::<String>::new(), "{statement}");
    }
    listening.end().await;
}

#[tokio::test]
async fn many_statements_of_a_transaction_are_told_once_and_a_rolled_back_savepoint_hides_nothing() {
    let listening = Listening::after("").await;
    listening.run("begin; grant select on app.orders to $a; revoke select on app.orders from $a; commit").await;
    assert_eq!(listening.told().await.len(), 1);
    listening
        .run(
            "begin; savepoint s; grant select on app.orders to $a; rollback to s;
             insert into app.orders values (1); grant select on app.orders to $b; commit",
        )
        .await;
    assert_eq!(listening.told().await.len(), 1);
    listening.run("grant select on app.orders to $a").await;
    assert_eq!(listening.told().await.len(), 1, "the next transaction is announced again");
    listening.end().await;
}

#[tokio::test]
async fn a_change_is_told_between_the_rows_before_it_and_those_after_it() {
    let listening = Listening::after("").await;
    for (before, after) in [("", ""), ("savepoint s;", "release s;"), ("savepoint s;", "savepoint t;")] {
        let statement = format!(
            "begin; truncate app.orders; insert into app.orders values (1);
             {before} alter policy reads on app.orders using (id > 100); {after}
             insert into app.orders values (2); commit"
        );
        listening.run(&statement).await;
        let query = "select case when data like 'table%' then right(split_part(data, ' name', 1), 1) else 'told' end
                     from pg_logical_slot_get_changes('ddl_' || current_database(), null, null)
                     where data like '%: INSERT:%' or data like '%prefix: rowcast.catalog%'";
        let rows = listening.client.query(query, &[]).await.unwrap();
        let order: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(order, ["1", "told", "2"], "{statement}");
    }
    listening.end().await;
}

#[tokio::test]
async fn who_may_not_send_messages_is_told_of_all_the_same() {
    let listening = Listening::after(
        "create role $owner login; alter table app.orders owner to $owner; grant usage on schema app to $owner;
         do 'declare f regprocedure; begin for f in select oid from pg_proc where proname = ''pg_logical_emit_message'' loop
             execute format(''revoke execute on function %s from public'', f); end loop; end'",
    )
    .await;
    let owner = listening.database.connect_as(&listening.text("$owner")).await;
    owner.batch_execute("alter table app.orders enable row level security").await.unwrap();
    assert_eq!(listening.told().await.len(), 1);
    listening.end().await;
}

#[tokio::test]
async fn nobodys_statement_fails_for_it() {
    let listening = Listening::after("").await;
    // What the function calls is gone: the worst that can happen to it.
    listening.run("alter function pg_catalog.json_build_object(variadic \"any\") rename to gone").await;
    listening.told().await;
    listening.run("grant select on app.orders to $a; drop policy reads on app.orders").await;
    assert_eq!(listening.told().await, Vec::<String>::new());
    listening.run("alter function pg_catalog.gone(variadic \"any\") rename to json_build_object").await;
    let granted = listening.text("select has_table_privilege('$a', 'app.orders', 'select')");
    assert!(listening.client.query_one(&granted, &[]).await.unwrap().get::<_, bool>(0));
    listening.end().await;
}

#[tokio::test]
async fn without_logical_wal_nothing_is_written() {
    let server = Server::with(&["wal_level=replica"]);
    let mut client = server.admin().await;
    store::migrate(&mut client).await.unwrap();
    client
        .batch_execute("create table t (id int primary key); select rowcast.watch('t', public => true)")
        .await
        .unwrap();
    // rowcast.watch itself sets the mark that a message was written.
    let client = server.admin().await;
    client.batch_execute("grant select on t to public").await.unwrap();
    let told = client.query_one("select current_setting('rowcast.told', true) is null", &[]).await.unwrap();
    assert!(told.get::<_, bool>(0));
}

#[tokio::test]
async fn a_role_that_may_not_install_it_migrates_without_and_a_superuser_installs_it_later() {
    let database = Database::empty().await;
    let admin = database.connect().await;
    let role = database.role("migrator");
    let setup = format!("create role {role} login; grant create on database {} to {role}", database.name);
    admin.batch_execute(&setup).await.unwrap();
    let mut migrator = database.connect_as(&role).await;
    assert_eq!(store::migrate(&mut migrator).await.unwrap().len(), store::migrations().len());
    let missing = line(&migrator).await;
    assert_eq!((missing.value.as_str(), missing.ok), ("missing", true));
    let hint = missing.hint.unwrap();
    assert!(hint.contains("rowcast.install_event_trigger()") && hint.contains("2 seconds"), "{hint}");
    let refused = migrator.batch_execute("select rowcast.install_event_trigger()").await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code().code(), "42501");
    assert!(refused.hint().unwrap().contains("superuser"), "{refused:?}");

    for _ in 0..2 {
        admin.batch_execute("select rowcast.install_event_trigger()").await.unwrap();
        let installed = line(&migrator).await;
        assert_eq!((installed.value.as_str(), installed.hint), ("installed", None));
    }
    let hostile =
        "create or replace function rowcast.tell_of_ddl() returns event_trigger language plpgsql as 'begin end'";
    let refused = migrator.batch_execute(hostile).await.unwrap_err();
    assert_eq!(
        refused.code().unwrap().code(),
        "42501",
        "only a superuser may change what runs in the statements of others"
    );
    migrator.batch_execute("create table t (id int primary key); select 1").await.unwrap_err();
    migrator
        .batch_execute("create schema app; create table app.t (id int primary key); drop table app.t")
        .await
        .unwrap();

    admin.batch_execute("select rowcast.remove_event_trigger(), rowcast.remove_event_trigger()").await.unwrap();
    assert_eq!(line(&migrator).await.value, "missing");
    admin.batch_execute("select rowcast.install_event_trigger()").await.unwrap();
    migrator.batch_execute("drop schema rowcast cascade").await.unwrap();
    admin.batch_execute("create table t ()").await.unwrap();
}
