//! A policy as it was read once: the same for all principals until a role and settings are bound to it.

use super::constant::Constant;
use super::types::Type;
use super::why::Reason;
use crate::predicate::Comparison;

/// A condition, in the order in which PostgreSQL evaluates it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// `(…) is true`: never NULL.
    IsTrue(Box<Node>),
    /// Compiled when it is bound; its text, should that fail.
    Leaf(Leaf, Box<str>),
    /// Never compiled.
    Delegated(Reason),
}

/// A condition on at most one column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Leaf {
    /// No row is read.
    Constant(Constant),
    /// `subject <comparison> value`
    Compare { subject: Subject, comparison: Comparison, value: Constant },
    /// `column is distinct from value`
    Distinct { column: usize, value: Constant },
    /// `subject = any (list)`
    Member { subject: Subject, list: Constant },
    /// `column is null`
    IsNull { column: usize },
    /// `column like pattern`
    Like { column: usize, pattern: Constant },
    /// `column @> part`
    Contains { column: usize, part: Constant },
    /// `column && part`
    Overlaps { column: usize, part: Constant },
    /// `value = any (column)`
    Holds { column: usize, value: Constant },
}

/// What of a row is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subject {
    pub(super) column: usize,
    /// After casts that change nothing.
    pub(super) of: Type,
    pub(super) view: View,
    /// `collate "C"` is written.
    pub(super) by_code_point: bool,
}

/// How the column is seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum View {
    Plain,
    /// `lower(column)`
    Lower,
    /// `coalesce(column, this)`
    Coalesce(Constant),
}

impl Leaf {
    pub(super) fn settings(&self) -> Vec<&str> {
        let mut settings = Vec::new();
        match self {
            Leaf::IsNull { .. } => {}
            Leaf::Compare { subject, value: constant, .. } | Leaf::Member { subject, list: constant } => {
                if let View::Coalesce(otherwise) = &subject.view {
                    otherwise.settings(&mut settings);
                }
                constant.settings(&mut settings);
            }
            Leaf::Constant(constant)
            | Leaf::Distinct { value: constant, .. }
            | Leaf::Like { pattern: constant, .. }
            | Leaf::Contains { part: constant, .. }
            | Leaf::Overlaps { part: constant, .. }
            | Leaf::Holds { value: constant, .. } => constant.settings(&mut settings),
        }
        settings
    }
}

impl Node {
    /// What is never compiled in it.
    pub(super) fn reasons<'n>(&'n self, into: &mut Vec<&'n Reason>) {
        match self {
            Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| part.reasons(into)),
            Node::Not(part) | Node::IsTrue(part) => part.reasons(into),
            Node::Leaf(..) => {}
            Node::Delegated(reason) => into.push(reason),
        }
    }

    /// Whether any of it is compiled.
    pub(super) fn has_leaves(&self) -> bool {
        match self {
            Node::And(parts) | Node::Or(parts) => parts.iter().any(Node::has_leaves),
            Node::Not(part) | Node::IsTrue(part) => part.has_leaves(),
            Node::Leaf(..) => true,
            Node::Delegated(_) => false,
        }
    }
}
