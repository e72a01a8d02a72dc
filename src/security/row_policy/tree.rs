//! What an expression calls, read from its tree as PostgreSQL stores it (`pg_node_tree`): there every function, operator,
//! cast and type stands as its OID, also those that no text shows, such as the operator behind `IS DISTINCT FROM`.
//!
//! Only what is not PostgreSQL's own counts. Where nothing but `pg_catalog` is searched, a text without such a thing means
//! what it meant; the rest of the tree may differ for no reason (`varchar in (…)` comes back as other casts).

/// Objects with lower OIDs are pinned: they were there before the database was, and are never replaced.
const FIRST_UNPINNED: u32 = 12_000;

/// Fields that name an object.
const NAMING: [&str; 9] =
    [":funcid", ":opno", ":opnos", ":aggfnoid", ":winfnoid", ":collOid", ":consttype", ":resulttype", ":relid"];

/// Each object that is not PostgreSQL's own, in the order in which the tree has them.
pub(super) fn foreign(tree: &str) -> Vec<(&str, u32)> {
    fields(tree).filter(|(field, _)| NAMING.contains(field)).filter_map(own).collect()
}

/// Whether an operator or a cast is not PostgreSQL's own. `pg_get_expr` may print it like one of those; a function that is
/// written as a call it prints with its schema.
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

/// Every word of the tree with the field that it stands in. A blank in a name is escaped, so a name is one word.
fn fields(tree: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut field = "";
    let bracket = |letter: char| "(){}".contains(letter);
    tree.split_ascii_whitespace().filter_map(move |word| {
        let bare = word.trim_matches(bracket);
        if bare.starts_with(':') {
            field = bare;
            return None;
        }
        Some((field, bare))
    })
}

#[cfg(test)]
mod tests {
    use super::{foreign, hides};

    #[test]
    fn what_is_not_postgresqls_own_counts_in_its_order() {
        let tree = "{BOOLEXPR :args ({DISTINCTEXPR :opno 16400 :opfuncid 16399} {OPEXPR :opno 98} {FUNCEXPR :funcid 16500 \
                    :funcresulttype 16} {ROWCOMPAREEXPR :opnos (o 97 16401)})}";
        assert_eq!(foreign(tree), [(":opno", 16400), (":funcid", 16500), (":opnos", 16401)]);
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
