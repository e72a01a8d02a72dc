//! What `explain` reports of a table's policies for one principal: which apply, what of them is compiled, and why the
//! rest is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::bind::Binder;
use super::constant::Bound;
use super::policies::{Applying, TablePolicies, Template, exemption, undecidable};
use super::{PolicyRefusal, Reason, RowRule};
use crate::model::{Principal, Role, Table};
use crate::predicate::{Comparison, Predicate, Scalar};

/// All policies of a table, for one principal.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Why none applies, if none does.
    pub exempt: Option<&'static str>,
    /// By name.
    pub policies: Box<[PolicyExplanation]>,
    /// What they come to.
    pub rule: Result<RowRule, PolicyRefusal>,
}

/// How a policy is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyClass {
    /// By the index and the gate alone.
    Compiled,
    /// By PostgreSQL alone.
    Delegated,
    /// By PostgreSQL, for the rows that the compiled part leaves open.
    Mixed,
    /// Not at all.
    Refused,
}

/// One policy.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyExplanation {
    /// Its name.
    pub name: Box<str>,
    /// PERMISSIVE or RESTRICTIVE.
    pub permissive: bool,
    /// Why it does not apply to the role, if it does not.
    pub ignored: Option<&'static str>,
    /// The USING expression.
    pub using: Box<str>,
    /// How it is evaluated.
    pub class: PolicyClass,
    /// What is asked, and why.
    pub reasons: Box<[Reason]>,
    /// Why it is refused, if it is.
    pub refusal: Option<PolicyRefusal>,
    /// Which rows it may show, with the settings' values left out.
    pub possible: Box<str>,
    /// Which rows it may show, with the settings' values: they belong to the principal, and no other may see them.
    pub possible_with_values: Box<str>,
}

impl TablePolicies {
    /// What the policies are to this principal, one by one and together.
    pub fn explain(
        &self,
        table: &Table,
        role: &Role,
        principal: &Principal,
        defaults: &BTreeMap<Box<str>, Box<str>>,
    ) -> Explanation {
        let bound = Bound { role: &role.name, principal, defaults };
        let one = |template: &Template| explained(table, role, template, bound);
        Explanation {
            exempt: exemption(table, role),
            policies: self.templates().iter().map(one).collect(),
            rule: self.bind(table, role, principal, defaults),
        }
    }

    /// How each policy is evaluated, by name, before a principal is known.
    pub fn classes(&self, table: &Table) -> Vec<(Box<str>, PolicyClass)> {
        self.templates().iter().map(|template| (template.policy.name.clone(), class(table, template))).collect()
    }
}

fn explained(table: &Table, role: &Role, template: &Template, bound: Bound<'_>) -> PolicyExplanation {
    let mut binder = Binder::new(table, bound);
    let (possible, _) = binder.node(&template.node).of_truth();
    let applies = Applying::to(role, std::slice::from_ref(template)).is_some();
    PolicyExplanation {
        name: template.policy.name.clone(),
        permissive: template.policy.permissive,
        ignored: (!applies).then_some("it is for other roles"),
        using: template.using.clone(),
        class: class(table, template),
        reasons: binder.reasons.into(),
        refusal: undecidable(table, template),
        possible: sql(table, &possible, false).into(),
        possible_with_values: sql(table, &possible, true).into(),
    }
}

fn class(table: &Table, template: &Template) -> PolicyClass {
    let mut reasons = Vec::new();
    template.node.reasons(&mut reasons);
    match (undecidable(table, template), reasons.is_empty(), template.node.has_leaves()) {
        (Some(_), ..) => PolicyClass::Refused,
        (None, true, _) => PolicyClass::Compiled,
        (None, false, true) => PolicyClass::Mixed,
        (None, false, false) => PolicyClass::Delegated,
    }
}

/// A predicate as SQL for people; without values it has a sign in place of each.
pub fn sql(table: &Table, predicate: &Predicate, values: bool) -> String {
    let name = |column: u16| table.columns.get(usize::from(column)).map_or("?", |column| column.name.as_str());
    let value = |scalar: &Scalar| if values { literal(scalar) } else { "…".to_owned() };
    match predicate {
        Predicate::True => "true".to_owned(),
        Predicate::False => "false".to_owned(),
        Predicate::Unknown => "null".to_owned(),
        Predicate::Compare { column, comparison, value: operand } => {
            format!("{} {} {}", name(*column), symbol(*comparison), value(operand))
        }
        Predicate::In { column, values: operands } => {
            format!("{} in ({})", name(*column), operands.iter().map(value).collect::<Vec<_>>().join(", "))
        }
        Predicate::IsNull { column } => format!("{} is null", name(*column)),
        Predicate::Like { column, .. } => format!("{} like …", name(*column)),
        Predicate::Contains { column, part } => format!("{} @> {}", name(*column), value(part)),
        Predicate::Lower { column, value: operand, .. } => {
            format!("lower({}) = {}", name(*column), value(&Scalar::Text(operand.clone())))
        }
        Predicate::Not(part) => format!("not ({})", sql(table, part, values)),
        Predicate::And(parts) => joined(table, parts, " and ", values),
        Predicate::Or(parts) => joined(table, parts, " or ", values),
    }
}

fn joined(table: &Table, parts: &[Predicate], by: &str, values: bool) -> String {
    parts.iter().map(|part| format!("({})", sql(table, part, values))).collect::<Vec<_>>().join(by)
}

fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "=",
        Comparison::Neq => "<>",
        Comparison::Lt => "<",
        Comparison::Lte => "<=",
        Comparison::Gt => ">",
        Comparison::Gte => ">=",
    }
}

/// What can be written back; the rest stays a sign.
fn literal(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Scalar::Uuid(bytes) => uuid(bytes),
        Scalar::Array(items) => {
            let item = |item: &Option<Scalar>| item.as_ref().map_or("null".to_owned(), literal);
            format!("array[{}]", items.iter().map(item).collect::<Vec<_>>().join(", "))
        }
        _ => "…".to_owned(),
    }
}

fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::from("'");
    for (index, byte) in bytes.iter().enumerate() {
        let hyphen = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(text, "{hyphen}{byte:02x}");
    }
    text + "'"
}
