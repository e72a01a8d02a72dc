//! A world: one schema with its types, functions, side tables, roles, watched tables and principals. All from its seed.

use super::column::{TENANTS, USERS};
use super::dice::Dice;
use super::filter::Filter;
use super::principal::Principal;
use super::roles::Roles;
use super::sql::{literal, name};
use super::table::Table;
use super::traffic;

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) schema: String,
    pub(super) tables: Vec<Table>,
    pub(super) principals: Vec<Principal>,
    /// By table and principal: the filter of the second subscription.
    pub(super) filters: Vec<Vec<Filter>>,
    /// What makes it.
    pub(super) setup: Vec<String>,
    /// Transactions, in order.
    pub(super) traffic: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let tag = format!("w{seed:x}");
        let schema = format!("{tag}{}", dice.pick(&["", "", " Schema", "\"s"]));
        let roles = Roles::of(&tag, &mut dice);
        let count = dice.pick(&[1, 1, 2, 3]);
        let tables: Vec<_> = (0..count).map(|number| Table::random(&mut dice, &schema, &tag, number, &roles)).collect();
        let setup = setup(&mut dice, &schema, &roles, &tables);
        let principals = Principal::all(&mut dice, &roles);
        let filters = tables
            .iter()
            .map(|table| principals.iter().map(|_| Filter::random(&mut dice, table, &schema)).collect())
            .collect();
        let traffic = traffic::transactions(&mut dice, &schema, &tables);
        World { seed, schema, tables, principals, filters, setup, traffic }
    }

    /// A script for psql, up to the last transaction.
    pub(super) fn script(&self) -> String {
        let lines: Vec<_> = self.setup.iter().chain(&self.traffic).map(|line| format!("{line};")).collect();
        lines.join("\n")
    }
}

fn setup(dice: &mut Dice, schema: &str, roles: &Roles, tables: &[Table]) -> Vec<String> {
    let mut sql = roles.sql();
    let s = name(schema);
    sql.push(format!("create schema {s}"));
    let all: Vec<_> = roles.all().iter().filter(|role| **role != roles.stranger).map(|role| name(role)).collect();
    sql.push(format!(
        "grant usage on schema {s} to {}",
        if dice.chance(0.2) { "public".to_owned() } else { all.join(", ") }
    ));
    sql.push(format!("create type {s}.mood as enum ('sad', 'ok', 'Happy')"));
    sql.push(format!("create domain {s}.quantity as integer check (value > 0)"));
    sql.push(format!("create table {s}.log (ord bigserial primary key, field text, op text, old text, new text)"));
    sql.push(format!(
        "create function {s}.note() returns trigger language plpgsql as $$ begin \
         insert into {s}.log (field, op, old, new) values (tg_argv[0], tg_op, \
         case when tg_op in ('UPDATE', 'DELETE') then old::text end, \
         case when tg_op in ('INSERT', 'UPDATE') then new::text end); return null; end $$"
    ));
    sql.extend(side_tables(dice, &s));
    sql.extend(functions(dice, &s));
    sql.extend(tables.iter().flat_map(|table| table.sql.iter().cloned()));
    sql
}

/// Tables that nobody watches and that policies ask. They do not change while the world runs.
fn side_tables(dice: &mut Dice, s: &str) -> Vec<String> {
    let mut sql = vec![
        format!("create table {s}.members (user_name text, team int, tenant uuid, level int)"),
        format!("create table {s}.teams (id int, tenant uuid, open boolean)"),
    ];
    for _ in 0..6 {
        let (user, team) = (literal(dice.pick(&USERS)), dice.pick(&["1", "2", "3", "10", "null"]));
        let level = dice.between(1, 3);
        sql.push(format!("insert into {s}.members values ({user}, {team}, '{}', {level})", dice.pick(&TENANTS)));
    }
    for id in 0..4 {
        let open = dice.pick(&["true", "false", "null"]);
        sql.push(format!("insert into {s}.teams values ({id}, '{}', {open})", dice.pick(&TENANTS)));
    }
    if dice.chance(0.9) {
        sql.push(format!("grant select on {s}.members, {s}.teams to public"));
    }
    if dice.chance(0.4) {
        sql.push(format!("alter table {s}.members enable row level security"));
        sql.push(format!(
            "create policy own on {s}.members using (user_name = current_setting('app.user', true) or level = 1)"
        ));
    }
    sql
}

fn functions(dice: &mut Dice, s: &str) -> Vec<String> {
    let mut sql = vec![
        format!("create function {s}.is_even(n int) returns boolean language sql immutable as $$ select n % 2 = 0 $$"),
        format!(
            "create function {s}.picky(t text) returns boolean language plpgsql immutable as $$ begin \
             if t like 'b%' then raise exception 'no b'; end if; return length(t) > 2; end $$"
        ),
        format!(
            "create function {s}.my_tenant() returns uuid language sql stable as $$ \
             select nullif(current_setting('app.tenant', true), '')::uuid $$"
        ),
        format!(
            "create function {s}.has_team(t int) returns boolean language sql stable security definer as $$ \
             select exists (select 1 from {s}.members m where m.team = t \
             and m.user_name = current_setting('app.user', true)) $$"
        ),
    ];
    if dice.chance(0.05) {
        sql.push(format!("revoke execute on function {s}.picky(text) from public"));
    }
    sql
}
