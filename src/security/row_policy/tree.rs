//! What an expression calls, read from its tree as PostgreSQL stores it (`pg_node_tree`): there every function,
//! operator, cast and type stands as its OID, also those that no text shows, such as the operator behind
//! `IS DISTINCT FROM`.
//!
//! Only what is not PostgreSQL's own counts. Where nothing but `pg_catalog` is searched, a text without such a thing
//! means what it meant; the rest of the tree may differ for no reason (`varchar in (…)` comes back as other casts).
//!
//! Casts are an exception. The owner of a type may make one with a function of PostgreSQL's own (`concat`), and a text
//! names no cast. So where a type is not PostgreSQL's own, every cast that calls something counts. Elsewhere only a
//! superuser could have made one, and `numeric = any (array[1, 2])` comes back with more casts than it had.

/// Objects with lower OIDs are pinned: they were there before the database was, and are never replaced.
const FIRST_UNPINNED: u32 = 12_000;

/// Fields that name an object.
const NAMING: [&str; 9] =
    [":funcid", ":opno", ":opnos", ":aggfnoid", ":winfnoid", ":collOid", ":consttype", ":resulttype", ":relid"];

/// What stands for the kind of a node.
const KIND: &str = "{";

/// Each object that is not PostgreSQL's own and, if wanted, what each cast calls, in the order in which the tree has
/// them.
pub(super) fn calls(tree: &str, casts: bool) -> Vec<(&str, u32)> {
    let mut function = 0;
    let call = |(field, word)| match field {
        KIND if casts && word == "COERCEVIAIO" => Some((word, 0)),
        ":funcformat" if casts && is_cast(word) => Some((field, function)),
        _ if NAMING.contains(&field) => {
            function = if field == ":funcid" { word.parse().unwrap_or(0) } else { function };
            own((field, word))
        }
        _ => None,
    };
    fields(tree).filter_map(call).collect()
}

/// Whether a type in it is not PostgreSQL's own, so that its owner may make casts.
pub(super) fn has_types(tree: &str) -> bool {
    let is_type = |field: &str| [":typeId", "type", "typeid"].iter().any(|end| field.ends_with(end));
    fields(tree).any(|(field, word)| is_type(field) && own((field, word)).is_some())
}

/// Written as one or implicit (`CoercionForm`); others are calls in words: `extract(year from …)`.
fn is_cast(format: &str) -> bool {
    matches!(format, "1" | "2")
}

/// Whether an operator or a cast is not PostgreSQL's own. `pg_get_expr` may print it like one of those; a function that
/// is written as a call it prints with its schema.
pub(super) fn hides(tree: &str) -> bool {
    let mut function = None;
    fields(tree).any(|(field, word)| match field {
        ":funcid" => {
            function = own((field, word));
            false
        }
        ":funcformat" => function.is_some() && word != "0",
        ":opno" | ":opnos" => own((field, word)).is_some(),
        _ => false,
    })
}

fn own<'t>((field, word): (&'t str, &str)) -> Option<(&'t str, u32)> {
    word.parse::<u32>().ok().filter(|oid| *oid >= FIRST_UNPINNED).map(|oid| (field, oid))
}

/// Every word of the tree with the field that it stands in, or as the kind of a node. Blanks and brackets in a name are
/// escaped, so a name is one word and never a kind.
fn fields(tree: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut field = "";
    let bracket = |letter: char| "(){}".contains(letter);
    tree.split_ascii_whitespace().filter_map(move |word| {
        let bare = word.trim_matches(bracket);
        if bare.starts_with(':') {
            field = bare;
            return None;
        }
        let is_kind = word.trim_start_matches('(').starts_with(KIND);
        Some((if is_kind { KIND } else { field }, bare))
    })
}

#[cfg(test)]
mod tests {
    use super::{calls, has_types, hides};

    #[test]
    fn what_is_not_postgresqls_own_counts_in_its_order() {
        let tree = "{BOOLEXPR :args ({DISTINCTEXPR :opno 16400 :opfuncid 16399} {OPEXPR :opno 98} {FUNCEXPR :funcid 16500 \
                    :funcresulttype 16} {ROWCOMPAREEXPR :opnos (o 97 16401)})}";
        assert_eq!(calls(tree, false), [(":opno", 16400), (":funcid", 16500), (":opnos", 16401)]);
    }

    /// `m::text`, where PostgreSQL knows no cast of its own.
    #[test]
    fn casts_count_by_what_they_call() {
        let argument = "{VAR :varattno 2 :vartype 16385}";
        let by_text = format!("{{COERCEVIAIO :arg {argument} :resulttype 25 :coerceformat 1}}");
        let by =
            |format| format!("({{FUNCEXPR :funcid 3058 :funcresulttype 25 :funcformat {format} :args ({argument})}})");
        assert_eq!(calls(&by_text, true), [("COERCEVIAIO", 0)]);
        assert_eq!(calls(&by(1), true), [(":funcformat", 3058)]);
        assert_eq!(calls(&by(2), true), calls(&by(1), true));
        assert!([0, 3].iter().all(|format| calls(&by(*format), true).is_empty()));
        assert!(calls(&by_text, false).is_empty() && calls(&by(1), false).is_empty());
        assert!(calls("{TARGETENTRY :resname COERCEVIAIO :resno 1}", true).is_empty());
    }

    #[test]
    fn casts_within_an_array_count_too() {
        let element = "{COERCEVIAIO :arg {CASETESTEXPR :typeId 16385} :resulttype 25}";
        let array = format!("{{ARRAYCOERCEEXPR :arg {{VAR :vartype 1009}} :elemexpr {element} :resulttype 1009}}");
        assert_eq!(calls(&array, true), [("COERCEVIAIO", 0)]);
        assert!(has_types(&array));
    }

    #[test]
    fn types_of_ones_own_are_seen_wherever_they_stand() {
        for field in [":vartype", ":opresulttype", ":typeId", ":row_typeid", ":casetype", ":array_typeid", ":type"] {
            assert!(has_types(&format!("{{NODE {field} 16385}}")), "{field}");
            assert!(!has_types(&format!("{{NODE {field} 25}}")), "{field}");
        }
        assert!(!has_types("{VAR :vartype 1043 :location 16385}"));
    }

    #[test]
    fn operators_and_casts_of_ones_own_are_hidden_and_calls_are_not() {
        let call = |format| format!("{{FUNCEXPR :funcid 16400 :funcresulttype 16 :funcformat {format} :args <>}}");
        assert_eq!([0, 1, 2].map(|format| hides(&call(format))), [false, true, true]);
        let operators = ["{DISTINCTEXPR :opno 16400}", "{ROWCOMPAREEXPR :opnos (o 97 16400)}", "{OPEXPR :opno 98}"];
        assert_eq!(operators.map(hides), [true, true, false]);
        assert!(!hides("{FUNCEXPR :funcid 870 :funcformat 1}") && !hides(""));
    }
}
