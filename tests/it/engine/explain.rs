//! What `explain` says about a table and a change is what a subscriber meets.

use rowcast::config::{Bus, Settings};
use rowcast::engine::{Engine, Inquiry};
use rowcast::error::Error;
use rowcast::model::{Operation, Principal};
use serde_json::{Value, json};
use tokio_postgres::Client as Session;

use crate::engine::client::{Client, PATIENCE, bus, serving, skips_outbox};
use crate::postgres::Server;

/// A watched table with row policies, and roles to read it.
async fn prepared(policies: &str) -> Server {
    prepared_as("rowcast.watch('docs')", policies).await
}

async fn prepared_as(watch: &str, policies: &str) -> Server {
    let server = Server::logical();
    Engine::new(bus(&server), Settings::default()).migrate().await.unwrap();
    server
        .sql(&format!(
            "create role app; create role auditor;
             create table docs (id int primary key, tenant text, owner text not null, title text, at timestamptz, body jsonb);
             alter table docs enable row level security;
             grant select on docs to app, auditor;
             {policies};
             select {watch}"
        ))
        .await;
    server
}

fn user(role: &str, user: &str) -> Principal {
    Principal {
        role: Some(role.into()),
        tenant_id: Some("red".into()),
        settings: [("app.user".to_owned(), user.to_owned())].into(),
        ..Principal::default()
    }
}

fn docs() -> Inquiry {
    Inquiry { table: "docs".into(), ..Inquiry::default() }
}

/// A change of `docs`: the row before and after.
fn change(old: Option<Value>, new: Option<Value>) -> Inquiry {
    Inquiry { row: new.map(|row| row.to_string()), old: old.map(|row| row.to_string()), ..docs() }
}

async fn ask(server: &Server, principal: &Principal, inquiry: &Inquiry) -> Result<Value, Error> {
    let engine = Engine::new(bus(server), Settings::default());
    let told = engine.explain(principal, inquiry).await?;
    Ok(serde_json::from_str(&told).unwrap())
}

async fn told(server: &Server, principal: &Principal, inquiry: &Inquiry) -> Value {
    ask(server, principal, inquiry).await.unwrap()
}

async fn code(server: &Server, inquiry: &Inquiry) -> String {
    ask(server, &user("app", "ann"), inquiry).await.unwrap_err().code().to_owned()
}

/// What a module says: its code, or `ok`.
fn says<'t>(told: &'t Value, module: &str) -> &'t str {
    let modules = told["modules"].as_array().unwrap();
    let module = modules.iter().find(|said| said["module"] == module).unwrap();
    assert_eq!(module["admitted"], module["code"].is_null());
    module["code"].as_str().unwrap_or("ok")
}

fn policy<'t>(told: &'t Value, name: &str) -> &'t Value {
    let policies = told["row_policy"]["policies"].as_array().unwrap();
    policies.iter().find(|policy| policy["name"] == name).unwrap()
}

fn doc(id: i32, owner: &str) -> Value {
    json!({ "id": id, "tenant": "red", "owner": owner, "title": "t", "at": "2026-11-23T20:00:00+01:00", "body": {"a": [1]} })
}

const OWN: &str = "create policy own on docs using (owner = current_setting('app.user'))";

const READABLE: &str = "create function readable(owner text) returns boolean language plpgsql stable as $$ begin
     if owner = 'raise' then raise exception using errcode = 'RC042'; end if;
     return owner = current_setting('app.user'); end $$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compiled_policy_is_told_with_its_values_and_how_the_index_finds_it() {
    let server = prepared(OWN).await;
    let told = told(&server, &user("app", "ann"), &change(None, Some(doc(1, "ann")))).await;
    assert_eq!((&told["table"], &told["admitted"]), (&json!("public.docs"), &json!(true)));
    let own = policy(&told, "own");
    assert_eq!((&own["evaluation"], &own["applies"]), (&json!("compiled"), &json!(true)));
    assert_eq!(own["predicate"], "owner = 'ann'");
    assert_eq!(told["row_policy"]["rule"], "decided");
    assert_eq!(told["condition"], json!({ "sql": "owner = 'ann'", "index": "equality", "delegated": false }));
    let row = &told["row"];
    assert_eq!((&row["transition"], &row["told"]["what"]), (&json!("ENTER"), &json!("row")));
    assert_eq!(row["new"]["delegated"], Value::Null);
    let payload = &row["told"]["payload"]["data"]["docs"];
    assert_eq!(payload["row"]["at"], "2026-11-23T19:00:00+00:00");
    assert_eq!(payload["row"]["body"], json!({ "a": [1] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delegated_policy_is_told_with_what_postgresql_said() {
    let server = prepared(&format!("{READABLE}; create policy own on docs using (readable(owner))")).await;
    let ann = user("app", "ann");
    let seen = told(&server, &ann, &change(None, Some(doc(1, "ann")))).await;
    let own = policy(&seen, "own");
    assert_eq!(own["evaluation"], "delegated");
    assert_eq!(own["reasons"][0]["part"], "public.readable(owner)");
    assert_eq!(seen["row_policy"]["question"]["role"], "app");
    assert_eq!(seen["row_policy"]["question"]["reads"], json!(["owner"]));
    assert_eq!(seen["condition"]["index"], "always");
    assert_eq!(seen["row"]["new"]["delegated"]["answer"], "visible");
    assert_eq!(seen["row"]["told"]["what"], "row");
    let unseen = told(&server, &ann, &change(None, Some(doc(1, "bob")))).await;
    assert_eq!(unseen["row"]["new"]["delegated"]["answer"], "hidden");
    assert_eq!(unseen["row"]["new"]["refused_by"], "row_policy");
    assert_eq!(unseen["row"]["told"], Value::Null);
    let raised = told(&server, &ann, &change(None, Some(doc(1, "raise")))).await;
    assert_eq!(raised["row"]["new"]["delegated"], json!({ "answer": "raised", "sqlstate": "RC042", "says": null }));
    assert_eq!((&raised["row"]["new"]["in_view"], &raised["row"]["told"]), (&json!(false), &Value::Null));
    let mended = told(&server, &ann, &change(Some(doc(1, "raise")), Some(doc(1, "ann")))).await;
    assert_eq!(mended["row"]["transition"], "ENTER");
    let blind = told(&server, &ann, &change(None, Some(json!({ "id": 1 })))).await;
    assert_eq!(blind["row"]["new"]["delegated"]["answer"], "incomplete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_policy_is_asked_only_where_its_compiled_part_leaves_it_open() {
    let server =
        prepared(&format!("{READABLE}; create policy own on docs using (tenant = 'red' and readable(owner))")).await;
    let ann = user("app", "ann");
    let open = told(&server, &ann, &change(None, Some(doc(1, "ann")))).await;
    assert_eq!(policy(&open, "own")["evaluation"], "mixed");
    assert_eq!(open["condition"], json!({ "sql": "tenant = 'red'", "index": "equality", "delegated": true }));
    assert_eq!(open["row"]["new"]["delegated"]["answer"], "visible");
    let mut other = doc(1, "ann");
    other["tenant"] = json!("blue");
    let closed = told(&server, &ann, &change(None, Some(other))).await;
    assert_eq!(closed["row"]["new"]["delegated"], Value::Null);
    assert_eq!(closed["row"]["new"]["refused_by"], "row_policy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_does_not_apply_says_why() {
    let server = prepared(
        "create policy staff on docs to auditor using (true); create policy nothing on docs for all to app with check (true)",
    )
    .await;
    let app = told(&server, &user("app", "ann"), &change(None, Some(doc(1, "ann")))).await;
    assert_eq!(policy(&app, "staff")["applies"], false);
    assert_eq!(policy(&app, "staff")["why_not"], "it is for other roles: auditor");
    assert!(policy(&app, "nothing")["why_not"].as_str().unwrap().contains("USING"));
    assert_eq!(app["condition"]["index"], "never");
    assert_eq!(app["row"]["new"]["refused_by"], "row_policy");
    let auditor = told(&server, &user("auditor", "eve"), &docs()).await;
    assert_eq!((&auditor["condition"]["index"], &auditor["row"]), (&json!("always"), &Value::Null));
    let superuser = told(&server, &user("postgres", "eve"), &docs()).await;
    assert_eq!(superuser["row_policy"]["exempt"], "the role is a superuser");
    assert_eq!(superuser["row_policy"]["rule"], "all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_module_is_heard_although_one_before_it_says_no() {
    let server = prepared_as("rowcast.watch('docs', 'tenant')", OWN).await;
    server.sql("revoke select on docs from app; grant select (id, title) on docs to app").await;
    let stranger = told(&server, &Principal { tenant_id: None, ..user("app", "ann") }, &docs()).await;
    assert_eq!(says(&stranger, "tenant"), "TENANT_REQUIRED");
    assert_eq!((says(&stranger, "row_policy"), says(&stranger, "columns")), ("ok", "ok"));
    assert_eq!(
        stranger["columns"],
        json!({ "readable": ["id", "title"], "hidden": ["tenant", "owner", "at", "body"] })
    );
    assert_eq!((&stranger["admitted"], &stranger["condition"]), (&json!(false), &Value::Null));
    let roleless = told(&server, &Principal { role: None, ..user("", "ann") }, &docs()).await;
    assert_eq!(says(&roleless, "row_policy"), "ROLE_REQUIRED");
    assert_eq!(
        (&roleless["row_policy"]["rule"], &policy(&roleless, "own")["applies"]),
        (&json!("unknown"), &Value::Null)
    );
    let unknown = told(&server, &user("nobody", "ann"), &docs()).await;
    assert_eq!((says(&unknown, "tenant"), says(&unknown, "row_policy")), ("ok", "ROLE_UNKNOWN"));
    let unset = told(&server, &Principal { settings: [].into(), ..user("app", "") }, &docs()).await;
    assert_eq!(says(&unset, "row_policy"), "SETTING_MISSING");
    let field = Some(r#"{"scopes": ["docs:read"], "service": "docs"}"#.to_owned());
    let held = Principal { services: vec!["billing".into()], ..user("app", "ann") };
    let held = told(&server, &held, &Inquiry { field, ..docs() }).await;
    assert_eq!((says(&held, "federation"), says(&held, "scope")), ("SERVICE_FORBIDDEN", "SCOPE_REQUIRED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_columns_are_not_told() {
    let server = prepared("create policy all_of_it on docs using (true)").await;
    server.sql("revoke select on docs from app; grant select (id, title) on docs to app").await;
    let mut new = doc(1, "bob");
    new["title"] = json!("new");
    let told = told(&server, &user("app", "ann"), &change(Some(doc(1, "ann")), Some(new))).await;
    assert_eq!(told["row"]["told"]["columns"], json!(["id", "title"]));
    assert_eq!(told["row"]["told"]["changed"], json!(["title"]));
    assert_eq!(told["row"]["told"]["payload"]["data"]["docs"]["row"], json!({ "id": 1, "title": "new" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_hidden_columns_alone_is_explained_as_not_delivered() {
    for policies in ["true", "readable(owner)"] {
        let server = prepared(&format!("{READABLE}; create policy own on docs using ({policies})")).await;
        server.sql("revoke select on docs from app; grant select (id, title, owner) on docs to app").await;
        let mut new = doc(1, "ann");
        new["body"] = json!({ "a": [2] });
        let unseen = told(&server, &user("app", "ann"), &change(Some(doc(1, "ann")), Some(new.clone()))).await;
        let row = &unseen["row"];
        assert_eq!(
            (&row["new"]["in_view"], &row["told"], &row["transition"]),
            (&json!(true), &Value::Null, &Value::Null)
        );
        assert_eq!(row["why_not"], "the update changed only columns that the role may not read", "{policies}");
        new["title"] = json!("new");
        let seen = told(&server, &user("app", "ann"), &change(Some(doc(1, "ann")), Some(new))).await;
        assert_eq!((&seen["row"]["transition"], &seen["row"]["why_not"]), (&json!("STAY"), &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_out_of_the_view_tells_the_key_alone() {
    for policies in [OWN.to_owned(), format!("{READABLE}; create policy own on docs using (readable(owner))")] {
        let server = prepared(&policies).await;
        let moved = change(Some(doc(1, "ann")), Some(doc(1, "bob")));
        let ann = told(&server, &user("app", "ann"), &moved).await;
        let row = &ann["row"];
        assert_eq!((&row["operation"], &row["transition"]), (&json!("UPDATE"), &json!("LEAVE")), "{policies}");
        assert_eq!((&row["old"]["in_view"], &row["new"]["in_view"]), (&json!(true), &json!(false)));
        assert_eq!(row["new"]["refused_by"], "row_policy");
        assert_eq!((&row["told"]["what"], &row["told"]["columns"]), (&json!("key"), &json!(["id"])));
        let payload = &row["told"]["payload"]["data"]["docs"];
        assert_eq!((&payload["row"], &payload["key"]), (&Value::Null, &json!({ "id": 1 })));
        let bob = told(&server, &user("app", "bob"), &moved).await;
        assert_eq!(bob["row"]["transition"], "ENTER", "{policies}");
        let eve = told(&server, &user("app", "eve"), &moved).await;
        assert_eq!((&eve["row"]["transition"], &eve["row"]["told"]), (&Value::Null, &Value::Null));
        assert_eq!(eve["row"]["why_not"], "module row_policy does not show the new row, and it was not in view before");
        let gone = told(&server, &user("app", "ann"), &change(Some(doc(1, "ann")), None)).await;
        assert_eq!((&gone["row"]["operation"], &gone["row"]["transition"]), (&json!("DELETE"), &json!("LEAVE")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_another_tenant_is_refused_by_the_tenant_before_anybody_is_asked() {
    let policies = format!("{READABLE}; create policy own on docs using (readable(owner))");
    let server = prepared_as("rowcast.watch('docs', 'tenant')", &policies).await;
    let blue = Principal { tenant_id: Some("blue".into()), ..user("app", "ann") };
    let told = told(&server, &blue, &change(None, Some(doc(1, "ann")))).await;
    let new = &told["row"]["new"];
    assert_eq!((&new["tenant"], &new["refused_by"]), (&json!("false"), &json!("tenant")));
    assert_eq!(new["delegated"]["answer"], "not evaluated");
    assert_eq!(told["condition"]["sql"], "tenant = 'blue'");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_row_is_what_the_replica_identity_gives_of_it() {
    if skips_outbox("triggers see whole rows whatever the replica identity") {
        return;
    }
    let server = prepared(OWN).await;
    server.sql("alter table docs replica identity default").await;
    let ann = user("app", "ann");
    let gone = told(&server, &ann, &change(Some(doc(1, "ann")), None)).await;
    assert_eq!(gone["row"]["old"]["absent"], json!(["tenant", "owner", "title", "at", "body"]));
    assert_eq!((&gone["row"]["old"]["row_policy"], &gone["row"]["told"]), (&json!("unavailable"), &Value::Null));
    assert!(gone["row"]["notes"][0].as_str().unwrap().contains("replica identity"));
    let stays = told(&server, &ann, &change(Some(doc(1, "bob")), Some(doc(1, "ann")))).await;
    assert_eq!((&stays["row"]["old"], &stays["row"]["transition"]), (&Value::Null, &json!("STAY")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_is_left_out_is_not_taken_for_null() {
    let server = prepared("create policy own on docs using (title is null)").await;
    let ann = user("app", "ann");
    let absent = told(&server, &ann, &change(None, Some(json!({ "id": 1, "owner": "ann" })))).await;
    assert_eq!(absent["row"]["new"]["absent"], json!(["tenant", "title", "at", "body"]));
    assert_eq!(absent["row"]["new"]["row_policy"], "unavailable");
    let null = told(&server, &ann, &change(None, Some(json!({ "id": 1, "owner": "ann", "title": null })))).await;
    assert_eq!(null["row"]["new"]["row_policy"], "true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_explained_has_a_code_and_leaves_nothing_behind() {
    if skips_outbox("an outbox needs no publication") {
        return;
    }
    let server = prepared(OWN).await;
    let row = |json: &str| Inquiry { row: Some(json.to_owned()), ..docs() };
    assert_eq!(code(&server, &Inquiry { table: "nothing".into(), ..docs() }).await, "UNKNOWN_TABLE");
    assert_eq!(code(&server, &row("[]")).await, "ROW_NOT_JSON");
    assert_eq!(code(&server, &row("{")).await, "ROW_NOT_JSON");
    assert_eq!(code(&server, &row(r#"{"id": 1, "colour": "red"}"#)).await, "COLUMN_UNKNOWN");
    assert_eq!(code(&server, &row(r#"{"id": "one"}"#)).await, "ROW_INVALID");
    let deleted = Inquiry { operation: Some(Operation::Delete), ..row("{}") };
    assert_eq!(code(&server, &deleted).await, "OPERATION_MISMATCH");
    server.sql("alter publication rowcast drop table docs").await;
    assert_eq!(code(&server, &docs()).await, "TABLE_NOT_SERVED");
    let memory = Engine::new(Bus::Memory, Settings::default());
    assert_eq!(memory.explain(&user("app", "ann"), &docs()).await.unwrap_err().code(), "NO_DATABASE");
    let admin: Session = server.admin().await;
    let slots: i64 = admin.query_one("select count(*) from pg_replication_slots", &[]).await.unwrap().get(0);
    let rows: i64 = admin.query_one("select count(*) from docs", &[]).await.unwrap().get(0);
    assert_eq!((slots, rows), (0, 0));
}

/// Where the stream does not have it: before 18.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_column_may_be_in_the_row_and_is_left_out() {
    let server = prepared(OWN).await;
    server.sql("alter table docs add column upper_title text generated always as (upper(title)) stored").await;
    let mut row = doc(1, "ann");
    row["upper_title"] = json!("T");
    let told = told(&server, &user("app", "ann"), &change(None, Some(row))).await;
    assert_eq!(told["row"]["transition"], "ENTER");
    let is_sent = server.value("select (current_setting('server_version_num')::int >= 180000)::text").await;
    assert_eq!(told["row"]["notes"].to_string().contains("upper_title"), is_sent.as_deref() == Some("false"));
}

/// What is delivered live and what is explained of the same changes, for principals that receive them and for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_explained_is_what_is_told_live() {
    let policies = format!(
        "{READABLE}; create policy mine on docs using (readable(owner)); create policy all_may on docs using (title = 'all');
         create policy sane on docs as restrictive using (id < 100)"
    );
    let server = prepared(&policies).await;
    let engine = serving(&server, &json!([{ "table": "docs" }])).await;
    let row = |id: i32, owner: &str, title: &str| json!({ "id": id, "tenant": "red", "owner": owner, "title": title, "at": null, "body": { "n": 1.50 } });
    let changes = [
        (None, Some(row(1, "ann", "t"))),
        (None, Some(row(2, "bob", "t"))),
        (None, Some(row(3, "bob", "all"))),
        (None, Some(row(100, "ann", "all"))),
        (Some(row(2, "bob", "t")), Some(row(2, "ann", "new"))),
        (Some(row(2, "ann", "new")), Some(row(2, "ann", "newer"))),
        (Some(row(1, "ann", "t")), Some(row(1, "raise", "t"))),
        (Some(row(1, "raise", "t")), Some(row(1, "ann", "back"))),
        (Some(row(1, "ann", "back")), Some(row(1, "raise", "t"))),
        (Some(row(3, "bob", "all")), Some(row(3, "bob", "t"))),
        (Some(row(2, "ann", "newer")), None),
        (Some(row(1, "raise", "t")), None),
        (None, Some(row(4, "ann", "last"))),
    ];
    let ann = user("app", "ann");
    let query =
        "subscription { docs { operation transition changed key { id } row { id tenant owner title at body } } }";
    let mut client = Client::connect(&engine, ann.clone());
    client.subscribe("1", query);
    for (old, new) in changes {
        let told = told(&server, &ann, &change(old.clone(), new.clone())).await;
        server.sql(&statement(old.as_ref(), new.as_ref())).await;
        if !told["row"]["told"].is_null() {
            assert_eq!(client.next().await, told["row"]["told"]["payload"]["data"]["docs"], "{old:?} {new:?}");
        }
    }
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}

fn statement(old: Option<&Value>, new: Option<&Value>) -> String {
    let populated = |row: &Value| format!("jsonb_populate_record(null::docs, $row${row}$row$)");
    match (old, new) {
        (None, Some(new)) => format!("insert into docs select * from {}", populated(new)),
        (Some(old), Some(new)) => format!(
            "update docs set (tenant, owner, title) = (select tenant, owner, title from {}) where id = {}",
            populated(new),
            old["id"]
        ),
        (Some(old), None) => format!("delete from docs where id = {}", old["id"]),
        (None, None) => String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_key_is_explained_as_the_two_events_that_it_is() {
    let server = prepared("create policy own on docs using (owner = current_setting('app.user'))").await;
    let told = told(&server, &user("app", "ann"), &change(Some(doc(1, "ann")), Some(doc(2, "ann")))).await;
    let row = &told["row"];
    let event = |name: &str| row[name]["payload"]["data"]["docs"].clone();
    assert_eq!((&event("left")["transition"], &event("left")["key"]), (&json!("LEAVE"), &json!({ "id": 1 })));
    assert_eq!((&event("told")["transition"], &event("told")["key"]), (&json!("ENTER"), &json!({ "id": 2 })));
    assert_eq!((&row["left"]["what"], &row["transition"]), (&json!("key"), &json!("ENTER")));
}
