//! Shared by [`fetch`](super::fetch) and [`pages`](super::pages): both read tables as a role, and values in the formats
//! of the replication stream.
//!
//! Values are compared as an index compares them: with the operator of their type's default operator class, not with
//! the operator that the name `=` finds. Both values have the type itself, so no cast is needed.

use std::collections::HashMap;

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

use super::ProbeError;
use super::error::Trouble;
use super::session::ProbeSession;
use super::statement::quoted;
use crate::model::Table;

/// The settings that make a session print values as the replication stream does.
pub(super) const FORMATS: [(&str, &str); 5] = [
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

/// Only a superuser makes operator classes. A type of PostgreSQL's own that has none by itself (`varchar`, an enum) has
/// the operator of PostgreSQL's own that its values are like; and so it is where the role may not name the other one.
/// 403 is btree, 405 hash.
const COMPARED: &str = "
    with recursive based (name, type) as (
        select a.attname, a.atttypid from pg_catalog.pg_attribute a
        where a.attrelid = $1 and a.attname::text = any ($2::text[]) and not a.attisdropped
        union all
        select b.name, t.typbasetype from based b join pg_catalog.pg_type t on t.oid = b.type where t.typtype = 'd'
    )
    select b.name::text, pg_catalog.format('%I.%I', n.nspname, t.typname), coalesce(e.operator, 'operator(pg_catalog.=)')
    from based b
    join pg_catalog.pg_type t on t.oid = b.type and t.typtype <> 'd'
    join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    left join lateral (
        select pg_catalog.format('operator(%I.%s)', s.nspname, o.oprname) as operator
        from pg_catalog.pg_opclass c
        join pg_catalog.pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = t.oid and m.amoprighttype = t.oid
            and m.amopstrategy = case c.opcmethod when 403 then 3 else 1 end
        join pg_catalog.pg_operator o on o.oid = m.amopopr
        join pg_catalog.pg_namespace s on s.oid = o.oprnamespace
        where c.opcintype = t.oid and c.opcdefault and c.opcmethod in (403, 405)
            and pg_catalog.has_schema_privilege(s.oid, 'usage')
        order by c.opcmethod limit 1
    ) e on true";

/// How values of a column are compared.
pub(super) struct Compared {
    /// Such as `operator(pg_catalog.=)`.
    pub(super) operator: String,
    /// The type, without a length or precision, to which a value would be cut.
    pub(super) of: String,
}

/// By the columns' names; to be asked as the role that is to name them.
pub(super) async fn compared(
    session: &ProbeSession,
    table: &Table,
    columns: impl Iterator<Item = usize>,
) -> Result<HashMap<String, Compared>, Trouble> {
    let names: Vec<&str> = columns.map(|index| table.columns[index].name.as_str()).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = session.client.query_typed(COMPARED, &[(&table.oid, Type::OID), (&names, Type::TEXT_ARRAY)]).await;
    let rows = rows.map_err(|error| Trouble::of(&error, Trouble::Condition))?;
    rows.iter().map(by_name).collect::<Result<_, _>>().map_err(|error| told(&error))
}

fn by_name(row: &Row) -> Result<(String, Compared), Error> {
    Ok((row.try_get(0)?, Compared { of: row.try_get(1)?, operator: row.try_get(2)? }))
}

/// A column by its output function, which a cast to text need not be.
pub(super) fn text(table: &Table, index: usize) -> String {
    let column = quoted(&table.columns[index].name);
    format!("case when t.{column} is distinct from null then pg_catalog.format('%s', t.{column}) end")
}

pub(super) async fn set(session: &ProbeSession, settings: impl Iterator<Item = (&str, &str)>) -> Result<(), Trouble> {
    let (names, values): (Vec<&str>, Vec<&str>) = settings.unzip();
    let refused = |code: Box<str>| match &*code {
        "22023" | "42501" | "42704" => Trouble::Role(code),
        _ => Trouble::Setting(code),
    };
    let done = session.client.query(&session.set, &[&names, &values]).await;
    done.map(drop).map_err(|error| Trouble::of(&error, refused))
}

pub(super) fn blame(table: &str, role: &str, trouble: Trouble) -> ProbeError {
    let unanswerable = |sqlstate| ProbeError::Unanswerable { table: table.to_owned(), role: role.into(), sqlstate };
    match trouble {
        Trouble::Lost(reason) => lost(reason),
        Trouble::Unanswered | Trouble::Stale => lost("it did not answer".to_owned()),
        Trouble::TimedOut => unanswerable("57014".into()),
        Trouble::Busy(sqlstate) => ProbeError::Busy { sqlstate },
        Trouble::Role(sqlstate) => ProbeError::RoleRefused { role: role.into(), sqlstate },
        Trouble::Setting(sqlstate) => ProbeError::SettingRefused { sqlstate },
        Trouble::Unbound(reason) => ProbeError::Unbound { table: table.to_owned(), role: role.into(), reason },
        Trouble::Condition(sqlstate) | Trouble::Raised(sqlstate) => unanswerable(sqlstate),
    }
}

pub(super) fn told(error: &Error) -> Trouble {
    Trouble::Lost(error.to_string())
}

pub(super) fn lost(reason: String) -> ProbeError {
    ProbeError::ConnectionLost { reason }
}
