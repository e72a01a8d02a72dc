//! The schema and the compiler against the corpus in `tests/corpus/graphql`, and against graphql-js.

mod corpus;
mod differential;
mod federation;
mod fixture;
mod rendering;
mod requests;
mod schemas;
