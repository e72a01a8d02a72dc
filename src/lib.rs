//! rowcast

pub mod model;
pub mod payload;
pub mod security;
