//! Type definitions in the order in which they were asked for, printed as graphql-js prints a schema.
//!
//! A definition may be made again if it is the same; another one under the same name is refused, with both owners
//! named. Nothing here knows tables.

use std::collections::HashMap;
use std::fmt::{self, Write};

use super::error::SchemaError;
use super::name;
use super::type_ref::TypeRef;

/// A type with its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub name: String,
    pub description: Option<String>,
    /// Behind the name, such as `@shareable`; empty outside of a federated graph.
    pub directives: String,
    pub kind: Kind,
}

/// What the type is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Enum(Vec<String>),
    Object(Vec<Member>),
    Input(Vec<Member>),
}

/// A field of an object or an input type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub name: String,
    pub description: Option<String>,
    pub arguments: Vec<(&'static str, TypeRef)>,
    pub type_ref: TypeRef,
    /// Behind the type; empty outside of a federated graph.
    pub directives: &'static str,
}

impl Member {
    pub(super) fn new(name: impl Into<String>, type_ref: TypeRef) -> Self {
        Member { name: name.into(), description: None, arguments: Vec::new(), type_ref, directives: "" }
    }

    pub(super) fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }
}

/// All definitions of a schema.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    in_order: Vec<Definition>,
    owners: HashMap<String, (usize, String)>,
}

impl Definitions {
    /// Adds `definition` for `owner`, or accepts that an equal one is there.
    pub(super) fn define(&mut self, definition: Definition, owner: &str) -> Result<(), SchemaError> {
        if let Some((index, first)) = self.owners.get(&definition.name) {
            if self.in_order[*index] == definition {
                return Ok(());
            }
            return Err(SchemaError::DuplicateType {
                name: definition.name,
                first: first.clone(),
                second: owner.to_owned(),
            });
        }
        definition.check()?;
        self.owners.insert(definition.name.clone(), (self.in_order.len(), owner.to_owned()));
        self.in_order.push(definition);
        Ok(())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.owners.contains_key(name)
    }
}

impl Definition {
    fn check(&self) -> Result<(), SchemaError> {
        check_name(&self.name, "a type")?;
        match &self.kind {
            Kind::Scalar => Ok(()),
            Kind::Enum(values) => self.check_values(values),
            Kind::Object(members) | Kind::Input(members) => self.check_members(members),
        }
    }

    fn check_values(&self, values: &[String]) -> Result<(), SchemaError> {
        match values.iter().find(|value| !name::is_enum_value(value)) {
            Some(value) => Err(SchemaError::InvalidEnumValue { name: self.name.clone(), value: value.clone() }),
            None => self.check_distinct(values.iter().map(String::as_str)),
        }
    }

    fn check_members(&self, members: &[Member]) -> Result<(), SchemaError> {
        for member in members {
            check_name(&member.name, &format!("a member of type {}", self.name))?;
        }
        self.check_distinct(members.iter().map(|member| member.name.as_str()))
    }

    fn check_distinct<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), SchemaError> {
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SchemaError::DuplicateMember { type_name: self.name.clone(), name: pair[0].to_owned() });
        }
        if names.is_empty() { Err(SchemaError::EmptyType { name: self.name.clone() }) } else { Ok(()) }
    }
}

fn check_name(text: &str, place: &str) -> Result<(), SchemaError> {
    if name::is_definable(text) {
        return Ok(());
    }
    Err(SchemaError::InvalidName { name: text.to_owned(), place: place.to_owned() })
}

impl fmt::Display for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, definition) in self.in_order.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            definition.fmt(f)?;
        }
        f.write_char('\n')
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_description(f, "", self.description.as_deref())?;
        match &self.kind {
            Kind::Scalar => write!(f, "scalar {}", self.name),
            Kind::Enum(values) => {
                writeln!(f, "enum {} {{", self.name)?;
                values.iter().try_for_each(|value| writeln!(f, "  {value}"))?;
                f.write_char('}')
            }
            Kind::Object(members) => self.write_members(f, "type", members),
            Kind::Input(members) => self.write_members(f, "input", members),
        }
    }
}

impl Definition {
    fn write_members(&self, f: &mut fmt::Formatter<'_>, keyword: &str, members: &[Member]) -> fmt::Result {
        let space = if self.directives.is_empty() { "" } else { " " };
        writeln!(f, "{keyword} {}{space}{} {{", self.name, self.directives)?;
        for (index, member) in members.iter().enumerate() {
            if index > 0 && member.description.is_some() {
                f.write_char('\n')?;
            }
            write!(f, "{member}")?;
        }
        f.write_char('}')
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_description(f, "  ", self.description.as_deref())?;
        write!(f, "  {}", self.name)?;
        write_arguments(f, &self.arguments)?;
        let space = if self.directives.is_empty() { "" } else { " " };
        writeln!(f, ": {}{space}{}", self.type_ref, self.directives)
    }
}

fn write_arguments(f: &mut fmt::Formatter<'_>, arguments: &[(&str, TypeRef)]) -> fmt::Result {
    for (index, (name, type_ref)) in arguments.iter().enumerate() {
        write!(f, "{}{name}: {type_ref}", if index == 0 { "(" } else { ", " })?;
    }
    f.write_str(if arguments.is_empty() { "" } else { ")" })
}

fn write_description(f: &mut fmt::Formatter<'_>, indent: &str, description: Option<&str>) -> fmt::Result {
    match description {
        None | Some("") => Ok(()),
        Some(text) if !survives_a_block(text) => writeln!(f, "{indent}{}", serde_json::Value::from(text)),
        Some(text) if !text.contains('\n') && text.len() <= 70 => writeln!(f, r#"{indent}"""{text}""""#),
        Some(text) => {
            writeln!(f, r#"{indent}""""#)?;
            text.lines().try_for_each(|line| match line {
                "" => f.write_char('\n'),
                line => writeln!(f, "{indent}{line}"),
            })?;
            writeln!(f, r#"{indent}""""#)
        }
    }
}

/// A block string is re-indented and trimmed by its reader: only text that loses nothing by it may be one.
fn survives_a_block(text: &str) -> bool {
    text.trim() == text
        && !text.contains("\"\"\"")
        && !text.ends_with(['"', '\\'])
        && !text.contains(|c: char| c.is_control() && c != '\n')
        && !text.lines().any(|line| line.starts_with(char::is_whitespace) || line.ends_with(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, members: Vec<Member>) -> Definition {
        let (name, directives) = (name.to_owned(), String::new());
        Definition { name, description: None, directives, kind: Kind::Object(members) }
    }

    #[test]
    fn the_same_type_may_be_defined_twice_and_another_may_not() {
        let mut definitions = Definitions::default();
        let member = |name: &str| Member::new(name, TypeRef::named("Int"));
        definitions.define(object("View", vec![member("a")]), "field orders").unwrap();
        definitions.define(object("View", vec![member("a")]), "field invoices").unwrap();
        let error = definitions.define(object("View", vec![member("b")]), "field invoices").unwrap_err();
        assert_eq!(
            error.to_string(),
            "field orders and field invoices both need a GraphQL type called View; rename one of them"
        );
    }

    #[test]
    fn members_must_be_there_named_and_distinct() {
        let mut definitions = Definitions::default();
        let member = |name: &str| Member::new(name, TypeRef::named("Int"));
        for (members, code) in [
            (vec![], "SCHEMA_EMPTY_TYPE"),
            (vec![member("a b")], "SCHEMA_INVALID_NAME"),
            (vec![member("__a")], "SCHEMA_INVALID_NAME"),
            (vec![member("a"), member("a")], "SCHEMA_DUPLICATE_MEMBER"),
        ] {
            assert_eq!(definitions.define(object("View", members), "x").unwrap_err().code(), code);
        }
        let states = Kind::Enum(vec!["true".to_owned()]);
        let (name, directives) = ("State".to_owned(), String::new());
        let states = Definition { name, description: None, directives, kind: states };
        assert_eq!(definitions.define(states, "x").unwrap_err().code(), "SCHEMA_INVALID_ENUM_VALUE");
    }

    #[test]
    fn every_description_reads_back_as_it_was() {
        let long = "word ".repeat(30) + "end";
        for text in [
            "plain",
            "a\nb",
            "a\n\nb",
            "a\n  b",
            " a ",
            "a\"\"\"b",
            "a\\",
            "a\"",
            "\u{7}",
            "tab\there",
            "\\u0041",
            &long,
        ] {
            let definition = Definition {
                description: Some(text.to_owned()),
                ..object(
                    "Query",
                    vec![
                        Member::new("a", TypeRef::named("Int")),
                        Member::new("b", TypeRef::named("Int")).described(text),
                    ],
                )
            };
            let schema = apollo_compiler::Schema::parse_and_validate(definition.to_string(), "test").unwrap();
            let query = schema.get_object("Query").unwrap();
            assert_eq!(query.description.as_ref().unwrap().as_str(), text, "{definition}");
            assert_eq!(query.fields["b"].description.as_ref().unwrap().as_str(), text, "{definition}");
        }
    }
}
