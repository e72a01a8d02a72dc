//! The outbox's functions, asked in SQL: what capturing and starting it do to writers, and what upgrades and outages leave of it.

use std::time::{Duration, Instant};

use rowcast::store;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::postgres::{Database, Server, Stop};

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

const STARTED: &str = "create table t (id int primary key, note text);
    select rowcast.watch('t', public => true), rowcast.start_outbox()";

async fn holds(client: &Client, condition: &str) -> bool {
    client.query_one(&format!("select {condition}"), &[]).await.unwrap().get(0)
}

async fn until(client: &Client, condition: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(client, condition).await {
        assert!(Instant::now() < deadline, "waited in vain for {condition}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a session that writes many rows in one statement, and then few in others, has compiled any of it: what it says
/// itself costs too little. The first time, a server's process loads the compiler.
async fn compiles(database: &Database, from: i32) -> bool {
    let session = database.connect().await;
    let writes = format!(
        "set jit = on; set jit_above_cost = 200; insert into t select many({from});
         insert into t values ({from} - 1); update t set note = '' where id = {from}; delete from t where id = {from} - 1"
    );
    session.batch_execute(&writes).await.unwrap();
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().contains("llvmjit")
}

/// A session keeps the trigger's plans, so one that was worth compiling would be compiled for each small statement behind it.
#[tokio::test]
async fn what_captures_is_never_compiled() {
    let (database, admin) = Database::migrated().await;
    if !holds(&admin, "pg_jit_available()").await {
        eprintln!("skipped: this PostgreSQL cannot compile");
        return;
    }
    admin.batch_execute(STARTED).await.unwrap();
    let many = "create function many(int) returns setof int language plpgsql rows 1 as
                'begin for n in $1..$1 + 20000 loop return next n; end loop; end'";
    admin.batch_execute(many).await.unwrap();
    assert!(!compiles(&database, 100_000).await);
    admin.batch_execute("alter function rowcast.append_to_outbox() reset jit").await.unwrap();
    assert!(compiles(&database, 200_000).await, "else nothing was shown");
}

#[tokio::test]
async fn no_writer_is_chosen_to_end_a_deadlock_with_whoever_installs_triggers() {
    let (database, admin) = Database::migrated().await;
    let tables = "create table one (id int primary key); create table two (id int primary key);
                  select rowcast.watch('one', public => true), rowcast.watch('two', public => true)";
    admin.batch_execute(tables).await.unwrap();
    let (writer, installer) = (database.connect().await, database.connect().await);
    writer.batch_execute("begin; insert into two values (1)").await.unwrap();
    let installing = tokio::spawn(async move { installer.batch_execute("select rowcast.start_outbox()").await });
    until(&admin, "exists (select from pg_locks where relation = 'two'::regclass and not granted)").await;
    assert!(holds(&admin, "exists (select from pg_locks where relation = 'one'::regclass and mode = 'ShareRowExclusiveLock' and granted)").await);
    writer.batch_execute("insert into one values (1); commit").await.unwrap();
    assert_eq!(installing.await.unwrap().unwrap_err().code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
    admin.batch_execute("select rowcast.start_outbox()").await.unwrap();
}

/// A session that waits for the first table waits as long as all the others take, and then checks for deadlocks.
#[tokio::test]
async fn nor_is_one_who_waits_while_several_tables_are_waited_for() {
    let (database, admin) = Database::migrated().await;
    admin.batch_execute(&format!("alter database {} set deadlock_timeout = '2s'", database.name)).await.unwrap();
    for table in ["one", "two", "three"] {
        let watched =
            format!("create table {table} (id int primary key); select rowcast.watch('{table}', public => true)");
        admin.batch_execute(&watched).await.unwrap();
    }
    let (second, third, installer) = (database.connect().await, database.connect().await, database.connect().await);
    second.batch_execute("begin; insert into two values (1)").await.unwrap();
    third.batch_execute("begin; insert into three values (1)").await.unwrap();
    let installing = tokio::spawn(async move { installer.batch_execute("select rowcast.start_outbox()").await });
    until(&admin, "exists (select from pg_locks where relation = 'two'::regclass and not granted)").await;
    let waiting = tokio::spawn(async move { third.batch_execute("insert into one values (1); commit").await });
    let half_of_it = "exists (select from pg_locks where relation = 'one'::regclass and not granted and waitstart < clock_timestamp() - interval '1 s')";
    until(&admin, half_of_it).await;
    second.batch_execute("commit").await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(installing.await.unwrap().unwrap_err().code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
}

/// A reader is forgotten after a minute of silence; time in which the server did not run does not count.
#[tokio::test]
async fn readers_are_not_forgotten_for_an_outage_of_the_server() {
    let mut server = Server::with(&["wal_level=replica"]);
    store::migrate(&mut server.admin().await).await.unwrap();
    server.sql(STARTED).await;
    server.sql("select rowcast.open_outbox('patient')").await;
    // As if it had lasted for so long.
    server.sql("update rowcast.outbox_reader set seen_at = now() - interval '1 hour'").await;
    server.restart(Stop::Fast);
    server.sql("select rowcast.trim_outbox('who was faster', '0/0')").await;
    let readers = "select string_agg(name, ', ' order by name) from rowcast.outbox_reader";
    assert_eq!(server.value(readers).await.as_deref(), Some("patient, who was faster"));
}

/// It is the one way to a MERGE on partitions that a trigger cannot see.
#[tokio::test]
async fn a_merge_in_a_rule_is_named_as_a_problem() {
    let (_database, admin) = Database::migrated().await;
    if !holds(&admin, "current_setting('server_version_num')::int >= 170000").await {
        return; // No rule can have one.
    }
    let tables = "create table t (id int primary key, n int) partition by range (id);
        create table log (id int); create view v as select 1 as id;
        select rowcast.watch('t', public => true), rowcast.start_outbox()";
    admin.batch_execute(tables).await.unwrap();
    let named = "exists (select from rowcast.tables where problems @> '{merge_in_rule}')";
    let rule = "create rule r as on insert to v do instead
        with m as (merge into t using (values (1)) s (id) on t.id = s.id when matched then update set n = 1 returning t.id)
        insert into log select id from m";
    assert!(!holds(&admin, named).await);
    admin.batch_execute(rule).await.unwrap();
    assert!(holds(&admin, named).await);
}

/// It has locked the watched tables by then.
#[tokio::test]
async fn stopping_the_outbox_does_not_wait_for_an_open_publisher_while_readers_wait_for_it() {
    let (database, admin) = Database::migrated().await;
    admin.batch_execute(STARTED).await.unwrap();
    let (publisher, stopper) = (database.connect().await, database.connect().await);
    publisher.batch_execute("begin; select rowcast.publish('news', '1')").await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, stopper.batch_execute("select rowcast.stop_outbox()")).await;
    let refused = answer.expect("it gives up").unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
    assert!(refused.as_db_error().unwrap().hint().unwrap().contains("Call again later"));
    publisher.batch_execute("select from t; commit").await.unwrap();
    admin.batch_execute("select rowcast.stop_outbox()").await.unwrap();
    assert!(holds(&admin, "not exists (select from rowcast.outbox_state)").await);
}
