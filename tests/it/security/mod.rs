//! The gate, asked what PostgreSQL is asked.

/// PostgreSQL shows the same rows as compiled policies do, for random policies, roles, settings and rows.
mod compiled_oracle;
/// `tests/corpus/policy`: which policies of the world are compiled, and which are asked.
mod corpus;
/// Random policies, rows and principals for `compiled_oracle`.
mod generator;
/// Random worlds: what the engine delivers is what PostgreSQL would have shown.
mod oracle;
/// What others create in the schemas that are searched changes nothing.
mod planted;
