//! Where changes come from: PostgreSQL.

pub mod catalog;
pub mod naming;
