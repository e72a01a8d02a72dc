//! rowcast turns committed PostgreSQL row changes into live GraphQL subscriptions, as a Rust engine inside a Python
//! process.
//!
//! This page is the map of the crate's rooms. `docs/architecture.md` shows how they work together: the flow of a change,
//! the two witness types and the invariants that hold everywhere.
//!
//! # Rooms, in reading order
//!
//! * [`model`]: the nouns that every stage uses. They keep every fact that the wire keeps.
//! * [`postgres`]: sessions with a server: connection strings, sockets, TLS, and the settings that each session pins.
//! * [`catalog`]: the watched tables, with their policies, roles and grants, as PostgreSQL's catalog describes them.
//! * [`capture`]: reads committed changes from the WAL or the outbox, reconnects without a gap or ends with a reason.
//! * [`decode`]: turns `pgoutput` messages into shared events, and a value's text into its JSON.
//! * [`journal`]: decides which events are new and which are repeats, makes cursors, and keeps the replay window. Only it
//!   makes a [`Durable`](journal::Durable), the LSN that a capture may confirm to the server.
//! * [`predicate`]: evaluates conditions on one row as PostgreSQL does, with a value for "that was not sent".
//! * [`matcher`]: the index from a change to the subscriptions that it concerns: enter, stay or leave.
//! * [`security`]: the gate: services, scopes, tenants, row policies, columns. In doubt the answer is no. Only it makes a
//!   [`Visible`](security::Visible), which the encoder and the resolvers require.
//! * [`graphql`]: builds a schema from tables and declarations, and plans from documents.
//! * [`payload`]: writes what may be seen as bytes, once for all subscribers that get the same ones.
//! * [`session`]: graphql-transport-ws and graphql-sse as a state machine, and the bounded queue of frames to send.
//! * [`adapter`]: wakes the event loops that move frames to sockets.
//! * [`store`]: what rowcast keeps in the user's database: migrations, and the calls of its SQL functions.
//! * [`probe`]: lets PostgreSQL evaluate delegated row policies on a row image.
//! * [`engine`]: the one room that knows all of these. With it [`config`], [`metrics`], [`failure`], which
//!   clients receive, and [`error`], which callers receive.
//! * `python` (feature `python`): the binding. It converts and decides nothing.
//!
//! The rooms from [`decode`] to [`session`] are stages: pure and synchronous. `tests/it/architecture.rs` reads from the
//! source that the rooms depend on each other in one direction.

pub mod adapter;
pub mod capture;
pub mod catalog;
pub mod config;
pub mod decode;
pub mod engine;
pub mod error;
pub mod failure;
pub mod graphql;
pub mod journal;
pub mod matcher;
pub mod metrics;
pub mod model;
pub mod payload;
pub mod postgres;
pub mod predicate;
pub mod probe;
#[cfg(feature = "python")]
mod python;
pub mod security;
pub mod session;
pub mod store;
