//! GraphQL names (specification, section 2.1.9 "Names") and how names from elsewhere become such.

/// Whether `text` is a name that a schema may define: `[_A-Za-z][_0-9A-Za-z]*`, and not one of the reserved `__…`.
pub(super) fn is_definable(text: &str) -> bool {
    is_name(text) && !text.starts_with("__")
}

/// Whether `text` is a name.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Whether `text` may name an enum value: these three words are literals.
pub(super) fn is_enum_value(text: &str) -> bool {
    is_definable(text) && !matches!(text, "true" | "false" | "null")
}

/// `order_status` becomes `orderStatus`; what no name may hold becomes `_`.
pub(super) fn camel_case(text: &str) -> String {
    let mut words = text.split(['_', '-', '.', ' ']).filter(|word| !word.is_empty());
    let mut name = words.next().map(lower_first).unwrap_or_default();
    name.extend(words.map(upper_first));
    valid(&name)
}

/// `order_status` becomes `OrderStatus`.
pub(super) fn pascal_case(text: &str) -> String {
    valid(&upper_first(&camel_case(text)))
}

fn lower_first(word: &str) -> String {
    change_first(word, |first| first.to_ascii_lowercase())
}

fn upper_first(word: &str) -> String {
    change_first(word, |first| first.to_ascii_uppercase())
}

fn change_first(word: &str, change: fn(char) -> char) -> String {
    let mut letters = word.chars();
    letters.next().map(change).into_iter().chain(letters).collect()
}

fn valid(name: &str) -> String {
    let digit_first = name.starts_with(|first: char| first.is_ascii_digit());
    let letters = name.chars().map(|c| if c == '_' || c.is_ascii_alphanumeric() { c } else { '_' });
    let name: String = digit_first.then_some('_').into_iter().chain(letters).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_catalog_become_names_of_graphql() {
        for (text, camel, pascal) in [
            ("orders", "orders", "Orders"),
            ("order_status", "orderStatus", "OrderStatus"),
            ("billing.invoice-paid", "billingInvoicePaid", "BillingInvoicePaid"),
            ("2fa", "_2fa", "_2fa"),
            ("größe", "gr__e", "Gr__e"),
            ("", "_", "_"),
        ] {
            assert_eq!((camel_case(text).as_str(), pascal_case(text).as_str()), (camel, pascal), "{text}");
        }
    }

    #[test]
    fn literals_and_reserved_names_are_not_enum_values() {
        assert!(is_enum_value("PAID"));
        for text in ["true", "false", "null", "__x", "in-progress", "", "1st"] {
            assert!(!is_enum_value(text), "{text}");
        }
    }
}
