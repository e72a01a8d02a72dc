//! What is watched while others plant: a table for each policy, one that is divided by tenants whose type has an owner, and
//! one whose key has a type with operators of its own.

use rowcast::catalog::CaptureMode;
use serde_json::{Value, json};

/// Each is the policy of a table of its own, and whether it still means what is stored once everything is planted.
pub(super) const POLICIES: [(&str, bool); 13] = [
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

/// The table that is divided by tenants has the number behind the last policy's.
pub(super) const OF_TENANTS: usize = POLICIES.len();

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

const SCHEMAS: &str = "
    create schema shop; create schema app; create schema postgres; create schema engine;
    grant usage, create on schema app, public, postgres, engine to planter;
    grant usage on schema shop to reader, writer, engine; grant usage on schema app, postgres, engine to public;
    create type public.mood as enum ('red', 'blue'); alter type public.mood owner to planter;
    create function shop.ok(text) returns bool language sql stable as 'select true';
    create function public.any_ok(anyelement) returns bool language sql stable as 'select true';
    create table shop.members (owner text); insert into shop.members values ('red'), ('none');
    grant select on shop.members to reader;";

/// In a database that searches schemas of others before PostgreSQL's own.
pub(super) fn create(database: &str) -> String {
    let tables: String = (0..=OF_TENANTS).map(table).collect();
    let policies: String = POLICIES.iter().enumerate().map(|(at, (policy, _))| row_security(at, policy)).collect();
    let path = format!("alter database {database} set search_path = \"$user\", app, public, pg_catalog;");
    [SCHEMAS, &tables, &policies, KEYED, &path].concat()
}

fn table(at: usize) -> String {
    format!(
        "create table shop.t{at} (id int primary key, owner text, m mood, short varchar(9));
         grant select on shop.t{at} to reader; grant insert on shop.t{at} to writer;"
    )
}

fn row_security(at: usize, policy: &str) -> String {
    format!(
        "alter table shop.t{at} enable row level security;
         create policy p on shop.t{at} to reader using ({policy});
         create policy w on shop.t{at} for insert to writer with check (true);"
    )
}

/// As a migration of the application does it, which runs as the tables' owner.
pub(super) fn watch(capture: CaptureMode) -> String {
    let start = if capture == CaptureMode::Outbox { "select rowcast.start_outbox();" } else { "" };
    format!(
        "set search_path = pg_catalog; select rowcast.grant_engine('engine');
         select rowcast.watch(('shop.t' || n)::regclass) from generate_series(0, {OF_TENANTS} - 1) n;
         select rowcast.watch('shop.t{OF_TENANTS}', 'm'), rowcast.watch('shop.keyed', public => true); {start}"
    )
}

pub(super) fn fields() -> Value {
    let policies = (0..OF_TENANTS).map(|at| json!({ "table": format!("shop.t{at}") }));
    let of_tenants = json!({ "table": format!("shop.t{OF_TENANTS}"), "tenant": "m" });
    policies.chain([of_tenants, json!({ "table": "shop.keyed", "public": true })]).collect()
}

/// Whether the table's policy can be bound once everything is planted.
pub(super) fn is_bound(table: usize) -> bool {
    POLICIES.get(table).is_none_or(|(_, bound)| *bound)
}
