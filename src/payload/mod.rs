//! Encodes visible events, once for all subscriptions that get the same bytes.
//!
//! - A [`Plan`](crate::graphql::Plan), a [`Visible`](crate::security::Visible) and a cursor become bytes in one pass, with
//!   prepared keys and a reused buffer. Nothing is parsed or looked up by name, and no value tree is built.
//! - A value that is not known is reported as an error, never as NULL.
//!
//! ```text
//! {"data":{"orders":{…}},"errors":[…],"extensions":{"rowcast":{"cursor":…,"operation":…,"committedAt":…}}}
//!                        └ only if any ┘
//! ```

mod body;
mod control;
mod encoder;
mod frame;
mod json;
#[cfg(test)]
mod tests;
mod transaction;

pub use body::{Body, FieldError, Meta, PathSegment, error_body, resolved_body};
pub use control::{complete_frame, error_frame};
pub use encoder::{Encoder, Scratch, ValueForm, WriteValue};
pub use frame::Frame;
pub use transaction::{Part, Transaction};
