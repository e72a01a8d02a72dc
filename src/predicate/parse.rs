//! The `where` argument: an object of columns and connectives, already coerced by GraphQL, read into a condition.
//!
//! `{}` and an absent or null argument are every row. Several keys and several operators must all hold. An explicit
//! `null` **operand** is SQL's NULL: `{total: {eq: null}}` holds nothing, `{in: [1, null]}` is true or unknown;
//! `isNull` is how one asks. A `null` where a condition belongs (`{total: null}`, `NOT: null`) is refused, since it
//! reads as either "no filter" or "no row". Every list and the whole tree have limits; beyond them the argument is
//! refused.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::like::PATTERN_CHARS_MAX;
use super::{Comparison, Like, Operator, Predicate, PredicateError, Scalar, offered, operand};
use crate::model::{Column, Folding, Table};

/// How large one `where` argument may be, as `Settings.filter` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterLimits {
    /// How deep `AND`, `OR` and `NOT` may nest; at most [`Self::DEPTH_MOST`]. Evaluation recurses as deep.
    pub depth_max: usize,
    /// How many operators one argument may have: the most that one subscription costs per event.
    pub conditions_max: usize,
    /// How many members its lists (`in`, `nin`, `contains`) may have together.
    pub members_max: usize,
}

impl FilterLimits {
    /// The deepest nesting that can be allowed; what is nested in a message may not nest much deeper.
    pub const DEPTH_MOST: usize = 64;
}

impl Default for FilterLimits {
    fn default() -> Self {
        FilterLimits { depth_max: 16, conditions_max: 256, members_max: 1024 }
    }
}

impl Predicate {
    /// Reads the argument for a subscription to this table, within the default limits.
    pub fn parse_where(table: &Table, input: &Value) -> Result<Predicate, PredicateError> {
        Predicate::parse_where_within(&FilterLimits::default(), table, input)
    }

    /// The same within these limits.
    pub fn parse_where_within(
        limits: &FilterLimits,
        table: &Table,
        input: &Value,
    ) -> Result<Predicate, PredicateError> {
        if input.is_null() {
            return Ok(Predicate::True);
        }
        Reader { limits, table, conditions: 0, members: 0 }.condition(input, &Path::Root)
    }
}

struct Reader<'a> {
    limits: &'a FilterLimits,
    table: &'a Table,
    conditions: usize,
    members: usize,
}

impl Reader<'_> {
    fn condition(&mut self, input: &Value, path: &Path<'_>) -> Result<Predicate, PredicateError> {
        let most = self.limits.depth_max;
        if path.depth() > most {
            return Err(path.expected(format!("at most {most} levels of AND, OR and NOT")));
        }
        let keys = object(input, path, "an object of columns, AND, OR and NOT")?;
        let parts = keys.iter().map(|(key, value)| self.key(key, value, &path.key(key)));
        Ok(Predicate::and(parts.collect::<Result<Vec<_>, _>>()?))
    }

    fn key(&mut self, key: &str, value: &Value, path: &Path<'_>) -> Result<Predicate, PredicateError> {
        match key {
            "AND" => Ok(Predicate::and(self.conditions(value, path)?)),
            "OR" => Ok(Predicate::or(self.conditions(value, path)?)),
            "NOT" => Ok(Predicate::not(self.condition(value, path)?)),
            field => match self.table.column_of_field(field) {
                Some(index) => self.column(index, value, path),
                None => Err(path.expected(format!("a column of {}, AND, OR or NOT", self.table.type_name))),
            },
        }
    }

    fn conditions(&mut self, value: &Value, path: &Path<'_>) -> Result<Vec<Predicate>, PredicateError> {
        let list = list(value, path)?;
        list.iter().enumerate().map(|(index, item)| self.condition(item, &path.index(index))).collect()
    }

    fn column(&mut self, index: usize, value: &Value, path: &Path<'_>) -> Result<Predicate, PredicateError> {
        let Some(column) = self.table.columns.get(index) else { return Err(path.expected("a column")) };
        let operators = object(value, path, "an object of operators such as {isNull: true}")?;
        let parts = operators.iter().map(|(name, operand)| {
            let path = path.key(name);
            self.count(operand, &path)?;
            operation(index, column, operator(column, name, &path)?, operand, &path)
        });
        Ok(Predicate::and(parts.collect::<Result<Vec<_>, _>>()?))
    }

    fn count(&mut self, operand: &Value, path: &Path<'_>) -> Result<(), PredicateError> {
        self.conditions += 1;
        self.members += operand.as_array().map_or(0, Vec::len);
        let FilterLimits { conditions_max, members_max, .. } = *self.limits;
        match (self.conditions <= conditions_max, self.members <= members_max) {
            (true, true) => Ok(()),
            (false, _) => Err(path.expected(format!("at most {conditions_max} operators in all"))),
            (_, false) => Err(path.expected(format!("at most {members_max} members of lists in all"))),
        }
    }
}

fn operator(column: &Column, name: &str, path: &Path<'_>) -> Result<Operator, PredicateError> {
    let offered = offered(column);
    offered.iter().copied().find(|operator| operator.name() == name).ok_or_else(|| {
        let names: Vec<_> = offered.iter().map(|operator| operator.name()).collect();
        match column.incomparable() {
            Some(reason) => path.incomparable(column, reason),
            None => path.expected(format!("an operator of this column: {}", names.join(", "))),
        }
    })
}

fn operation(
    index: usize,
    column: &Column,
    operator: Operator,
    operand: &Value,
    path: &Path<'_>,
) -> Result<Predicate, PredicateError> {
    if operand.is_null() {
        return Ok(Predicate::Unknown);
    }
    let compare = |comparison| Ok(Predicate::compare(index, comparison, value(column, operand, path)?));
    match operator {
        Operator::Eq => compare(Comparison::Eq),
        Operator::Neq => compare(Comparison::Neq),
        Operator::Gt => compare(Comparison::Gt),
        Operator::Gte => compare(Comparison::Gte),
        Operator::Lt => compare(Comparison::Lt),
        Operator::Lte => compare(Comparison::Lte),
        Operator::In => membership(index, column, operand, path),
        Operator::Nin => membership(index, column, operand, path).map(Predicate::not),
        Operator::IsNull => nullness(index, operand, path),
        Operator::Like => pattern(index, operand, path, Like::new),
        Operator::Ilike if column.folding == Folding::Language => {
            Err(path.incomparable(column, "its collation folds letters by the rules of a language"))
        }
        Operator::Ilike => pattern(index, operand, path, |pattern| Like::insensitive(pattern, column.folding)),
        Operator::Contains => Ok(Predicate::contains(index, part(column, operand, path)?)),
    }
}

fn value(column: &Column, operand: &Value, path: &Path<'_>) -> Result<Scalar, PredicateError> {
    operand::scalar(&column.pg_type, operand).ok_or_else(|| path.expected(operand::expected(&column.pg_type)))
}

fn part(column: &Column, operand: &Value, path: &Path<'_>) -> Result<Scalar, PredicateError> {
    operand::part(&column.pg_type, operand).ok_or_else(|| path.expected(operand::expected(&column.pg_type)))
}

/// A NULL among the members makes "no" into "unknown".
fn membership(index: usize, column: &Column, operand: &Value, path: &Path<'_>) -> Result<Predicate, PredicateError> {
    let items = list(operand, path)?;
    let known = items.iter().enumerate().filter(|(_, item)| !item.is_null());
    let values = known.map(|(at, item)| value(column, item, &path.index(at))).collect::<Result<Vec<_>, _>>()?;
    let null = if items.iter().any(Value::is_null) { Predicate::Unknown } else { Predicate::False };
    Ok(Predicate::or([Predicate::is_in(index, values), null]))
}

fn nullness(index: usize, operand: &Value, path: &Path<'_>) -> Result<Predicate, PredicateError> {
    match operand.as_bool() {
        Some(true) => Ok(Predicate::is_null(index)),
        Some(false) => Ok(Predicate::not(Predicate::is_null(index))),
        None => Err(path.expected("true or false")),
    }
}

fn pattern(
    index: usize,
    operand: &Value,
    path: &Path<'_>,
    compile: impl Fn(&str) -> Option<Like>,
) -> Result<Predicate, PredicateError> {
    let pattern = operand.as_str().and_then(compile).ok_or_else(|| {
        path.expected(format!(
            "a pattern of at most {PATTERN_CHARS_MAX} characters that does not end in a lone backslash"
        ))
    })?;
    Ok(Predicate::like(index, pattern))
}

fn object<'v>(
    value: &'v Value,
    path: &Path<'_>,
    expected: &'static str,
) -> Result<&'v Map<String, Value>, PredicateError> {
    value.as_object().ok_or_else(|| path.expected(expected))
}

fn list<'v>(value: &'v Value, path: &Path<'_>) -> Result<&'v [Value], PredicateError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| path.expected("a list"))
}

/// Where in the argument, kept on the stack and written out only for an error.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn key<'a>(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    fn index(&self, index: usize) -> Path<'_> {
        Path::Index(self, index)
    }

    fn depth(&self) -> usize {
        match self {
            Path::Root => 0,
            Path::Key(parent, _) => parent.depth() + 1,
            Path::Index(parent, _) => parent.depth(),
        }
    }

    fn incomparable(&self, column: &Column, reason: &'static str) -> PredicateError {
        PredicateError::Incomparable { path: self.to_string(), column: column.name.clone(), reason }
    }

    fn expected(&self, expected: impl Into<std::borrow::Cow<'static, str>>) -> PredicateError {
        PredicateError::Where { path: self.to_string(), expected: expected.into() }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => f.write_str("where"),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
