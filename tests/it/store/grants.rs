//! Least privilege: the engine and the application do their work as ordinary roles, and no more than that.

use crate::postgres::Database;
use crate::store::watch::request;
use rowcast::catalog::Tables;
use rowcast::store::{self, WatchRequest};

#[tokio::test]
async fn an_engine_role_does_all_that_the_engine_does() {
    let (database, admin) = Database::migrated().await;
    let role = database.role("Engine One");
    admin
        .batch_execute(&format!(
            "create table orders (id int primary key, tenant_id text); select rowcast.watch('orders', 'tenant_id');
             create role \"{role}\" login replication; select rowcast.grant_engine('\"{role}\"'); select rowcast.grant_engine('\"{role}\"')"
        ))
        .await
        .unwrap();
    let mut engine = database.connect_as(&role).await;
    assert_eq!(store::migrate(&mut engine).await.unwrap(), Vec::<String>::new());
    assert_eq!(store::pending(&engine).await.unwrap(), []);
    assert!(!store::ensure_publication(&engine).await.unwrap());
    let request = WatchRequest { tenant_column: Some("tenant_id".into()), ..request("orders") };
    assert!(!store::watch(&engine, &request).await.unwrap(), "what a migration has watched may be declared again");
    let tables = Tables::load(&engine).await.unwrap();
    assert_eq!(tables.find("orders").unwrap().columns.len(), 2);
    assert!(store::status(&engine).await.unwrap().iter().all(|line| line.ok));
    store::publish(&engine, "t", "1", None).await.unwrap();
    engine
        .batch_execute("select pg_create_logical_replication_slot('engine_' || current_database(), 'pgoutput', true)")
        .await
        .unwrap();
}

/// What only read or locked rows has not written, writers of other tables do not matter, and a slot that is made later waits
/// for all of them.
#[tokio::test]
async fn an_engine_role_notes_the_writers_that_are_open_when_the_publication_is_altered() {
    let (database, admin) = Database::migrated().await;
    let role = database.role("engine");
    admin
        .batch_execute(&format!(
            "create table t (id int primary key); create table u (id int primary key); insert into t values (0);
             select rowcast.watch('t'), rowcast.watch('u');
             create role {role} login replication; select rowcast.grant_engine('{role}')"
        ))
        .await
        .unwrap();
    let mut engine = database.connect_as(&role).await;
    store::note_coverage(&mut engine).await.unwrap();
    let (writer, reader) = (database.connect().await, database.connect().await);
    let open = "select jsonb_array_length(coverage -> 'open') from rowcast.watched where relation = 't'::regclass";
    for (prepare, writers) in [
        ("select 'without a slot'".to_owned(), 0),
        (format!("select pg_create_logical_replication_slot('{role}', 'pgoutput', true)"), 1),
    ] {
        engine.batch_execute(&prepare).await.unwrap();
        writer.batch_execute("begin; savepoint s; insert into t values (1); release s").await.unwrap();
        reader.batch_execute("begin; select from t for update; insert into u values (1)").await.unwrap();
        admin.batch_execute("alter publication rowcast drop table t").await.unwrap();
        admin.batch_execute("alter publication rowcast add table t").await.unwrap();
        assert!(store::note_coverage(&mut engine).await.unwrap(), "the publication was altered");
        assert_eq!(admin.query_one(open, &[]).await.unwrap().get::<_, i32>(0), writers, "{prepare}");
        if writers == 0 {
            writer.batch_execute("rollback").await.unwrap();
            reader.batch_execute("rollback").await.unwrap();
        }
    }
    let before = Tables::load(&engine).await.unwrap().fingerprint;
    reader.batch_execute("commit").await.unwrap();
    assert!(!store::note_coverage(&mut engine).await.unwrap(), "the writer is still open");
    assert_eq!(before.again(&engine).await.unwrap(), before);
    writer.batch_execute("commit").await.unwrap();
    assert_ne!(before.again(&engine).await.unwrap(), before, "an engine polls for this");
    assert!(!Tables::load(&engine).await.unwrap().is_noted(), "it may end between the note and the reading");
    assert!(store::note_coverage(&mut engine).await.unwrap(), "the writer has ended");
    assert!(!store::note_coverage(&mut engine).await.unwrap(), "once");
}

#[tokio::test]
async fn an_engine_role_may_do_nothing_else() {
    let (database, admin) = Database::migrated().await;
    let role = database.role("engine");
    admin
        .batch_execute(&format!(
            "create table orders (id int primary key); select rowcast.watch('orders');
             create role {role} login replication; select rowcast.grant_engine('{role}')"
        ))
        .await
        .unwrap();
    let engine = database.connect_as(&role).await;
    for forbidden in [
        "select * from orders",
        "insert into rowcast.migration values (999)",
        "delete from rowcast.watched",
        "select rowcast.unwatch('orders')",
        "select rowcast.watch('orders', public => true)",
        "select rowcast.grant_engine(current_user::regrole)",
        "select rowcast.announce('watch', 1)",
        "select rowcast.grant_revoker(current_user::regrole)",
    ] {
        let error = engine.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{forbidden}: {error:?}");
    }
}

#[tokio::test]
async fn a_publisher_role_may_publish_even_where_messages_are_restricted() {
    let (database, admin) = Database::migrated().await;
    let role = database.role("app");
    admin.batch_execute(&format!("create role {role} login; select rowcast.grant_publisher('{role}')")).await.unwrap();
    admin
        .batch_execute(
            "do $$ declare f regprocedure; begin for f in select oid from pg_proc where proname = 'pg_logical_emit_message' loop
                execute format('revoke execute on function %s from public', f); end loop; end $$",
        )
        .await
        .unwrap();
    let app = database.connect_as(&role).await;
    store::publish(&app, "t", "1", None).await.unwrap();
    for forbidden in [
        "select pg_logical_emit_message(true, 'rowcast.publish', 'x')",
        "select * from rowcast.watched",
        "select * from rowcast.tables",
        "select * from rowcast.status()",
    ] {
        let error = app.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{forbidden}: {error:?}");
    }
    let lines = store::status(&admin).await.unwrap();
    assert_eq!(lines.iter().find(|line| line.name == "publish_privilege").unwrap().value, "restricted");
}

#[tokio::test]
async fn a_revoker_role_may_revoke_and_disconnect_and_nothing_else() {
    let (database, admin) = Database::migrated().await;
    let (role, nobody) = (database.role("revoker"), database.role("stranger"));
    admin
        .batch_execute(&format!(
            "create role {role} login; select rowcast.grant_revoker('{role}');
             create role {nobody} login; grant usage on schema rowcast to {nobody}"
        ))
        .await
        .unwrap();
    let (app, nobody) = (database.connect_as(&role).await, database.connect_as(&nobody).await);
    let calls = ["select rowcast.revoke(user_id => '1')", "select rowcast.disconnect(tenant_id => '1', code => 4000)"];
    for call in calls {
        app.batch_execute(call).await.unwrap();
        assert_eq!(nobody.batch_execute(call).await.unwrap_err().code().unwrap().code(), "42501", "{call}");
    }
    for forbidden in
        ["select rowcast.close_sessions('{}')", "select rowcast.publish('t', '1')", "select * from rowcast.watched"]
    {
        assert_eq!(app.batch_execute(forbidden).await.unwrap_err().code().unwrap().code(), "42501", "{forbidden}");
    }
    for refused in [
        "select rowcast.revoke()",
        "select rowcast.disconnect()",
        "select rowcast.disconnect(user_id => '1', code => 1006)",
        "select rowcast.revoke(user_id => repeat('x', 9000))",
    ] {
        assert_eq!(app.batch_execute(refused).await.unwrap_err().code().unwrap().code(), "RC005", "{refused}");
    }
}

#[tokio::test]
async fn a_role_without_grants_is_told_which_one_it_lacks() {
    let (database, admin) = Database::migrated().await;
    let role = database.role("nobody");
    admin.batch_execute(&format!("create role {role} login")).await.unwrap();
    let nobody = database.connect_as(&role).await;
    for error in [
        store::publish(&nobody, "t", "1", None).await.unwrap_err(),
        store::status(&nobody).await.unwrap_err(),
        store::pending(&nobody).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "PERMISSION_DENIED", "{error:?}");
        assert!(error.to_string().contains("rowcast.grant_"), "{error}");
    }
    assert_eq!(Tables::load(&nobody).await.unwrap_err().code(), "PERMISSION_DENIED");
}
