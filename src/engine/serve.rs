//! What a client's request starts: a subscription, or an answer to a query.
//!
//! ```text
//!   request ──▶ Subscribe ──▶ compile ──▶ admit ──▶ make ──▶ index ──▶ catch up
//! ```

mod admit;
mod entities;
mod make;
mod renew;
mod subscribe;

pub(crate) use admit::{access, admit, expired, refuse_expired};
pub(crate) use entities::answer;
pub(crate) use renew::{Renewal, hold_again, renew};
pub(crate) use subscribe::{Subscribe, Subscribed};
