//! Columns of watched tables: types, names that need quoting, values, and the JSON of each type.

use super::dice::Dice;
use super::sql::{literal, name};

pub(super) const TENANTS: [&str; 3] = [
    "11111111-1111-1111-1111-111111111111",
    "22222222-2222-2222-2222-22222222aaaa",
    "33333333-3333-3333-3333-333333333333",
];
pub(super) const USERS: [&str; 9] = ["ann", "bob", "Ann", "eve", "o'x", "", "3", "ÄNN", "ann "];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Numeric,
    Float8,
    Text,
    TextC,
    Varchar,
    Char,
    Name,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
    Jsonb,
    Json,
    Texts,
    Ints,
    Mood,
    Quantity,
    Inet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// The GraphQL name.
    pub(super) field: &'static str,
    pub(super) kind: Kind,
}

const fn column(name: &'static str, field: &'static str, kind: Kind) -> Column {
    Column { name, field, kind }
}

pub(super) const ID4: Column = column("id", "id", Kind::Int4);
pub(super) const ID8: Column = column("Row Id", "rowId", Kind::Int8);
pub(super) const REGION: Column = column("region", "region", Kind::Text);
/// Makes every image of a row another one.
pub(super) const REVISION: Column = column("rev", "rev", Kind::Int4);
pub(super) const TENANT_COLUMNS: [Column; 3] = [
    column("tenant_id", "tenantId", Kind::Uuid),
    column("Tenant", "tenant", Kind::Uuid),
    column("tenant_name", "tenantName", Kind::Text),
];
pub(super) const REGIONS: [&str; 3] = ["eu", "us", "as"];

/// What a table may have beyond its key.
pub(super) const COLUMNS: [Column; 32] = [
    column("flag", "flag", Kind::Bool),
    column("Is \"Open\"", "isOpen", Kind::Bool),
    column("small", "small", Kind::Int2),
    column("n", "n", Kind::Int4),
    column("team", "team", Kind::Int4),
    column("select", "select", Kind::Int4),
    column("big", "big", Kind::Int8),
    column("amount", "amount", Kind::Numeric),
    column("ratio", "ratio", Kind::Float8),
    column("owner", "owner", Kind::Text),
    column("Full Name", "fullName", Kind::Text),
    column("status", "status", Kind::Text),
    column("user", "user", Kind::Text),
    column("c_text", "cText", Kind::TextC),
    column("code", "code", Kind::Varchar),
    column("pad", "pad", Kind::Char),
    column("login", "login", Kind::Name),
    column("owner_id", "ownerId", Kind::Uuid),
    column("parent", "parent", Kind::Uuid),
    column("day", "day", Kind::Date),
    column("local_at", "localAt", Kind::Timestamp),
    column("at", "at", Kind::TimestampTz),
    column("doc", "doc", Kind::Jsonb),
    column("meta", "meta", Kind::Jsonb),
    column("note", "note", Kind::Json),
    column("Extra", "extra", Kind::Json),
    column("tags", "tags", Kind::Texts),
    column("nums", "nums", Kind::Ints),
    column("mood", "mood", Kind::Mood),
    column("qty", "qty", Kind::Quantity),
    column("addr", "addr", Kind::Inet),
    column("größe", "grE", Kind::Int4),
];

impl Column {
    pub(super) fn sql(self) -> String {
        name(self.name)
    }

    /// NULL now and then.
    pub(super) fn value(self, dice: &mut Dice, schema: &str) -> String {
        if dice.chance(0.1) { "null".to_owned() } else { self.kind.literal(dice, schema) }
    }

    /// An SQL expression: what the JSON of this column's value is.
    pub(super) fn json(self) -> String {
        let column = self.sql();
        match self.kind {
            Kind::Int8 | Kind::Numeric => format!("to_json({column}::text)"),
            Kind::Float8 => {
                format!(
                    "case when {column}::text in ('NaN', 'Infinity', '-Infinity') then null else to_json({column}) end"
                )
            }
            _ => format!("to_json({column})"),
        }
    }
}

impl Kind {
    pub(super) fn type_name(self, schema: &str) -> String {
        match self {
            Kind::Bool => "boolean",
            Kind::Int2 => "smallint",
            Kind::Int4 => "integer",
            Kind::Int8 => "bigint",
            Kind::Numeric => "numeric",
            Kind::Float8 => "double precision",
            Kind::Text | Kind::TextC => "text",
            Kind::Varchar => "varchar(20)",
            Kind::Char => "char(5)",
            Kind::Name => "name",
            Kind::Uuid => "uuid",
            Kind::Date => "date",
            Kind::Timestamp => "timestamp",
            Kind::TimestampTz => "timestamptz",
            Kind::Jsonb => "jsonb",
            Kind::Json => "json",
            Kind::Texts => "text[]",
            Kind::Ints => "integer[]",
            Kind::Mood => return format!("{}.mood", name(schema)),
            Kind::Quantity => return format!("{}.quantity", name(schema)),
            Kind::Inet => "inet",
        }
        .to_owned()
    }

    pub(super) fn declaration(self, schema: &str) -> String {
        let collation = if self == Kind::TextC { " collate \"C\"" } else { "" };
        self.type_name(schema) + collation
    }

    pub(super) fn literal(self, dice: &mut Dice, schema: &str) -> String {
        format!("{}::{}", literal(dice.pick(self.pool())), self.type_name(schema))
    }

    pub(super) fn is_text(self) -> bool {
        matches!(self, Kind::Text | Kind::TextC | Kind::Varchar | Kind::Char | Kind::Name)
    }

    pub(super) fn is_integer(self) -> bool {
        matches!(self, Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Quantity)
    }

    /// Rows, literals and settings are drawn from the same few values, so that they meet.
    pub(super) fn pool(self) -> &'static [&'static str] {
        match self {
            Kind::Bool => &["true", "false"],
            Kind::Int2 | Kind::Int4 | Kind::Int8 => &["-1", "0", "1", "2", "3", "10"],
            Kind::Quantity => &["1", "2", "3", "10"],
            Kind::Numeric => &["0", "1", "1.50", "1.5", "-2.25", "1000000000000000000000.5", "NaN"],
            Kind::Float8 => &["0", "-0", "0.5", "1", "1.5", "NaN", "Infinity", "1e-300"],
            Kind::Text | Kind::TextC | Kind::Varchar | Kind::Name => &USERS,
            Kind::Char => &["ann", "bob", "Ann", "", "3"],
            Kind::Uuid => &TENANTS,
            Kind::Date => &["2024-02-29", "2020-01-01", "infinity", "0044-03-15 BC"],
            Kind::Timestamp => &["2024-02-29 00:00:00", "2024-02-29 12:00:00.5", "-infinity"],
            Kind::TimestampTz => &["2024-02-29 00:00:00+00", "2024-02-29 12:00:00.5+00", "2020-01-01 00:00:00+00"],
            Kind::Jsonb => &[
                r#"{"k": "ann", "n": 1}"#,
                r#"{"k": "bob", "n": "x", "a": {"b": "ann"}}"#,
                r#"{"k": null, "n": 2, "list": ["ann", "bob"]}"#,
                r#"["ann", "bob"]"#,
                "{}",
                "3",
                "null",
                r#""ann""#,
            ],
            Kind::Json => &[
                r#"{"k": "ann", "n": 1, "n":  2}"#,
                r#" {"k": "bob", "a": {"b": "\u0061nn"}}"#,
                r#"{"k": "\u0000"}"#,
                " null ",
                "null",
                "[]",
            ],
            Kind::Texts => &["{}", "{ann}", "{ann,bob}", "{NULL,bob}", r#"{"",3}"#, "{{ann,bob},{eve,ann}}"],
            Kind::Ints => &["{}", "{1}", "{1,2,3}", "{NULL,2}", "[0:1]={3,10}"],
            Kind::Mood => &["sad", "ok", "Happy"],
            Kind::Inet => &["10.0.0.1", "10.1.0.0/16", "192.168.0.1", "::1"],
        }
    }
}
