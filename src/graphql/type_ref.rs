//! A reference to a GraphQL type, such as `[OrderView!]!`, as text from outside and as a value.

use std::fmt;

use super::name;

/// Lists within lists; deeper references are refused.
const DEPTH_MAX: usize = 8;

/// `Name`, `[T]` or `T!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TypeRef {
    /// A type by its name.
    Named(String),
    /// A list of it.
    List(Box<TypeRef>),
    /// Never null.
    NonNull(Box<TypeRef>),
}

impl TypeRef {
    pub(super) fn named(name: impl Into<String>) -> Self {
        TypeRef::Named(name.into())
    }

    pub(super) fn list(self) -> Self {
        TypeRef::List(Box::new(self))
    }

    pub(super) fn non_null(self) -> Self {
        match self {
            TypeRef::NonNull(_) => self,
            nullable => TypeRef::NonNull(Box::new(nullable)),
        }
    }

    pub(super) fn nullable(self) -> Self {
        match self {
            TypeRef::NonNull(inner) => *inner,
            nullable => nullable,
        }
    }

    pub(super) fn non_null_if(self, non_null: bool) -> Self {
        if non_null { self.non_null() } else { self }
    }

    /// The type under all lists and `!`.
    pub(super) fn innermost(&self) -> &str {
        match self {
            TypeRef::Named(name) => name,
            TypeRef::List(inner) | TypeRef::NonNull(inner) => inner.innermost(),
        }
    }

    /// `None` if `text` is not a type reference.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::parse_within(text.trim(), DEPTH_MAX)
    }

    fn parse_within(text: &str, depth: usize) -> Option<Self> {
        if let Some(nullable) = text.strip_suffix('!') {
            let nullable = nullable.trim_end();
            return if nullable.ends_with('!') { None } else { Some(Self::parse_within(nullable, depth)?.non_null()) };
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Some(Self::parse_within(inner.trim(), depth.checked_sub(1)?)?.list());
        }
        name::is_name(text).then(|| Self::named(text))
    }
}

impl fmt::Display for TypeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeRef::Named(name) => f.write_str(name),
            TypeRef::List(inner) => write!(f, "[{inner}]"),
            TypeRef::NonNull(inner) => write!(f, "{inner}!"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TypeRef;

    #[test]
    fn references_print_as_they_were_written() {
        for text in ["Order", "Order!", "[Order]", "[Order!]!", "[[Int!]]!"] {
            assert_eq!(TypeRef::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(TypeRef::parse(" [ Order ! ] ! ").unwrap().to_string(), "[Order!]!");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let deep = format!("{}Int{}", "[".repeat(10_000), "]".repeat(10_000));
        let marks = format!("Order{}", "!".repeat(100_000));
        for text in ["", "!", "Order!!", marks.as_str(), "[Order", "Order]", "[]", "a b", "list[Order]", deep.as_str()]
        {
            assert_eq!(TypeRef::parse(text), None);
        }
    }
}
