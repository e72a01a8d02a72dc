//! rowcast

pub mod matcher;
pub mod model;
pub mod payload;
pub mod predicate;
pub mod security;
