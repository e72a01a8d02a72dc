//! One watched table of a world: columns, key, replica identity, partitions, owner, grants and policies.

use super::column::{COLUMNS, Column, ID4, ID8, REGION, REGIONS, REVISION, TENANT_COLUMNS};
use super::dice::Dice;
use super::policy::Scope;
use super::roles::Roles;
use super::sql::name;

#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// The subscription field.
    pub(super) field: String,
    pub(super) columns: Vec<Column>,
    /// The primary key, in its order.
    pub(super) key: Vec<Column>,
    /// REPLICA IDENTITY FULL.
    pub(super) full: bool,
    /// The column by which the application divides it.
    pub(super) tenant: Option<Column>,
    pub(super) public: bool,
    pub(super) row_security: bool,
    /// The USING texts, for what is documented as refused.
    pub(super) policies: Vec<String>,
    pub(super) sql: Vec<String>,
}

impl Table {
    pub(super) fn random(dice: &mut Dice, schema: &str, tag: &str, number: usize, roles: &Roles) -> Self {
        let composite = dice.chance(0.3);
        let id = dice.pick(&[ID4, ID8]);
        let key = if composite { vec![REGION, id] } else { vec![id] };
        let tenant = dice.chance(0.6).then(|| dice.pick(&TENANT_COLUMNS));
        let count = dice.between(3, 8);
        let others = dice.some(&COLUMNS, count);
        let columns: Vec<_> = key.iter().copied().chain([REVISION]).chain(tenant).chain(others).collect();
        let row_security = dice.chance(0.9);
        let declared = tenant.filter(|_| dice.chance(0.25));
        let mut table = Table {
            name: format!("{tag}{}{number}", dice.pick(&["_t", "_t", " Big Table ", " o'\"rders ", "_größe_"])),
            field: format!("{tag}_t{number}"),
            columns,
            key,
            full: dice.chance(0.65),
            tenant: declared,
            public: declared.is_none() && (!row_security || dice.chance(0.3)),
            row_security,
            policies: Vec::new(),
            sql: Vec::new(),
        };
        table.create(dice, schema, composite);
        table.secure(dice, schema, roles);
        table.grant(dice, schema, roles);
        table
    }

    pub(super) fn sql_name(&self, schema: &str) -> String {
        format!("{}.{}", name(schema), name(&self.name))
    }

    fn create(&mut self, dice: &mut Dice, schema: &str, composite: bool) {
        let this = self.sql_name(schema);
        let columns: Vec<_> =
            self.columns.iter().map(|column| format!("{} {}", column.sql(), column.kind.declaration(schema))).collect();
        let key: Vec<_> = self.key.iter().map(|column| column.sql()).collect();
        let partitioned = dice.chance(0.2);
        let (by, parts) = match (partitioned, composite) {
            (false, _) => (String::new(), vec![]),
            (true, true) => (format!(" partition by list ({})", REGION.sql()), listed()),
            (true, false) => (format!(" partition by hash ({})", key[0]), hashed()),
        };
        self.sql.push(format!(
            "create table {this} ({}, constraint {}_key primary key ({})){by}",
            columns.join(", "),
            self.field,
            key.join(", ")
        ));
        for (number, bounds) in parts.iter().enumerate() {
            let part = format!("{}.{}", name(schema), name(&format!("{} p{number}", self.name)));
            self.sql.push(format!("create table {part} partition of {this} {bounds}"));
        }
        let note = format!("for each row execute function {}.note('{}')", name(schema), self.field);
        self.sql.push(format!("create trigger note after insert or update or delete on {this} {note}"));
        let note = note.replace("each row", "each statement");
        self.sql.push(format!("create trigger note_truncate after truncate on {this} {note}"));
        let sees = format!("{}.{}", name(schema), name(&format!("sees {}", self.name)));
        let id = self.key[self.key.len() - 1].sql();
        self.sql.push(format!(
            "create function {sees}(r {this}) returns boolean language sql stable as $$ select (r).{id} % 3 <> 0 $$"
        ));
    }

    fn secure(&mut self, dice: &mut Dice, schema: &str, roles: &Roles) {
        let this = self.sql_name(schema);
        self.sql.push(format!("alter table {this} owner to {}", name(&roles.owner)));
        let named = roles.all();
        let count = dice.pick(&[0, 1, 1, 1, 2, 2, 3, 4]);
        for number in 0..count {
            let depth = dice.pick(&[0, 0, 1, 1, 2, 3]);
            let mut scope = Scope { dice, schema, table: &self.name, columns: &self.columns, roles: &named };
            let using = scope.condition(depth);
            let permissive = if number > 0 && dice.chance(0.35) { "restrictive" } else { "permissive" };
            let command = dice.pick(&["select", "select", "all", "all", "all", "update", "delete"]);
            let to = match dice.between(0, 5) {
                0 => name(&roles.team),
                1 => format!("{}, {}", name(&roles.team), name(&roles.reader)),
                2 => format!("{}, {}", name(&roles.owner), name(&roles.clerk)),
                _ => "public".to_owned(),
            };
            let policy = name(&format!("{} {number}", dice.pick(&["p", "A policy", "z\"q"])));
            self.sql.push(format!(
                "create policy {policy} on {this} as {permissive} for {command} to {to} using ({using})"
            ));
            self.policies.push(using);
        }
        if dice.chance(0.05) {
            self.sql.push(format!("create policy w on {this} for insert with check (true)"));
        }
        if self.row_security {
            self.sql.push(format!("alter table {this} enable row level security"));
        }
        if dice.chance(0.3) {
            self.sql.push(format!("alter table {this} force row level security"));
        }
    }

    fn grant(&mut self, dice: &mut Dice, schema: &str, roles: &Roles) {
        let this = self.sql_name(schema);
        let whole = [&roles.reader, &roles.team, &roles.bypass].map(|role| name(role)).join(", ");
        self.sql.push(format!("grant select on {this} to {whole}"));
        if dice.chance(0.6) {
            self.sql.push(format!("grant select on {this} to {}", name(&roles.guest)));
        }
        let count = dice.between(1, self.columns.len() - 1);
        let some: Vec<_> = dice.some(&self.columns, count).iter().map(|column| column.sql()).collect();
        self.sql.push(format!("grant select ({}) on {this} to {}", some.join(", "), name(&roles.clerk)));
        if dice.chance(0.1) {
            self.sql.push(format!("grant select ({}) on {this} to public", some[0]));
        }
        if dice.chance(0.1) {
            self.sql.push(format!("revoke select on {this} from {}", name(&roles.owner)));
        }
    }
}

fn listed() -> Vec<String> {
    let one = |region: &str| format!("for values in ('{region}')");
    vec![one(REGIONS[0]), one(REGIONS[1]), "default".to_owned()]
}

fn hashed() -> Vec<String> {
    (0..2).map(|part| format!("for values with (modulus 2, remainder {part})")).collect()
}
