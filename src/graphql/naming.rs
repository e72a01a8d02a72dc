//! GraphQL names for PostgreSQL names.
//!
//! What comes in: a name as the catalog has it, any text. What is promised: a valid GraphQL name (October 2021
//! specification, section 2.1.9) that does not begin with `__`, which introspection keeps for itself. What is never
//! done: two names are not made different when they come out the same; that is the caller's error to report.

/// How names are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// `user_id` is `userId`, the table `order_items` is `OrderItems`.
    #[default]
    Camel,
    /// As in the database, with invalid characters replaced by `_`.
    Database,
}

impl Naming {
    /// The name of a field: a column, or the subscription field of a table.
    pub fn field(self, name: &str) -> String {
        match self {
            Naming::Camel => valid(&camel(name, lower_first)),
            Naming::Database => valid(&only_name_characters(name)),
        }
    }

    /// The name of a table's row type.
    pub fn type_name(self, name: &str) -> String {
        match self {
            Naming::Camel => valid(&camel(name, upper_first)),
            Naming::Database => valid(&only_name_characters(name)),
        }
    }
}

fn only_name_characters(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A leading underscore stays, since `_id` and `id` are often neighbours; every other one only separates words.
fn camel(name: &str, first: fn(&str) -> String) -> String {
    let name = only_name_characters(name);
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let mut result = String::from(if name.starts_with('_') { "_" } else { "" });
    result.extend(words.next().map(first));
    result.extend(words.map(upper_first));
    result
}

/// A name begins with a letter or one underscore.
fn valid(name: &str) -> String {
    let rest = name.trim_start_matches('_');
    let underscore = name.len() > rest.len() || !rest.starts_with(|c: char| c.is_ascii_alphabetic());
    format!("{}{rest}", if underscore { "_" } else { "" })
}

/// `ID` is `id`, `UserName` is `userName`, `URLPath` is `urlPath`.
fn lower_first(word: &str) -> String {
    let capitals = word.bytes().take_while(u8::is_ascii_uppercase).count();
    let next_is_lower = word.as_bytes().get(capitals).is_some_and(u8::is_ascii_lowercase);
    let lowered = if next_is_lower && capitals > 1 { capitals - 1 } else { capitals };
    let (head, tail) = word.split_at(lowered);
    head.to_ascii_lowercase() + tail
}

/// `id` is `Id`, and so is `ID`; `userName` is `UserName`.
fn upper_first(word: &str) -> String {
    let shouted = !word.bytes().any(|b| b.is_ascii_lowercase());
    let word = if shouted { word.to_ascii_lowercase() } else { word.to_owned() };
    let (head, tail) = word.split_at(word.len().min(1));
    head.to_ascii_uppercase() + tail
}

#[cfg(test)]
mod tests {
    use super::Naming::{Camel, Database};

    #[test]
    fn columns_are_camel_case() {
        for (name, field) in [
            ("id", "id"),
            ("tenant_id", "tenantId"),
            ("created__at", "createdAt"),
            ("ID", "id"),
            ("USER_ID", "userId"),
            ("userName", "userName"),
            ("UserName", "userName"),
            ("URLPath", "urlPath"),
            ("address_2", "address2"),
            ("_id", "_id"),
            ("class_", "class"),
        ] {
            assert_eq!(Camel.field(name), field, "{name}");
        }
    }

    #[test]
    fn tables_are_pascal_case() {
        for (name, type_name) in [
            ("orders", "Orders"),
            ("order_items", "OrderItems"),
            ("ORDERS", "Orders"),
            ("OrderItems", "OrderItems"),
            ("_log", "_Log"),
            ("2024_orders", "_2024Orders"),
        ] {
            assert_eq!(Camel.type_name(name), type_name, "{name}");
        }
    }

    #[test]
    fn names_may_stay_as_in_the_database() {
        for (name, field) in
            [("tenant_id", "tenant_id"), ("userName", "userName"), ("my col", "my_col"), ("1st", "_1st")]
        {
            assert_eq!(Database.field(name), field, "{name}");
            assert_eq!(Database.type_name(name), field, "{name}");
        }
    }

    #[test]
    fn what_graphql_refuses_becomes_an_underscore() {
        for (name, camel, database) in [
            ("my col", "myCol", "my_col"),
            ("a\"b", "aB", "a_b"),
            ("größe", "grE", "gr__e"),
            ("日本", "_", "_"),
            ("1st_place", "_1stPlace", "_1st_place"),
            ("__typename", "_typename", "_typename"),
            ("___", "_", "_"),
            ("", "_", "_"),
            ("$", "_", "_"),
            ("__1", "_1", "_1"),
        ] {
            assert_eq!(Camel.field(name), camel, "{name}");
            assert_eq!(Database.field(name), database, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_name_is_valid(name in ".*") {
            for made in [Camel.field(&name), Camel.type_name(&name), Database.field(&name), Database.type_name(&name)] {
                let mut characters = made.chars();
                proptest::prop_assert!(characters.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic()), "{made}");
                proptest::prop_assert!(characters.all(|c| c == '_' || c.is_ascii_alphanumeric()), "{made}");
                proptest::prop_assert!(!made.starts_with("__"), "{made}");
            }
        }
    }
}
