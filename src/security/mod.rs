//! The gate: decides which row images a [`Principal`](crate::model::Principal) may see. In doubt the answer is no.
//!
//! - Only this module can make a [`Visible`], and only a `Visible` can be encoded.
//! - The gate does no IO, and a refusal contains no row values.
//!
//! ```text
//!   subscribe:  Gate::admit(request)           ──▶ Admission (its condition joins the subscription's in the index)
//!   explain:    Gate::inspect(request)         ──▶ what each of the five modules says
//!   event:      Inspection::visible(admission) ──▶ Visible, or nothing
//! ```
//! The tenant rule is evaluated twice, by the index to find candidates and here on the delivered image: a defect of
//! the index shows as `gate_refusals_total`, not as a leak.

mod admission;
mod columns;
pub mod federation;
mod gate;
mod inspection;
mod refusal;
mod row_policy;
pub mod scope;
mod tenant;
mod visible;

pub use admission::Admission;
pub use columns::Columns;
pub use gate::{AccessRequest, FieldRules, Gate, GateRules, SourceAccess, Verdict};
pub use inspection::{Inspection, Judged, Standing};
pub use refusal::{Module, Refusal};
pub use row_policy::{
    Binding, Explanation, PolicyClass, PolicyExplanation, PolicyRefusal, Question, Reads, Reason, RowRule,
    TablePolicies, Why, predicate_sql,
};
pub use visible::{Image, Visible};
