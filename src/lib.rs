//! rowcast

pub mod graphql;
pub mod model;
pub mod payload;
pub mod security;
