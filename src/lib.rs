//! rowcast

pub mod model;
pub mod payload;
pub mod security;
pub mod session;
