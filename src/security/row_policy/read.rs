//! Compiles a policy's text to its template. Conditions that are not recognised here are delegated to PostgreSQL.
//!
//! `pg_get_expr` prints every operator in parentheses, every implicit cast that an operand needs, and a schema before
//! every name that is not in `pg_catalog`. So a bare name or operator is PostgreSQL's own.

use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::constant::Constant;
use super::literal::{self, constant, is_user_keyword};
use super::template::{Leaf, Node, Subject, View};
use super::types::Type;
use super::why::{Reason, Why};
use crate::model::{Collation, Column, PgType, Table};
use crate::predicate::Comparison;

/// Never fails: what cannot be read is asked.
pub(super) fn policy(table: &Table, text: &str) -> Node {
    let delegated = || Node::Delegated(Reason { why: Why::Syntax, text: text.into() });
    parse(text).map_or_else(delegated, |expr| Reader { table }.node(&expr))
}

fn parse(text: &str) -> Option<Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?;
    let expr = parser.parse_expr().ok()?;
    (parser.peek_token().token == Token::EOF).then_some(expr)
}

struct Reader<'t> {
    table: &'t Table,
}

impl Reader<'_> {
    fn node(&self, expr: &Expr) -> Node {
        match expr {
            Expr::Nested(inner) => self.node(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                Node::And(vec![self.node(left), self.node(right)])
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => Node::Or(vec![self.node(left), self.node(right)]),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => negated(self.node(expr)),
            Expr::IsTrue(inner) => is_true(self.node(inner)),
            Expr::IsNotTrue(inner) => negated(is_true(self.node(inner))),
            Expr::IsFalse(inner) => is_true(negated(self.node(inner))),
            Expr::IsNotFalse(inner) => negated(is_true(negated(self.node(inner)))),
            Expr::IsNotNull(_) | Expr::IsNotUnknown(_) | Expr::IsNotDistinctFrom(..) | Expr::AllOp { .. } => {
                negated(self.leaf(expr))
            }
            Expr::BinaryOp { op: BinaryOperator::PGNotLikeMatch, .. } => negated(self.leaf(expr)),
            other => self.leaf(other),
        }
    }

    fn leaf(&self, expr: &Expr) -> Node {
        let text = expr.to_string().into_boxed_str();
        match self.condition(expr) {
            Ok(leaf) => Node::Leaf(leaf, text),
            Err(why) => Node::Delegated(Reason { why, text }),
        }
    }

    /// The plain form of an expression whose negation its caller handles.
    fn condition(&self, expr: &Expr) -> Result<Leaf, Why> {
        match expr {
            Expr::BinaryOp { left, op, right } => match comparison(op) {
                Some(comparison) => self.compare(left, comparison, right, op),
                None => self.operator(left, op, right, expr),
            },
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. }
            | Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => self.member(left, right),
            Expr::AnyOp { compare_op: op, .. } | Expr::AllOp { compare_op: op, .. } => Err(unowned(op)),
            Expr::IsNull(of) | Expr::IsNotNull(of) | Expr::IsUnknown(of) | Expr::IsNotUnknown(of) => self.is_null(of),
            Expr::IsDistinctFrom(one, other) | Expr::IsNotDistinctFrom(one, other) => self.distinct(one, other),
            other => self.boolean(other),
        }
    }

    /// A boolean that is not an operator.
    fn boolean(&self, expr: &Expr) -> Result<Leaf, Why> {
        if let Ok(subject) = self.subject(expr) {
            let value = literal::truth(true);
            return self.comparable(subject, Comparison::Eq, value, false);
        }
        boolean_constant(expr)
    }

    fn compare(&self, left: &Expr, comparison: Comparison, right: &Expr, op: &BinaryOperator) -> Result<Leaf, Why> {
        let ((left, by_left), (right, by_right)) = (uncollated(left)?, uncollated(right)?);
        let by_code_point = by_left || by_right;
        match (self.subject(left), self.subject(right)) {
            (Ok(_), Ok(_)) => Err(unowned(op)),
            (Ok(subject), Err(_)) => self.comparable(subject, comparison, constant(right)?, by_code_point),
            (Err(_), Ok(subject)) => self.comparable(subject, flipped(comparison), constant(left)?, by_code_point),
            (Err(why), Err(_)) => {
                let (left, right) = (constant(left).map_err(|other| deeper(why, other))?, constant(right)?);
                let text = left.type_of().is_text();
                let equality = matches!(comparison, Comparison::Eq | Comparison::Neq);
                let ordered = !text || equality;
                let named = matches!(left.type_of(), Type::Named(_));
                let bpchar = left.type_of() == Type::Bpchar;
                if left.type_of().compares_with(&right.type_of()) && ordered && !named && !bpchar {
                    Ok(Leaf::Constant(Constant::Compare(Box::new(left), comparison, Box::new(right))))
                } else {
                    Err(unowned(op))
                }
            }
        }
    }

    fn comparable(
        &self,
        mut subject: Subject,
        comparison: Comparison,
        value: Constant,
        by_code_point: bool,
    ) -> Result<Leaf, Why> {
        subject.by_code_point |= by_code_point;
        let equality = matches!(comparison, Comparison::Eq | Comparison::Neq);
        types_meet(&subject, &value.type_of())?;
        self.collates(&subject, equality)?;
        if subject.view == View::Lower && !equality {
            return Err(Why::Form("an order of folded text"));
        }
        Ok(Leaf::Compare { subject, comparison, value })
    }

    fn collates(&self, subject: &Subject, equality: bool) -> Result<(), Why> {
        if !subject.of.is_text() {
            return Ok(());
        }
        let column = &self.table.columns[subject.column];
        let folds = subject.view == View::Lower;
        // The column's collation folds case, even if another collation compares the result.
        let collation = if subject.by_code_point && !folds { Collation::C } else { column.collation };
        let known = match collation {
            Collation::C => true,
            Collation::Plain => equality,
            Collation::Deterministic => equality && !folds,
            Collation::Nondeterministic | Collation::Other => false,
        };
        known.then_some(()).ok_or_else(|| Why::Collation(column.name.as_str().into()))
    }

    fn member(&self, left: &Expr, right: &Expr) -> Result<Leaf, Why> {
        if let Ok(subject) = self.subject(left) {
            let list = constant(right)?;
            let Type::Array(element) = list.type_of() else { return Err(Why::Form("a list that is not an array")) };
            types_meet(&subject, &element)?;
            self.collates(&subject, true)?;
            return Ok(Leaf::Member { subject, list });
        }
        let value = constant(left)?;
        match self.array_column(right) {
            Ok((column, element)) if element.compares_with(&value.type_of()) => Ok(Leaf::Holds { column, value }),
            Ok((_, element)) => {
                Err(Why::CrossType { left: element.to_string().into(), right: value.type_of().to_string().into() })
            }
            Err(_) => constant_member(value, constant(right)?),
        }
    }

    fn operator(&self, left: &Expr, op: &BinaryOperator, right: &Expr, whole: &Expr) -> Result<Leaf, Why> {
        match op {
            BinaryOperator::PGLikeMatch | BinaryOperator::PGNotLikeMatch => {
                let subject = self.subject(left)?;
                let padded = self.table.columns[subject.column].pg_type == PgType::Bpchar;
                if subject.of != Type::Text || subject.view != View::Plain || padded {
                    return Err(unowned(op));
                }
                self.collates(&subject, true)?;
                Ok(Leaf::Like { column: subject.column, pattern: constant(right)? })
            }
            BinaryOperator::AtArrow => self.contains(left, right, op),
            BinaryOperator::ArrowAt => self.contains(right, left, op),
            BinaryOperator::PGOverlap => {
                let (column, element) = self.array_column(left)?;
                let part = constant(right)?;
                let met = part.type_of() == Type::Array(Box::new(element));
                met.then_some(Leaf::Overlaps { column, part }).ok_or_else(|| unowned(op))
            }
            _ => boolean_constant(whole),
        }
    }

    fn contains(&self, whole: &Expr, part: &Expr, op: &BinaryOperator) -> Result<Leaf, Why> {
        if let Ok((column, element)) = self.array_column(whole) {
            let part = constant(part)?;
            let met = part.type_of() == Type::Array(Box::new(element));
            return met.then_some(Leaf::Contains { column, part }).ok_or_else(|| unowned(op));
        }
        let subject = self.subject(whole)?;
        let part = constant(part)?;
        let met = subject.of == Type::Jsonb && subject.view == View::Plain && literal::is_document(&part);
        met.then_some(Leaf::Contains { column: subject.column, part }).ok_or_else(|| unowned(op))
    }

    fn is_null(&self, of: &Expr) -> Result<Leaf, Why> {
        match self.column(of) {
            Ok((column, found)) if matches!(found.pg_type, PgType::Composite(_)) => {
                Err(Why::ColumnType(self.table.columns[column].name.as_str().into()))
            }
            Ok((column, _)) => Ok(Leaf::IsNull { column }),
            Err(_) if self.subject(of).is_ok_and(|subject| subject.view == View::Plain) => {
                Ok(Leaf::IsNull { column: self.subject(of)?.column })
            }
            Err(why) => match constant(of) {
                Ok(constant) => Ok(Leaf::Constant(Constant::IsNull(Box::new(constant)))),
                Err(other) => Err(deeper(why, other)),
            },
        }
    }

    fn distinct(&self, one: &Expr, other: &Expr) -> Result<Leaf, Why> {
        let (subject, value) = match (self.subject(one), self.subject(other)) {
            (Ok(subject), Err(_)) => (subject, constant(other)?),
            (Err(_), Ok(subject)) => (subject, constant(one)?),
            _ => return Err(Why::Form("IS DISTINCT FROM on these operands")),
        };
        types_meet(&subject, &value.type_of())?;
        self.collates(&subject, true)?;
        match subject.view {
            View::Plain => Ok(Leaf::Distinct { column: subject.column, value }),
            View::Lower | View::Coalesce(_) => Err(Why::Form("IS DISTINCT FROM on these operands")),
        }
    }

    /// A column, seen through what changes nothing that matters.
    fn subject(&self, expr: &Expr) -> Result<Subject, Why> {
        match expr {
            Expr::Nested(inner) => self.subject(inner),
            Expr::Cast { expr: inner, data_type, format: None, .. } => {
                let mut subject = self.subject(inner)?;
                let to = data_type.to_string();
                let cast = || Why::Cast { from: subject.of.to_string().into(), to: to.as_str().into() };
                let to = Type::named(&to).filter(|to| subject.of.is_read_as(to)).ok_or_else(cast)?;
                subject.of = to;
                Ok(subject)
            }
            Expr::Collate { .. } => {
                let (inner, by_code_point) = uncollated(expr)?;
                Ok(Subject { by_code_point, ..self.subject(inner)? })
            }
            Expr::Function(function) => self.seen_through(&literal::Call::of(function)?),
            _ => {
                let (column, found) = self.column(expr)?;
                let of = Type::of(found).ok_or_else(|| Why::ColumnType(found.name.as_str().into()))?;
                Ok(Subject { column, of, view: View::Plain, by_code_point: false })
            }
        }
    }

    fn seen_through(&self, call: &literal::Call<'_>) -> Result<Subject, Why> {
        match (call.name.as_str(), call.arguments.as_slice()) {
            ("lower", [of]) => {
                let subject = self.subject(of)?;
                let plain = subject.view == View::Plain && subject.of == Type::Text;
                plain.then_some(Subject { view: View::Lower, ..subject }).ok_or(Why::Form("lower of another type"))
            }
            ("coalesce", [of, otherwise]) => {
                let subject = self.subject(of)?;
                let otherwise = constant(otherwise)?;
                let plain = subject.view == View::Plain && subject.of == otherwise.type_of();
                plain
                    .then_some(Subject { view: View::Coalesce(otherwise), ..subject })
                    .ok_or(Why::Form("coalesce of these operands"))
            }
            _ => Err(Why::Function(call.name.as_str().into())),
        }
    }

    fn array_column(&self, expr: &Expr) -> Result<(usize, Type), Why> {
        let subject = self.subject(expr)?;
        let column = &self.table.columns[subject.column];
        match subject.of {
            Type::Array(element) if *element == Type::Text && !column.collation.is_bytewise() => {
                Err(Why::Collation(column.name.as_str().into()))
            }
            Type::Array(element) if !matches!(*element, Type::Named(_)) => Ok((subject.column, *element)),
            _ => Err(Why::ColumnType(column.name.as_str().into())),
        }
    }

    fn column(&self, expr: &Expr) -> Result<(usize, &Column), Why> {
        let name = match expr {
            Expr::Nested(inner) => return self.column(inner),
            Expr::Identifier(name) if !is_user_keyword(name) => name,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] if table.value == self.table.name.name => name,
                _ => return Err(Why::Form("a name of another table")),
            },
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => return Err(Why::Subquery),
            Expr::QualifiedWildcard(..) => return Err(Why::WholeRow),
            Expr::Case { .. } => return Err(Why::Form("CASE")),
            _ => return Err(Why::Form("an expression that is not compiled")),
        };
        self.named(name).ok_or_else(|| Why::Column(name.value.as_str().into()))
    }

    fn named(&self, name: &Ident) -> Option<(usize, &Column)> {
        let index = self.table.column(&name.value)?;
        self.table.columns.get(index).map(|column| (index, column))
    }
}

fn types_meet(subject: &Subject, value: &Type) -> Result<(), Why> {
    let met = subject.of.compares_with(value);
    met.then_some(())
        .ok_or_else(|| Why::CrossType { left: subject.of.to_string().into(), right: value.to_string().into() })
}

fn boolean_constant(expr: &Expr) -> Result<Leaf, Why> {
    let constant = constant(expr)?;
    if constant.type_of() == Type::Bool { Ok(Leaf::Constant(constant)) } else { Err(Why::Form("no boolean")) }
}

/// `value = any (list)` without a row: an `or` of comparisons.
fn constant_member(value: Constant, list: Constant) -> Result<Leaf, Why> {
    let Type::Array(element) = list.type_of() else { return Err(Why::Form("a list that is not an array")) };
    let met = value.type_of().compares_with(&element) && !matches!(*element, Type::Named(_) | Type::Bpchar);
    let member = Constant::Member(Box::new(value), Box::new(list));
    met.then_some(Leaf::Constant(member)).ok_or(Why::Form("a list of another type"))
}

fn negated(node: Node) -> Node {
    Node::Not(Box::new(node))
}

fn is_true(node: Node) -> Node {
    Node::IsTrue(Box::new(node))
}

/// `collate "C"` is understood, others are not.
fn uncollated(expr: &Expr) -> Result<(&Expr, bool), Why> {
    match expr {
        Expr::Nested(inner) if matches!(**inner, Expr::Collate { .. }) => uncollated(inner),
        Expr::Collate { expr, collation } if collation.to_string() == "\"C\"" => Ok((expr, true)),
        Expr::Collate { .. } => Err(Why::Form("COLLATE")),
        _ => Ok((expr, false)),
    }
}

/// The reason that says more: a constant that is none is named by what is wrong with it.
fn deeper(row: Why, constant: Why) -> Why {
    if matches!(row, Why::Form(_)) { constant } else { row }
}

fn unowned(op: &BinaryOperator) -> Why {
    Why::Operator(op.to_string().into())
}

fn comparison(op: &BinaryOperator) -> Option<Comparison> {
    Some(match op {
        BinaryOperator::Eq => Comparison::Eq,
        BinaryOperator::NotEq => Comparison::Neq,
        BinaryOperator::Lt => Comparison::Lt,
        BinaryOperator::LtEq => Comparison::Lte,
        BinaryOperator::Gt => Comparison::Gt,
        BinaryOperator::GtEq => Comparison::Gte,
        _ => return None,
    })
}

fn flipped(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq => Comparison::Eq,
        Comparison::Neq => Comparison::Neq,
        Comparison::Lt => Comparison::Gt,
        Comparison::Lte => Comparison::Gte,
        Comparison::Gt => Comparison::Lt,
        Comparison::Gte => Comparison::Lte,
    }
}
