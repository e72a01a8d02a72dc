//! Evaluates a condition: Kleene's three values, and a fourth for what a partial image cannot decide.

use super::image::Value;
use super::{Predicate, RowImage, Scalar};

/// The result of a condition on a row. Only `True` matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// SQL's NULL: it does not hold, and its negation does not either.
    Unknown,
    /// It depends on a column that this image does not carry (or whose text cannot be read): it might be any of the
    /// others, so it is none of them. Negation leaves it; only a decisive `False` under AND or `True` under OR hides
    /// it.
    Unavailable,
}

impl Truth {
    /// Whether the row matches.
    pub fn is_true(self) -> bool {
        self == Truth::True
    }

    /// NOT.
    #[must_use]
    pub fn negated(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::Unavailable => Truth::Unavailable,
        }
    }

    /// AND.
    #[must_use]
    pub fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::Unavailable, _) | (_, Truth::Unavailable) => Truth::Unavailable,
            (Truth::Unknown, _) | (_, Truth::Unknown) => Truth::Unknown,
            (Truth::True, Truth::True) => Truth::True,
        }
    }

    /// OR.
    #[must_use]
    pub fn or(self, other: Truth) -> Truth {
        self.negated().and(other.negated()).negated()
    }

    fn of(known: Option<bool>) -> Truth {
        match known {
            Some(true) => Truth::True,
            Some(false) => Truth::False,
            None => Truth::Unavailable,
        }
    }
}

impl Predicate {
    /// What it says of this row.
    pub fn eval(&self, row: &RowImage<'_>) -> Truth {
        match self {
            Predicate::True => Truth::True,
            Predicate::False => Truth::False,
            Predicate::Unknown => Truth::Unknown,
            Predicate::Compare { column, comparison, value } => {
                test(row, *column, |found| found.comparable(value).then(|| comparison.admits(found.cmp(value))))
            }
            Predicate::In { column, values } => test(row, *column, |found| {
                // Sorted by type first: when both ends are of this type, all are.
                let ends = [values.first(), values.last()];
                ends.iter().flatten().all(|value| found.comparable(value)).then(|| values.binary_search(found).is_ok())
            }),
            Predicate::IsNull { column } => Truth::of(row.is_null(*column)),
            Predicate::Like { column, pattern } => test(row, *column, |found| match found {
                Scalar::Text(_) => row.text(*column).map(|text| pattern.matches(text)),
                _ => None,
            }),
            Predicate::Contains { column, part } => test(row, *column, |found| found.contains(part)),
            Predicate::Lower { column, value, beyond_ascii } => test(row, *column, |found| match found {
                Scalar::Text(text) if text.is_ascii() => Some(is_lower_of(value, text)),
                Scalar::Text(_) => Some(*beyond_ascii),
                _ => None,
            }),
            Predicate::Not(part) => part.eval(row).negated(),
            Predicate::And(parts) => all(parts, row),
            Predicate::Or(parts) => any(parts, row),
        }
    }
}

/// A test that gives `None` was asked of a value of the wrong type: nothing may be concluded.
fn test(row: &RowImage<'_>, column: u16, test: impl FnOnce(&Scalar) -> Option<bool>) -> Truth {
    match row.value(column) {
        Value::Null => Truth::Unknown,
        Value::Known(scalar) => Truth::of(test(scalar)),
        Value::Unavailable => Truth::Unavailable,
    }
}

fn is_lower_of(lower: &str, text: &str) -> bool {
    lower.len() == text.len() && lower.bytes().eq(text.bytes().map(|byte| byte.to_ascii_lowercase()))
}

fn all(parts: &[Predicate], row: &RowImage<'_>) -> Truth {
    let mut truth = Truth::True;
    for part in parts {
        truth = truth.and(part.eval(row));
        if truth == Truth::False {
            break;
        }
    }
    truth
}

fn any(parts: &[Predicate], row: &RowImage<'_>) -> Truth {
    let mut truth = Truth::False;
    for part in parts {
        truth = truth.or(part.eval(row));
        if truth == Truth::True {
            break;
        }
    }
    truth
}
