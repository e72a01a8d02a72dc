//! Expressions that read no row: constants, settings, the current user, and what is made of them.

use std::collections::BTreeMap;

use super::cast;
use super::claims::{self, Step};
use super::types::Type;
use super::why::Why;
use crate::model::Principal;
use crate::predicate::{Comparison, Numeric, Scalar};

/// An expression whose value is known once there is a principal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Value(Value, Type),
    Setting {
        name: Box<str>,
        missing_ok: bool,
    },
    CurrentUser,
    Cast(Box<Constant>, Type),
    NullIf(Box<Constant>, Box<Constant>),
    Coalesce(Box<[Constant]>),
    Step {
        document: Box<Constant>,
        step: Step,
        as_text: bool,
    },
    Has {
        document: Box<Constant>,
        word: Box<Constant>,
    },
    StringToArray {
        text: Box<Constant>,
        delimiter: Box<str>,
    },
    Array(Box<[Constant]>, Type),
    Lower(Box<Constant>),
    Compare(Box<Constant>, Comparison, Box<Constant>),
    /// `value = any (list)`
    Member(Box<Constant>, Box<Constant>),
    IsNull(Box<Constant>),
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    /// A label of an enum is still its text.
    Scalar(Scalar),
    Json(serde_json::Value),
    Array(Box<[Option<Scalar>]>),
}

impl Value {
    pub(super) fn text(text: &str) -> Value {
        Value::Scalar(Scalar::Text(text.into()))
    }

    pub(super) fn bool(value: bool) -> Value {
        Value::Scalar(Scalar::Bool(value))
    }

    pub(super) fn int(value: i64) -> Value {
        Value::Scalar(Scalar::Int(value))
    }
}

/// Why a constant has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// PostgreSQL raises: the setting has no value.
    Missing(Box<str>),
    /// PostgreSQL raises: this cannot be a value of the type.
    Invalid { expected: Box<str> },
    /// PostgreSQL knows.
    Delegated(Why),
}

/// Whom a policy is bound for.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) role: &'a str,
    pub(super) principal: &'a Principal,
    pub(super) defaults: &'a BTreeMap<Box<str>, Box<str>>,
}

impl<'a> Bound<'a> {
    /// Names of settings have no case; of two that are one, the later is set later.
    fn setting(&self, name: &str) -> Option<&'a str> {
        let own = self.principal.settings.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name));
        let default = || self.defaults.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.as_str()).or_else(|| default().map(|(_, value)| &**value))
    }
}

impl Constant {
    /// As PostgreSQL types it.
    pub(super) fn type_of(&self) -> Type {
        match self {
            Constant::Value(_, of) | Constant::Cast(_, of) => of.clone(),
            Constant::Setting { .. } | Constant::Lower(_) | Constant::Step { as_text: true, .. } => Type::Text,
            Constant::CurrentUser => Type::Name,
            Constant::NullIf(of, _) => of.type_of(),
            Constant::Coalesce(parts) => parts.first().map_or(Type::Text, Constant::type_of),
            Constant::Step { document, .. } => document.type_of(),
            Constant::Has { .. } | Constant::Compare(..) | Constant::Member(..) | Constant::IsNull(_) => Type::Bool,
            Constant::StringToArray { .. } => Type::Array(Box::new(Type::Text)),
            Constant::Array(_, element) => Type::Array(Box::new(element.clone())),
        }
    }

    /// The settings that it reads, in the order in which they are written.
    pub(super) fn settings<'c>(&'c self, into: &mut Vec<&'c str>) {
        match self {
            Constant::Setting { name, .. } => into.push(name),
            Constant::Value(..) | Constant::CurrentUser => {}
            Constant::Cast(of, _)
            | Constant::Lower(of)
            | Constant::IsNull(of)
            | Constant::Step { document: of, .. }
            | Constant::StringToArray { text: of, .. } => of.settings(into),
            Constant::NullIf(one, other)
            | Constant::Compare(one, _, other)
            | Constant::Member(one, other)
            | Constant::Has { document: one, word: other } => {
                one.settings(into);
                other.settings(into);
            }
            Constant::Coalesce(parts) | Constant::Array(parts, _) => {
                parts.iter().for_each(|part| part.settings(into));
            }
        }
    }

    pub(super) fn eval(&self, bound: Bound<'_>) -> Result<Value, Stop> {
        match self {
            Constant::Value(value, _) => Ok(value.clone()),
            Constant::Setting { name, missing_ok } => match bound.setting(name) {
                Some(value) => Ok(Value::text(value)),
                None if *missing_ok => Ok(Value::Null),
                None => Err(Stop::Missing(name.clone())),
            },
            Constant::CurrentUser => Ok(Value::text(bound.role)),
            Constant::Cast(of, to) => converted(of.eval(bound)?, &of.type_of(), to),
            Constant::NullIf(one, other) => {
                let (one, other) = (one.eval(bound)?, other.eval(bound)?);
                Ok(if one == other { Value::Null } else { one })
            }
            Constant::Coalesce(parts) => first_known(parts, bound),
            Constant::Step { document, step, as_text } => document_step(&document.eval(bound)?, step, *as_text),
            Constant::Has { document, word } => match (document.eval(bound)?, word.eval(bound)?) {
                (Value::Json(document), Value::Scalar(Scalar::Text(word))) => Ok(claims::has(&document, &word)),
                (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
                _ => Err(Stop::Delegated(Why::Form("a key of a written document"))),
            },
            Constant::StringToArray { text, delimiter } => Ok(split(text.eval(bound)?, delimiter)),
            Constant::Array(items, _) => array(items, bound),
            Constant::Lower(of) => lower(of.eval(bound)?),
            Constant::Compare(one, comparison, other) => Ok(match (one.eval(bound)?, other.eval(bound)?) {
                (Value::Scalar(one), Value::Scalar(other)) => Value::bool(comparison.admits(one.cmp(&other))),
                _ => Value::Null,
            }),
            Constant::Member(value, list) => Ok(member(&value.eval(bound)?, &list.eval(bound)?)),
            Constant::IsNull(of) => Ok(Value::bool(of.eval(bound)? == Value::Null)),
        }
    }
}

/// NULL in the list makes "no" into NULL; nothing is in an empty list, not even NULL.
fn member(value: &Value, list: &Value) -> Value {
    match (value, list) {
        (_, Value::Array(items)) if items.is_empty() => Value::bool(false),
        (Value::Scalar(scalar), Value::Array(items)) => {
            let found = items.iter().flatten().any(|item| item == scalar);
            if !found && items.iter().any(Option::is_none) { Value::Null } else { Value::bool(found) }
        }
        _ => Value::Null,
    }
}

fn first_known(parts: &[Constant], bound: Bound<'_>) -> Result<Value, Stop> {
    for part in parts {
        let value = part.eval(bound)?;
        if value != Value::Null {
            return Ok(value);
        }
    }
    Ok(Value::Null)
}

fn array(items: &[Constant], bound: Bound<'_>) -> Result<Value, Stop> {
    let item = |item: &Constant| match item.eval(bound)? {
        Value::Null => Ok(None),
        Value::Scalar(scalar) => Ok(Some(scalar)),
        Value::Json(_) | Value::Array(_) => Err(Stop::Delegated(Why::Form("an array of arrays or documents"))),
    };
    Ok(Value::Array(items.iter().map(item).collect::<Result<_, _>>()?))
}

fn document_step(document: &Value, step: &Step, as_text: bool) -> Result<Value, Stop> {
    let document = match document {
        Value::Json(document) => document,
        Value::Null => return Ok(Value::Null),
        Value::Scalar(_) | Value::Array(_) => return Err(Stop::Delegated(Why::Form("a step into a written document"))),
    };
    match claims::step(document, step)? {
        None => Ok(Value::Null),
        Some(found) if as_text => claims::text(&found),
        Some(found) => Ok(Value::Json(found)),
    }
}

fn split(text: Value, delimiter: &str) -> Value {
    match text {
        Value::Scalar(Scalar::Text(text)) if text.is_empty() => Value::Array(Box::default()),
        Value::Scalar(Scalar::Text(text)) => {
            Value::Array(text.split(delimiter).map(|part| Some(Scalar::Text(part.into()))).collect())
        }
        _ => Value::Null,
    }
}

/// In every language but Turkish and its kin, where `I` becomes another letter than `i`.
fn lower(text: Value) -> Result<Value, Stop> {
    match text {
        Value::Scalar(Scalar::Text(text)) if text.is_ascii() && !text.contains('I') => {
            Ok(Value::text(&text.to_ascii_lowercase()))
        }
        Value::Null => Ok(Value::Null),
        _ => Err(Stop::Delegated(Why::Spelling("in letters that fold alike everywhere".into()))),
    }
}

/// `value::to`
fn converted(value: Value, from: &Type, to: &Type) -> Result<Value, Stop> {
    let unowned = || Stop::Delegated(Why::Cast { from: from.to_string().into(), to: to.to_string().into() });
    match (value, to) {
        (Value::Null, _) => Ok(Value::Null),
        (value, to) if from == to => Ok(value),
        (Value::Scalar(Scalar::Text(text)), to) if from.is_text() => cast::text(&text, to),
        (Value::Scalar(Scalar::Int(value)), to) if to.is_int() => {
            let expected = || Stop::Invalid { expected: to.to_string().into() };
            if cast::in_range(value, to) { Ok(Value::int(value)) } else { Err(expected()) }
        }
        (Value::Scalar(Scalar::Int(value)), Type::Numeric) => {
            let value = Numeric::parse(&value.to_string()).ok_or_else(unowned)?;
            Ok(Value::Scalar(Scalar::Numeric(value)))
        }
        (Value::Scalar(scalar @ (Scalar::Int(_) | Scalar::Bool(_))), Type::Text) => {
            cast::to_text(&scalar).map(|text| Value::text(&text)).ok_or_else(unowned)
        }
        (Value::Array(items), Type::Array(element)) => elements(&items, from, element, unowned),
        _ => Err(unowned()),
    }
}

fn elements(items: &[Option<Scalar>], from: &Type, to: &Type, unowned: impl Fn() -> Stop) -> Result<Value, Stop> {
    let Type::Array(from) = from else { return Err(unowned()) };
    let element = |item: &Option<Scalar>| match item {
        None => Ok(None),
        Some(scalar) => match converted(Value::Scalar(scalar.clone()), from, to)? {
            Value::Scalar(scalar) => Ok(Some(scalar)),
            _ => Err(unowned()),
        },
    };
    Ok(Value::Array(items.iter().map(element).collect::<Result<_, _>>()?))
}
