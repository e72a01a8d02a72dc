//! Maps the condition's results on the old and the new image to what is delivered.

use crate::model::{Operation, Transition};
use crate::predicate::Truth;

/// The transition of a change in a view; `None` if the change does not match.
///
/// | UPDATE: old image | new: true | new: not true | new: unavailable |
/// |---|---|---|---|
/// | true | stay | leave | leave |
/// | not true | enter | | |
/// | unavailable | stay | | |
///
/// An image is unavailable when the replica identity is not FULL. Then:
/// - A row that is in view now is always delivered, as `Stay` if its old state is not known. `Enter` means that the row
///   is known not to have been in view, so a client can rely on it. A client applies `Stay` by replacing or adding.
/// - A row that was in view and is not known to be in view still leaves. Its key was visible before, so nothing leaks.
/// - A row that is not known to have been in view does not leave: its key alone would reveal that it exists.
///
/// An UPDATE that changed the key is two events. A view treats its departure like a DELETE and its arrival like an
/// INSERT, because the row was never in view under the new key.
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
