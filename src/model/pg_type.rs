//! PostgreSQL's types as far as their text, JSON and GraphQL forms differ. Domains are resolved to their base type.

use std::sync::Arc;

/// What a column's text means. Types without a variant of their own are `Other`: their text form is their JSON form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PgType {
    /// `boolean`: GraphQL `Boolean`.
    Bool,
    /// `smallint`: GraphQL `Int`.
    Int2,
    /// `integer`: GraphQL `Int`.
    Int4,
    /// `bigint`: GraphQL `BigInt`, a JSON string, since JavaScript reads JSON numbers as doubles.
    Int8,
    /// `numeric`: GraphQL `Decimal`, a JSON string with every digit.
    Numeric,
    /// `real`: GraphQL `Float`; NaN and the infinities are `null` with an error, as JSON has no number for them.
    Float4,
    /// `double precision`: GraphQL `Float`, as `Float4`.
    Float8,
    /// `text`, `varchar`, `name`, `"char"`, `citext`: GraphQL `String`.
    Text,
    /// `char(n)`: GraphQL `String`. Blanks at the end are part of its text and do not count where values are compared.
    Bpchar,
    /// `uuid`: GraphQL `UUID`.
    Uuid,
    /// `date`: GraphQL `Date`.
    Date,
    /// `time`: GraphQL `Time`.
    Time,
    /// `timestamp`: GraphQL `LocalDateTime`, ISO 8601 without an offset.
    Timestamp,
    /// `timestamptz`: GraphQL `DateTime`, ISO 8601 in UTC.
    TimestampTz,
    /// `json` and `jsonb`: GraphQL `JSON`, embedded as it is.
    Json,
    /// `bytea`: GraphQL `Bytes`, hexadecimal after `\x` as PostgreSQL prints it.
    Bytea,
    /// An enum type.
    Enum(Arc<EnumType>),
    /// An array type: a GraphQL list; more dimensions nest.
    Array(Arc<ArrayType>),
    /// A composite type: GraphQL `JSON`, an object of its attributes.
    Composite(Arc<CompositeType>),
    /// Anything else (intervals, ranges, network addresses, geometry, …): GraphQL `String`, PostgreSQL's text form.
    Other,
}

/// A `create type … as enum`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumType {
    /// The type's name without its schema.
    pub name: String,
    /// Labels in their sort order.
    pub labels: Vec<String>,
}

/// An array of anything, of any number of dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayType {
    /// The element type, never itself an array.
    pub element: PgType,
    /// `pg_type.typdelim`: a comma for all built-in types but `box`.
    pub delimiter: u8,
}

/// A `create type … as (…)` or a table's row type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompositeType {
    /// The type's name without its schema.
    pub name: String,
    /// Attributes in order: name and type.
    pub attributes: Vec<(String, PgType)>,
}

impl PgType {
    /// The built-in type with this OID (`pg_type.dat`), or `None` when only the catalog of a database knows it.
    pub fn builtin(oid: u32) -> Option<PgType> {
        Self::builtin_scalar(oid).or_else(|| {
            let element = Self::builtin_array_element(oid)?;
            Some(PgType::Array(Arc::new(ArrayType {
                delimiter: if oid == 1020 { b';' } else { b',' },
                element: Self::builtin_scalar(element).unwrap_or(PgType::Other),
            })))
        })
    }

    fn builtin_scalar(oid: u32) -> Option<PgType> {
        Some(match oid {
            16 => PgType::Bool,
            17 => PgType::Bytea,
            20 => PgType::Int8,
            21 => PgType::Int2,
            23 => PgType::Int4,
            // "char", name, text, varchar
            18 | 19 | 25 | 1043 => PgType::Text,
            1042 => PgType::Bpchar,
            114 | 3802 => PgType::Json,
            700 => PgType::Float4,
            701 => PgType::Float8,
            1082 => PgType::Date,
            1083 => PgType::Time,
            1114 => PgType::Timestamp,
            1184 => PgType::TimestampTz,
            1700 => PgType::Numeric,
            2950 => PgType::Uuid,
            // oid, tid, xid, cid, xid8, xml, point … circle, cidr, inet, macaddr(8), money, interval, timetz, bit,
            // varbit, pg_lsn, tsvector, tsquery, ranges, multiranges, jsonpath
            26..=29
            | 5069
            | 142
            | 600..=604
            | 628
            | 650
            | 718
            | 774
            | 790
            | 829
            | 869
            | 1186
            | 1266
            | 1560
            | 1562
            | 3220
            | 3614
            | 3615
            | 3904
            | 3906
            | 3908
            | 3910
            | 3912
            | 3926
            | 4451
            | 4532..=4536
            | 4072 => PgType::Other,
            _ => return None,
        })
    }

    fn builtin_array_element(oid: u32) -> Option<u32> {
        Some(match oid {
            1000 => 16,
            1001 => 17,
            1002 => 18,
            1003 => 19,
            1005 => 21,
            1007 => 23,
            1009 => 25,
            1014 => 1042,
            1015 => 1043,
            1016 => 20,
            1020 => 603,
            1021 => 700,
            1022 => 701,
            1028 => 26,
            1040 => 829,
            1041 => 869,
            1115 => 1114,
            1182 => 1082,
            1183 => 1083,
            1185 => 1184,
            1187 => 1186,
            1231 => 1700,
            1270 => 1266,
            199 => 114,
            2951 => 2950,
            3807 => 3802,
            651 => 650,
            _ => return None,
        })
    }

    /// Whether its values compare by a collation, or its elements do.
    pub fn is_text(&self) -> bool {
        match self {
            PgType::Text | PgType::Bpchar => true,
            PgType::Array(array) => array.element.is_text(),
            _ => false,
        }
    }
}
