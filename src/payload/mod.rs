//! Visible events to bytes, once for everybody who gets the same ones.
//!
//! What comes in: a [`Plan`](crate::graphql::Plan), a [`Visible`](crate::security::Visible), a cursor. What is promised:
//! one pass, into a buffer that is used again, with prepared keys; a value that is not known is told as an error, never
//! as NULL. What is never done: nothing is parsed, nothing is looked up by name, no tree of values is built.
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
