//! Subscribes that a client pipelines behind an unanswered `connection_init`.
//!
//! They are kept as text, because only the text's size is known: parsed variables may take a hundred times as much
//! memory, and this client is not authenticated yet.

/// Subscribes in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    held: Vec<Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    id: Box<str>,
    text: Box<str>,
}

/// What becomes of a `subscribe` that came early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// It waits.
    Held,
    /// One with its id waits already.
    Duplicate,
    /// More than is kept for a client that is not authenticated yet.
    Full,
}

impl Backlog {
    pub(super) fn hold(&mut self, id: &str, text: &str, bytes_max: usize) -> Holding {
        if self.held.iter().any(|held| &*held.id == id) {
            return Holding::Duplicate;
        }
        let held = Held { id: id.into(), text: text.into() };
        let bytes = self.bytes + held.cost();
        if bytes > bytes_max {
            return Holding::Full;
        }
        self.bytes = bytes;
        self.held.push(held);
        Holding::Held
    }

    /// The client changed its mind: the operation never starts.
    pub(super) fn complete(&mut self, id: &str) {
        self.held.retain(|held| &*held.id != id);
        self.bytes = self.held.iter().map(Held::cost).sum();
    }

    /// The messages, to be handled as if they came now.
    pub(super) fn into_texts(self) -> impl Iterator<Item = Box<str>> {
        self.held.into_iter().map(|held| held.text)
    }
}

impl Held {
    fn cost(&self) -> usize {
        size_of::<Held>() + self.id.len() + self.text.len()
    }
}
