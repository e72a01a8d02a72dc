//! The report, in a stable form that programs can rely on: names are added, never changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::Transition;

/// One principal before one table, and before one change of it.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) table: String,
    /// Whether a subscription to all that may be read is let in.
    pub(super) admitted: bool,
    /// What the catalog finds wrong with the table.
    pub(super) problems: Vec<Problem>,
    /// In the gate's order, each as if those before had said yes.
    pub(super) modules: Vec<Module>,
    pub(super) row_policy: RowPolicy,
    pub(super) columns: Columns,
    /// None unless admitted.
    pub(super) condition: Option<Condition>,
    /// None when no row was given.
    pub(super) row: Option<Row>,
}

impl Report {
    pub(super) fn to_json(&self) -> String {
        // Text, numbers and maps with text keys: there is nothing in it that JSON has no form for.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Serialize)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) hint: String,
}

#[derive(Serialize)]
pub(super) struct Module {
    #[serde(rename = "module")]
    pub(super) name: &'static str,
    pub(super) admitted: bool,
    pub(super) code: Option<String>,
    pub(super) says: String,
}

#[derive(Serialize)]
pub(super) struct RowPolicy {
    /// Whether row security is on.
    pub(super) enabled: bool,
    pub(super) forced: bool,
    /// Why no policy applies, if none does.
    pub(super) exempt: Option<&'static str>,
    /// `all`, `decided`, `delegated`, `refused`, or `unknown` without a role.
    pub(super) rule: &'static str,
    /// What PostgreSQL evaluates, if it does.
    pub(super) question: Option<Question>,
    pub(super) policies: Vec<Policy>,
}

#[derive(Serialize)]
pub(super) struct Question {
    pub(super) role: Box<str>,
    pub(super) settings: BTreeMap<Box<str>, Box<str>>,
    pub(super) condition: Box<str>,
    /// The columns that it reads.
    pub(super) reads: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Policy {
    pub(super) name: Box<str>,
    pub(super) permissive: bool,
    /// None without a role.
    pub(super) applies: Option<bool>,
    pub(super) why_not: Option<String>,
    pub(super) using: Option<Box<str>>,
    /// `compiled`, `delegated`, `mixed`, `refused`; `nothing` without USING.
    pub(super) evaluation: &'static str,
    /// The rows that it may show, with this principal's settings; what PostgreSQL evaluates counts as true.
    pub(super) predicate: Option<Box<str>>,
    pub(super) reasons: Vec<Reason>,
    pub(super) refusal: Option<Refusal>,
}

/// A part that is not compiled.
#[derive(Serialize)]
pub(super) struct Reason {
    pub(super) why: String,
    pub(super) part: Box<str>,
}

#[derive(Serialize)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
}

#[derive(Default, Serialize)]
pub(super) struct Columns {
    pub(super) readable: Vec<String>,
    pub(super) hidden: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Condition {
    pub(super) sql: String,
    /// How the index finds it: `equality`, `range`, `always`, `residual` (evaluated for every change), `never`.
    pub(super) index: &'static str,
    /// Whether PostgreSQL evaluates what the index finds.
    pub(super) delegated: bool,
}

#[derive(Default, Serialize)]
pub(super) struct Row {
    pub(super) operation: &'static str,
    pub(super) notes: Vec<String>,
    pub(super) old: Option<Image>,
    pub(super) new: Option<Image>,
    /// `ENTER`, `STAY`, `LEAVE`, or none.
    pub(super) transition: Option<&'static str>,
    #[serde(skip)]
    pub(super) meant: Option<Transition>,
    /// What is delivered first where the key changed: the old key alone.
    pub(super) left: Option<Told>,
    pub(super) told: Option<Told>,
    /// Why nothing is delivered.
    pub(super) why_not: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Image {
    /// Columns that it does not carry, which is not NULL.
    pub(super) absent: Vec<String>,
    /// `true`, `false`, `null`, or `unavailable` where the image does not tell; none without a tenant column.
    pub(super) tenant: Option<&'static str>,
    /// The evaluation by PostgreSQL, if there was one.
    pub(super) row_policy: &'static str,
    pub(super) delegated: Option<Delegated>,
    pub(super) in_view: bool,
    /// The first module that says no.
    pub(super) refused_by: Option<&'static str>,
}

/// What PostgreSQL answered.
#[derive(Serialize)]
pub(super) struct Delegated {
    /// `visible`, `hidden`, `raised`, `timed_out`, `not evaluated`, `incomplete`, or `failed`.
    pub(super) answer: &'static str,
    pub(super) sqlstate: Option<Box<str>>,
    pub(super) says: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Told {
    /// `row` or `key`.
    pub(super) what: &'static str,
    pub(super) columns: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) payload: Option<Payload>,
}

/// What a client gets that selects everything it may, but for the cursor: that is the stream's to give.
#[derive(Deserialize, Serialize)]
pub(super) struct Payload {
    data: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Box<RawValue>>,
}
