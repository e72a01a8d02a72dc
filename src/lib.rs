//! rowcast

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
#[cfg(feature = "python")]
mod python;
pub mod security;
pub mod session;
pub mod store;
