//! How a condition can be found: decided from its conjuncts alone, the same way when it comes and when it goes.

use super::interval::Interval;
use crate::model::Table;
use crate::predicate::{Comparison, Predicate, Scalar};

/// A composite key has at most this many columns; more would hardly reduce the candidates.
const KEY_COLUMNS_MAX: usize = 4;
/// Memberships multiply keys: an entry stands under at most this many of them.
const KEYS_MAX: usize = 64;

/// The best way to a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Access<'p> {
    /// It holds for no row.
    Never,
    /// It holds for every row.
    Always,
    /// It pins these columns to these values. The most telling column comes first.
    Equality(Vec<Pinned<'p>>),
    /// It bounds this column.
    Range { column: u16, interval: Interval },
    /// Neither.
    Residual,
}

/// A column that must equal one of the values: `=` or `in`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pinned<'p> {
    pub(super) column: u16,
    pub(super) values: &'p [Scalar],
}

/// Where an entry was put, so that it is taken out there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Never,
    Always,
    /// Under a key of the first so many pinned columns.
    Equality {
        columns: u8,
    },
    Range,
    Residual,
}

impl<'p> Access<'p> {
    pub(super) fn of(table: &Table, predicate: &'p Predicate) -> Access<'p> {
        let conjuncts = predicate.conjuncts();
        if conjuncts.iter().any(|part| matches!(part, Predicate::False | Predicate::Unknown)) {
            return Access::Never;
        }
        if conjuncts.is_empty() {
            return Access::Always;
        }
        let pinned = key(table, conjuncts);
        if !pinned.is_empty() {
            return Access::Equality(pinned);
        }
        narrowest(conjuncts).map_or(Access::Residual, |(column, interval)| Access::Range { column, interval })
    }
}

/// Without statistics, the schema determines the order: the tenant first, then the primary key, then single values
/// before memberships. Further columns join the key as long as their values do not multiply it beyond the bound.
fn key<'p>(table: &Table, conjuncts: &'p [Predicate]) -> Vec<Pinned<'p>> {
    let mut pinned: Vec<_> = conjuncts.iter().filter_map(pin).collect();
    pinned.sort_by_key(|pin| {
        let column = usize::from(pin.column);
        (table.tenant != Some(column), !table.key.contains(&column), pin.values.len(), column)
    });
    let mut keys = 1;
    let mut chosen = Vec::<Pinned<'p>>::new();
    for pin in pinned {
        let fits = chosen.len() < KEY_COLUMNS_MAX && keys * pin.values.len() <= KEYS_MAX;
        if fits && chosen.iter().all(|other| other.column != pin.column) {
            keys *= pin.values.len();
            chosen.push(pin);
        }
    }
    chosen
}

fn pin(conjunct: &Predicate) -> Option<Pinned<'_>> {
    match conjunct {
        Predicate::Compare { column, comparison: Comparison::Eq, value } => {
            Some(Pinned { column: *column, values: std::slice::from_ref(value) })
        }
        Predicate::In { column, values } => Some(Pinned { column: *column, values }),
        _ => None,
    }
}

/// The first column that is bounded on both sides, or else the first that is bounded at all.
fn narrowest(conjuncts: &[Predicate]) -> Option<(u16, Interval)> {
    let mut bounded = Vec::<(u16, Interval)>::new();
    for conjunct in conjuncts {
        let Predicate::Compare { column, comparison, value } = conjunct else { continue };
        if matches!(comparison, Comparison::Eq | Comparison::Neq) {
            continue;
        }
        let at = bounded.iter().position(|(other, _)| other == column).unwrap_or_else(|| {
            bounded.push((*column, Interval::default()));
            bounded.len() - 1
        });
        bounded[at].1.narrow(*comparison, value);
    }
    let closed = bounded.iter().position(|(_, interval)| interval.is_closed()).unwrap_or(0);
    (!bounded.is_empty()).then(|| bounded.swap_remove(closed))
}
