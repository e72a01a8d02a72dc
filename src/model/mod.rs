//! The nouns that every stage speaks in.
//!
//! What comes in: nothing; these are values. What is promised: they are cheap to share (`Arc`, `Bytes`), they keep
//! every fact that the wire keeps (an unchanged TOAST value is not NULL, a column that was not sent is neither), and
//! they never hold a socket, a clock or a Python object.

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
