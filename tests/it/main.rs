//! Rust integration tests: one target, so that the crate is linked once. What follows lists what is proved, room by room;
//! most of it runs against real PostgreSQL, whose programs come from `ROWCAST_TEST_PG_BIN` or the PATH.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail; helpers of tests are not recognised as tests by the lints"
)]

/// The fixture: a cluster of a test's own, or a database on one that is shared.
mod postgres;

/// Rooms import each other in one direction; stages have neither sockets nor clocks; Python is met in one room.
mod architecture;

/// The rim that reads PostgreSQL.
mod capture {
    /// Which roles may read what of a table, as PostgreSQL decides it.
    mod access;
    /// `Tables::load`: what may be served, under which names.
    mod catalog;
    /// Column types, from `create type` to `PgType`.
    mod catalog_types;
    /// Every way a start can be refused has a stable code and says what to do.
    mod errors;
    /// Everything that events depend on is changed, and each change is noticed.
    mod facts;
    /// Several hosts in one connection string.
    mod hosts;
    /// Whatever a role or a database has set, rowcast's sessions have the same settings.
    pub(crate) mod judged;
    /// Outages: nothing lost, nothing handled twice; what cannot be bridged is said.
    mod outage;
    /// The same of the outbox, and how much of it is held at once.
    mod outbox;
    pub(crate) mod pinned;
    /// A consumer as the engine is one, for the tests of capture.
    mod reader;
    /// What a capture promises while nothing goes wrong.
    mod stream;
    /// TLS as libpq's users know it.
    mod tls;
}

/// From bytes of the stream to events and JSON.
mod decode {
    /// Inputs of the fuzz targets and cases that they found, each run again.
    mod corpus;
    /// What must hold of any bytes; shared with the fuzz targets.
    mod harness;
    /// Every type's text form gives its documented JSON or a coded refusal.
    mod json;
    /// The same forms are PostgreSQL's own `to_json`, or differ as written down.
    mod json_postgres;
    /// The decoder follows what a real server sends, through changes of shape too.
    mod postgres;
    /// Streams that no server would send: decoded as documented or refused by code.
    mod stream;
    /// Messages by hand; shared with the benches and the fuzz targets.
    mod wire;
}

/// The whole way, from a committed row to a session's frames, without a socket and without Python.
mod engine {
    /// A client without a socket: it speaks the protocol into a session and reads what the session has queued.
    pub(crate) mod client;
    /// Changes that were not captured end with GAP: altered publications, partitions that come and go.
    mod coverage;
    /// What `explain` tells is what a subscriber meets.
    mod explain;
    /// While the stream has always more to read, the engine still does everything else.
    mod flood;
    /// Row policies and grants, and their change in mid-stream.
    mod gate;
    /// Whatever others do to the engine's role, database and cluster.
    mod hostile;
    /// Rows whose key changes.
    mod keys;
    /// Rows that move from one partition to another.
    mod moves;
    /// Triggers, cascades and savepoints in one transaction.
    mod order;
    /// Outages: every row once, in order, or an error that says why.
    mod outage;
    /// What is promised of an outbox alone.
    mod outbox;
    /// A subscriber that comes back gets exactly what followed.
    mod resume;
    /// Withdrawn access: in every process, in the order of commits, whatever hooks are being asked.
    mod revoke;
    /// Tables change their shape, come and go while subscriptions are live.
    mod schema;
    /// What an engine serves is what it declares; one table that cannot be served stops no other.
    mod served;
    /// Many, slow and hostile sessions and resolvers, and what they may not do to others.
    mod sessions;
    /// Slots that are shared, lost, given up and left behind.
    mod slots;
    /// Clients that read too slowly: what they receive, and that they do not harm others.
    mod slow;
    /// A snapshot delivers the rows that are there, and then exactly what follows.
    mod snapshot;
    /// From a committed row to a frame.
    mod stream;
    mod transactions;
    /// What triggers capture, whatever becomes of the tables.
    mod triggers;
}

/// Conditions over rows.
mod predicate {
    /// `tests/corpus/predicate`: what is decided and what is refused.
    pub(crate) mod corpus;
    /// `ilike` on columns without a collation of their own, in databases of several.
    mod folding;
    /// PostgreSQL decides the same, in all three truth values, on random rows and conditions.
    mod oracle;
}

/// PostgreSQL's own word on a row image.
mod probe {
    /// Roles, settings, errors, timeouts, lost sessions: each image gets its verdict and nothing leaks to the next.
    mod ask;
    /// An image that went through JSON is the row it was.
    mod image;
}

/// The gate: which subscriber receives what.
mod security;

/// The schema in the database and the calls into it.
mod store {
    /// A change of policies, grants or roles is in the stream, where it happened.
    mod event_trigger;
    /// Engine and application work as ordinary roles, and can do no more than that.
    mod grants;
    /// The schema is whole, made once, and never downgraded.
    mod migrate;
    /// The outbox's functions, asked in SQL: what they do to writers, and what upgrades and outages leave.
    mod outbox;
    /// A published message commits or vanishes with its transaction.
    mod publish;
    /// Each thing that can be wrong has a line, and each bad line says what to do.
    mod status;
    /// A database is as it was before rowcast, or nothing is removed.
    mod uninstall;
    /// Watching and unwatching do what they say, once.
    mod watch;
    /// Watching refuses before it could harm the table's owner.
    mod watch_refuses;
}
