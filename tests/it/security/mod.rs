//! The gate, asked what PostgreSQL is asked.

/// Random worlds: what the engine delivers is what PostgreSQL would have shown.
mod oracle;
