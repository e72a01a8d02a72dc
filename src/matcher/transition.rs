//! Maps the condition's results on the old and the new image to what is delivered.

use crate::model::{Operation, Transition};
use crate::predicate::Truth;

/// What a change means to a view; `None` when it does not concern it.
///
/// | UPDATE: old image | new: true | new: not true | new: unknown |
/// |---|---|---|---|
/// | true | stay | leave | leave |
/// | not true | enter | | |
/// | unknown | stay | | |
///
/// A result is unknown when the replica identity is not FULL. Then:
/// - A row that is in view now is always sent. `Enter` says that it was not in view before, so that a client may rely on
///   it. Where that is unknown the transition is `Stay`, which a client applies by replacing or adding the row.
/// - A row that was in view, and is perhaps not any more, leaves. Its key was shown before, so nothing leaks.
/// - A row that was perhaps not in view does not leave: its key would reveal that it exists.
///
/// An UPDATE that changed the key is two events: its departure acts like a DELETE and its arrival like an INSERT,
/// because the row was never in view under the new key.
pub fn transition(operation: Operation, old: Truth, new: Truth) -> Option<Transition> {
    match operation {
        Operation::Insert | Operation::Snapshot | Operation::Arrival => new.is_true().then_some(Transition::Enter),
        Operation::Delete | Operation::Departure => old.is_true().then_some(Transition::Leave),
        Operation::Update => update(old, new),
        Operation::Truncate | Operation::Message | Operation::SnapshotEnd => None,
    }
}

fn update(old: Truth, new: Truth) -> Option<Transition> {
    match (old, new) {
        (Truth::False | Truth::Unknown, Truth::True) => Some(Transition::Enter),
        (Truth::True | Truth::Unavailable, Truth::True) => Some(Transition::Stay),
        (Truth::True, Truth::False | Truth::Unknown | Truth::Unavailable) => Some(Transition::Leave),
        (Truth::False | Truth::Unknown | Truth::Unavailable, Truth::False | Truth::Unknown | Truth::Unavailable) => {
            None
        }
    }
}
