//! From catalog rows to tables: pure. Decides which tables can be served. One that cannot is left out alone; whether two
//! tables have one name in GraphQL is for the schema to find out, which need not have both.

use std::collections::HashMap;
use std::sync::Arc;

use super::CaptureMode;
use super::queries::Catalog;
use super::rows::{ColumnRow, TableRow};
use super::types::Types;
use super::{CatalogError, TableProblem, Tables, access};
use crate::graphql::Naming;
use crate::model::{Access, Collation, Column, Folding, ReplicaIdentity, Table, TableName};

/// What a problem means where changes are captured in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// Nothing.
    None,
    /// An operator should know.
    Told,
    /// The table is not served: its changes do not come, or nobody can tell whose rows they are.
    Unserved,
}

impl Weight {
    fn of(problem: &str, mode: CaptureMode) -> Self {
        match (problem, mode) {
            ("tenant_column_lost", _)
            | ("not_published" | "not_all_published" | "row_filter" | "delivered_through_parent", CaptureMode::Wal)
            | ("not_captured" | "changed_through_parent", CaptureMode::Outbox) => Self::Unserved,
            // Triggers see whole rows whatever is published.
            (
                "changed_through_parent"
                | "not_captured"
                | "partition_not_captured"
                | "merge_not_captured"
                | "merge_in_rule"
                | "order_not_captured",
                CaptureMode::Wal,
            )
            | (
                "not_published" | "not_all_published" | "identity_not_full" | "row_filter" | "delivered_through_parent",
                CaptureMode::Outbox,
            ) => Self::None,
            _ => Self::Told,
        }
    }
}

pub(super) fn tables(catalog: Catalog, naming: Naming, mode: CaptureMode) -> Result<Tables, CatalogError> {
    let types = Types::new(catalog.types);
    let mut columns: HashMap<u32, Vec<ColumnRow>> = HashMap::new();
    for column in catalog.columns {
        columns.entry(column.table).or_default().push(column);
    }
    let mut access = catalog.access;
    let mut tables = Tables {
        roles: Arc::new(catalog.roles),
        setting_defaults: Arc::new(catalog.setting_defaults),
        seen: catalog.seen,
        fingerprint: catalog.fingerprint,
        ..Tables::default()
    };
    for row in catalog.tables {
        let columns = columns.remove(&row.oid).unwrap_or_default();
        let (problems, planned) = (known_problems(&row, mode), row.coverage.is_none());
        tables.coverage.extend(row.coverage.clone().map(|coverage| (row.oid, coverage)));
        let unserved = problems.iter().any(|problem| problem.unserved);
        tables.problems.extend(problems);
        if unserved {
            continue;
        }
        // Read in the same snapshot, so it is there; without it nobody would be let in.
        let access = access.remove(&row.oid).unwrap_or_default();
        let (sent, unsent): (Vec<ColumnRow>, Vec<ColumnRow>) = columns.into_iter().partition(|column| column.sent);
        let access = access::with_columns(access, &sent, &unsent);
        match table(row, &sent, access, &types, naming, mode) {
            Assembled::Served { table, problem } => {
                tables.problems.extend(problem);
                tables.insert(*table);
            }
            Assembled::Unserved(problem) if planned => return Err(CatalogError::NotServed(Box::new(problem))),
            Assembled::Unserved(problem) => tables.problems.push(problem),
        }
    }
    Ok(tables)
}

impl Tables {
    fn insert(&mut self, table: Table) {
        let table = Arc::new(table);
        self.by_name.insert(table.name.clone(), Arc::clone(&table));
        self.by_oid.insert(table.oid, table);
    }
}

enum Assembled {
    Served { table: Box<Table>, problem: Option<TableProblem> },
    Unserved(TableProblem),
}

fn known_problems(row: &TableRow, mode: CaptureMode) -> Vec<TableProblem> {
    let problem = |(word, hint): (&String, &String)| TableProblem {
        table: table_name(row),
        code: word.to_ascii_uppercase(),
        hint: hint.clone(),
        unserved: Weight::of(word, mode) == Weight::Unserved,
    };
    let named = row.problems.iter().zip(&row.hints);
    named.filter(|(word, _)| Weight::of(word, mode) != Weight::None).map(problem).collect()
}

fn table_name(row: &TableRow) -> TableName {
    TableName { schema: row.schema.clone(), name: row.name.clone() }
}

fn table(
    row: TableRow,
    sent: &[ColumnRow],
    access: Access,
    types: &Types,
    naming: Naming,
    mode: CaptureMode,
) -> Assembled {
    let index = |attnum: i16| sent.iter().position(|column| column.attnum == attnum);
    let name = table_name(&row);
    // The tenant rule on a column that the stream lacks would find no tenant and no reason to hide.
    let tenant = row.tenant_attnum.map(index);
    if tenant == Some(None) {
        return Assembled::Unserved(not_sent(&name, "tenant column", true));
    }
    let key: Option<Box<[usize]>> = row.key_attnums.iter().map(|attnum| index(*attnum)).collect();
    let problem = key.is_none().then(|| not_sent(&name, "primary key", false));
    let columns: Box<[Column]> = sent.iter().map(|column| model_column(column, types, naming)).collect();
    let undecidable = || tenant.flatten().and_then(|index| undecidable_tenant(&name, &columns[index]));
    if let Some(problem) = no_columns(&name, &columns).or_else(|| collision(&name, &columns)).or_else(undecidable) {
        return Assembled::Unserved(problem);
    }
    let table = Table {
        oid: row.oid,
        type_name: naming.type_name(&row.name),
        field: naming.field(&row.name),
        columns,
        key: key.unwrap_or_default(),
        tenant: tenant.flatten(),
        public: row.public,
        access,
        identity: match mode {
            CaptureMode::Wal => identity(&row.identity),
            CaptureMode::Outbox => ReplicaIdentity::Full,
        },
        comment: row.comment,
        name,
    };
    Assembled::Served { table: Box::new(table), problem }
}

/// Where equality is not decided here, no row would be anybody's.
fn undecidable_tenant(table: &TableName, column: &Column) -> Option<TableProblem> {
    column.incomparable().map(|reason| TableProblem {
        table: table.clone(),
        code: "TENANT_COLUMN_INCOMPARABLE".to_owned(),
        hint: format!(
            "The tenant column {} cannot decide who sees a row: {reason}. Choose a column of another type.",
            column.name
        ),
        unserved: true,
    })
}

fn not_sent(table: &TableName, what: &str, unserved: bool) -> TableProblem {
    TableProblem {
        table: table.clone(),
        code: "COLUMN_NOT_SENT".to_owned(),
        hint: format!(
            "The {what} is generated, or not in the column list of publication rowcast: publish all columns, or choose another."
        ),
        unserved,
    }
}

fn model_column(column: &ColumnRow, types: &Types, naming: Naming) -> Column {
    Column {
        name: column.name.clone(),
        field: naming.field(&column.name),
        type_oid: column.type_oid,
        pg_type: types.resolve(column.type_oid),
        not_null: column.not_null || types.not_null(column.type_oid),
        collation: if types.is_plain_text(column.type_oid) { collation(&column.collation) } else { Collation::Other },
        folding: folding(&column.folding),
    }
}

fn folding(word: &str) -> Folding {
    match word {
        "ascii" => Folding::Ascii,
        "simple" => Folding::Simple,
        "full" => Folding::Full,
        _ => Folding::Language,
    }
}

fn collation(word: &str) -> Collation {
    match word {
        "c" => Collation::C,
        "plain" => Collation::Plain,
        "deterministic" => Collation::Deterministic,
        "nondeterministic" => Collation::Nondeterministic,
        _ => Collation::Other,
    }
}

fn identity(letter: &str) -> ReplicaIdentity {
    match letter {
        "f" => ReplicaIdentity::Full,
        "d" => ReplicaIdentity::Default,
        "i" => ReplicaIdentity::Index,
        _ => ReplicaIdentity::Nothing,
    }
}

fn no_columns(table: &TableName, columns: &[Column]) -> Option<TableProblem> {
    let hint = "GraphQL has no type without fields: add a column, or publish one, and run rowcast.watch again.";
    columns.is_empty().then(|| unserved(table, "NO_COLUMNS", hint.to_owned()))
}

fn collision(table: &TableName, columns: &[Column]) -> Option<TableProblem> {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let (first, second) =
        columns.iter().find_map(|column| Some((seen.insert(&column.field, &column.name)?, column)))?;
    let hint = format!(
        "The columns {table}.{first} and {table}.{} are both named {} in GraphQL: rename one, or choose naming=\"database\".",
        second.name, second.field
    );
    Some(unserved(table, "NAME_COLLISION", hint))
}

fn unserved(table: &TableName, code: &str, hint: String) -> TableProblem {
    TableProblem { table: table.clone(), code: code.to_owned(), hint, unserved: true }
}
