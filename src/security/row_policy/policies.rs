//! Which policies apply to a role, and what they say together (manual, `CREATE POLICY`, "Application of Multiple
//! Policies").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bind::{Binder, Broken};
use super::bounds::Bounds;
use super::constant::Bound;
use super::question::{Binding, Question, Reads};
use super::scan::{Scan, scan};
use super::template::Node;
use super::why::{Reason, Why};
use super::{PolicyRefusal, RowRule, read, tree};
use crate::model::{Policy, Principal, Role, Table};
use crate::predicate::Predicate;

/// Settings that would change the current role, or whether policies apply at all.
const NOT_THE_PRINCIPALS: [&str; 4] = ["role", "session_authorization", "row_security", "search_path"];

/// The policies of one table, read once.
#[derive(Clone, Debug, Default)]
pub struct TablePolicies {
    policies: Box<[Template]>,
}

/// One policy with a USING expression.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) policy: Policy,
    pub(super) using: Box<str>,
    pub(super) node: Node,
    pub(super) scan: Scan,
}

impl Template {
    /// Its text does not say which operators or casts are meant, and the role may lack the right to call them.
    fn hiding(policy: &Policy, using: Box<str>) -> Self {
        let node = Node::Delegated(Reason { why: Why::Hidden, text: using.clone() });
        let scan = Scan { privileged: true, ..scan(&using) };
        Template { policy: policy.clone(), using, node, scan }
    }
}

impl TablePolicies {
    /// Compiles the policies. A condition that cannot be compiled is delegated, or refused when a client subscribes.
    pub fn of(table: &Table) -> Self {
        let template = |policy: &Policy| {
            let using = policy.using.clone()?;
            if tree::hides(&policy.tree) {
                return Some(Template::hiding(policy, using));
            }
            let (node, scan) = (read::policy(table, &using), scan(&using));
            Some(Template { policy: policy.clone(), using, node, scan })
        };
        TablePolicies { policies: table.access.policies.iter().filter_map(template).collect() }
    }

    /// What they say to this role with the principal's settings; `defaults` are those of a fresh session.
    pub fn bind(
        &self,
        table: &Table,
        role: &Role,
        principal: &Principal,
        defaults: &BTreeMap<Box<str>, Box<str>>,
    ) -> Result<RowRule, PolicyRefusal> {
        if exemption(table, role).is_some() {
            return Ok(RowRule::All);
        }
        allowed_settings(principal)?;
        let applying = Applying::to(role, &self.policies);
        applying.refuse_undecidable(table)?;
        if applying.permissive.is_empty() {
            return Ok(RowRule::Decided(Predicate::False));
        }
        let mut binder = Binder::new(table, Bound { role: &role.name, principal, defaults });
        let (possible, certain) = applying.bounds(&mut binder).of_truth();
        match binder.broken.first() {
            Some(broken) if is_never(&possible) => Err(refused(table, broken)),
            // Whether PostgreSQL comes to what raises is its own affair, already when it plans.
            Some(_) => applying.delegated(table, role, principal, possible, Predicate::False),
            None if is_never(&possible) => Ok(RowRule::Decided(Predicate::False)),
            None if binder.unclear => applying.delegated(table, role, principal, possible, Predicate::False),
            // So is whether the role may read what a query reads: without that right nothing is visible.
            None if binder.unclear || applying.is_privileged() => {
                applying.delegated(table, role, principal, possible, Predicate::False)
            }
            None if possible == certain => Ok(RowRule::Decided(possible)),
            None => applying.delegated(table, role, principal, possible, certain),
        }
    }

    pub(super) fn templates(&self) -> &[Template] {
        &self.policies
    }
}

/// Why no policy applies to a role, if none does (`check_enable_rls`).
pub(super) fn exemption(table: &Table, role: &Role) -> Option<&'static str> {
    let access = &table.access;
    if !access.row_security {
        Some("the table has no row-level security")
    } else if role.superuser {
        Some("the role is a superuser")
    } else if role.bypass_rls {
        Some("the role bypasses row-level security")
    } else if role.is_owner(access.owner) && !access.force_row_security {
        Some("the role owns the table and row-level security is not forced")
    } else {
        None
    }
}

/// The policies for one role, in the order in which PostgreSQL evaluates them: permissive ones from the last name to
/// the first, as its relation cache lists them, restrictive ones by name. The order matters where one of them raises.
pub(super) struct Applying<'t> {
    permissive: Vec<&'t Template>,
    restrictive: Vec<&'t Template>,
}

impl<'t> Applying<'t> {
    pub(super) fn to(role: &Role, templates: &'t [Template]) -> Self {
        let applies = |template: &&Template| template.policy.roles.iter().any(|of| role.has_privileges_of(*of));
        let (mut permissive, mut restrictive): (Vec<_>, Vec<_>) =
            templates.iter().filter(applies).partition(|template| template.policy.permissive);
        permissive.sort_by(|one, other| other.policy.name.cmp(&one.policy.name));
        restrictive.sort_by(|one, other| one.policy.name.cmp(&other.policy.name));
        Applying { permissive, restrictive }
    }

    /// Whether any does.
    pub(super) fn is_some(&self) -> bool {
        !self.permissive.is_empty() || !self.restrictive.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &'t Template> {
        self.permissive.iter().chain(&self.restrictive).copied()
    }

    /// Whether PostgreSQL may refuse the policies as a whole for want of a privilege.
    fn is_privileged(&self) -> bool {
        self.all().any(|template| template.scan.privileged)
    }

    fn refuse_undecidable(&self, table: &Table) -> Result<(), PolicyRefusal> {
        self.all().try_for_each(|template| undecidable(table, template).map_or(Ok(()), Err))
    }

    /// Refuses a subscription whose rows would all be hidden, because a policy cannot be bound.
    fn refuse_unbound(&self, table: &Table) -> Result<(), PolicyRefusal> {
        let Some(Template { policy, .. }) = self.all().find(|template| template.policy.unbound) else { return Ok(()) };
        Err(PolicyRefusal::Unbound { table: table.name.to_string(), policy: policy.name.to_string() })
    }

    fn bounds(&self, binder: &mut Binder<'_>) -> Bounds {
        let permissive = self.permissive.iter().map(|template| binder.node(&template.node)).collect();
        let mut parts = vec![Bounds::any(permissive)];
        parts.extend(self.restrictive.iter().map(|template| binder.node(&template.node)));
        Bounds::all(parts)
    }

    fn delegated(
        &self,
        table: &Table,
        role: &Role,
        principal: &Principal,
        possible: Predicate,
        certain: Predicate,
    ) -> Result<RowRule, PolicyRefusal> {
        self.refuse_unbound(table)?;
        if !role.settable {
            let (table, role) = (table.name.to_string(), role.name.to_string());
            return Err(PolicyRefusal::RoleNotSettable { table, role });
        }
        let question = Arc::new(self.question(table, role, principal));
        Ok(RowRule::Delegated { possible, certain, question })
    }

    fn question(&self, table: &Table, role: &Role, principal: &Principal) -> Question {
        Question {
            table: table.name.clone(),
            role: role.name.clone(),
            settings: principal.settings.iter().map(|(name, value)| (&**name, &**value)).map(boxed).collect(),
            condition: self.condition().into(),
            reads: self.reads(table),
            binding: Some(self.binding(table)),
        }
    }

    fn binding(&self, table: &Table) -> Binding {
        let reads = self.reads(table);
        let names = table.columns.iter().enumerate().filter(|(index, _)| reads.contain(*index));
        let columns = names.map(|(_, column)| column.name.as_str().into()).collect();
        Binding::of(columns, self.all().map(|template| &*template.policy.tree))
    }

    fn condition(&self) -> String {
        let permissive: Vec<_> = self.permissive.iter().map(|template| format!("({})", template.using)).collect();
        let restrictive = self.restrictive.iter().map(|template| format!("({})", template.using));
        let any = format!("({})", permissive.join(" OR "));
        std::iter::once(any).chain(restrictive).collect::<Vec<_>>().join(" AND ")
    }

    fn reads(&self, table: &Table) -> Reads {
        if self.all().any(|template| template.scan.whole_row) {
            return Reads::Row;
        }
        let names = self.all().flat_map(|template| &template.policy.columns);
        let columns: BTreeSet<usize> = names.filter_map(|name| table.column(name)).collect();
        Reads::Columns(columns.into_iter().collect())
    }
}

/// Why the policy cannot be evaluated on a row image.
pub(super) fn undecidable(table: &Table, template: &Template) -> Option<PolicyRefusal> {
    let (on, policy) = (|| table.name.to_string(), || template.policy.name.to_string());
    if let Some(what) = &template.scan.forbidden {
        return Some(PolicyRefusal::OfTheSession { table: on(), policy: policy(), what: what.to_string() });
    }
    let unsent = &table.access.unsent;
    let read =
        template.policy.columns.iter().find(|column| unsent.contains(column)).map(|column| format!("column {column}"));
    let whole = (template.scan.whole_row && !unsent.is_empty()).then(|| "the whole row".to_owned());
    read.or(whole).map(|what| PolicyRefusal::NotSent { table: on(), policy: policy(), what })
}

fn allowed_settings(principal: &Principal) -> Result<(), PolicyRefusal> {
    let is_reserved = |name: &&String| NOT_THE_PRINCIPALS.iter().any(|own| name.eq_ignore_ascii_case(own));
    match principal.settings.keys().find(is_reserved) {
        Some(setting) => Err(PolicyRefusal::SettingForbidden { setting: setting.clone() }),
        None => Ok(()),
    }
}

fn refused(table: &Table, broken: &Broken) -> PolicyRefusal {
    let table = table.name.to_string();
    match (&broken.setting, &broken.expected) {
        (Some(setting), None) => PolicyRefusal::SettingMissing { table, setting: setting.to_string() },
        (Some(setting), Some(expected)) => {
            PolicyRefusal::SettingInvalid { table, setting: setting.to_string(), expected: expected.to_string() }
        }
        (None, expected) => {
            PolicyRefusal::Raises { table, expected: expected.as_deref().unwrap_or("another type").to_owned() }
        }
    }
}

fn is_never(predicate: &Predicate) -> bool {
    predicate.conjuncts().iter().any(|part| matches!(part, Predicate::False | Predicate::Unknown))
}

fn boxed((name, value): (&str, &str)) -> (Box<str>, Box<str>) {
    (name.into(), value.into())
}
