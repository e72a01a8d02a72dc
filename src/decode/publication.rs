//! The content of logical messages: with the prefix `rowcast.publish` `{"topic": …, "tenant": …, "payload": …}`, with
//! `rowcast.close` an [`Ending`].
//!
//! Any role that may call `pg_logical_emit_message` can write one by hand, so a malformed one is set aside with a
//! reason and does not stop the stream.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{Ending, Message};

/// Why a message was set aside. The message's words are not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ignored {
    /// The content is not UTF-8.
    #[error("a rowcast.publish message is not UTF-8; publish with rowcast.publish()")]
    NotUtf8,
    /// The content is not a JSON object with a text `topic`, a `tenant` that is text or null, and a `payload`.
    #[error(
        "a rowcast.publish message is not {{topic, tenant, payload}} (line {line}, column {column}); publish with rowcast.publish()"
    )]
    NotAPublication {
        /// Where the content goes wrong, counted from 1.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// The content is larger than what `rowcast.revoke` and `rowcast.disconnect` write.
    #[error(
        "a rowcast.close message has more than {ENDING_BYTES_MAX} bytes: use rowcast.revoke() or rowcast.disconnect()"
    )]
    EndingTooLong,
    /// The content is not what `rowcast.revoke` and `rowcast.disconnect` write.
    #[error(
        "a rowcast.close message is malformed (line {line}, column {column}): use rowcast.revoke() or rowcast.disconnect()"
    )]
    NotAnEnding {
        /// Where the content goes wrong, counted from 1.
        line: usize,
        /// Where in that line.
        column: usize,
    },
}

/// Bytes of a request to close sessions, as `rowcast.close_sessions` has it: engines keep requests for a while.
const ENDING_BYTES_MAX: usize = 8192;

impl Ignored {
    /// A stable name for logs, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Ignored::NotUtf8 => "PUBLISH_NOT_UTF8",
            Ignored::NotAPublication { .. } => "PUBLISH_MALFORMED",
            Ignored::EndingTooLong | Ignored::NotAnEnding { .. } => "CLOSE_MALFORMED",
        }
    }
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    /// Required, though it may be null: a misspelt key must not make a tenant's message public.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    tenant: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// The message, its payload a slice of `content`.
pub(super) fn parse(content: &Bytes) -> Result<Message, Ignored> {
    let text = std::str::from_utf8(content).map_err(|_| Ignored::NotUtf8)?;
    let publication: Publication<'_> = serde_json::from_str(text)
        .map_err(|error| Ignored::NotAPublication { line: error.line(), column: error.column() })?;
    Ok(Message {
        topic: publication.topic.into(),
        tenant: publication.tenant.map(Into::into),
        payload: content.slice_ref(publication.payload.get().as_bytes()),
    })
}

/// A request to close sessions.
pub(super) fn ending(content: &Bytes) -> Result<Ending, Ignored> {
    if content.len() > ENDING_BYTES_MAX {
        return Err(Ignored::EndingTooLong);
    }
    serde_json::from_slice(content).map_err(|error| Ignored::NotAnEnding { line: error.line(), column: error.column() })
}

/// What `rowcast.announce` writes, as far as it matters.
#[derive(Deserialize)]
struct Announcement<'a> {
    #[serde(borrow)]
    change: Cow<'a, str>,
    oid: u32,
}

/// The table whose changes were lost, if that is what an announcement says.
pub(super) fn lost(content: &Bytes) -> Option<u32> {
    let announcement: Announcement<'_> = serde_json::from_slice(content).ok()?;
    (announcement.change == "coverage").then_some(announcement.oid)
}
