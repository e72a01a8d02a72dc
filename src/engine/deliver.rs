//! From one event to all its subscribers: found by the index, judged by the gate, encoded once, put into their queues.
//!
//! [`Core`] is what every thread shares. A [`Subscription`] is live while the [`Index`] knows it. A result may have to wait
//! for three things, in this order: for PostgreSQL's word on a delegated policy ([`policies`]), for a resolver
//! ([`resolvers`]), for the end of its transaction ([`transaction`]).

mod core;
mod dispatch;
mod horizon;
mod index;
mod losses;
pub(crate) mod policies;
pub(crate) mod resolvers;
mod subscription;
mod transaction;

pub(crate) use self::core::{Core, NotServing, SNAPSHOT_SESSIONS};
pub(crate) use dispatch::{Telling, decided};
pub(crate) use horizon::Horizon;
pub(crate) use index::{Concern, Condition, Index};
pub(crate) use subscription::{Maker, Sink, Source, Stamp, Subscription};
pub(crate) use transaction::Grouping;
