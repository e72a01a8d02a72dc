//! Random policies, rows and principals. Values are drawn from few, so that they meet; settings are now and then missing,
//! empty, or nothing that their type takes.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Columns of the table, and literals of each.
const COLUMNS: &[(&str, &str, &[&str])] = &[
    ("n2", "smallint", &["-1", "0", "1", "2", "7"]),
    ("n4", "integer", &["-1", "0", "1", "2", "70000"]),
    ("n8", "bigint", &["-1", "0", "1", "2", "5000000000"]),
    ("nu", "numeric", &["0", "1", "1.0", "1.5", "-2", "NaN", "70000"]),
    ("f8", "double precision", &["0", "1", "1.5", "-0", "NaN"]),
    ("tx", "text", &["", "a", "A", "b", "abc", "Abc", "é", "İ", "a b", "it's", "1"]),
    ("vc", "varchar(20)", &["", "a", "A", "b", "abc", "open", "É"]),
    ("ch", "char(4)", &["", "a", "A", "b", "abc"]),
    ("cc", "text collate \"C\"", &["", "a", "A", "b", "abc", "é", "Z"]),
    ("nm", "name", &["a", "b", "abc"]),
    ("em", "email", &["a", "b", "A", "abc"]),
    ("uu", "uuid", &UUIDS),
    ("bo", "boolean", &["true", "false"]),
    ("da", "date", &["2026-01-01", "2026-11-23", "infinity"]),
    ("ts", "timestamp", &["2026-01-01 00:00:00", "2026-11-23 10:00:00"]),
    ("tz", "timestamptz", &["2026-01-01 00:00:00+00", "2026-11-23 10:00:00+02", "-infinity"]),
    ("mo", "mood", &["sad", "ok", "Happy"]),
    ("js", "jsonb", &["{}", "{\"a\": 1}", "{\"a\": [1, 2], \"b\": \"x\"}", "[\"a\"]", "null", "\"a\""]),
    ("ta", "text[]", &["{}", "{a}", "{a,b}", "{b,NULL}", "{NULL}", "{\"a b\",é}"]),
    ("ia", "integer[]", &["{}", "{1}", "{1,2}", "{2,NULL}"]),
];

const UUIDS: [&str; 4] = [
    "00000000-0000-0000-0000-000000000000",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];

/// Settings and what they may be; the types they are cast to fit most of these.
const SETTINGS: &[(&str, &[&str])] = &[
    ("app.user", &UUIDS),
    ("app.name", &["a", "A", "abc", "b", "", "it's", "é", "1", "open", "I"]),
    ("app.n", &["1", "0", " 2 ", "-1", "+7", "70000", "", "x", "1.5", "0x1", "99999999999999999999", "1_0"]),
    ("app.flag", &["t", "true", "OFF", "no", "1", "f", "y", "", "maybe", "o", " on "]),
    ("app.ids", &["1,2", "1", "", "a,b", "2,,1", "a"]),
    ("app.list", &["{1,2}", "{}", "{1,NULL}", "{ 1 }", "x", "{a}", "{1,}"]),
    ("app.uuids", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,ffffffff-ffff-ffff-ffff-ffffffffffff", "", "x"]),
    ("app.mood", &["sad", "ok", "Happy", "none"]),
    ("app.day", &["2026-01-01", "2026-11-23", "today", "1/2/2026", "", "2026-02-30", "infinity"]),
    ("app.at", &["2026-01-01 00:00:00+00", "2026-11-23T08:00:00Z", "2026-01-01", "now"]),
    ("App.Role", &["admin", "editor", "", "ADMIN"]),
    (
        "request.jwt.claims",
        &[
            "{\"sub\": \"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\", \"role\": \"admin\", \"n\": 1, \"app\": {\"org\": \"a\", \
             \"roles\": [\"a\", \"editor\"]}, \"ok\": true}",
            "{\"sub\": \"ffffffff-ffff-ffff-ffff-ffffffffffff\", \"n\": 2.50, \"app\": {\"roles\": [1, \"b\", null]}, \
             \"ok\": null}",
            "{\"sub\": null, \"role\": [\"admin\"], \"n\": \"2\", \"app\": [\"x\", {\"org\": \"b\"}], \"n\": 2}",
            "{\"sub\": \"x\", \"role\": {\"a\": 1}, \"ok\": \"yes\"}",
            "{}",
            "[]",
            "\"a\"",
            "null",
            "",
            "{broken",
            "1e400",
        ],
    ),
];

/// One table's worth of everything.
pub(crate) struct Generator {
    random: StdRng,
}

/// `create policy` without the table.
pub(crate) struct RandomPolicy {
    pub(crate) restrictive: bool,
    pub(crate) command: &'static str,
    pub(crate) roles: &'static str,
    pub(crate) using: String,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Generator { random: StdRng::seed_from_u64(seed) }
    }

    pub(crate) fn schema() -> String {
        let columns: Vec<_> = COLUMNS.iter().map(|(name, of, _)| format!("{name} {of}")).collect();
        format!("id integer primary key, {}", columns.join(", "))
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.random_range(0..from.len())]
    }

    pub(crate) fn chance(&mut self, of: f64) -> bool {
        self.random.random_bool(of)
    }

    pub(crate) fn row(&mut self, id: usize) -> String {
        let values: Vec<_> = COLUMNS.iter().map(|(_, of, pool)| self.value(of, pool)).collect();
        format!("({id}, {})", values.join(", "))
    }

    fn value(&mut self, of: &str, pool: &'static [&'static str]) -> String {
        if self.chance(0.15) { "null".into() } else { literal(self.pick(pool), of) }
    }

    /// A principal's settings: most of them, most of the time.
    pub(crate) fn settings(&mut self) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        for (name, values) in SETTINGS {
            if self.chance(0.85) {
                // The first ones are the good ones.
                let most = if self.chance(0.6) { values.len().min(4) } else { values.len() };
                settings.insert((*name).to_owned(), self.pick(&values[..most]).to_owned());
            }
        }
        settings
    }

    pub(crate) fn policy(&mut self) -> RandomPolicy {
        RandomPolicy {
            restrictive: self.chance(0.25),
            command: self.pick(&["all", "select", "select", "select", "update"]),
            roles: self.pick(&["public", "public", "public", "app", "member", "owner"]),
            using: self.tree(3),
        }
    }

    fn tree(&mut self, depth: u32) -> String {
        if depth == 0 || self.chance(0.4) {
            return self.leaf();
        }
        match self.random.random_range(0..8) {
            0 => format!("(not {})", self.tree(depth - 1)),
            1 => {
                let test = self.pick(&["true", "false", "not true", "not false"]);
                format!("({} is {test})", self.tree(depth - 1))
            }
            2..=4 => format!("({} and {})", self.tree(depth - 1), self.tree(depth - 1)),
            _ => format!("({} or {})", self.tree(depth - 1), self.tree(depth - 1)),
        }
    }

    fn leaf(&mut self) -> String {
        match self.random.random_range(0..30) {
            0..=9 => self.plain(),
            10..=17 => self.with_setting(),
            18..=20 => self.claims(),
            21..=23 => self.folded(),
            24..=25 => self.containment(),
            26 => self.without_row(),
            _ => self.asked(),
        }
    }

    /// A column and written constants.
    fn plain(&mut self) -> String {
        let (name, of, pool) = self.pick(COLUMNS);
        let value = self.value(of, pool);
        let comparisons: &[&str] = if name == "js" || name.ends_with('a') && name != "da" {
            &["="]
        } else {
            &["=", "=", "<>", "<", "<=", ">", ">="]
        };
        match self.random.random_range(0..9) {
            0 => format!("({name} is null)"),
            1 => format!("({name} is not null)"),
            2 if name != "js" => format!("({name} in ({}, {}))", self.value(of, pool), value),
            3 if name != "js" => format!("({name} not in ({}, {}))", self.value(of, pool), value),
            4 => format!("({name} is distinct from {value})"),
            5 => format!("({name} is not distinct from {value})"),
            6 => {
                let comparison = self.pick(comparisons);
                format!("(coalesce({name}, {}) {comparison} {value})", literal(self.pick(pool), of))
            }
            7 => format!("({value} {} {name})", self.pick(comparisons)),
            _ => format!("({name} {} {value})", self.pick(comparisons)),
        }
    }

    fn setting(&mut self, name: &str) -> String {
        match self.random.random_range(0..6) {
            0..=1 => format!("current_setting('{name}')"),
            2 => format!("nullif(current_setting('{name}', true), '')"),
            3 => format!("coalesce(current_setting('{name}', true), '1')"),
            4 => format!("(select current_setting('{name}', true))"),
            _ => format!("current_setting('{name}', true)"),
        }
    }

    fn with_setting(&mut self) -> String {
        let user = self.setting("app.user");
        let name = self.setting("app.name");
        let number = self.setting("app.n");
        let ids = self.setting("app.ids");
        let comparison = self.pick(&["=", "=", "<>", "<", ">="]);
        match self.random.random_range(0..24) {
            0..=2 => format!("(uu = ({user})::uuid)"),
            3 => format!("(tx = {name})"),
            4 => format!("(vc {} {name})", self.pick(&["=", "<>"])),
            5 => format!("(cc {comparison} {name})"),
            6 => format!("(ch = ({name})::bpchar)"),
            7 => format!("(em = {name})"),
            8 => format!("(n4 {comparison} ({number})::int)"),
            9 => format!("(n8 {comparison} ({number})::{})", self.pick(&["int", "bigint", "smallint"])),
            10 => format!("(nu {comparison} ({number})::{})", self.pick(&["numeric", "int", "numeric(3,1)"])),
            11 => format!("(bo = ({})::boolean)", self.setting("app.flag")),
            12 => format!("({})::boolean", self.setting("app.flag")),
            13 => format!("(tx = any (string_to_array({ids}, ',')))"),
            14 => format!("(n4 = any ((string_to_array({ids}, ','))::int[]))"),
            15 => format!("(n4 {} (({})::int[]))", self.pick(&["= any", "<> all"]), self.setting("app.list")),
            16 => format!("(uu = any ((string_to_array({}, ','))::uuid[]))", self.setting("app.uuids")),
            17 => format!("(mo {comparison} ({})::mood)", self.setting("app.mood")),
            18 => format!("(da {comparison} ({})::date)", self.setting("app.day")),
            19 => format!("(tz {comparison} ({})::timestamptz)", self.setting("app.at")),
            20 => format!("(n4 in (0, ({number})::int))"),
            21 => format!("(tx {} {name})", self.pick(&["like", "not like"])),
            22 => format!("(lower(tx) = lower({name}))"),
            _ => format!("(vc = {} or nm = current_user)", self.pick(&["current_user", "user", "current_role"])),
        }
    }

    fn claims(&mut self) -> String {
        let kind = self.pick(&["jsonb", "jsonb", "json"]);
        let claims = format!("({})::{kind}", self.setting("request.jwt.claims"));
        match self.random.random_range(0..10) {
            0..=2 => format!("(uu = ({claims} ->> 'sub')::uuid)"),
            3 => format!("({claims} ->> 'role' = 'admin')"),
            4 => format!("(tx = {claims} #>> '{{app,org}}')"),
            5 => format!("(tx = {claims} -> 'app' ->> 'org')"),
            6 => format!("(n4 = ({claims} ->> 'n')::int)"),
            7 => format!("(tx = {claims} -> 'app' -> 'roles' ->> {})", self.pick(&["0", "1", "-1", "5"])),
            8 if kind == "jsonb" => format!("({claims} -> 'app' -> 'roles' ? {})", self.pick(&["'editor'", "'b'"])),
            _ => format!("({claims} ->> 'ok')::boolean"),
        }
    }

    fn folded(&mut self) -> String {
        let column = self.pick(&["tx", "vc", "cc", "em"]);
        let word = self.pick(&["'a'", "'abc'", "'A'", "'é'", "''", "null"]);
        match self.random.random_range(0..5) {
            0 => format!("(lower({column}) <> {word})"),
            1 => format!("(lower({column}) in ('a', {word}))"),
            2 => {
                let pattern = self.pick(&["a%", "%b%", "_", "", "A_c", "%", "\\%", "a\\"]);
                format!("({column} {} '{pattern}')", self.pick(&["like", "not like", "ilike"]))
            }
            _ => format!("(lower({column}) = {word})"),
        }
    }

    fn containment(&mut self) -> String {
        let words = self.pick(&["array['a']", "array['a', 'b']", "array[null, 'a']", "'{}'::text[]"]);
        match self.random.random_range(0..7) {
            0 => format!("(ta @> {words})"),
            1 => format!("({words} <@ ta)"),
            2 => format!("(ta && {words})"),
            3 => "('a' = any (ta))".to_owned(),
            4 => format!("(({})::int = any (ia))", self.setting("app.n")),
            5 => "(ia @> array[1])".to_owned(),
            _ => format!("(js @> '{}')", self.pick(&["{\"a\": 1}", "{}", "[\"a\"]", "\"a\"", "{\"a\": [2]}"])),
        }
    }

    fn without_row(&mut self) -> String {
        match self.random.random_range(0..7) {
            0 => "true".to_owned(),
            1 => "false".to_owned(),
            2 => format!("({} = 'admin')", self.setting("app.role")),
            3 => format!("({} is null)", self.setting("app.name")),
            4 => format!("({} in ('a', 'b'))", self.setting("app.name")),
            5 => format!("(({})::int > 1)", self.setting("app.n")),
            _ => "(current_user = 'app')".to_owned(),
        }
    }

    /// What only PostgreSQL knows; some of it raises.
    fn asked(&mut self) -> String {
        self.pick(&[
            "(n4 % 2 = 0)",
            "(1 / n4 = 1)",
            "(upper(tx) = 'A')",
            "exists (select 1 from teams where teams.member = oracle.n4)",
            "(n4 in (select member from teams))",
            "visible(oracle.*)",
            "(f8 = nu)",
            "(da < ts)",
            "(tx ~ '^a')",
            "(length(tx) > 1)",
            "(js ->> 'b' = 'x')",
            "(tz < now())",
            "(case when bo then n4 = 1 else tx = 'a' end)",
            "(tx || vc = 'aa')",
            "(n4 = n2)",
            "((tx)::int = 1)",
        ])
        .to_owned()
    }
}

fn literal(text: &str, of: &str) -> String {
    let of = of.split(' ').next().filter(|word| *word == "text").unwrap_or(of);
    format!("'{}'::{}", text.replace('\'', "''"), of)
}
