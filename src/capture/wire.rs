//! Bytes become names once: backend messages out of a read buffer, the messages inside of the copy stream, and the
//! status update that we send (manual, sections 55.4 "Streaming Replication Protocol" and 55.7 "Message Formats").
//!
//! A `CopyData` body is a slice of the buffer it was read into. A length that PostgreSQL cannot mean is refused by name
//! before anything is reserved for it.

use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::message::backend::{COPY_DATA_TAG, Header, Message};

use crate::model::Lsn;

/// Read in pieces of this size: large enough that one read takes what a burst left in the socket, small enough that a
/// row which is kept alone does not pin much (measured against 4 KiB and 256 KiB pieces: no faster, or more memory).
pub(super) const READ_BYTES: usize = 64 << 10;

/// PostgreSQL cannot build a message beyond 1 GiB (`MaxAllocSize`).
const MESSAGE_BYTES_MAX: usize = 1 << 30;

const COPY_BOTH_TAG: u8 = b'W';
const LENGTH_AT: usize = 5;

const XLOG_DATA: u8 = b'w';
const KEEPALIVE: u8 = b'k';
const STATUS_UPDATE: u8 = b'r';
/// Start, end and clock before the body of `XLogData`.
const XLOG_HEADER: usize = 24;
/// End, clock and the wish for an answer.
const KEEPALIVE_BODY: usize = 17;

/// What is wrong with the bytes.
pub(super) type Malformed = String;

/// One backend message.
pub(super) enum Incoming {
    /// The body of a `CopyData` message.
    Data(Bytes),
    /// `CopyBothResponse`: the stream begins.
    CopyBoth,
    /// Everything that an ordinary session knows too.
    Other(Message),
}

/// The read buffer, cut into messages.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) buffer: BytesMut,
}

impl Frames {
    /// The next whole message, or `None` until more is read; then there is room to read into.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Malformed> {
        let Some(header) = Header::parse(&self.buffer).map_err(|error| error.to_string())? else {
            self.make_room(LENGTH_AT);
            return Ok(None);
        };
        let total = usize::try_from(header.len()).map_err(|error| error.to_string())? + 1;
        if total > MESSAGE_BYTES_MAX {
            return Err(format!("a message of {total} bytes, which is over PostgreSQL's own limit"));
        }
        if self.buffer.len() < total {
            self.make_room(total);
            return Ok(None);
        }
        match header.tag() {
            COPY_DATA_TAG => Ok(Some(Incoming::Data(self.buffer.split_to(total).freeze().slice(LENGTH_AT..)))),
            COPY_BOTH_TAG => {
                self.buffer.advance(total);
                Ok(Some(Incoming::CopyBoth))
            }
            _ => Ok(Message::parse(&mut self.buffer).map_err(|error| error.to_string())?.map(Incoming::Other)),
        }
    }

    fn make_room(&mut self, total: usize) {
        let missing = total.saturating_sub(self.buffer.len());
        // A new piece only when the present one is used up: `reserve` moves a torn message to its front.
        if self.buffer.capacity() - self.buffer.len() < missing.max(READ_BYTES / 8) {
            self.buffer.reserve(missing.max(READ_BYTES));
        }
    }
}

/// A message of the server inside of the copy stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replication {
    /// `XLogData`: a piece of the output plugin's, with the position it belongs to.
    Data { wal_start: Lsn, body: Bytes },
    /// Everything before `wal_end` was sent; maybe the server wants to know what we have.
    Keepalive { wal_end: Lsn, answer: bool },
}

impl Replication {
    pub(super) fn parse(mut data: Bytes) -> Result<Self, Malformed> {
        let tag = data.first().copied().ok_or("an empty message in the copy stream")?;
        data.advance(1);
        match tag {
            XLOG_DATA if data.len() >= XLOG_HEADER => {
                let wal_start = Lsn(data.get_u64());
                data.advance(XLOG_HEADER - 8);
                Ok(Self::Data { wal_start, body: data })
            }
            KEEPALIVE if data.len() == KEEPALIVE_BODY => {
                let wal_end = Lsn(data.get_u64());
                data.advance(8);
                Ok(Self::Keepalive { wal_end, answer: data.get_u8() != 0 })
            }
            XLOG_DATA | KEEPALIVE => Err(format!("a {:?} message of {} bytes", char::from(tag), data.len())),
            _ => Err(format!("an unknown message {:?} in the copy stream", char::from(tag))),
        }
    }
}

/// A standby status update as a `CopyData` message: written, flushed and applied are all `lsn`, because what we wrote
/// and did not hand on is nothing. (With a written position ahead of it the server also stops telling where it is.)
pub(super) fn status_update(lsn: Lsn, ask: bool, now: SystemTime, out: &mut BytesMut) {
    out.put_u8(COPY_DATA_TAG);
    out.put_u32(4 + 1 + 4 * 8 + 1);
    out.put_u8(STATUS_UPDATE);
    (0..3).for_each(|_| out.put_u64(lsn.0));
    out.put_i64(postgres_micros(now));
    out.put_u8(u8::from(ask));
}

/// Microseconds since 2000-01-01 00:00 UTC, PostgreSQL's clock on the wire.
fn postgres_micros(now: SystemTime) -> i64 {
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_hours(10_957 * 24);
    now.duration_since(epoch).ok().and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Frames, Incoming, Replication, status_update};
    use crate::model::Lsn;
    use bytes::{BufMut, Bytes, BytesMut};
    use std::time::{Duration, SystemTime};

    fn copy_data(body: &[u8]) -> Vec<u8> {
        let mut out = vec![b'd'];
        out.put_u32(4 + body.len() as u32);
        out.extend_from_slice(body);
        out
    }

    fn xlog(lsn: u64, body: &[u8]) -> Vec<u8> {
        let mut out = vec![b'w'];
        out.put_u64(lsn);
        out.put_u64(lsn);
        out.put_u64(0);
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn a_message_is_cut_out_wherever_the_reads_tear_it() {
        let bytes: Vec<u8> = (0..20).flat_map(|n| copy_data(&xlog(n, b"hello"))).collect();
        for size in [1, 2, 7, 33, 34, 35, 1000] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(size) {
                frames.buffer.extend_from_slice(piece);
                while let Some(Incoming::Data(data)) = frames.next().unwrap() {
                    seen.push(Replication::parse(data).unwrap());
                }
            }
            let due = (0..20).map(|n| Replication::Data { wal_start: Lsn(n), body: Bytes::from_static(b"hello") });
            assert_eq!(seen, due.collect::<Vec<_>>(), "{size}");
        }
    }

    #[test]
    fn a_body_is_a_slice_of_the_read_buffer() {
        let mut frames = Frames::default();
        frames.buffer.extend_from_slice(&copy_data(&xlog(1, b"row")));
        let place = frames.buffer.as_ptr() as usize + 5 + 25;
        let Some(Incoming::Data(data)) = frames.next().unwrap() else { panic!("no data") };
        let Replication::Data { body, .. } = Replication::parse(data).unwrap() else { panic!("no row") };
        assert_eq!(body.as_ptr() as usize, place);
    }

    #[test]
    fn a_keepalive_tells_its_end_and_its_wish() {
        let mut body = vec![b'k'];
        body.put_u64(0x16_B374_D848);
        body.put_u64(1);
        body.put_u8(1);
        let due = Replication::Keepalive { wal_end: Lsn(0x16_B374_D848), answer: true };
        assert_eq!(Replication::parse(Bytes::from(body)), Ok(due));
    }

    #[test]
    fn bytes_that_mean_nothing_are_refused_and_never_a_panic() {
        for body in [&b""[..], b"w", b"k", b"x", b"w1234567", b"k1234567890123456789"] {
            assert!(Replication::parse(Bytes::copy_from_slice(body)).is_err(), "{body:?}");
        }
        for head in [[b'd', 0, 0, 0, 3], [b'd', 0xff, 0xff, 0xff, 0xff], [b'd', 0x7f, 0xff, 0xff, 0xff]] {
            let mut frames = Frames::default();
            frames.buffer.extend_from_slice(&head);
            assert!(frames.next().is_err(), "{head:?}");
        }
    }

    #[test]
    fn a_status_update_has_the_layout_of_the_manual() {
        let mut out = BytesMut::new();
        let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_801);
        status_update(Lsn(7), true, clock, &mut out);
        let mut due = vec![b'r'];
        (0..3).for_each(|_| due.put_u64(7));
        due.put_i64(1_000_000);
        due.put_u8(1);
        assert_eq!(out, copy_data(&due));
    }
}
