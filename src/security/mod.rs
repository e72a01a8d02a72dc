//! The gate: who may see which image of which row. In doubt the answer is no.
//!
//! What comes in: a [`Principal`](crate::model::Principal), a table, an event. What is promised: only this module can
//! make a [`Visible`], and only a `Visible` can be encoded. What is never done: no IO, no caching of row values.

mod visible;

pub use visible::{Image, Visible};
