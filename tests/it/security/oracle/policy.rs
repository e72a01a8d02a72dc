//! Row policies from a grammar: what people write, what nobody should write, and what raises for some rows.

use super::column::{Column, ID4, ID8, Kind, REGION, TENANTS, USERS};
use super::dice::Dice;
use super::sql::{literal, name};

/// What an expression may name.
pub(super) struct Scope<'a> {
    pub(super) dice: &'a mut Dice,
    pub(super) schema: &'a str,
    pub(super) table: &'a str,
    pub(super) columns: &'a [Column],
    pub(super) roles: &'a [String],
}

impl Scope<'_> {
    /// A condition, at most so deep.
    pub(super) fn condition(&mut self, depth: usize) -> String {
        if depth == 0 || self.dice.chance(0.35) {
            return self.atom();
        }
        match self.dice.between(0, 5) {
            0 => format!("not ({})", self.condition(depth - 1)),
            1 | 2 => self.joined("or", depth),
            3 | 4 => self.joined("and", depth),
            _ => self.wrapped(depth),
        }
    }

    fn joined(&mut self, word: &str, depth: usize) -> String {
        let parts: Vec<_> = (0..self.dice.between(2, 3)).map(|_| format!("({})", self.condition(depth - 1))).collect();
        parts.join(&format!(" {word} "))
    }

    fn wrapped(&mut self, depth: usize) -> String {
        let (one, other) = (self.condition(depth - 1), self.atom());
        match self.dice.between(0, 4) {
            0 => format!("case when {one} then {other} else false end"),
            1 => format!("coalesce({one}, {other})"),
            2 => format!("({one}) is true"),
            3 => format!("({one}) is not false"),
            _ => format!("({one}) is distinct from ({other})"),
        }
    }

    fn atom(&mut self) -> String {
        if self.dice.chance(0.25) {
            return self.special();
        }
        let column = self.dice.pick(self.columns);
        if self.dice.chance(0.5) { self.common(column) } else { self.own(column) }
    }

    /// Qualified now and then.
    fn column(&mut self, column: Column) -> String {
        if self.dice.chance(0.2) { format!("{}.{}", name(self.table), column.sql()) } else { column.sql() }
    }

    fn of_kind(&mut self, accepts: impl Fn(Kind) -> bool) -> Option<Column> {
        let fitting: Vec<_> = self.columns.iter().copied().filter(|column| accepts(column.kind)).collect();
        if fitting.is_empty() { None } else { Some(self.dice.pick(&fitting)) }
    }

    /// What every type has.
    fn common(&mut self, column: Column) -> String {
        if column.kind == Kind::Json {
            // It has no equality.
            return self.own(column);
        }
        let (c, kind) = (self.column(column), column.kind);
        let (one, other) = (kind.literal(self.dice, self.schema), kind.literal(self.dice, self.schema));
        let setting = self.setting(kind);
        let type_name = kind.type_name(self.schema);
        // PostgreSQL 17 plans no test of a key column for NULL, and drops with it what the role may have no right to
        // evaluate beside it; asked about an image, which has no constraints, it raises.
        let is_key = [ID4, ID8, REGION].contains(&column);
        match self.dice.between(0, 19) {
            10 | 11 | 18 if is_key => format!("{c} = {one}"),
            0..=4 => format!("{c} = {setting}"),
            5 => format!("{setting} = {c}"),
            6 => format!("{c} = {one}"),
            7 => format!("{c} <> {one}"),
            8 => format!("{c} in ({one}, {other})"),
            9 => format!("{c} not in ({one}, {setting})"),
            10 => format!("{c} is null"),
            11 => format!("{c} is not null"),
            12 => format!("{c} is distinct from {one}"),
            13 => format!("{c} is not distinct from {setting}"),
            14 => format!("coalesce({c}, {one}) = {setting}"),
            15 => format!("nullif({c}, {one}) is null"),
            16 => format!("{c} between {one} and {other}"),
            17 => format!("{c} {} {one}", self.dice.pick(&["<", "<=", ">", ">="])),
            18 => format!("({c} is null or {c} = {setting})"),
            _ if matches!(kind, Kind::Texts | Kind::Ints) => format!("{c} = {one}"),
            _ => format!("{c} = any (array[{one}, {other}]::{type_name}[])"),
        }
    }

    /// What this type alone has.
    #[allow(clippy::too_many_lines)] // a table
    fn own(&mut self, column: Column) -> String {
        let (c, kind) = (self.column(column), column.kind);
        let text = self.setting(Kind::Text);
        let variants: Vec<String> = match kind {
            Kind::Bool => vec![
                c.clone(),
                format!("not {c}"),
                format!("{c} is true"),
                format!("{c} is not true"),
                format!("{c} is unknown"),
                format!("{c}::text = 'true'"),
                format!("{c}::int = 1"),
            ],
            Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Quantity => vec![
                format!("{c} % 2 = 0"),
                format!("{c} + 1 > 2"),
                format!("10 / {c} > 1"),
                format!("abs({c}) = 1"),
                format!("-{c} < 0"),
                format!("{c}::text = {text}"),
                format!("{c} = 1.5"),
                format!("{c} < 2.5::float8"),
                format!("{c} = 3000000000"),
                format!("{}.is_even({c}::int)", name(self.schema)),
                format!("{c} = any (string_to_array(current_setting('app.list', true), ',')::int[])"),
                format!("{c}::bigint * 2000000000 > 0"),
            ],
            Kind::Numeric => vec![
                format!("{c} = 1.50"),
                format!("{c} > 1"),
                format!("round({c}) = 2"),
                format!("{c}::int = 2"),
                format!("{c} < 1.5::float8"),
                format!("{c}::text = '1.5'"),
            ],
            Kind::Float8 => vec![
                format!("{c} > 0.5"),
                format!("{c} = 'NaN'"),
                format!("{c} = 0"),
                format!("1 / {c} > 1"),
                format!("{c} < 1.5::numeric::float8"),
            ],
            Kind::Text | Kind::TextC | Kind::Varchar | Kind::Char | Kind::Name => vec![
                format!("{c} like 'a%'"),
                format!("{c} not like '%n'"),
                format!("{c} ilike 'a_n'"),
                format!("{c} like {text}"),
                format!("lower({c}::text) = lower({text})"),
                format!("lower({c}) = 'ann'"),
                format!("upper({c}) = upper('ann')"),
                format!("length({c}) > 2"),
                format!("{c} || 'x' = 'annx'"),
                format!("{c} ~ '^[a-c]'"),
                format!("starts_with({c}::text, 'a')"),
                format!("{c} = current_user"),
                format!("{c}::int = 3"),
                format!("{c}::text = any (string_to_array(current_setting('app.list', true), ','))"),
                format!("{c} = any ('{{ann,bob}}')"),
                format!("{c} <> all ('{{ann,bob,NULL}}')"),
                format!("trim({c}) = 'ann'"),
                format!("{}.picky({c}::text)", name(self.schema)),
                format!("{c} collate \"C\" < 'b'"),
                format!("{c}::varchar(2) = 'an'"),
                format!("md5({c}) > '8'"),
            ],
            Kind::Uuid => vec![
                format!("{c}::text = {text}"),
                format!("{c}::text like '1%'"),
                format!("{c} = {}.my_tenant()", name(self.schema)),
                format!("{c} = (select {}.my_tenant())", name(self.schema)),
                format!("{c} in (select m.tenant from {}.members m where m.user_name = {text})", name(self.schema)),
            ],
            Kind::Date => vec![
                format!("{c} < current_date"),
                format!("{c} + 1 > '2020-01-01'"),
                format!("extract(year from {c}) = 2024"),
                format!("{c} >= '2024-01-01'::timestamptz"),
                format!("{c} = '2024-02-29'::timestamp"),
            ],
            Kind::Timestamp => vec![
                format!("{c} < now()"),
                format!("{c} > '2024-02-29'::date"),
                format!("{c}::date = '2024-02-29'"),
                format!("date_trunc('day', {c}) = '2024-02-29'"),
            ],
            Kind::TimestampTz => vec![
                format!("{c} < now()"),
                format!("{c} > '2024-02-29'::date"),
                format!("{c} >= now() - interval '10 years'"),
                format!("{c}::date = '2024-02-29'"),
            ],
            Kind::Jsonb => vec![
                format!("{c} ->> 'k' = {text}"),
                format!("{c} ->> 'k' in ('ann', 'eve')"),
                format!("{c} @> '{{\"k\": \"ann\"}}'"),
                format!("{c} ? 'k'"),
                format!("({c} ->> 'n')::int > 0"),
                format!("{c} -> 'a' ->> 'b' = 'ann'"),
                format!("{c} #>> '{{list,0}}' = 'ann'"),
                format!("jsonb_typeof({c}) = 'object'"),
                format!("{c} -> 'n' = '1'"),
                format!("({c} -> 'list') ? {text}"),
                format!("jsonb_array_length({c}) = 2"),
            ],
            Kind::Json => vec![
                format!("{c} ->> 'k' = {text}"),
                format!("({c} ->> 'n')::int > 0"),
                format!("{c}::text = {text}"),
                format!("length({c}::text) > 4"),
                format!("{c}::jsonb @> '{{\"k\": \"ann\"}}'"),
                format!("json_typeof({c}) = 'null'"),
                format!("{c} #>> '{{a,b}}' = 'ann'"),
                format!("{c} is null"),
                format!("{c} is not null"),
            ],
            Kind::Texts => vec![
                format!("'ann' = any ({c})"),
                format!("{text} = any ({c})"),
                format!("'ann' <> all ({c})"),
                format!("{c} @> array['ann']"),
                format!("{c} && string_to_array(current_setting('app.list', true), ',')"),
                format!("cardinality({c}) > 1"),
                format!("{c}[1] = 'ann'"),
                format!("{c} <@ array['ann', 'bob']"),
            ],
            Kind::Ints => vec![
                format!("1 = any ({c})"),
                format!("{c} @> '{{1,2}}'"),
                format!("{c}[1] > 0"),
                format!("{c} && string_to_array(current_setting('app.list', true), ',')::int[]"),
                format!("array_length({c}, 1) = 3"),
            ],
            Kind::Mood => vec![
                format!("{c} > 'sad'"),
                format!("{c}::text = 'Happy'"),
                format!("{c}::text = {text}"),
                format!("{c} in ('sad', 'ok')"),
            ],
            Kind::Inet => vec![format!("{c} << '10.0.0.0/8'"), format!("family({c}) = 4"), format!("{c} = '::1'")],
        };
        self.one_of(&variants)
    }

    fn one_of(&mut self, variants: &[String]) -> String {
        variants[self.dice.between(0, variants.len() - 1)].clone()
    }

    /// Conditions that are not about one column alone.
    fn special(&mut self) -> String {
        let (schema, table) = (name(self.schema), name(self.table));
        let user = self.setting(Kind::Text);
        let tenant = self.setting(Kind::Uuid);
        let flag = self.setting(Kind::Bool);
        let mut variants = vec![
            "true".to_owned(),
            "false".to_owned(),
            "null::boolean".to_owned(),
            flag.clone(),
            format!("{flag} is not true"),
            format!("{schema}.{}({table}.*)", name(&format!("sees {}", self.table))),
            format!("{schema}.{}({table})", name(&format!("sees {}", self.table))),
            format!("{user} in ('ann', 'bob')"),
            format!("{user} is null"),
            format!("{tenant} = {schema}.my_tenant()"),
            "current_setting('request.jwt.claims', true)::jsonb -> 'roles' ? 'admin'".to_owned(),
            "(current_setting('request.jwt.claims', true)::json ->> 'admin')::boolean".to_owned(),
            "current_setting('app.absent', true) is null".to_owned(),
            "now() > '2020-01-01'".to_owned(),
            "clock_timestamp() > '2020-01-01'".to_owned(),
            format!("current_user in ({}, 'ann')", literal(&self.roles[0])),
            format!("pg_has_role({}, 'USAGE')", literal(&self.roles[1])),
            format!("exists (select from {schema}.members m where m.user_name = {user})"),
            format!("exists (select 1 from {schema}.members m where m.user_name = {user} and m.level >= 2)"),
        ];
        if let Some(team) = self.of_kind(Kind::is_integer) {
            let c = team.sql();
            variants.push(format!(
                "exists (select 1 from {schema}.members m where m.team = {table}.{c} and m.user_name = {user})"
            ));
            variants.push(format!("{c} in (select m.team from {schema}.members m where m.user_name = {user})"));
            variants.push(format!("{c} not in (select t.id from {schema}.teams t where not t.open)"));
            variants.push(format!("{schema}.has_team({c}::int)"));
            variants.push(format!("(select t.open from {schema}.teams t where t.id = {c})"));
            variants.push(format!("{c} = (select max(m.team) from {schema}.members m)"));
            variants.push(format!("({c}, {user}) in (select m.team, m.user_name from {schema}.members m)"));
        }
        if let (Some(one), Some(other)) = (self.of_kind(Kind::is_integer), self.of_kind(Kind::is_integer)) {
            variants.push(format!("{} < {}", one.sql(), other.sql()));
            variants.push(format!("({}, {}) = (1, 2)", one.sql(), other.sql()));
        }
        if let (Some(one), Some(other)) = (self.of_kind(Kind::is_text), self.of_kind(Kind::is_text)) {
            variants.push(format!("{} = {}", one.sql(), other.sql()));
        }
        self.one_of(&variants)
    }

    /// A value of this type that the principal brings: plain, forgiving, or out of its claims.
    fn setting(&mut self, kind: Kind) -> String {
        let key = key(kind);
        let claims = "current_setting('request.jwt.claims', true)";
        let fallback = match kind {
            Kind::Uuid => literal(self.dice.pick(&TENANTS)),
            kind if kind.is_text() => literal(self.dice.pick(&USERS)),
            kind => literal(self.dice.pick(kind.pool())),
        };
        let text = match self.dice.between(0, 9) {
            0..=2 => format!("current_setting('app.{key}')"),
            3 | 4 => format!("current_setting('app.{key}', true)"),
            5 => format!("nullif(current_setting('app.{key}', true), '')"),
            6 => format!("coalesce(nullif(current_setting('app.{key}', true), ''), {fallback})"),
            7 => format!("({claims}::jsonb ->> '{key}')"),
            8 => format!("(nullif({claims}, '')::jsonb ->> '{key}')"),
            _ => format!("({claims}::json #>> '{{nested,{key}}}')"),
        };
        let cast = if kind.is_text() { text } else { format!("{text}::{}", kind.type_name(self.schema)) };
        if self.dice.chance(0.2) { format!("(select {cast})") } else { format!("({cast})") }
    }
}

/// Which of the settings is meant for values of this type.
fn key(kind: Kind) -> &'static str {
    match kind {
        Kind::Uuid => "tenant",
        Kind::Bool => "flag",
        kind if kind.is_integer() => "n",
        Kind::Numeric | Kind::Float8 => "n",
        Kind::Date | Kind::Timestamp | Kind::TimestampTz => "day",
        _ => "user",
    }
}
