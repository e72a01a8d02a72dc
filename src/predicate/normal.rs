//! The constructors. They are the only ones that build conditions, and what they build is in normal form.
//!
//! Every rewriting here keeps all three values (and never makes an unavailable column decide), so De Morgan and the
//! negation of comparisons are allowed, and `x or not x` is left alone.

use std::collections::BTreeMap;

use super::{Comparison, Like, Predicate, Scalar};

impl Predicate {
    /// `column = value`
    pub fn eq(column: usize, value: Scalar) -> Predicate {
        Predicate::compare(column, Comparison::Eq, value)
    }

    /// `column <comparison> value`
    pub fn compare(column: usize, comparison: Comparison, value: Scalar) -> Predicate {
        Predicate::Compare { column: narrow(column), comparison, value }
    }

    /// `column in (values)`; with an empty list it never holds.
    pub fn is_in(column: usize, values: impl IntoIterator<Item = Scalar>) -> Predicate {
        members(narrow(column), values.into_iter().collect())
    }

    /// `column is null`
    pub fn is_null(column: usize) -> Predicate {
        Predicate::IsNull { column: narrow(column) }
    }

    /// `column like pattern`
    pub fn like(column: usize, pattern: Like) -> Predicate {
        Predicate::Like { column: narrow(column), pattern }
    }

    /// `strpos(column, part) > 0` or `column @> part`
    pub fn contains(column: usize, part: Scalar) -> Predicate {
        Predicate::Contains { column: narrow(column), part }
    }

    /// `lower(column) = value` for text of ASCII, and `beyond_ascii` for other text.
    pub fn lower(column: usize, value: impl Into<Box<str>>, beyond_ascii: bool) -> Predicate {
        Predicate::Lower { column: narrow(column), value: value.into(), beyond_ascii }
    }

    /// All of them; of none, `True`.
    pub fn and(parts: impl IntoIterator<Item = Predicate>) -> Predicate {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Predicate::True => {}
                Predicate::False => return Predicate::False,
                Predicate::And(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        sort(&mut flat);
        single(flat, Predicate::True, Predicate::And)
    }

    /// At least one of them; of none, `False`.
    pub fn or(parts: impl IntoIterator<Item = Predicate>) -> Predicate {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Predicate::False => {}
                Predicate::True => return Predicate::True,
                Predicate::Or(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        let mut flat = gather_equalities(flat);
        sort(&mut flat);
        single(flat, Predicate::False, Predicate::Or)
    }

    /// `not (part)`
    #[must_use]
    #[allow(clippy::should_implement_trait)] // beside `and` and `or`, and read like them
    pub fn not(part: Predicate) -> Predicate {
        match part {
            Predicate::True => Predicate::False,
            Predicate::False => Predicate::True,
            Predicate::Unknown => Predicate::Unknown,
            Predicate::Compare { column, comparison, value } => {
                Predicate::Compare { column, comparison: comparison.negated(), value }
            }
            Predicate::Not(part) => *part,
            Predicate::And(parts) => Predicate::or(parts.into_iter().map(Predicate::not)),
            Predicate::Or(parts) => Predicate::and(parts.into_iter().map(Predicate::not)),
            leaf @ (Predicate::In { .. }
            | Predicate::IsNull { .. }
            | Predicate::Like { .. }
            | Predicate::Contains { .. }
            | Predicate::Lower { .. }) => Predicate::Not(Box::new(leaf)),
        }
    }
}

/// A PostgreSQL table has at most 1,600 columns. An index beyond 65,535 becomes one that no table has: unavailable.
fn narrow(column: usize) -> u16 {
    u16::try_from(column).unwrap_or(u16::MAX)
}

fn sort(parts: &mut Vec<Predicate>) {
    parts.sort_unstable();
    parts.dedup();
}

fn single(mut parts: Vec<Predicate>, none: Predicate, many: impl FnOnce(Box<[Predicate]>) -> Predicate) -> Predicate {
    match parts.len() {
        0 => none,
        1 => parts.pop().unwrap_or(none),
        _ => many(parts.into()),
    }
}

fn members(column: u16, mut values: Vec<Scalar>) -> Predicate {
    values.sort_unstable();
    values.dedup();
    match values.len() {
        0 => Predicate::False,
        1 => values.pop().map_or(Predicate::False, |value| Predicate::eq(column.into(), value)),
        _ => Predicate::In { column, values: values.into() },
    }
}

/// `a = 1 or a = 2` is `a in (1, 2)`, which the index can use.
fn gather_equalities(parts: Vec<Predicate>) -> Vec<Predicate> {
    let mut by_column = BTreeMap::<u16, Vec<Scalar>>::new();
    let mut rest = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Predicate::Compare { column, comparison: Comparison::Eq, value } => {
                by_column.entry(column).or_default().push(value);
            }
            Predicate::In { column, values } => by_column.entry(column).or_default().extend(values),
            other => rest.push(other),
        }
    }
    rest.extend(by_column.into_iter().map(|(column, values)| members(column, values)));
    rest
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Predicate, Scalar};

    fn eq(column: usize, value: i64) -> Predicate {
        Predicate::eq(column, Scalar::Int(value))
    }

    #[test]
    fn equal_conditions_are_equal_values() {
        assert_eq!(
            Predicate::and([eq(1, 1), Predicate::and([eq(0, 2), Predicate::True]), eq(1, 1)]),
            Predicate::and([eq(0, 2), eq(1, 1)])
        );
        assert_eq!(
            Predicate::or([eq(0, 2), eq(0, 1), Predicate::is_in(0, [Scalar::Int(1), Scalar::Int(3)])]),
            Predicate::is_in(0, [1, 2, 3, 3].map(Scalar::Int))
        );
        assert_eq!(Predicate::is_in(0, [Scalar::Int(1)]), eq(0, 1));
        assert_eq!(Predicate::and([]), Predicate::True);
        assert_eq!(Predicate::or([]), Predicate::False);
        assert_eq!(Predicate::and([eq(0, 1), Predicate::False]), Predicate::False);
    }

    #[test]
    fn negation_is_pushed_to_the_leaves() {
        let less = Predicate::compare(1, Comparison::Lt, Scalar::Int(5));
        let negated = Predicate::not(Predicate::and([eq(0, 1), less.clone(), Predicate::is_null(2)]));
        let expected = Predicate::or([
            Predicate::compare(0, Comparison::Neq, Scalar::Int(1)),
            Predicate::compare(1, Comparison::Gte, Scalar::Int(5)),
            Predicate::not(Predicate::is_null(2)),
        ]);
        assert_eq!(negated, expected);
        assert_eq!(Predicate::not(Predicate::not(negated.clone())), negated);
        assert_eq!(Predicate::not(Predicate::Unknown), Predicate::Unknown);
    }
}
