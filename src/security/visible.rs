//! The witness that an event passed the gate for somebody, and with which image.

use crate::model::{Event, RowChange, Transition, Tuple};

/// What of the event may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image<'a> {
    /// The whole row, to those who see it now.
    Row(&'a RowChange, &'a Tuple),
    /// The key alone, out of this old image: the row left the view.
    Key(&'a RowChange, &'a Tuple),
    /// No row: a TRUNCATE or a message.
    None,
}

/// An event as one group of subscribers may see it. Made by the gate alone; the encoder takes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visible<'a> {
    event: &'a Event,
    image: Image<'a>,
    transition: Transition,
}

impl<'a> Visible<'a> {
    /// Only the gate may call this.
    pub(super) fn new(event: &'a Event, image: Image<'a>, transition: Transition) -> Self {
        Visible { event, image, transition }
    }

    /// A witness without a gate, so that the encoder can be tested alone.
    #[cfg(test)]
    pub(crate) fn for_test(event: &'a Event, image: Image<'a>, transition: Transition) -> Self {
        Visible::new(event, image, transition)
    }

    /// A witness without a gate, so that the encoder can be measured alone. No build that ships has this feature.
    #[cfg(feature = "bench")]
    pub fn for_bench(event: &'a Event, image: Image<'a>, transition: Transition) -> Self {
        Visible::new(event, image, transition)
    }

    /// The event.
    pub fn event(&self) -> &'a Event {
        self.event
    }

    /// What of it may be told.
    pub fn image(&self) -> Image<'a> {
        self.image
    }

    /// What it means to the group's view.
    pub fn transition(&self) -> Transition {
        self.transition
    }
}
