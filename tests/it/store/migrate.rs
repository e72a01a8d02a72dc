//! `store::migrate`: the schema is whole, made once, and never downgraded.

use rowcast::store::{self, StoreError};
use tokio_postgres::Client;

use crate::postgres::Database;

/// Everything in schema rowcast that somebody could rely on, one line each.
const INVENTORY: &str = "
    with r as (select 'rowcast'::regnamespace as id)
    select format('schema: %s, %s', n.nspacl, obj_description(n.oid)) from pg_namespace n, r where n.oid = r.id
    union all
    select format('function: %s %s %s %s %s', p.oid::regprocedure, p.proowner::regrole, p.proacl, obj_description(p.oid),
                  pg_get_functiondef(p.oid))
    from pg_proc p, r where p.pronamespace = r.id
    union all
    select format('relation: %s %s %s %s %s %s %s', c.relname, c.relkind, c.relowner::regrole, c.relacl, c.reloptions,
                  obj_description(c.oid), case c.relkind when 'v' then pg_get_viewdef(c.oid) when 'i' then pg_get_indexdef(c.oid) end)
    from pg_class c, r where c.relnamespace = r.id and c.relkind <> 't'
    union all
    select format('column: %s.%s %s %s %s %s %s', c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod),
                  a.attnotnull, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
    from r, pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = r.id
    union all
    select format('constraint: %s %s', conname, pg_get_constraintdef(k.oid)) from pg_constraint k, r where connamespace = r.id
    union all
    select format('publication: %s %s %s', to_jsonb(p) - 'oid', p.pubowner::regrole, obj_description(p.oid))
    from pg_publication p
    union all
    select format('event trigger: %s %s %s %s %s %s', evtname, evtevent, evttags, evtfoid::regprocedure, evtenabled,
                  obj_description(oid))
    from pg_event_trigger
    order by 1";

async fn inventory(client: &Client) -> Vec<String> {
    client.query(INVENTORY, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

fn sql_folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql")
}

/// The files of `sql/` in the order in which they are applied. The migrator itself applies the first two.
fn canonical() -> Vec<std::path::PathBuf> {
    let order = std::fs::read_to_string(sql_folder().join("order.txt")).unwrap();
    let names = ["schema", "migration"].into_iter().chain(order.split_whitespace());
    names.map(|name| sql_folder().join(name).with_extension("sql")).collect()
}

#[tokio::test]
async fn all_migrations_together_equal_sql() {
    let (_migrated, by_migrations) = Database::migrated().await;
    let canonical_client = Database::empty().await.connect().await;
    for file in canonical() {
        let sql = std::fs::read_to_string(&file).unwrap();
        canonical_client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{}: {error:?}", file.display()));
    }
    let (left, right) = (inventory(&by_migrations).await, inventory(&canonical_client).await);
    assert!(left.len() > 40, "{left:#?}");
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left, right, "`make migration` writes the migration again");
    }
    assert_eq!(left.len(), right.len());
}

#[test]
fn every_file_of_sql_is_applied() {
    let mut found = Vec::new();
    let mut folders = vec![sql_folder()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    let mut listed = canonical();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
}

/// A database in another encoding than UTF-8 has to be able to store the comments and bodies of functions.
#[test]
fn sql_is_ascii() {
    let files = canonical().into_iter().map(|file| std::fs::read_to_string(file).unwrap());
    for sql in files.chain(store::migrations().into_iter().map(|migration| migration.sql)) {
        assert_eq!(sql.lines().find(|line| !line.is_ascii()), None);
    }
}

#[tokio::test]
async fn every_object_is_described_pinned_and_closed_to_the_public() {
    let (_database, client) = Database::migrated().await;
    let open = "
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'rowcast'::regnamespace
          and (has_function_privilege('public', p.oid, 'execute') and p.proname not in ('note_outbox_place', 'append_merged_row') or obj_description(p.oid) is null
               or p.proconfig is null or not 'search_path=pg_catalog, pg_temp' = any (p.proconfig))
        union all
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'rowcast'::regnamespace and c.relkind in ('r', 'v')
          and (has_table_privilege('public', c.oid, 'select') or obj_description(c.oid) is null)
        union all
        select 'schema' where has_schema_privilege('public', 'rowcast', 'usage')";
    let open: Vec<String> = client.query(open, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(open, Vec::<String>::new());
}

#[tokio::test]
async fn a_second_run_applies_nothing() {
    let database = Database::empty().await;
    let mut client = database.connect().await;
    let names: Vec<String> = store::migrations().into_iter().map(|migration| migration.name).collect();
    assert_eq!(store::pending(&client).await.unwrap().len(), names.len());
    assert_eq!(store::migrate(&mut client).await.unwrap(), names);
    assert_eq!(store::pending(&client).await.unwrap(), []);
    assert_eq!(store::migrate(&mut client).await.unwrap(), Vec::<String>::new());
}

/// A session that waits for a lock has others wait behind it.
#[tokio::test]
async fn what_is_in_use_is_waited_for_in_short_turns() {
    let database = Database::empty().await;
    let (holder, observer) = (database.connect().await, database.connect().await);
    holder.batch_execute("begin; create schema rowcast").await.unwrap();
    let mut client = database.connect().await;
    let migrating = tokio::spawn(async move { store::migrate(&mut client).await });
    for waits in [true, false, true] {
        let sql = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())";
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while observer.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) != waits {
            assert!(std::time::Instant::now() < deadline, "waits: {waits}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap().len(), store::migrations().len());
}

#[tokio::test]
async fn every_migration_opens_with_its_reason() {
    for migration in store::migrations() {
        assert!(migration.sql.starts_with("-- Why: "), "{}", migration.name);
    }
}

#[tokio::test]
async fn ten_processes_may_migrate_at_once() {
    let database = Database::empty().await;
    let mut running = Vec::new();
    for _ in 0..10 {
        let mut client = database.connect().await;
        running.push(tokio::spawn(async move { store::migrate(&mut client).await.unwrap() }));
    }
    let mut applied = Vec::new();
    for run in running {
        applied.extend(run.await.unwrap());
    }
    assert_eq!(applied.len(), store::migrations().len(), "{applied:?}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let (_database, mut client) = Database::migrated().await;
    client.batch_execute("insert into rowcast.migration values (999, 'future', '', '1')").await.unwrap();
    let error = store::migrate(&mut client).await.unwrap_err();
    assert_eq!(error.code(), "SCHEMA_NEWER");
    assert!(error.to_string().contains("999"), "{error}");
}

#[tokio::test]
async fn a_changed_migration_is_refused() {
    for damage in [
        "update rowcast.migration set checksum = '1' where version = 1",
        "update rowcast.migration set checksum = null, name = null where version = 1",
        "update rowcast.migration set name = 'other' where version = 1",
    ] {
        let (_database, mut client) = Database::migrated().await;
        client.batch_execute(damage).await.unwrap();
        let error = store::migrate(&mut client).await.unwrap_err();
        assert_eq!(error.code(), "SCHEMA_DIVERGENT", "{damage}");
        assert!(error.to_string().contains("V1__"), "{error}");
    }
}

/// As development versions left it: nine migrations, of which the first has another name.
#[tokio::test]
async fn a_history_that_shares_no_migration_with_this_version_is_divergent_and_not_newer() {
    let (_database, mut client) = Database::migrated().await;
    let damage = "update rowcast.migration set name = 'watched_tables';
                  insert into rowcast.migration values (9, 'merge', '', '1')";
    client.batch_execute(damage).await.unwrap();
    let error = store::migrate(&mut client).await.unwrap_err();
    assert_eq!(error.code(), "SCHEMA_DIVERGENT");
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing_behind() {
    let database = Database::empty().await;
    let mut client = database.connect().await;
    client.batch_execute("create schema rowcast; create table rowcast.watched ()").await.unwrap();
    let error = store::migrate(&mut client).await.unwrap_err();
    assert_eq!(error.code(), "MIGRATION_FAILED");
    assert!(error.to_string().contains("V1__rowcast"), "{error}");
    let row = client.query_one("select to_regclass('rowcast.migration') is null", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));
}

#[tokio::test]
async fn a_role_without_create_is_told_the_grant() {
    let database = Database::empty().await;
    let role = database.role("nobody");
    database.connect().await.batch_execute(&format!("create role {role} login")).await.unwrap();
    let error = store::migrate(&mut database.connect_as(&role).await).await.unwrap_err();
    assert_eq!(error.code(), "PERMISSION_DENIED");
    assert!(error.to_string().contains("grant create on database"), "{error}");
}

#[tokio::test]
async fn an_ordinary_role_with_create_may_migrate() {
    let database = Database::empty().await;
    let role = database.role("migrator");
    let setup = format!("create role {role} login; grant create on database {} to {role}", database.name);
    database.connect().await.batch_execute(&setup).await.unwrap();
    let mut client = database.connect_as(&role).await;
    assert_eq!(store::migrate(&mut client).await.unwrap().len(), store::migrations().len());
    client.batch_execute("create schema app; create table app.orders (id int primary key)").await.unwrap();
    client.batch_execute("select rowcast.watch('app.orders', public => true)").await.unwrap();
}

#[tokio::test]
async fn the_history_is_refinerys_own() {
    let (_database, mut client) = Database::migrated().await;
    let all = store::migrations();
    let known: Vec<_> =
        all.iter().map(|migration| refinery::Migration::unapplied(&migration.name, &migration.sql).unwrap()).collect();
    let mut runner = refinery::Runner::new(&known);
    runner.set_migration_table_name("rowcast.migration");
    assert_eq!(runner.run_async(&mut client).await.unwrap().applied_migrations().len(), 0);
}

#[tokio::test]
async fn functions_of_a_database_without_rowcast_say_what_to_run() {
    let database = Database::empty().await;
    let client = database.connect().await;
    for error in [
        store::status(&client).await.unwrap_err(),
        store::publish(&client, "t", "1", None).await.unwrap_err(),
        store::unwatch(&client, "orders").await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NotMigrated { .. }), "{error}");
        assert!(error.to_string().contains("rowcast migrate"), "{error}");
    }
}

/// A session that waits for what a migration has locked must not reach its deadlock check, in which it might be chosen.
#[tokio::test]
async fn locks_are_given_up_before_the_server_looks_for_deadlocks() {
    for (setting, lasts) in [("deadlock_timeout = '300ms'", "240ms"), ("deadlock_timeout = '10s'", "8s")] {
        let database = Database::empty().await;
        let admin = database.connect().await;
        let note = "create table noted (lock_timeout text);
                    create function note() returns event_trigger language plpgsql as
                        $$ begin insert into public.noted values (current_setting('lock_timeout')); end $$;
                    create event trigger note on ddl_command_end when tag in ('CREATE TABLE', 'CREATE VIEW') execute function note()";
        admin.batch_execute(note).await.unwrap();
        admin.batch_execute(&format!("alter database {} set {setting}", database.name)).await.unwrap();
        store::migrate(&mut database.connect().await).await.unwrap();
        let noted = admin.query_one("select string_agg(distinct lock_timeout, ' ') from noted", &[]).await.unwrap();
        assert_eq!(noted.get::<_, &str>(0), lasts, "{setting}");
    }
}
