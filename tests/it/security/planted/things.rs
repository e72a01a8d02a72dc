//! What a role may plant that may create in the schemas of a `search_path`, and what sets each off in a session that searches
//! them in front of `pg_catalog`. Whatever is called leaves a line in the server's log, which no rollback takes back.

/// Names who was called and by which session.
const MARK: &str = "
    create function app.mark(what pg_catalog.text) returns pg_catalog.bool language plpgsql set search_path = pg_catalog, pg_temp as
        $$ begin raise log 'planted % in % by %', what, current_database(), current_setting('application_name'); return true; end $$;";

/// Functions that shadow PostgreSQL's own: name, arguments, result, what is returned, and a call.
const FUNCTIONS: [(&str, &str, &str, &str, &str); 14] = [
    ("format", "text, text", "text", "return 'red'", "format('%s'::pg_catalog.text, 'a'::pg_catalog.text)"),
    ("concat", "text, text", "text", "return 'red'", "concat('a'::pg_catalog.text, 'b'::pg_catalog.text)"),
    ("current_setting", "text, bool", "text", "return 'blue'", "current_setting('app.m'::pg_catalog.text, true)"),
    (
        "set_config",
        "text, text, bool",
        "text",
        "return 'red'",
        "set_config('app.x'::pg_catalog.text, 'x'::pg_catalog.text, true)",
    ),
    ("unnest", "text[]", "setof text", "return", "unnest(array['a'::pg_catalog.text])"),
    ("unnest", "oid[]", "setof oid", "return", "unnest(array[1::pg_catalog.oid])"),
    ("json_array_elements", "json", "setof json", "return", "json_array_elements('[]'::pg_catalog.json)"),
    (
        "json_populate_recordset",
        "anyelement, json",
        "setof anyelement",
        "return",
        "json_populate_recordset(null::shop.t0, '[{}]'::pg_catalog.json)",
    ),
    (
        "pg_get_expr",
        "pg_node_tree, oid",
        "text",
        "return 'true'",
        "pg_get_expr(null::pg_catalog.pg_node_tree, 1::pg_catalog.oid)",
    ),
    ("to_regclass", "text", "regclass", "return null", "to_regclass('pg_class'::pg_catalog.text)"),
    ("to_jsonb", "anyelement", "jsonb", "return '{}'", "to_jsonb(1)"),
    ("pg_my_temp_schema", "", "oid", "return 11", "pg_my_temp_schema()"),
    ("now", "", "timestamptz", "return 'epoch'", "now()"),
    ("pg_is_in_recovery", "", "bool", "return true", "pg_is_in_recovery()"),
];

/// Operators for these operands, which say yes.
const OPERATORS: [(&str, &str, &str); 18] = [
    ("=", "ext.code", "ext.code"),
    ("=", "text", "text"),
    ("<>", "text", "text"),
    ("||", "text", "text"),
    ("~", "text", "text"),
    ("=", "varchar", "varchar"),
    ("=", "oid", "oid"),
    ("=", "name", "name"),
    ("=", "name", "text"),
    ("=", "\"char\"", "\"char\""),
    ("=", "int4", "int4"),
    ("=", "int8", "text"),
    ("=", "bool", "bool"),
    ("<@", "text[]", "text[]"),
    ("@>", "\"char\"[]", "\"char\"[]"),
    ("->", "json", "int4"),
    ("->>", "json", "text"),
    ("=", "public.mood", "public.mood"),
];

/// Domains over PostgreSQL's own types of these names, and a value.
const DOMAINS: [(&str, &str); 6] =
    [("text", "a"), ("oid", "1"), ("name", "a"), ("regclass", "pg_proc"), ("int2", "1"), ("jsonb", "1")];

/// Views of the names of PostgreSQL's own catalogs.
const CATALOGS: [&str; 8] =
    ["pg_class", "pg_policy", "pg_roles", "pg_attribute", "pg_publication", "pg_type", "pg_namespace", "pg_settings"];

/// The owner of a type may make casts of it. With a text in another type this one means something else then.
const CASTS: &str = "
    create function app.to_mood(pg_catalog.text) returns public.mood language plpgsql immutable as
        $$ begin perform app.mark('cast'); return 'red'; end $$;
    create cast (pg_catalog.text as public.mood) with function app.to_mood(pg_catalog.text);
    create function app.to_json(public.mood) returns pg_catalog.json language plpgsql immutable as
        $$ begin perform app.mark('cast to json'); return 1; end $$;
    create cast (public.mood as pg_catalog.json) with function app.to_json(public.mood);";

/// Nearer than the polymorphic function of that name.
const OVERLOAD: &str = "
    create function public.any_ok(pg_catalog.text) returns pg_catalog.bool language plpgsql immutable as
        $$ begin return app.mark('overload'); end $$;";

/// Only a superuser makes operator classes: this one is beside the type's own.
const OPERATOR_CLASS: &str = "
    create function app.compare(public.mood, public.mood) returns pg_catalog.int4 language plpgsql immutable as
        $$ begin perform app.mark('operator class'); return 0; end $$;
    create operator class app.enum_ops for type public.mood using btree as
        operator 3 app.= (public.mood, public.mood), function 1 app.compare(public.mood, public.mood);";

/// Everything, in each of these schemas, as the role that may create there.
pub(super) fn sql(schemas: &[&str]) -> String {
    let planted: String = schemas.iter().map(|schema| in_schema(schema)).collect();
    format!(
        "set search_path = pg_catalog; set role planter; {MARK} {planted} {OVERLOAD} {CASTS} reset role; {OPERATOR_CLASS}"
    )
}

fn in_schema(schema: &str) -> String {
    let functions = FUNCTIONS.iter().map(|(name, arguments, result, returned, _)| {
        format!(
            "create function {schema}.{name}({arguments}) returns {result} language plpgsql as
                 $$ begin perform app.mark('{name}'); {returned}; end $$;"
        )
    });
    let operators = OPERATORS.iter().enumerate().map(|(place, of)| operator(schema, place, *of));
    let catalogs = CATALOGS.iter().map(|name| {
        format!(
            "create view {schema}.{name} as select app.mark('{name}') as planted;
             grant select on {schema}.{name} to public;"
        )
    });
    let domains = DOMAINS
        .iter()
        .map(|(name, _)| format!("create domain {schema}.{name} as pg_catalog.{name} check (app.mark('domain'));"));
    let collation = format!("create collation {schema}.\"C\" from pg_catalog.\"POSIX\";");
    functions.chain(operators).chain(catalogs).chain(domains).chain([collation]).collect()
}

fn operator(schema: &str, place: usize, (name, left, right): (&str, &str, &str)) -> String {
    let result = if name.starts_with('-') { "text" } else { "bool" };
    format!(
        "create function {schema}.yes{place}({left}, {right}) returns {result} language plpgsql immutable as
             $$ begin return app.mark('operator')::pg_catalog.{result}; end $$;
         create operator {schema}.{name} (leftarg = {left}, rightarg = {right}, function = {schema}.yes{place});"
    )
}

/// Statements that each call something planted, and what, where the schemas are searched in front.
pub(super) fn springs() -> Vec<(String, &'static str)> {
    let calls = FUNCTIONS.iter().map(|(name, .., call)| (format!("select {call}"), *name));
    let operators = OPERATORS.iter().map(|(name, left, right)| {
        (format!("select null::{} {name} null::{}", qualified(left), qualified(right)), "operator")
    });
    let catalogs = CATALOGS.iter().map(|name| (format!("select * from {name} limit 1"), *name));
    let domains = DOMAINS.iter().map(|(name, value)| (format!("select '{value}'::{name}"), "domain"));
    let others = [
        ("select 'red'::pg_catalog.text::public.mood", "cast"),
        ("select to_json('red'::public.mood)", "cast to json"),
        ("select public.any_ok('a'::pg_catalog.text)", "overload"),
    ];
    let others = others.map(|(statement, what)| (statement.to_owned(), what));
    calls.chain(operators).chain(catalogs).chain(domains).chain(others).collect()
}

fn qualified(of: &str) -> String {
    if of.contains('.') { of.to_owned() } else { format!("pg_catalog.{of}") }
}
