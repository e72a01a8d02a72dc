//! Everything that needs more than one module: real PostgreSQL, corpora that other languages read too.

mod postgres;
mod predicate_corpus;
mod predicate_oracle;
