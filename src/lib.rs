//! rowcast

pub mod capture;
pub mod model;
pub mod payload;
pub mod security;
pub mod store;
