//! rowcast

pub mod decode;
pub mod model;
pub mod payload;
pub mod security;
