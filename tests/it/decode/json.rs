//! Values to JSON without a server: forms by hand, refusals, and random values that must read back.

use proptest::prelude::*;
use rowcast::decode::json::{self, ValueError, Written};
use rowcast::model::{ArrayType, CompositeType, EnumType, PgType};
use std::sync::Arc;

fn written(pg_type: &PgType, text: &str) -> Result<(String, Written), ValueError> {
    let mut out = b"before".to_vec();
    let result = json::write(pg_type, text.as_bytes(), &mut out);
    let json = out.strip_prefix(b"before").unwrap().to_vec();
    if result.is_err() {
        assert_eq!(json, b"", "an error leaves the buffer as it was");
    }
    result.map(|written| (String::from_utf8(json).unwrap(), written))
}

fn form(pg_type: &PgType, text: &str) -> String {
    let (json, written) = written(pg_type, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(written, Written::Value, "{text}");
    json
}

fn code(pg_type: &PgType, text: &str) -> &'static str {
    written(pg_type, text).expect_err(text).code()
}

fn array(element: PgType) -> PgType {
    PgType::Array(Arc::new(ArrayType { element, delimiter: b',' }))
}

fn composite(attributes: &[(&str, PgType)]) -> PgType {
    let attributes = attributes.iter().map(|(name, pg_type)| ((*name).to_owned(), pg_type.clone())).collect();
    PgType::Composite(Arc::new(CompositeType { name: "c".into(), attributes }))
}

#[test]
fn numbers_keep_every_digit() {
    assert_eq!(form(&PgType::Int2, "-32768"), "-32768");
    assert_eq!(form(&PgType::Int4, "2147483647"), "2147483647");
    assert_eq!(form(&PgType::Int8, "-9223372036854775808"), r#""-9223372036854775808""#);
    assert_eq!(form(&PgType::Numeric, "0.10"), r#""0.10""#);
    assert_eq!(form(&PgType::Numeric, "NaN"), r#""NaN""#);
    assert_eq!(form(&PgType::Float8, "1e-307"), "1e-307");
    assert_eq!(form(&PgType::Float8, "-0"), "-0");
    assert_eq!(form(&PgType::Float4, "3.4028235e+38"), "3.4028235e+38");
}

#[test]
fn a_float_that_is_not_finite_has_no_json_form_wherever_it_stands() {
    let none = |pg_type: &PgType, text| {
        let (json, written) = written(pg_type, text).unwrap();
        assert_eq!(written, Written::NoJsonForm);
        json
    };
    for text in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(none(&PgType::Float4, text), "null");
    }
    assert_eq!(none(&array(PgType::Float8), "{1,NaN,2}"), "[1,null,2]");
    let point = composite(&[("x", PgType::Float8), ("y", PgType::Float8)]);
    assert_eq!(none(&point, "(Infinity,1)"), r#"{"x":null,"y":1}"#);
    assert_eq!(none(&array(point), r#"{"(1,2)","(1,NaN)"}"#), r#"[{"x":1,"y":2},{"x":1,"y":null}]"#);
}

#[test]
fn times_are_iso_8601_and_keep_their_era() {
    let tz = PgType::TimestampTz;
    assert_eq!(form(&tz, "2026-11-23 16:16:15.123456+00"), r#""2026-11-23T16:16:15.123456+00:00""#);
    assert_eq!(form(&tz, "2026-11-23 16:16:15-03:30"), r#""2026-11-23T16:16:15-03:30""#);
    assert_eq!(form(&tz, "1890-01-01 00:00:00+00:53:28"), r#""1890-01-01T00:00:00+00:53:28""#);
    assert_eq!(form(&tz, "0044-03-15 12:00:00+00 BC"), r#""0044-03-15T12:00:00+00:00 BC""#);
    assert_eq!(form(&tz, "294276-12-31 23:59:59.999999+00"), r#""294276-12-31T23:59:59.999999+00:00""#);
    assert_eq!(form(&tz, "-infinity"), r#""-infinity""#);
    assert_eq!(form(&PgType::Timestamp, "0044-03-15 12:00:00.5 BC"), r#""0044-03-15T12:00:00.5 BC""#);
    assert_eq!(form(&PgType::Timestamp, "infinity"), r#""infinity""#);
    assert_eq!(form(&PgType::Date, "5874897-12-31"), r#""5874897-12-31""#);
    assert_eq!(form(&PgType::Date, "4713-01-01 BC"), r#""4713-01-01 BC""#);
    assert_eq!(form(&PgType::Time, "24:00:00"), r#""24:00:00""#);
}

#[test]
fn arrays_are_lists_of_lists() {
    let (ints, texts) = (array(PgType::Int4), array(PgType::Text));
    assert_eq!(form(&ints, "{}"), "[]");
    assert_eq!(form(&ints, "{1,NULL,-3}"), "[1,null,-3]");
    assert_eq!(form(&ints, "{{1,2},{3,4}}"), "[[1,2],[3,4]]");
    assert_eq!(form(&ints, "[0:2]={1,2,3}"), "[1,2,3]");
    assert_eq!(form(&ints, "[1:1][-2:-1][3:5]={{{1,2,3},{4,5,6}}}"), "[[[1,2,3],[4,5,6]]]");
    assert_eq!(form(&texts, r#"{"","NULL",null,a b}"#), r#"["","NULL","null","a b"]"#);
    assert_eq!(form(&texts, r#"{"a\"b\\c{},","ä",x}"#), r#"["a\"b\\c{},","ä","x"]"#);
    let boxes = PgType::Array(Arc::new(ArrayType { element: PgType::Other, delimiter: b';' }));
    assert_eq!(form(&boxes, "{(1,1),(0,0);(2,2),(1,1)}"), r#"["(1,1),(0,0)","(2,2),(1,1)"]"#);
    assert_eq!(form(&array(PgType::Json), r#"{"{\"a\": [1]}",5}"#), r#"[{"a": [1]},5]"#);
    assert_eq!(form(&array(ints), r#"{"{1,2}",NULL}"#), "[[1,2],null]", "a domain over an array, in an array");
}

#[test]
fn composites_are_objects() {
    let inner = composite(&[("x", PgType::Int8), ("t", PgType::Text)]);
    assert_eq!(form(&inner, r#"(1,"a ""b"" \\ c")"#), r#"{"x":"1","t":"a \"b\" \\ c"}"#);
    assert_eq!(form(&inner, "(,)"), r#"{"x":null,"t":null}"#);
    assert_eq!(form(&inner, r#"(,"")"#), r#"{"x":null,"t":""}"#);
    assert_eq!(form(&composite(&[]), "()"), "{}");
    assert_eq!(form(&composite(&[("a\"b", PgType::Bool)]), "(t)"), r#"{"a\"b":true}"#);
    let outer = composite(&[("in", inner), ("list", array(PgType::Text))]);
    let text = r#"("(1,""a """"q"""" b"")","{a,""b \\""c\\"""",NULL}")"#;
    assert_eq!(form(&outer, text), r#"{"in":{"x":"1","t":"a \"q\" b"},"list":["a","b \"c\"",null]}"#);
}

#[test]
fn all_else_is_text_and_json_is_one_line_of_itself() {
    let mood = PgType::Enum(Arc::new(EnumType { name: "mood".into(), labels: vec!["it's \"ok\"".into()] }));
    assert_eq!(form(&mood, "it's \"ok\""), r#""it's \"ok\"""#);
    assert_eq!(form(&PgType::Other, "1 year 2 mons"), r#""1 year 2 mons""#);
    assert_eq!(form(&PgType::Bytea, "\\x00ff"), r#""\\x00ff""#);
    assert_eq!(form(&PgType::Bytea, "\\x"), r#""\\x""#);
    assert_eq!(form(&PgType::Bool, "t"), "true");
    assert_eq!(form(&PgType::Text, "\u{1}\n\"\\é"), r#""\u0001\n\"\\é""#);
    assert_eq!(form(&PgType::Json, "{\n\t\"a\":\r\n 1.000}"), "{  \"a\":   1.000}");
}

#[test]
fn text_that_is_not_of_the_type_is_refused_by_name() {
    let malformed = "VALUE_MALFORMED";
    for (pg_type, texts) in [
        (PgType::Bool, &["", "true", "T"][..]),
        (PgType::Int4, &["", "-", "+1", "01", "1.0", "1 ", "NaN", "١"]),
        (PgType::Int8, &["1\"", "0x1"]),
        (PgType::Numeric, &["1.", ".5", "--1", "nan", "1,000"]),
        (PgType::Float8, &["1e", "1e+", "inf", "00", "1.e5"]),
        (PgType::Uuid, &["", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1\""]),
        (PgType::Date, &["23.11.2026", "2026-11-23 00:00:00", "2026-11-23 AD", "26-1-1", "Infinity"]),
        (PgType::Time, &["1:00:00", "16:16", "16:16:15.", "16:16:15+00"]),
        (PgType::Timestamp, &["2026-11-23T16:16:15", "2026-11-23 16:16:15+00", "2026-11-23", "2026-11-23 16:16:15 bc"]),
        (PgType::TimestampTz, &["2026-11-23 16:16:15", "2026-11-23 16:16:15+0", "2026-11-23 16:16:15+00:", "now"]),
        (PgType::Json, &["", "\"\u{0}\""]),
        (PgType::Bytea, &["", "abc", "\\000", "\\xg0"]),
    ] {
        for text in texts {
            assert_eq!(code(&pg_type, text), malformed, "{pg_type:?} {text:?}");
        }
    }
    let syntax = "VALUE_SYNTAX";
    for text in ["", "{", "}", "{1", "{1,}", "{,1}", "{1}2", "{\"1}", "{\"1\\", "[0:1]{1}", "1", "{1{2}}", "{\"1\"2}"] {
        assert_eq!(code(&array(PgType::Int4), text), syntax, "{text}");
    }
    let pair = composite(&[("a", PgType::Text), ("b", PgType::Text)]);
    for text in ["", "1,2", "(\"a", "(a,b)c", "(a,\"b\\"] {
        assert_eq!(code(&pair, text), syntax, "{text}");
    }
    for text in ["()", "(a)", "(a,b,c)", "(a,b", "(\"a\"b,c)", "(a\\,b)"] {
        assert_eq!(code(&pair, text), "VALUE_FIELD_COUNT", "{text}");
    }
}

#[test]
fn nesting_is_bounded_by_the_text_and_by_the_type() {
    let deep = "{".repeat(100_000) + &"}".repeat(100_000);
    assert_eq!(code(&array(PgType::Int4), &deep), "VALUE_TOO_DEEP");

    // Each level doubles the quotes of those inside it, so text alone cannot nest composites deeply.
    let nested = |levels| (0..levels).fold(PgType::Int4, |inner, _| composite(&[("a", inner)]));
    let text = |levels| (0..levels).fold("1".to_owned(), |inner, _| format!("({})", quote_field(&inner)));
    let expected = r#"{"a":"#.repeat(10) + "1" + &"}".repeat(10);
    assert_eq!(form(&nested(10), &text(10)), expected);
    assert_eq!(code(&nested(100), &text(10)), "VALUE_SYNTAX");
}

#[test]
fn errors_never_repeat_the_value() {
    let pair = composite(&[("a", PgType::Int4), ("b", PgType::Text)]);
    for pg_type in [PgType::Int4, PgType::TimestampTz, PgType::Uuid, array(PgType::Int4), pair, PgType::Bytea] {
        let error = written(&pg_type, "(secret").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}

/// As `array_out` quotes an element that needs it.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// As `record_out` quotes a field that needs it.
fn quote_field(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
}

/// Text with more quotes, braces and control characters than people write, but no zero, as in PostgreSQL.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[^\u{0}]{0,24}",
        proptest::collection::vec(
            prop::sample::select(vec!["\"", "\\", "{", "}", "(", ")", ",", "NULL", " ", "\n", "\u{1}", "ä", "🦀", "a"]),
            0..12
        )
        .prop_map(|parts| parts.concat()),
    ]
}

proptest! {
    #[test]
    fn any_text_reads_back(text in any_text()) {
        let json = form(&PgType::Text, &text);
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn any_text_array_reads_back(rows in proptest::collection::vec(proptest::option::of(any_text()), 0..6)) {
        let elements: Vec<_> = rows.iter().map(|text| text.as_deref().map_or("NULL".to_owned(), quote)).collect();
        let json = form(&array(PgType::Text), &format!("{{{}}}", elements.join(",")));
        prop_assert_eq!(serde_json::from_str::<Vec<Option<String>>>(&json).unwrap(), rows);
    }

    #[test]
    fn any_composite_of_texts_and_arrays_reads_back(a in proptest::option::of(any_text()), b in any_text()) {
        let pair = composite(&[("a", PgType::Text), ("b", array(PgType::Text))]);
        let list = quote_field(&format!("{{{}}}", quote(&b)));
        let json = form(&pair, &format!("({},{list})", a.as_deref().map(quote_field).unwrap_or_default()));
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(read, serde_json::json!({"a": a, "b": [b]}));
    }

    #[test]
    fn any_integer_and_float_reads_back(int in any::<i64>(), small in any::<i32>(), float in any::<f64>()) {
        let quoted = form(&PgType::Int8, &int.to_string());
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), int.to_string());
        prop_assert_eq!(form(&PgType::Int4, &small.to_string()), small.to_string());
        prop_assume!(float.is_finite());
        let read: f64 = form(&PgType::Float8, &format!("{float:e}")).parse().unwrap();
        prop_assert_eq!(read.to_bits(), float.to_bits());
    }

    #[test]
    fn any_text_for_any_type_is_valid_json_or_refused(text in any_text()) {
        let pair = composite(&[("a", PgType::Int4), ("b", array(PgType::Float8))]);
        for pg_type in [PgType::Int8, PgType::Numeric, PgType::Float4, PgType::Date, PgType::TimestampTz, PgType::Uuid,
                        PgType::Bytea, array(PgType::Text), array(pair.clone()), pair] {
            if let Ok((json, _)) = written(&pg_type, &text) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{:?}: {}", pg_type, json);
            }
        }
    }
}
