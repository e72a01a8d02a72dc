//! What is served: the declared fields, bound to the tables of the catalog, as one value that is replaced as a whole.

mod declare;
mod draft;
mod live;

pub(crate) use declare::{Declaration, Field, FieldSource};
pub(crate) use live::Live;
