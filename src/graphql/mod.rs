//! The schema that tables and declarations make, and documents compiled to plans.
//!
//! What comes in: tables, declared fields, requests. What is promised: equal selections share one [`Plan`], limits hold
//! before anything is expanded, errors have the words and places that GraphQL clients know. What is never done: no
//! parsing, validation or lookup by name once an event is there; that is all in the plan.
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
