//! A finished message around a shared body: `{"id":"<id>","type":"next","payload":` + body + `}`.

use bytes::Bytes;

/// One text frame in three parts. Cloning it copies no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    head: Bytes,
    body: Bytes,
    tail: &'static str,
}

impl Frame {
    /// A frame that nobody shares.
    pub fn whole(text: impl Into<Bytes>) -> Self {
        Frame { head: text.into(), body: Bytes::new(), tail: "" }
    }

    /// A shared body behind a subscription's own head (see [`next_head`](Self::next_head)).
    pub fn next(head: Bytes, body: Bytes) -> Self {
        Frame { head, body, tail: "}" }
    }

    /// What precedes the body in each `next` of one operation; made once per subscription.
    pub fn next_head(operation_id: &str) -> Bytes {
        let id = serde_json::Value::from(operation_id);
        Bytes::from(format!(r#"{{"id":{id},"type":"next","payload":"#))
    }

    /// Bytes on the wire, without the WebSocket framing.
    #[allow(clippy::len_without_is_empty)] // no frame is empty
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len() + self.tail.len()
    }

    /// Whether nobody shares any of it.
    pub fn is_whole(&self) -> bool {
        self.body.is_empty()
    }

    /// Appends the frame's text.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        self.write_body_to(out);
        out.extend_from_slice(self.tail.as_bytes());
    }

    /// Appends the shared body alone.
    pub fn write_body_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.body);
    }
}

#[cfg(test)]
mod tests {
    use super::Frame;

    #[test]
    fn the_id_is_spliced_around_the_shared_body() {
        let frame = Frame::next(Frame::next_head("a\"\u{1}"), r#"{"data":null}"#.into());
        let mut out = Vec::new();
        frame.write_to(&mut out);
        assert_eq!(out, br#"{"id":"a\"\u0001","type":"next","payload":{"data":null}}"#);
        assert_eq!(out.len(), frame.len());
    }
}
