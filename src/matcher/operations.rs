//! Which kinds of change a subscription asked for.

use crate::model::Operation;

/// A set of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OperationSet(u8);

impl OperationSet {
    /// Every operation.
    pub const ALL: OperationSet = OperationSet(0b111_1111);

    /// Whether the operation was asked for.
    pub fn contains(self, operation: Operation) -> bool {
        self.0 & bit(operation) != 0
    }
}

impl FromIterator<Operation> for OperationSet {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        OperationSet(operations.into_iter().fold(0, |set, operation| set | bit(operation)))
    }
}

fn bit(operation: Operation) -> u8 {
    match operation {
        Operation::Insert => 1,
        Operation::Update | Operation::Departure | Operation::Arrival => 1 << 1,
        Operation::Delete => 1 << 2,
        Operation::Truncate => 1 << 3,
        Operation::Message => 1 << 4,
        Operation::Snapshot => 1 << 5,
        Operation::SnapshotEnd => 1 << 6,
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, OperationSet};

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: OperationSet = [Operation::Insert, Operation::Delete].into_iter().collect();
        assert!(set.contains(Operation::Insert) && set.contains(Operation::Delete));
        assert!(!set.contains(Operation::Update));
        assert!(OperationSet::ALL.contains(Operation::Message) && OperationSet::ALL.contains(Operation::Truncate));
    }
}
