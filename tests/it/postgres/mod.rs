//! Real PostgreSQL for tests: a [`Server`] where a test stops, kills or configures it, a [`Database`] on a server that
//! the tests of this process share where it does not.
//!
//! Promised: a cluster costs a copy and a start, not an `initdb`; and however a test ends, panic and SIGKILL included,
//! its server is stopped by process id and its folder is gone. As root the server runs as an unprivileged user
//! (`ROWCAST_TEST_PG_USER`, by default `postgres`).

mod database;
mod guard;
mod programs;
mod server;
mod template;

pub(crate) use database::Database;
pub(crate) use server::{Server, Stop};
