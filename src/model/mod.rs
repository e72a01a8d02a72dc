//! The values that all stages share.
//!
//! - They are cheap to share (`Arc`, `Bytes`).
//! - They keep all facts of the wire: NULL, an unchanged TOAST value and a column that was not sent stay distinct.
//! - They hold no socket, clock or Python object.

mod access;
mod change;
mod composite;
mod ending;
mod ids;
mod lsn;
mod pg_type;
mod principal;
mod request;
mod role;
mod row_key;
mod seen;
mod table;
mod value;

pub use access::{Access, Policy};
pub use change::{Change, Event, Message, Operation, Position, RowChange, Timestamp, Transition};
pub use composite::{Fields, NotComposite};
pub use ending::{Disconnect, Ending, Selector};
pub use ids::{OperationId, SessionId, SubscriptionId};
pub use lsn::{Lsn, LsnParseError};
pub use pg_type::{ArrayType, CompositeType, EnumType, PgType};
pub use principal::{Principal, is_custom_setting};
pub use request::{Request, RequestUnreadable};
pub use role::{PUBLIC, Role, Roles};
pub use row_key::RowKey;
pub use seen::{NoSnapshot, Seen};
pub use table::{Collation, Column, Folding, ReplicaIdentity, Table, TableName};
pub use value::{Datum, Tuple};
