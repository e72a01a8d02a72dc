//! The rows of the catalog's queries, before anything is made of them.

use tokio_postgres::Row;

use super::coverage::Coverage;

/// A row of `rowcast.tables`.
pub(super) struct TableRow {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) key_attnums: Vec<i16>,
    pub(super) tenant_attnum: Option<i16>,
    pub(super) public: bool,
    pub(super) comment: Option<String>,
    pub(super) problems: Vec<String>,
    pub(super) hints: Vec<String>,
    /// `None` where somebody only wants to know what would be if it were watched.
    pub(super) coverage: Option<Coverage>,
}

/// A live column.
pub(super) struct ColumnRow {
    pub(super) table: u32,
    pub(super) attnum: i16,
    pub(super) name: String,
    pub(super) type_oid: u32,
    pub(super) not_null: bool,
    pub(super) sent: bool,
    /// Roles with SELECT on the column but not on the table.
    pub(super) to_select: Vec<u32>,
    pub(super) collation: String,
    pub(super) folding: String,
}

/// A type that a column needs.
pub(super) struct TypeRow {
    pub(super) oid: u32,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) category: String,
    pub(super) base: u32,
    pub(super) not_null: bool,
    pub(super) delimiter: String,
    pub(super) element: u32,
    pub(super) labels: Vec<String>,
    pub(super) attribute_names: Vec<String>,
    pub(super) attribute_types: Vec<u32>,
}

pub(super) fn rows<T>(
    rows: &[Row],
    convert: fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Vec<T>, tokio_postgres::Error> {
    rows.iter().map(convert).collect()
}

pub(super) fn table_row(row: &Row) -> Result<TableRow, tokio_postgres::Error> {
    Ok(TableRow {
        oid: row.try_get("oid")?,
        schema: row.try_get("schema")?,
        name: row.try_get("name")?,
        identity: row.try_get("identity")?,
        key_attnums: row.try_get("key_attnums")?,
        tenant_attnum: row.try_get("tenant_attnum")?,
        public: row.try_get("public")?,
        comment: row.try_get("comment")?,
        problems: row.try_get("problems")?,
        hints: row.try_get("hints")?,
        coverage: Coverage::read(row)?,
    })
}

pub(super) fn column_row(row: &Row) -> Result<ColumnRow, tokio_postgres::Error> {
    Ok(ColumnRow {
        table: row.try_get("attrelid")?,
        attnum: row.try_get("attnum")?,
        name: row.try_get("attname")?,
        type_oid: row.try_get("atttypid")?,
        not_null: row.try_get("not_null")?,
        sent: row.try_get("sent")?,
        to_select: row.try_get("to_select")?,
        collation: row.try_get("collation")?,
        folding: row.try_get("folding")?,
    })
}

pub(super) fn type_row(row: &Row) -> Result<TypeRow, tokio_postgres::Error> {
    Ok(TypeRow {
        oid: row.try_get("oid")?,
        name: row.try_get("name")?,
        kind: row.try_get("kind")?,
        category: row.try_get("category")?,
        base: row.try_get("base")?,
        not_null: row.try_get("not_null")?,
        delimiter: row.try_get("delimiter")?,
        element: row.try_get("element")?,
        labels: row.try_get("labels")?,
        attribute_names: row.try_get("attribute_names")?,
        attribute_types: row.try_get("attribute_types")?,
    })
}
