//! What a subscriber asks for beyond its rights: a `where`, in GraphQL and in SQL side by side, and operations.

use super::column::{Column, Kind};
use super::dice::Dice;
use super::sql::literal;
use super::table::Table;

const OPERATIONS: [&str; 4] = ["INSERT", "UPDATE", "DELETE", "TRUNCATE"];

#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// The `where` argument; empty for none.
    pub(super) graphql: String,
    pub(super) sql: String,
    /// The columns that it names.
    pub(super) columns: Vec<Column>,
    pub(super) operations: Vec<&'static str>,
}

impl Filter {
    /// Everything.
    pub(super) fn none() -> Self {
        Filter { graphql: String::new(), sql: "true".to_owned(), columns: Vec::new(), operations: OPERATIONS.to_vec() }
    }

    pub(super) fn random(dice: &mut Dice, table: &Table, schema: &str) -> Self {
        let mut made = Filter::none();
        let (graphql, sql) = condition(dice, table, schema, 2, &mut made.columns);
        if dice.chance(0.4) {
            let count = dice.between(1, 3);
            made.operations = dice.some(&OPERATIONS, count);
        }
        Filter { graphql, sql, ..made }
    }

    pub(super) fn arguments(&self) -> String {
        let mut arguments = Vec::new();
        if !self.graphql.is_empty() {
            arguments.push(format!("where: {}", self.graphql));
        }
        if self.operations.len() < OPERATIONS.len() {
            arguments.push(format!("operations: [{}]", self.operations.join(", ")));
        }
        if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) }
    }
}

fn condition(dice: &mut Dice, table: &Table, schema: &str, depth: usize, named: &mut Vec<Column>) -> (String, String) {
    if depth == 0 || dice.chance(0.6) {
        return leaf(dice, table, schema, named);
    }
    let (one, one_sql) = condition(dice, table, schema, depth - 1, named);
    let connective = dice.between(0, 2);
    if connective == 0 {
        return (format!("{{NOT: {one}}}"), format!("not ({one_sql})"));
    }
    let (other, other_sql) = condition(dice, table, schema, depth - 1, named);
    match connective {
        1 => (format!("{{OR: [{one}, {other}]}}"), format!("({one_sql}) or ({other_sql})")),
        _ => (format!("{{AND: [{one}, {other}]}}"), format!("({one_sql}) and ({other_sql})")),
    }
}

fn leaf(dice: &mut Dice, table: &Table, schema: &str, named: &mut Vec<Column>) -> (String, String) {
    let column = dice.pick(&table.columns);
    named.push(column);
    let (c, field) = (column.sql(), column.field);
    if !has_equality(column.kind) || dice.chance(0.2) {
        let asked = dice.chance(0.3);
        let not = if asked { "" } else { "not " };
        return (format!("{{{field}: {{isNull: {asked}}}}}"), format!("{c} is {not}null"));
    }
    let (one, one_sql) = operand(dice, column.kind, schema);
    let (other, other_sql) = operand(dice, column.kind, schema);
    match dice.between(0, 4) {
        0 | 1 => (format!("{{{field}: {{eq: {one}}}}}"), format!("{c} = {one_sql}")),
        2 => (format!("{{{field}: {{neq: {one}}}}}"), format!("{c} <> {one_sql}")),
        3 if column.kind.is_integer() => (format!("{{{field}: {{gt: {one}}}}}"), format!("{c} > {one_sql}")),
        _ => (format!("{{{field}: {{in: [{one}, {other}]}}}}"), format!("{c} in ({one_sql}, {other_sql})")),
    }
}

/// Those that may be filtered by value here; the predicate language has an oracle of its own.
fn has_equality(kind: Kind) -> bool {
    kind.is_integer()
        || matches!(kind, Kind::Bool | Kind::Text | Kind::TextC | Kind::Uuid | Kind::Numeric | Kind::Date | Kind::Mood)
}

fn operand(dice: &mut Dice, kind: Kind, schema: &str) -> (String, String) {
    let text = dice.pick(kind.pool());
    let graphql = match kind {
        Kind::Bool | Kind::Int2 | Kind::Int4 | Kind::Quantity | Kind::Mood => text.to_owned(),
        _ => format!("\"{}\"", text.replace('"', "\\\"")),
    };
    (graphql, format!("{}::{}", literal(text), kind.type_name(schema)))
}
