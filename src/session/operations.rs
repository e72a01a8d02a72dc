//! The operations that are active on one connection. An id is free again the moment its operation ends, by whichever
//! side; until then a second use of it is the client's fault.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::OperationId;

/// Active ids, ordered so that the same history always gives the same actions.
#[derive(Debug, Default)]
pub(super) struct Operations(BTreeSet<OperationId>);

/// The decision on a `subscribe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may start, under this very `Arc`.
    Admitted(OperationId),
    /// Its id is active.
    Duplicate,
    /// The connection has the maximum number of operations.
    Full,
}

impl Operations {
    /// Checks for a duplicate before the limit: a duplicate ends the connection, the limit does not.
    pub(super) fn admit(&mut self, id: &str, operations_max: usize) -> Admission {
        if self.0.contains(id) {
            return Admission::Duplicate;
        }
        if self.0.len() >= operations_max {
            return Admission::Full;
        }
        let id = OperationId::from(id);
        self.0.insert(Arc::clone(&id));
        Admission::Admitted(id)
    }

    /// The client completed it. `None` if the operation does not exist or has already ended.
    pub(super) fn complete(&mut self, id: &str) -> Option<OperationId> {
        self.0.take(id)
    }

    /// The engine ended it. Compared by identity, not by text: by now the client may have completed the operation and
    /// started another one under the same id, which must not end.
    pub(super) fn end(&mut self, id: &OperationId) {
        if self.0.get(id).is_some_and(|active| Arc::ptr_eq(active, id)) {
            self.0.remove(id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &OperationId> {
        self.0.iter()
    }

    pub(super) fn into_ids(self) -> impl Iterator<Item = OperationId> {
        self.0.into_iter()
    }
}
