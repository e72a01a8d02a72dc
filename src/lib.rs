//! rowcast turns committed PostgreSQL row changes into live GraphQL subscriptions, as a Rust engine inside a Python
//! process. This page is the map: read it first, then the rooms in the order given.
//!
//! # Flow
//!
//! ```text
//!  PostgreSQL ──▶ capture ──▶ decode ──▶ journal ──▶ matcher ──▶ security ──▶ payload ──▶ session ──▶ adapter
//!    WAL slot     IO rim      bytes      new, or     whom may    may they     bytes,      protocol    Python's
//!                             to shared  told        it con-     see it:      written     and queue   event loops
//!                             events     before?     cern, how?  the gate     once
//!        ▲                                  │            ▲                       ▲
//!        └──── what may be confirmed ───────┘        predicate                graphql
//!                                                    conditions               plans
//! ```
//! A change takes this line from left to right, once for everybody. A subscription takes it from right to left, once,
//! when it begins: its document becomes a plan, the gate admits its principal, and its condition joins the index.
//!
//! # Rooms, in reading order
//!
//! * [`model`]: the nouns that every stage speaks in; they keep every fact that the wire keeps.
//! * [`capture`]: the WAL as a stream of messages, reconnected without a gap or ended with a reason; and the catalog.
//! * [`decode`]: `pgoutput` messages to events that everybody shares, and a value's text to its JSON.
//! * [`journal`]: which events are new, which come again, and which LSN may be confirmed; and the cursors that name them.
//! * [`predicate`]: conditions on one row, decided as PostgreSQL decides them, with a word for "that was not sent".
//! * [`matcher`]: the index from a change to the subscriptions that it concerns: enter, stay or leave.
//! * [`security`]: the gate: scopes, tenants, row policies, columns; in doubt the answer is no.
//! * [`graphql`]: tables and declarations to a schema, documents to plans.
//! * [`payload`]: what may be seen to bytes, once for all who get the same ones.
//! * [`session`]: graphql-transport-ws as a state machine, and the bounded queue of what waits to be sent.
//! * [`adapter`]: how whoever moves frames to sockets is woken.
//! * [`store`]: what rowcast keeps in the user's database: migrations, and the calls of its SQL functions.
//! * [`probe`]: PostgreSQL's own word on a row image, where a row policy was not compiled.
//! * [`engine`]: the one room that knows all of these; it reads like the picture above. With it [`config`], [`error`] and
//!   [`metrics`].
//! * `python` (feature `python`): the binding; it converts and decides nothing.
//!
//! Stages ([`decode`] to [`session`]) are pure and synchronous: bytes, rows and instants come in, decisions go out as
//! values. IO lives at the rim. Each room's own page says what comes in, what is promised and what is never done.
//!
//! # Two witnesses
//!
//! Two promises are held by types that only one room can make:
//!
//! * [`Visible`](security::Visible): this event, with this image, may be shown to this subscriber. The gate alone makes
//!   it, and the encoder and the resolvers are given nothing else of a row.
//! * [`Durable`](journal::Durable): nothing before this LSN is unhandled. The journal alone makes it, and a capture
//!   confirms nothing else to the server: what was not handled is sent again.
//!
//! # What holds
//!
//! Mostly absences. The first four are read from the source by `tests/it/architecture.rs`:
//!
//! * no stage has a socket, a file or a clock, and none knows tokio;
//! * no room imports against the direction of `model` ◀ stages ◀ rim ◀ engine, and nothing imports the engine but
//!   `python` and [`error`];
//! * no room but `python` knows Python;
//! * no relative path leaves a room;
//! * no thread of the engine attaches to the Python interpreter on the data path: loops are woken through a descriptor
//!   and come for their frames;
//! * nothing is dropped in silence: what cannot be delivered ends its subscription or its session with a code;
//! * nothing is confirmed inside an unfinished transaction, and a lost slot is never made anew behind a consumer's back;
//! * nothing is told twice on one stream: order is by (commit LSN, ordinal), and what comes again is recognised;
//! * no value that was not sent is taken for NULL;
//! * no error repeats a row value or a password;
//! * no queue is without a limit in bytes, and no lock is held while foreign code runs;
//! * no `unsafe`, and no `unwrap` outside of tests: the lints hold that.

pub mod adapter;
pub mod capture;
pub mod config;
pub mod decode;
pub mod engine;
pub mod error;
pub mod graphql;
pub mod journal;
pub mod matcher;
pub mod metrics;
pub mod model;
pub mod payload;
pub mod predicate;
pub mod probe;
#[cfg(feature = "python")]
mod python;
pub mod security;
pub mod session;
pub mod store;
