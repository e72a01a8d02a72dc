//! Tables as somebody writes them down, for an engine without a database: pure.
//!
//! What comes in: names, types by their names in SQL, policies as `pg_policies.qual` shows them. What is promised: the same
//! [`Tables`] as a catalog with such tables would give, assembled by the same code. What is never done: nothing is
//! invented. A type that is not built in must say what it is made of.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::CaptureMode;
use super::queries::Catalog;
use super::rows::{ColumnRow, TableRow, TypeRow};
use super::{CatalogError, Coverage, Fingerprint, Tables, assemble};
use crate::graphql::Naming;
use crate::model::{Access, PUBLIC, Policy, Role, Roles, TableName};

/// The built-in types that are known by name, each with what else SQL calls it.
const TYPES: [(u32, u32, &[&str]); 28] = [
    (16, 1000, &["boolean", "bool"]),
    (17, 1001, &["bytea"]),
    (20, 1016, &["bigint", "int8", "bigserial"]),
    (21, 1005, &["smallint", "int2", "smallserial"]),
    (23, 1007, &["integer", "int", "int4", "serial"]),
    (25, 1009, &["text"]),
    (1043, 1015, &["varchar", "character varying"]),
    (1042, 1014, &["char", "character", "bpchar"]),
    (19, 1003, &["name"]),
    (114, 199, &["json"]),
    (3802, 3807, &["jsonb"]),
    (700, 1021, &["real", "float4"]),
    (701, 1022, &["double precision", "float8", "float"]),
    (1082, 1182, &["date"]),
    (1083, 1183, &["time", "time without time zone"]),
    (1114, 1115, &["timestamp", "timestamp without time zone"]),
    (1184, 1185, &["timestamptz", "timestamp with time zone"]),
    (1700, 1231, &["numeric", "decimal"]),
    (2950, 2951, &["uuid"]),
    (1186, 1187, &["interval"]),
    (1266, 1270, &["timetz", "time with time zone"]),
    (869, 1041, &["inet"]),
    (650, 651, &["cidr"]),
    (829, 1040, &["macaddr"]),
    (790, 0, &["money"]),
    (142, 0, &["xml"]),
    (3614, 0, &["tsvector"]),
    (3220, 0, &["pg_lsn"]),
];

/// From here on a database numbers what users make.
const FIRST_OF_USERS: u32 = 16_384;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenTable {
    schema: String,
    name: String,
    columns: Vec<WrittenColumn>,
    key: Vec<String>,
    /// Whether old images have the key alone.
    key_only: bool,
    #[serde(skip)]
    tenant: Option<String>,
    #[serde(skip)]
    public: bool,
    row_security: bool,
    policies: Vec<WrittenPolicy>,
    /// The columns that each role may read; a role without an entry may read all.
    grants: BTreeMap<String, Vec<String>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenColumn {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    /// Of an enum type.
    labels: Vec<String>,
    not_null: bool,
}

/// A policy for SELECT.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPolicy {
    name: String,
    permissive: bool,
    /// Empty for everybody.
    roles: Vec<String>,
    using: String,
}

impl Tables {
    /// Tables that no database has.
    pub fn written(tables: &[WrittenTable], roles: &[String], naming: Naming) -> Result<Tables, CatalogError> {
        let mut writing = Writing::new(roles);
        for table in tables {
            writing.add(table).map_err(|problem| CatalogError::Written { table: table.name.clone(), problem })?;
        }
        assemble::tables(writing.catalog, naming, CaptureMode::Wal)
    }
}

impl WrittenTable {
    /// Whether it is the one of that name.
    pub fn is(&self, name: &TableName) -> bool {
        (&self.schema, &self.name) == (&name.schema, &name.name)
    }

    /// It is followed, as `rowcast.watch` would have it.
    pub fn watch(&mut self, tenant: Option<&str>, public: bool) {
        self.tenant = tenant.map(Into::into);
        self.public = public;
    }
}

/// A catalog that grows.
struct Writing {
    catalog: Catalog,
    roles: Vec<(String, u32)>,
    next_oid: u32,
}

impl Writing {
    fn new(roles: &[String]) -> Self {
        let numbered: Vec<_> = roles.iter().cloned().zip(FIRST_OF_USERS..).collect();
        let next_oid = FIRST_OF_USERS.saturating_add(u32::try_from(roles.len()).unwrap_or(u32::MAX));
        let by_name = numbered.iter().map(|(name, oid)| (name.as_str().into(), role(name, *oid))).collect();
        let catalog = Catalog {
            tables: Vec::new(),
            columns: Vec::new(),
            types: Vec::new(),
            access: HashMap::new(),
            roles: Roles { by_name },
            setting_defaults: BTreeMap::new(),
            seen: None,
            fingerprint: Fingerprint::default(),
        };
        Writing { catalog, roles: numbered, next_oid }
    }

    fn oid(&mut self) -> u32 {
        self.next_oid = self.next_oid.saturating_add(1);
        self.next_oid
    }

    fn add(&mut self, table: &WrittenTable) -> Result<(), String> {
        let oid = self.oid();
        for (column, attnum) in table.columns.iter().zip(1..) {
            let row = self.column(table, column, oid, attnum)?;
            self.catalog.columns.push(row);
        }
        let access = self.access(table)?;
        self.catalog.access.insert(oid, access);
        self.catalog.tables.push(TableRow {
            oid,
            schema: table.schema.clone(),
            name: table.name.clone(),
            identity: if table.key_only { "d" } else { "f" }.to_owned(),
            key_attnums: table.key.iter().map(|name| attnum(table, "key", name)).collect::<Result<_, _>>()?,
            tenant_attnum: table.tenant.as_ref().map(|name| attnum(table, "tenant column", name)).transpose()?,
            public: table.public,
            comment: None,
            problems: Vec::new(),
            hints: Vec::new(),
            coverage: Some(Coverage::default()),
        });
        Ok(())
    }

    fn column(
        &mut self,
        table: &WrittenTable,
        column: &WrittenColumn,
        oid: u32,
        attnum: i16,
    ) -> Result<ColumnRow, String> {
        let limits_all = !table.grants.is_empty();
        let may = |role: &String| table.grants.get(role).is_none_or(|columns| columns.contains(&column.name));
        let to_select = self.roles.iter().filter(|(name, _)| limits_all && may(name)).map(|(_, oid)| *oid).collect();
        Ok(ColumnRow {
            table: oid,
            attnum,
            name: column.name.clone(),
            type_oid: self.type_of(column)?,
            not_null: column.not_null || table.key.contains(&column.name),
            sent: true,
            to_select,
            collation: "plain".to_owned(),
            folding: "simple".to_owned(),
        })
    }

    fn type_of(&mut self, column: &WrittenColumn) -> Result<u32, String> {
        if !column.labels.is_empty() {
            let oid = self.oid();
            self.catalog.types.push(enum_row(oid, column));
            return Ok(oid);
        }
        let name = column.type_name.to_ascii_lowercase();
        let (name, is_array) = name.strip_suffix("[]").map_or((name.as_str(), false), |element| (element, true));
        let name = name.split_once('(').map_or(name, |(name, _)| name).trim();
        let known = TYPES.iter().find(|(_, _, names)| names.contains(&name));
        let oid = known.map(|(oid, array, _)| if is_array { *array } else { *oid }).filter(|oid| *oid != 0);
        let oid = oid.ok_or_else(|| {
            format!(
                "column {} has a type {:?} that is not known here: write a built-in type by its name in SQL, or an enum's \
                 labels",
                column.name, column.type_name
            )
        })?;
        self.catalog.types.extend([plain_text_row(oid)].into_iter().flatten());
        Ok(oid)
    }

    fn access(&self, table: &WrittenTable) -> Result<Access, String> {
        let everybody: Box<[u32]> = [PUBLIC].into();
        Ok(Access {
            owner: 10,
            schema_usage: everybody.clone(),
            select: if table.grants.is_empty() { everybody } else { Box::default() },
            row_security: table.row_security,
            policies: table.policies.iter().map(|policy| self.policy(table, policy)).collect::<Result<_, _>>()?,
            ..Access::default()
        })
    }

    fn policy(&self, table: &WrittenTable, policy: &WrittenPolicy) -> Result<Policy, String> {
        let known = |name: &String| {
            let found = self.roles.iter().find(|(known, _)| known == name).map(|(_, oid)| *oid);
            found.ok_or_else(|| format!("policy {} is for role {name:?}, which is not among the roles", policy.name))
        };
        let roles: Box<[u32]> = policy.roles.iter().map(known).collect::<Result<_, _>>()?;
        let named = |name: &&WrittenColumn| policy.using.contains(&name.name);
        Ok(Policy {
            name: policy.name.as_str().into(),
            permissive: policy.permissive,
            roles: if roles.is_empty() { [PUBLIC].into() } else { roles },
            using: Some(policy.using.as_str().into()),
            tree: Box::default(),
            unbound: false,
            columns: table.columns.iter().filter(named).map(|column| column.name.as_str().into()).collect(),
        })
    }
}

fn role(name: &str, oid: u32) -> Role {
    let privileges_of = [oid].into();
    Role { oid, name: name.into(), superuser: false, bypass_rls: false, settable: true, privileges_of }
}

fn attnum(table: &WrittenTable, what: &str, name: &str) -> Result<i16, String> {
    let at = table.columns.iter().position(|column| column.name == name);
    let at = at.ok_or_else(|| format!("its {what} is {name:?}, and it has no such column"))?;
    i16::try_from(at + 1).map_err(|_| "it has more columns than a table can have".to_owned())
}

fn enum_row(oid: u32, column: &WrittenColumn) -> TypeRow {
    let (name, labels) = (column.type_name.clone(), column.labels.clone());
    TypeRow { name, labels, ..type_row(oid, "e") }
}

/// The catalog says for every type whether its text compares by a collation.
fn plain_text_row(oid: u32) -> Option<TypeRow> {
    [25, 1043, 19, 1009, 1015].contains(&oid).then(|| type_row(oid, "b"))
}

fn type_row(oid: u32, kind: &str) -> TypeRow {
    TypeRow {
        oid,
        name: String::new(),
        kind: kind.to_owned(),
        category: String::new(),
        base: 0,
        not_null: false,
        delimiter: ",".to_owned(),
        element: 0,
        labels: Vec::new(),
        attribute_names: Vec::new(),
        attribute_types: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Collation, PgType};

    fn orders(kind: &str) -> WrittenTable {
        let column = |name: &str, kind: &str| json!({ "name": name, "type": kind, "labels": [], "not_null": false });
        let columns = [column("id", "bigint"), column("tenant_id", "text"), column("total", kind)];
        let table = json!({
            "schema": "public", "name": "order_items", "columns": columns, "key": ["id"], "key_only": false,
            "row_security": false, "policies": [], "grants": { "clerk": ["id"] },
        });
        serde_json::from_value(table).unwrap()
    }

    fn written(table: WrittenTable) -> Result<Tables, CatalogError> {
        Tables::written(&[table], &["clerk".to_owned(), "boss".to_owned()], Naming::Camel)
    }

    #[test]
    fn a_written_table_is_what_the_catalog_would_tell_of_it() {
        let tables = written(orders("NUMERIC(10,2)[]")).unwrap();
        let table = tables.find("order_items").unwrap();
        assert_eq!((table.type_name.as_str(), table.field.as_str()), ("OrderItems", "orderItems"));
        assert_eq!((&table.columns[0].pg_type, table.columns[0].not_null), (&PgType::Int8, true));
        assert_eq!(table.columns[1].collation, Collation::Plain);
        assert!(matches!(&table.columns[2].pg_type, PgType::Array(array) if array.element == PgType::Numeric));
    }

    #[test]
    fn a_role_reads_all_but_where_its_grant_says_which_columns() {
        let tables = written(orders("numeric")).unwrap();
        let access = &tables.find("order_items").unwrap().access;
        let may = |role: &str| {
            let role = tables.roles.named(role).unwrap();
            access.select_column.iter().map(|grantees| role.is_among(grantees)).collect::<Vec<_>>()
        };
        assert_eq!((may("clerk"), may("boss")), (vec![true, false, false], vec![true, true, true]));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let error = written(orders("ordre_state")).unwrap_err();
        assert_eq!(error.code(), "TABLE_INVALID");
        assert!(error.to_string().contains("ordre_state"), "{error}");
        let error = written(WrittenTable { key: vec!["nr".into()], ..orders("text") }).unwrap_err();
        assert!(error.to_string().contains("\"nr\""), "{error}");
    }
}
