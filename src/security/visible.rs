//! The proof that an event passed the gate for a principal, and with which image.

use super::Columns;
use crate::model::{Datum, Event, Operation, RowChange, Transition, Tuple};

/// The row image of the event that may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image<'a> {
    /// The whole row, for a subscriber that sees it now.
    Row(&'a RowChange, &'a Tuple),
    /// The key alone, out of this old image: the row left the view.
    Key(&'a RowChange, &'a Tuple),
    /// No row: a TRUNCATE, a message or the end of a snapshot.
    None,
}

/// An event as one group of subscribers may see it. Made by the gate alone; the encoder takes nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible<'a> {
    event: &'a Event,
    image: Image<'a>,
    transition: Transition,
    columns: Columns,
    /// Whether the image before was visible as well.
    seen_before: bool,
}

impl<'a> Visible<'a> {
    /// Only the gate may call this.
    pub(super) fn new(
        event: &'a Event,
        image: Image<'a>,
        transition: Transition,
        columns: Columns,
        seen_before: bool,
    ) -> Self {
        Visible { event, image, transition, columns, seen_before }
    }

    /// A witness without a gate, so that the encoder can be tested alone.
    #[cfg(test)]
    pub(crate) fn for_test(event: &'a Event, image: Image<'a>, transition: Transition) -> Self {
        Visible::new(event, image, transition, Columns::default(), true)
    }

    /// The event.
    pub fn event(&self) -> &'a Event {
        self.event
    }

    /// The row image that may be delivered.
    pub fn image(&self) -> Image<'a> {
        self.image
    }

    /// What it means to the group's view.
    pub fn transition(&self) -> Transition {
        self.transition
    }

    /// The columns that may be delivered.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Whether the image before was visible as well.
    pub fn seen_before(&self) -> bool {
        self.seen_before
    }

    /// Whether it is an UPDATE that changed nothing of what may be read. A column of which that is not known counts as
    /// changed, and so does every column of a row that was not visible before.
    pub(super) fn is_hidden_update(&self) -> bool {
        let (Image::Row(RowChange { operation: Operation::Update, old: Some(old), .. }, new), Transition::Stay) =
            (self.image, self.transition)
        else {
            return false;
        };
        let unchanged = |index: usize| match (old.get(index), new.get(index)) {
            (_, Datum::Unchanged) => true,
            (old, new) => old.is_known() && new.is_known() && old == new,
        };
        let indexes = || 0..new.values().len();
        self.seen_before
            && !self.columns.is_all()
            && indexes().any(|index| !self.columns.contains(index))
            && indexes().filter(|index| self.columns.contains(*index)).all(unchanged)
    }

    /// The readable columns that an UPDATE changed, as far as both images contain them. Empty if the old image was not
    /// visible, because the comparison would reveal it.
    pub fn changed_columns(&self) -> impl Iterator<Item = usize> {
        let images = match (self.image, self.transition) {
            (Image::Row(RowChange { old: Some(old), .. }, new), Transition::Stay) if self.seen_before => {
                Some((old, new))
            }
            _ => None,
        };
        images
            .into_iter()
            .flat_map(|(old, new)| {
                let differs = |(old, new): (&Datum, &Datum)| old.is_known() && new.is_known() && old != new;
                let pairs = old.values().iter().zip(new.values()).enumerate();
                pairs.filter(move |(_, pair)| differs(*pair)).map(|(index, _)| index)
            })
            .filter(|index| self.columns.contains(*index))
    }
}
