//! Builds the GraphQL schema from tables and declared fields, and compiles requests to plans.
//!
//! - Equal selections share one [`Plan`].
//! - Limits are checked before anything is expanded.
//! - Errors have the messages and locations that GraphQL clients expect.
//! - The plan contains everything that an event needs: nothing is parsed, validated or looked up by name per event.
//!
//! ```text
//! declare + Table ─▶ assemble ─▶ sdl ─▶ GraphSchema
//! Request ─▶ document (limits, cache) ─▶ coerce ─▶ select ─▶ planner ─▶ intern ─▶ CompiledSubscription
//!                                          ├─▶ query ─▶ response
//!                                          └─▶ entities ─▶ EntityRequest (a federated graph's rows by key)
//! ```

mod assemble;
mod coerce;
mod columns;
mod declare;
mod document;
mod entities;
mod error;
mod federation;
mod field;
mod intern;
mod limits;
mod name;
mod naming;
mod one_of;
pub mod plan;
mod planner;
mod query;
mod scalar;
mod schema;
mod sdl;
mod select;
mod type_ref;
mod wording;

#[cfg(test)]
mod tests;

pub use declare::{BoundField, Enum, Field, Object, ObjectField, Resolver, Returns};
pub use entities::{Entity, EntityRequest, EntityRoot, EntityType};
pub use error::{Location, RequestError, RequestErrorKind, SchemaError};
pub use limits::{DEPTH_MOST, Limits};
pub use naming::Naming;
pub use plan::Plan;
pub use scalar::Scalar;
pub use schema::{Arguments, CompiledSubscription, GraphSchema, Operation, Options};

pub use crate::model::Request;
