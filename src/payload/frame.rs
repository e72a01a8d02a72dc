//! A finished message around a shared body: `{"id":"<id>","type":"next","payload":` + body + `}`.
//!
//! A frame may replace earlier ones that are not sent. It says so in its extensions, whose end is the body's end.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use super::Transaction;
use super::body::{Body, EXTENSIONS_END};

/// One text frame in three parts. Cloning it copies no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    head: Bytes,
    body: Payload,
    tail: &'static str,
    /// How many events it stands for, its own included.
    events: u32,
}

/// What stands between head and tail.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Payload {
    Event(Bytes),
    Transaction(Arc<Transaction>),
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Payload::Event(body) => body.len(),
            Payload::Transaction(transaction) => transaction.len(),
        }
    }

    /// Where a mark may be put.
    fn open_end(&self) -> Option<&[u8]> {
        match self {
            Payload::Event(body) => body.strip_suffix(EXTENSIONS_END),
            Payload::Transaction(_) => None,
        }
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Payload::Event(body) => out.extend_from_slice(body),
            Payload::Transaction(transaction) => transaction.write_to(out),
        }
    }
}

impl Frame {
    /// A frame that is not shared.
    pub fn whole(text: impl Into<Bytes>) -> Self {
        Frame { head: text.into(), body: Payload::Event(Bytes::new()), tail: "", events: 1 }
    }

    /// A shared body behind a subscription's own head (see [`next_head`](Self::next_head)).
    pub fn next(head: Bytes, body: &Body) -> Self {
        Frame { head, body: Payload::Event(body.json().clone()), tail: "}", events: 1 }
    }

    /// The same around changes of a transaction.
    pub fn transaction(head: Bytes, transaction: Transaction) -> Self {
        Frame { head, body: Payload::Transaction(Arc::new(transaction)), tail: "}", events: 1 }
    }

    /// What precedes the body in each `next` of one operation; made once per subscription.
    pub fn next_head(operation_id: &str) -> Bytes {
        let id = serde_json::Value::from(operation_id);
        Bytes::from(format!(r#"{{"id":{id},"type":"next","payload":"#))
    }

    /// Bytes on the wire, without the WebSocket framing.
    #[allow(clippy::len_without_is_empty)] // no frame is empty
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len() + self.mark_len() + self.tail.len()
    }

    /// Makes it replace `earlier`, which is not sent: `extensions.rowcast.coalesced` says for how many events.
    pub fn stand_for(&mut self, earlier: &Frame) {
        self.events = self.events.saturating_add(earlier.events);
    }

    /// Whether no part of it is shared.
    pub fn is_whole(&self) -> bool {
        self.body.len() == 0
    }

    /// Appends the frame's text.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        self.write_body_to(out);
        out.extend_from_slice(self.tail.as_bytes());
    }

    /// Appends the shared body alone, with the mark of a coalesced one.
    pub fn write_body_to(&self, out: &mut Vec<u8>) {
        match self.body.open_end() {
            Some(open) if self.events > 1 => {
                out.extend_from_slice(open);
                out.extend_from_slice(MARK);
                let _ = write!(out, "{}", self.events); // a Vec takes everything
                out.extend_from_slice(EXTENSIONS_END);
            }
            _ => self.body.write_to(out),
        }
    }

    /// The body alone, without the mark; the text of an event is not copied.
    pub fn into_body(self) -> Bytes {
        match self.body {
            Payload::Event(body) => body,
            Payload::Transaction(transaction) => {
                let mut out = Vec::with_capacity(transaction.len());
                transaction.write_to(&mut out);
                out.into()
            }
        }
    }

    fn mark_len(&self) -> usize {
        let digits = || self.events.checked_ilog10().unwrap_or(0) as usize + 1;
        if self.events > 1 && self.body.open_end().is_some() { MARK.len() + digits() } else { 0 }
    }
}

const MARK: &[u8] = br#","coalesced":"#;

#[cfg(test)]
mod tests {
    use super::{Body, Frame};

    #[test]
    fn the_id_is_spliced_around_the_shared_body() {
        let frame = Frame::next(Frame::next_head("a\"\u{1}"), &Body::whole(r#"{"data":null}"#));
        let mut out = Vec::new();
        frame.write_to(&mut out);
        assert_eq!(out, br#"{"id":"a\"\u0001","type":"next","payload":{"data":null}}"#);
        assert_eq!(out.len(), frame.len());
    }

    #[test]
    fn a_frame_that_stands_for_others_says_for_how_many_in_its_extensions() {
        let frame = |n: u32| {
            let body = format!(r#"{{"data":{n},"extensions":{{"rowcast":{{"cursor":"{n}"}}}}}}"#);
            Frame::next(Frame::next_head("a"), &Body::whole(body))
        };
        let mut last = frame(12);
        for n in 1..12 {
            last.stand_for(&frame(n));
        }
        let mut out = Vec::new();
        last.write_to(&mut out);
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let extensions = serde_json::json!({"rowcast": {"cursor": "12", "coalesced": 12}});
        assert_eq!((&told["payload"]["extensions"], &told["payload"]["data"]), (&extensions, &12.into()));
        assert_eq!(out.len(), last.len());
    }
}
