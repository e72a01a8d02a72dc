//! Transactions over the watched tables of a world: rows come, change, move, leave, and are rolled back.

use super::column::{Column, REGION, REGIONS, REVISION};
use super::dice::Dice;
use super::sql::literal;
use super::table::Table;

/// Statements for each table, on the average.
const STATEMENTS: usize = 36;

pub(super) fn transactions(dice: &mut Dice, schema: &str, tables: &[Table]) -> Vec<String> {
    let mut writers: Vec<_> = tables.iter().map(|table| Writer { table, schema, next: 1, revision: 0 }).collect();
    let mut left = STATEMENTS * tables.len();
    let mut transactions = Vec::new();
    while left > 0 {
        let count = dice.between(1, 4).min(left);
        left -= count;
        let mut statements: Vec<_> = (0..count)
            .map(|_| {
                let at = dice.between(0, writers.len() - 1);
                writers[at].statement(dice)
            })
            .collect();
        if dice.chance(0.1) {
            let last = statements.len() - 1;
            statements.insert(last, "savepoint s".to_owned());
            statements.push("rollback to savepoint s".to_owned());
        }
        let end = if dice.chance(0.07) { "rollback" } else { "commit" };
        transactions.push(format!("begin; {}; {end}", statements.join("; ")));
    }
    transactions
}

struct Writer<'a> {
    table: &'a Table,
    schema: &'a str,
    next: usize,
    revision: usize,
}

impl Writer<'_> {
    fn statement(&mut self, dice: &mut Dice) -> String {
        self.revision += 1;
        if self.next < 8 {
            return self.insert(dice);
        }
        match dice.between(0, 39) {
            0..=13 => self.insert(dice),
            14..=27 => self.update(dice),
            28..=31 => self.rekey(dice),
            32..=38 => format!("delete from {} where {}", self.name(), self.rows(dice)),
            _ => format!("truncate {}", self.name()),
        }
    }

    fn name(&self) -> String {
        self.table.sql_name(self.schema)
    }

    fn id(&self) -> Column {
        self.table.key[self.table.key.len() - 1]
    }

    fn insert(&mut self, dice: &mut Dice) -> String {
        let rows: Vec<_> = (0..dice.between(1, 4)).map(|_| self.row(dice)).collect();
        format!("insert into {} values {}", self.name(), rows.join(", "))
    }

    fn row(&mut self, dice: &mut Dice) -> String {
        self.next += 1;
        let values: Vec<_> = self.table.columns.iter().map(|column| self.value(dice, *column)).collect();
        format!("({})", values.join(", "))
    }

    fn value(&self, dice: &mut Dice, column: Column) -> String {
        match column {
            REVISION => self.revision.to_string(),
            REGION => literal(dice.pick(&REGIONS)),
            column if column == self.id() => self.next.to_string(),
            column => column.value(dice, self.schema),
        }
    }

    fn update(&mut self, dice: &mut Dice) -> String {
        let key = &self.table.key;
        let free: Vec<_> =
            self.table.columns.iter().copied().filter(|column| !key.contains(column) && *column != REVISION).collect();
        let count = dice.between(0, 3);
        let changes = dice.some(&free, count);
        let mut sets: Vec<_> =
            changes.iter().map(|column| format!("{} = {}", column.sql(), self.value(dice, *column))).collect();
        if sets.is_empty() || dice.chance(0.9) {
            sets.push(format!("{} = {}", REVISION.sql(), self.revision));
        }
        format!("update {} set {} where {}", self.name(), sets.join(", "), self.rows(dice))
    }

    /// One row gets another key.
    fn rekey(&mut self, dice: &mut Dice) -> String {
        self.next += 1;
        let id = self.id().sql();
        let mut sets = vec![format!("{} = {}", REVISION.sql(), self.revision), format!("{id} = {}", self.next)];
        if self.table.key.contains(&REGION) && dice.chance(0.5) {
            sets.push(format!("{} = {}", REGION.sql(), literal(dice.pick(&REGIONS))));
        }
        let victim = dice.between(1, self.next - 1);
        format!("update {} set {} where {id} = {victim}", self.name(), sets.join(", "))
    }

    fn rows(&self, dice: &mut Dice) -> String {
        let id = self.id().sql();
        let mut one = || dice.between(1, self.next);
        match one() % 8 {
            0 => format!("{id} % 3 = {}", one() % 3),
            1 | 2 => format!("{id} in ({}, {}, {})", one(), one(), one()),
            3 => format!("{id} > {}", self.next.saturating_sub(4)),
            _ => format!("{id} = {}", one()),
        }
    }
}
