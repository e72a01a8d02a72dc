//! The rooms of `src/` import each other in one direction. What is read is the source itself, without comments and
//! without test code; the table below is the truth of the matter, with nothing missing and nothing to spare.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room and what it may name of others: a whole room, or an item of it where that is all it needs.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("model", &[]),
    ("decode", &["model"]),
    ("predicate", &["model"]),
    ("graphql", &["model"]),
    ("journal", &["model"]),
    ("matcher", &["model", "predicate"]),
    ("security", &["model", "predicate"]),
    // A refused request is written as GraphQL writes errors: `RequestError` is one more input than the plan.
    (
        "payload",
        &["model", "graphql::Plan", "graphql::plan", "graphql::RequestError", "security::Visible", "security::Image"],
    ),
    ("session", &["model", "payload::Frame"]),
    ("store", &["model"]),
    ("postgres", &[]),
    // The catalog reads the view that the store's migrations made: it fails as the store's own calls do.
    ("catalog", &["model", "graphql::Naming", "store::StoreError"]),
    // What is confirmed to the server is the journal's word alone.
    ("capture", &["model", "postgres", "store::StoreError", "journal::Durable"]),
    ("probe", &["model", "security::Question", "security::Reads", "security::Binding"]),
    ("adapter", &[]),
    // What clients receive: a refused request or condition, or the end of the history that they followed.
    ("failure", &["graphql::RequestError", "journal::Origin", "predicate::PredicateError"]),
    ("metrics", &[]),
];

/// They put the rooms together and may name all of them. No other room names the engine.
const MAY_USE_ALL: [&str; 4] = ["engine", "config", "error", "python"];

/// The rooms of the engine, and which of them each may name. What is not listed is the engine's own face and may name all.
const OF_THE_ENGINE: [(&str, &[&str]); 9] = [
    ("clock", &[]),
    ("rate", &[]),
    ("outbound", &[]),
    ("served", &[]),
    ("deliver", &["clock", "outbound", "rate", "served"]),
    ("catch_up", &["deliver"]),
    ("serve", &["catch_up", "deliver", "outbound", "rate", "served"]),
    ("client", &["catch_up", "deliver", "outbound", "rate", "serve"]),
    ("follow", &["client", "deliver", "serve", "served"]),
];

/// Pure and synchronous: bytes, rows and instants come in, decisions go out.
const STAGES: [&str; 8] = ["decode", "predicate", "matcher", "graphql", "payload", "session", "journal", "security"];

/// What no stage has a use for.
const OF_THE_RIM: [&str; 6] = ["tokio", "std::net", "std::fs", "SystemTime::now", "Instant::now", "Timestamp::now"];

#[test]
fn the_stages_depend_on_each_other_in_one_direction() {
    for (room, allowed) in MAY_USE {
        let named: BTreeSet<_> = sources(room).iter().flat_map(Source::names_of_rooms).collect();
        let others: Vec<_> = named.iter().filter(|name| !is_of(name, room)).collect();
        let forbidden: Vec<_> =
            others.iter().filter(|name| !allowed.iter().any(|allowed| is_of(name, allowed))).collect();
        assert!(forbidden.is_empty(), "{room} may not name {forbidden:?}");
        let unused: Vec<_> = allowed.iter().filter(|allowed| !others.iter().any(|name| is_of(name, allowed))).collect();
        assert!(unused.is_empty(), "{room} does not need {unused:?} any more: take it out of the table");
    }
}

#[test]
fn the_rooms_of_the_engine_depend_on_each_other_in_one_direction() {
    for (at, (room, allowed)) in OF_THE_ENGINE.iter().enumerate() {
        let below: Vec<_> = OF_THE_ENGINE[..at].iter().map(|(room, _)| *room).collect();
        assert!(
            allowed.iter().all(|allowed| below.contains(allowed)),
            "{room} may name only rooms above it in the table"
        );
        let engine = sources(&format!("engine/{room}"));
        let all = engine.iter().flat_map(Source::names_of_rooms);
        let of_engine: BTreeSet<_> = all.filter_map(|name| name.strip_prefix("engine::").map(str::to_owned)).collect();
        let others: Vec<_> = of_engine.iter().map(String::as_str).filter(|name| name != room).collect();
        assert_eq!(others, *allowed, "what {room} names");
    }
}

#[test]
fn every_room_is_in_the_table() {
    let listed: BTreeSet<_> = MAY_USE.iter().map(|(room, _)| *room).chain(MAY_USE_ALL).map(str::to_owned).collect();
    let there: BTreeSet<_> = fs::read_dir(src()).unwrap().map(|entry| stem(&entry.unwrap().path())).collect();
    assert_eq!(there, listed.into_iter().chain(["lib".to_owned()]).collect());
}

#[test]
fn a_stage_has_no_socket_and_no_clock() {
    for source in STAGES.iter().flat_map(|room| sources(room)) {
        for word in OF_THE_RIM {
            assert!(!source.code.contains(word), "{}: {word} is for the rim", source.path.display());
        }
    }
}

#[test]
fn python_is_met_in_one_room() {
    for source in MAY_USE.iter().map(|(room, _)| *room).chain(["engine", "config", "error"]).flat_map(sources) {
        assert!(!source.code.contains("pyo3"), "{}: Python is the business of python/", source.path.display());
    }
}

/// A relative path that climbs out of its room would not be seen above.
#[test]
fn a_room_is_left_through_crate_alone() {
    let of_the_engine = OF_THE_ENGINE.iter().map(|(room, _)| format!("engine/{room}"));
    for room in MAY_USE.iter().map(|(room, _)| (*room).to_owned()).chain(of_the_engine) {
        for source in sources(&room) {
            let top = [src().join(&room).with_extension("rs"), src().join(&room).join("mod.rs")].contains(&source.path);
            let climbs = if top { "super::" } else { "super::super::" };
            assert!(!source.code.contains(climbs), "{}: {climbs}", source.path.display());
        }
    }
}

/// What is compiled into the crate of one file.
struct Source {
    path: PathBuf,
    code: String,
}

impl Source {
    fn read(path: PathBuf) -> Self {
        let code = without_tests(&fs::read_to_string(&path).unwrap());
        Self { path, code }
    }

    /// `room::item` for each `crate::room::item` and each item of `crate::room::{…}`.
    fn names_of_rooms(&self) -> Vec<String> {
        self.code.match_indices("crate::").flat_map(|(at, crate_)| names(&self.code[at + crate_.len()..])).collect()
    }
}

fn names(path: &str) -> Vec<String> {
    let (room, rest) = word(path);
    assert!(!room.is_empty(), "one room for each `use`: {}", path.lines().next().unwrap_or_default());
    let Some(rest) = rest.strip_prefix("::") else { return vec![room.to_owned()] };
    let Some(list) = rest.strip_prefix('{') else { return vec![format!("{room}::{}", word(rest).0)] };
    top_level(list).into_iter().map(|item| format!("{room}::{}", word(item.trim()).0)).collect()
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len()))
}

/// The items of a list in braces, up to its end.
fn top_level(list: &str) -> Vec<&str> {
    let (mut items, mut from, mut depth) = (Vec::new(), 0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
        if letter == '}' && from == at + 1 {
            break;
        }
    }
    items.into_iter().filter(|item| !item.trim().is_empty()).collect()
}

/// Without comment lines and without items under `#[cfg(test)]`, whose end rustfmt puts at the attribute's own indent.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut skipped: Option<usize> = None;
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let indent = line.len() - line.trim_start().len();
        match skipped {
            None if line.trim() == "#[cfg(test)]" => skipped = Some(indent),
            None => kept.extend([line, "\n"]),
            Some(level) if indent == level && line.ends_with([';', '}']) => skipped = None,
            Some(_) => {}
        }
    }
    kept
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A room is a file, a folder, or both.
fn sources(room: &str) -> Vec<Source> {
    let mut paths = vec![src().join(room).with_extension("rs")];
    paths.retain(|file| file.exists());
    collect(&src().join(room), &mut paths);
    assert!(!paths.is_empty(), "no room {room}");
    paths.into_iter().map(Source::read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| !stem(path).ends_with("tests")) {
        if path.is_dir() { collect(&path, paths) } else { paths.push(path) }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// `room::item` is of `room` and of itself.
fn is_of(name: &str, whole: &str) -> bool {
    name.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn the_source_is_read_as_the_compiler_reads_it() {
    let code = "use crate::a::{B, c::{D, E}, F};\n// crate::not\n#[cfg(test)]\nmod tests;\nfn f() {\n    crate::g::h();\n    \
                #[cfg(test)]\n    fn t() {\n        crate::t::t();\n    }\n    crate::x;\n}\n";
    let source = Source { path: PathBuf::new(), code: without_tests(code) };
    assert_eq!(source.names_of_rooms(), ["a::B", "a::c", "a::F", "g::h", "x"]);
}
