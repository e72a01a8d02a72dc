//! A template with a role and settings: each leaf becomes a predicate, or is asked.

use super::bounds::{self, Bounds};
use super::constant::{Bound, Constant, Stop, Value};
use super::template::{Leaf, Node, Subject, View};
use super::types::Type;
use super::why::{Reason, Why};
use crate::model::Table;
use crate::predicate::{Comparison, Like, Predicate, Scalar};

/// Binds templates for one principal and notes on the way what could not be bound.
pub(super) struct Binder<'a> {
    pub(super) table: &'a Table,
    pub(super) bound: Bound<'a>,
    /// Settings for which PostgreSQL raises, first to last.
    pub(super) broken: Vec<Broken>,
    /// Whether PostgreSQL may raise for a value that was not read here.
    pub(super) unclear: bool,
    /// What is asked.
    pub(super) reasons: Vec<Reason>,
}

/// A leaf that raises for this principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// None where nothing but constants is in it.
    pub(super) setting: Option<Box<str>>,
    /// What its value would have to be; `None`: it has none.
    pub(super) expected: Option<Box<str>>,
}

impl<'a> Binder<'a> {
    pub(super) fn new(table: &'a Table, bound: Bound<'a>) -> Self {
        Binder { table, bound, broken: Vec::new(), unclear: false, reasons: Vec::new() }
    }

    pub(super) fn node(&mut self, node: &Node) -> Bounds {
        match node {
            Node::And(parts) => Bounds::all(parts.iter().map(|part| self.node(part)).collect()),
            Node::Or(parts) => Bounds::any(parts.iter().map(|part| self.node(part)).collect()),
            Node::Not(part) => self.node(part).negated(),
            Node::IsTrue(part) => self.node(part).held(),
            Node::Leaf(leaf, text) => self.leaf(leaf).unwrap_or_else(|stop| self.stopped(leaf, text, stop)),
            Node::Delegated(reason) => {
                self.reasons.push(reason.clone());
                Bounds::asked()
            }
        }
    }

    fn stopped(&mut self, leaf: &Leaf, text: &str, stop: Stop) -> Bounds {
        let broken = match stop {
            Stop::Delegated(why) => {
                self.unclear = true;
                self.reasons.push(Reason { why, text: text.into() });
                return Bounds::asked();
            }
            Stop::Missing(setting) => Broken { setting: Some(setting), expected: None },
            Stop::Invalid { expected } => {
                Broken { setting: leaf.settings().first().map(|name| (*name).into()), expected: Some(expected) }
            }
        };
        self.reasons.push(Reason { why: Why::Form("it raises for these settings"), text: text.into() });
        self.broken.push(broken);
        Bounds::raising()
    }

    fn leaf(&self, leaf: &Leaf) -> Result<Bounds, Stop> {
        match leaf {
            Leaf::Constant(constant) => Ok(Bounds::exact(match constant.eval(self.bound)? {
                Value::Scalar(Scalar::Bool(true)) => Predicate::True,
                Value::Scalar(Scalar::Bool(false)) => Predicate::False,
                _ => Predicate::Unknown,
            })),
            Leaf::Compare { subject, comparison, value } => self.compare(subject, *comparison, value),
            Leaf::Distinct { column, value } => Ok(Bounds::exact(match self.operand(*column, value)? {
                None => Predicate::not(Predicate::is_null(*column)),
                Some(value) => Predicate::not(bounds::same(*column, value)),
            })),
            Leaf::Member { subject, list } => self.member(subject, list),
            Leaf::IsNull { column } => Ok(Bounds::exact(Predicate::is_null(*column))),
            Leaf::Like { column, pattern } => self.like(*column, pattern),
            Leaf::Contains { column, part } => Ok(Bounds::exact(match part.eval(self.bound)? {
                Value::Array(items) => Predicate::contains(*column, Scalar::Array(items)),
                Value::Scalar(part) => Predicate::contains(*column, part),
                Value::Null => Predicate::Unknown,
                Value::Json(_) => return Err(Stop::Delegated(Why::Form("a document of settings"))),
            })),
            Leaf::Overlaps { column, part } => Ok(overlaps(*column, part.eval(self.bound)?)),
            Leaf::Holds { column, value } => Ok(match self.element(value)? {
                Some(value) => Bounds::true_exactly(Predicate::contains(*column, Scalar::Array([Some(value)].into()))),
                // False for an empty array, else NULL.
                None => Bounds::true_exactly(Predicate::False),
            }),
        }
    }

    fn compare(&self, subject: &Subject, comparison: Comparison, value: &Constant) -> Result<Bounds, Stop> {
        let column = subject.column;
        let value = self.operand(column, value)?;
        let plain = match &value {
            Some(value) => Predicate::compare(column, comparison, value.clone()),
            None => Predicate::Unknown,
        };
        match &subject.view {
            View::Plain => Ok(Bounds::exact(plain)),
            View::Lower => Ok(lowered(column, comparison, value)),
            View::Coalesce(otherwise) => {
                let otherwise = self.operand(column, otherwise)?;
                let held = otherwise.zip(value).map(|(one, other)| comparison.admits(one.cmp(&other)));
                Ok(Bounds::exact(coalesced(column, plain, held)))
            }
        }
    }

    fn member(&self, subject: &Subject, list: &Constant) -> Result<Bounds, Stop> {
        let column = subject.column;
        let Value::Array(items) = list.eval(self.bound)? else { return Ok(Bounds::exact(Predicate::Unknown)) };
        let null = items.iter().any(Option::is_none);
        let element = match list.type_of() {
            Type::Array(element) => *element,
            other => other,
        };
        let items: Vec<Scalar> =
            items.into_iter().flatten().map(|item| self.of_column(column, item, &element)).collect::<Result<_, _>>()?;
        let unknown = if null { Predicate::Unknown } else { Predicate::False };
        let is_in = |column| Predicate::or([Predicate::is_in(column, items.clone()), unknown.clone()]);
        match &subject.view {
            View::Plain => Ok(Bounds::exact(is_in(column))),
            View::Lower => {
                let each = items.iter().map(|item| lowered(column, Comparison::Eq, Some(item.clone())));
                Ok(Bounds::any(each.chain([Bounds::exact(unknown)]).collect()))
            }
            View::Coalesce(otherwise) => {
                let held = match self.operand(column, otherwise)? {
                    _ if items.is_empty() && !null => Some(false),
                    Some(otherwise) if items.contains(&otherwise) => Some(true),
                    Some(_) if !null => Some(false),
                    _ => None,
                };
                Ok(Bounds::exact(coalesced(column, is_in(column), held)))
            }
        }
    }

    fn like(&self, column: usize, pattern: &Constant) -> Result<Bounds, Stop> {
        Ok(Bounds::exact(match pattern.eval(self.bound)? {
            Value::Scalar(Scalar::Text(pattern)) => {
                let pattern = Like::new(&pattern);
                Predicate::like(column, pattern.ok_or(Stop::Delegated(Why::Spelling("as a pattern".into())))?)
            }
            _ => Predicate::Unknown,
        }))
    }

    /// A value to compare this column with; `None` is NULL.
    fn operand(&self, column: usize, constant: &Constant) -> Result<Option<Scalar>, Stop> {
        let of = constant.type_of();
        self.element(constant)?.map(|scalar| self.of_column(column, scalar, &of)).transpose()
    }

    fn element(&self, constant: &Constant) -> Result<Option<Scalar>, Stop> {
        match constant.eval(self.bound)? {
            Value::Null => Ok(None),
            Value::Scalar(scalar) => Ok(Some(scalar)),
            Value::Json(_) | Value::Array(_) => Err(Stop::Delegated(Why::Form("a document or an array"))),
        }
    }

    /// What only the column knows: the place of an enum's label.
    fn of_column(&self, column: usize, scalar: Scalar, of: &Type) -> Result<Scalar, Stop> {
        match (scalar, of, self.table.columns.get(column)) {
            (Scalar::Text(label), Type::Named(name), Some(column)) => {
                Scalar::from_text(&column.pg_type, label.as_bytes()).ok_or(Stop::Invalid { expected: name.clone() })
            }
            (scalar, ..) => Ok(scalar),
        }
    }
}

/// `coalesce(column, otherwise) <op> value`, where `held` is what the comparison says of `otherwise`.
fn coalesced(column: usize, plain: Predicate, held: Option<bool>) -> Predicate {
    match held {
        Some(true) => Predicate::or([plain, Predicate::is_null(column)]),
        Some(false) => Predicate::and([plain, Predicate::not(Predicate::is_null(column))]),
        None => plain,
    }
}

fn lowered(column: usize, comparison: Comparison, value: Option<Scalar>) -> Bounds {
    let Some(Scalar::Text(value)) = value else { return Bounds::exact(Predicate::Unknown) };
    let equal = |beyond_ascii| Predicate::lower(column, value.clone(), beyond_ascii);
    let bounds = Bounds::between(equal(false), equal(true));
    if comparison == Comparison::Neq { bounds.negated() } else { bounds }
}

fn overlaps(column: usize, part: Value) -> Bounds {
    let Value::Array(items) = part else { return Bounds::exact(Predicate::Unknown) };
    let each = items.into_iter().flatten();
    let each = each.map(|item| Predicate::contains(column, Scalar::Array([Some(item)].into())));
    // Of an empty list too, NULL makes NULL.
    let null = Predicate::and([Predicate::is_null(column), Predicate::Unknown]);
    Bounds::exact(Predicate::or(each.chain([null])))
}
