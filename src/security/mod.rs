//! The gate: who may see which image of which row. In doubt the answer is no.
//!
//! What comes in: a [`Principal`](crate::model::Principal) and what it asks for, later each event that matched. What is
//! promised: only this module can make a [`Visible`], and only a `Visible` can be encoded. What is never done: no IO,
//! and no word of a row in a refusal.
//!
//! ```text
//!   subscribe:  admit(principal, table or topic) ──▶ Admission (its condition joins the subscription's in the index)
//!   event:      Inspection::visible(admission)   ──▶ Visible, or nothing
//! ```
//! The tenant rule is asked twice, by the index to find candidates and here on the image that is delivered: an index
//! with a defect shows as `gate_refusals_total`, not as a leak.

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
pub use gate::Gate;
pub use inspection::{Inspection, Judged, Standing};
pub use refusal::{Module, Refusal};
pub use row_policy::{
    Binding, Explanation, PolicyClass, PolicyExplanation, PolicyRefusal, Question, Reads, Reason, RowRule,
    TablePolicies, Why, predicate_sql,
};
pub use visible::{Image, Visible};
