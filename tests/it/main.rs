//! Everything that needs a real PostgreSQL, in one target.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod catalog;
mod catalog_types;
mod postgres;
mod store_grants;
mod store_migrate;
mod store_publish;
mod store_status;
mod store_watch;
mod store_watch_refuses;
