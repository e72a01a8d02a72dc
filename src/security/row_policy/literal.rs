//! Expressions without a row, from syntax to [`Constant`].

use sqlparser::ast::{
    Array, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart,
    Query, SelectItem, SetExpr, Value as Sql,
};

use super::claims::Step;
use super::constant::{Constant, Value};
use super::types::Type;
use super::why::Why;
use crate::model::{ArrayType, PgType};
use crate::predicate::{Float, Json, Numeric, Scalar};

/// Reads an expression that names no column.
pub(super) fn constant(expr: &Expr) -> Result<Constant, Why> {
    match expr {
        Expr::Nested(inner) => constant(inner),
        Expr::Value(value) => plain(&value.value),
        Expr::Cast { expr: inner, data_type, format: None, .. } => cast(inner, &data_type.to_string()),
        Expr::Function(function) => call(&Call::of(function)?),
        Expr::Identifier(name) if is_user_keyword(name) => Ok(Constant::CurrentUser),
        Expr::Array(items) => array(items),
        Expr::BinaryOp { left, op, right } => document(left, op, right),
        Expr::Subquery(query) => constant(selected(query).ok_or(Why::Subquery)?),
        Expr::Exists { .. } | Expr::InSubquery { .. } => Err(Why::Subquery),
        Expr::QualifiedWildcard(..) => Err(Why::WholeRow),
        Expr::Case { .. } => Err(Why::Form("CASE")),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Err(Why::Form("more than one column at once")),
        _ => Err(Why::Form("an expression that is not compiled")),
    }
}

/// `true` and `false`.
pub(super) fn truth(value: bool) -> Constant {
    Constant::Value(Value::bool(value), Type::Bool)
}

/// Whether it is a `jsonb` document that is written in the policy.
pub(super) fn is_document(constant: &Constant) -> bool {
    matches!(constant, Constant::Value(Value::Scalar(Scalar::Json(_)), Type::Jsonb))
}

/// `CURRENT_USER` and its other names; a column of that name is printed in quotes.
pub(super) fn is_user_keyword(name: &Ident) -> bool {
    let keywords = ["current_user", "current_role", "user"];
    name.quote_style.is_none() && keywords.iter().any(|keyword| name.value.eq_ignore_ascii_case(keyword))
}

fn plain(value: &Sql) -> Result<Constant, Why> {
    Ok(match value {
        Sql::Boolean(value) => truth(*value),
        Sql::SingleQuotedString(text) => Constant::Value(Value::text(text), Type::Text),
        Sql::Number(digits, _) => number(digits).ok_or(Why::Form("a number"))?,
        _ => return Err(Why::Form("a literal without a type")),
    })
}

fn number(digits: &str) -> Option<Constant> {
    if let Ok(value) = digits.parse::<i32>() {
        return Some(Constant::Value(Value::int(value.into()), Type::Int4));
    }
    let value = Numeric::parse(digits).filter(|_| !digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(Constant::Value(Value::Scalar(Scalar::Numeric(value)), Type::Numeric))
}

fn cast(inner: &Expr, to: &str) -> Result<Constant, Why> {
    let unknown = |from: &str| Why::Cast { from: from.into(), to: to.into() };
    let to = Type::named(to).ok_or_else(|| unknown("another type"))?;
    match unnested(inner) {
        Expr::Value(value) => match &value.value {
            Sql::Null => return Ok(Constant::Value(Value::Null, to)),
            // The type's own output, which is read as a row's values are.
            Sql::SingleQuotedString(text) => {
                let value = printed(text, &to).ok_or_else(|| Why::Spelling(to.to_string().into()))?;
                return Ok(Constant::Value(value, to));
            }
            Sql::Number(digits, _) if to == Type::Double => {
                let value = Float::parse_double(digits).ok_or_else(|| unknown("numeric"))?;
                return Ok(Constant::Value(Value::Scalar(Scalar::Float(value)), to));
            }
            _ => {}
        },
        // PostgreSQL has folded the literal into another type, so only the outermost cast remains.
        Expr::Array(items) => return array_of(items, &to),
        _ => {}
    }
    let inner = constant(inner)?;
    let from = inner.type_of();
    if castable(&from, &to) { Ok(Constant::Cast(Box::new(inner), to)) } else { Err(unknown(&from.to_string())) }
}

fn unnested(expr: &Expr) -> &Expr {
    if let Expr::Nested(inner) = expr { unnested(inner) } else { expr }
}

fn castable(from: &Type, to: &Type) -> bool {
    match (from, to) {
        (from, to) if from == to => true,
        (Type::Text, Type::Double) => false,
        (from, _) if from.is_text() => true,
        (from, Type::Numeric | Type::Text) if from.is_int() => true,
        (from, to) if from.is_int() => to.is_int(),
        (Type::Bool, Type::Text) => true,
        (Type::Array(from), Type::Array(to)) => castable(from, to) && !matches!(**to, Type::Json | Type::Jsonb),
        _ => false,
    }
}

fn printed(text: &str, to: &Type) -> Option<Value> {
    match to {
        Type::Bpchar => Some(Value::text(text.trim_end_matches(' '))),
        Type::Named(_) => Some(Value::text(text)),
        Type::Json => super::claims::parse(text, || (), || ()).ok(),
        Type::Array(element) => {
            let array = ArrayType { element: element.pg_type()?, delimiter: b',' };
            let flat = text.starts_with('{') && !text.starts_with("{{");
            match Scalar::from_text(&PgType::Array(array.into()), text.as_bytes()).filter(|_| flat)? {
                Scalar::Array(items) => Some(Value::Array(items)),
                _ => None,
            }
        }
        Type::Jsonb => Json::operand(text).map(|json| Value::Scalar(Scalar::Json(Box::new(json)))),
        to => Scalar::from_text(&to.pg_type()?, text.as_bytes()).map(Value::Scalar),
    }
}

/// A function that is written by its bare name.
pub(super) struct Call<'e> {
    /// In lower case.
    pub(super) name: String,
    pub(super) arguments: Vec<&'e Expr>,
}

impl<'e> Call<'e> {
    pub(super) fn of(function: &'e Function) -> Result<Self, Why> {
        let unowned = || Why::Function(function.name.to_string().into());
        let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return Err(unowned()) };
        let plain = function.filter.is_none() && function.over.is_none() && function.within_group.is_empty();
        let arguments = match &function.args {
            FunctionArguments::None => Vec::new(),
            FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() => {
                list.args.iter().map(|argument| self::argument(argument)).collect::<Option<_>>().ok_or_else(unowned)?
            }
            _ => return Err(unowned()),
        };
        let name = name.value.to_ascii_lowercase();
        if plain { Ok(Call { name, arguments }) } else { Err(unowned()) }
    }
}

fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn call(call: &Call<'_>) -> Result<Constant, Why> {
    match (call.name.as_str(), call.arguments.as_slice()) {
        ("current_user" | "current_role" | "user", []) => Ok(Constant::CurrentUser),
        ("current_setting", [name]) => setting(name, false),
        ("current_setting", [name, missing_ok]) => match constant(missing_ok)? {
            Constant::Value(Value::Scalar(Scalar::Bool(missing_ok)), _) => setting(name, missing_ok),
            _ => Err(Why::Form("a setting that may be missing or not")),
        },
        ("lower", [of]) => Ok(Constant::Lower(Box::new(of_type(of, &Type::Text)?))),
        ("nullif", [one, other]) => {
            let one = constant(one)?;
            let other = of_type(other, &one.type_of())?;
            let comparable = one.type_of().compares_with(&one.type_of()) && !matches!(one.type_of(), Type::Named(_));
            comparable
                .then(|| Constant::NullIf(Box::new(one), Box::new(other)))
                .ok_or(Why::Form("NULLIF of these operands"))
        }
        ("coalesce", [first, ..]) => {
            let of = constant(first)?.type_of();
            let parts = call.arguments.iter().map(|part| of_type(part, &of)).collect::<Result<_, _>>()?;
            Ok(Constant::Coalesce(parts))
        }
        ("string_to_array", [text, delimiter]) => match constant(delimiter)? {
            Constant::Value(Value::Scalar(Scalar::Text(delimiter)), _) if !delimiter.is_empty() => {
                Ok(Constant::StringToArray { text: Box::new(of_type(text, &Type::Text)?), delimiter })
            }
            _ => Err(Why::Form("a delimiter that is not written")),
        },
        _ => Err(Why::Function(call.name.as_str().into())),
    }
}

fn of_type(expr: &Expr, of: &Type) -> Result<Constant, Why> {
    let constant = constant(expr)?;
    if constant.type_of() == *of { Ok(constant) } else { Err(Why::Form("operands of different types")) }
}

/// PostgreSQL's own settings are not the principal's.
fn setting(name: &Expr, missing_ok: bool) -> Result<Constant, Why> {
    match constant(name)? {
        Constant::Value(Value::Scalar(Scalar::Text(name)), _) if name.contains('.') => {
            Ok(Constant::Setting { name, missing_ok })
        }
        Constant::Value(Value::Scalar(Scalar::Text(name)), _) => Err(Why::Setting(name)),
        _ => Err(Why::Form("a setting whose name is computed")),
    }
}

fn array(items: &Array) -> Result<Constant, Why> {
    let items: Vec<_> = items.elem.iter().map(constant).collect::<Result<_, _>>()?;
    let of = items.first().map(Constant::type_of).ok_or(Why::Form("an empty array"))?;
    let alike = items.iter().all(|item| item.type_of() == of) && !matches!(of, Type::Array(_));
    if alike { Ok(Constant::Array(items.into(), of)) } else { Err(Why::Form("an array of different types")) }
}

/// `ARRAY[…]::element[]`
fn array_of(items: &Array, to: &Type) -> Result<Constant, Why> {
    let Type::Array(element) = to else { return Err(Why::Form("an array that becomes something else")) };
    if items.elem.is_empty() {
        return Ok(Constant::Array(Box::default(), (**element).clone()));
    }
    let inner = array(items)?;
    if castable(&inner.type_of(), to) {
        Ok(Constant::Cast(Box::new(inner), to.clone()))
    } else {
        Err(Why::Cast { from: inner.type_of().to_string().into(), to: to.to_string().into() })
    }
}

fn document(left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Constant, Why> {
    let unowned = || Why::Operator(op.to_string().into());
    let as_text = matches!(op, BinaryOperator::LongArrow | BinaryOperator::HashLongArrow);
    if !as_text && !matches!(op, BinaryOperator::Arrow | BinaryOperator::HashArrow | BinaryOperator::Question) {
        return Err(unowned());
    }
    let document = constant(left)?;
    let by_path = matches!(op, BinaryOperator::HashArrow | BinaryOperator::HashLongArrow);
    let word = constant(right)?;
    match (document.type_of(), op) {
        (Type::Jsonb, BinaryOperator::Question) if word.type_of() == Type::Text => {
            Ok(Constant::Has { document: Box::new(document), word: Box::new(word) })
        }
        (Type::Json | Type::Jsonb, BinaryOperator::Question) => Err(unowned()),
        (Type::Json | Type::Jsonb, _) => {
            let step = step(word, by_path).ok_or_else(unowned)?;
            Ok(Constant::Step { document: Box::new(document), step, as_text })
        }
        _ => Err(unowned()),
    }
}

fn step(word: Constant, by_path: bool) -> Option<Step> {
    match word {
        Constant::Value(Value::Scalar(Scalar::Text(key)), _) if !by_path => Some(Step::Key(key)),
        Constant::Value(Value::Scalar(Scalar::Int(index)), _) if !by_path => Some(Step::Index(index)),
        Constant::Value(Value::Array(words), _) if by_path => path(&words),
        _ => None,
    }
}

fn path(words: &[Option<Scalar>]) -> Option<Step> {
    let word = |word: &Option<Scalar>| match word {
        Some(Scalar::Text(word)) => Some(word.clone()),
        _ => None,
    };
    let words: Box<[_]> = words.iter().map(word).collect::<Option<_>>()?;
    (!words.is_empty()).then_some(Step::Path(words))
}

/// The one expression of a `( SELECT … )` that reads no table, as people write it to have a function called once.
fn selected(query: &Query) -> Option<&Expr> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.distinct.is_none();
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] if bare => Some(expr),
        _ => None,
    }
}
