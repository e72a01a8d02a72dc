//! Maps the condition's results on the old and the new image to what is delivered.

use crate::model::{Operation, Transition};
use crate::predicate::Truth;

/// What a change means to a view; `None` concerns it not at all.
///
/// | UPDATE: old image | new: true | new: not true | new: cannot be told |
/// |---|---|---|---|
/// | true | stay | leave | leave |
/// | not true | enter | | |
/// | cannot be told | stay | | |
///
/// "Cannot be told" happens when the replica identity is not FULL. Then
/// - a row that is in view now is always sent. Whether it was before is not known, and `Enter` is only said where it is
///   known that it was not, so that a client may count on it; `Stay` is what a client applies by replacing or adding.
/// - a row that was in view and cannot be proven to be still is taken out (its key was shown before, nothing leaks);
/// - a row of which it cannot be proven that it was in view does not leave: the key alone would tell of its existence.
///
/// An UPDATE that changed the key is two events: its departure is to a view what a DELETE is, and its arrival what an
/// INSERT is, since the row was never in view under the new key.
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
