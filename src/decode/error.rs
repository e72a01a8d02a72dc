//! Errors in a stream. Every offset counts from the message's tag; an error never contains a row value.

use crate::model::Lsn;

/// The stream cannot be trusted from here on.
///
/// The caller must drop the connection and [`reset`](super::Decoder::reset) the decoder: the server repeats the
/// transaction from its beginning. If the same error occurs again at the same place, the defect is in the server, in
/// something between, or in rowcast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A field reaches beyond the end of the message.
    #[error("{what} at byte {at} needs {needed} bytes, the message has {left} left; reconnect")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Where it begins.
        at: usize,
        /// How long it says it is.
        needed: usize,
        /// How much there is.
        left: usize,
    },
    /// A length or count is negative.
    #[error("{what} at byte {at} has the length {length}; reconnect")]
    NegativeLength {
        /// The field.
        what: &'static str,
        /// Where its length stands.
        at: usize,
        /// The length.
        length: i32,
    },
    /// A string has no terminating zero.
    #[error("{what} at byte {at} does not end; reconnect")]
    Unterminated {
        /// The field.
        what: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// A string or value is not UTF-8.
    #[error("{what} at byte {at} is not UTF-8; connect with client_encoding=UTF8")]
    NotUtf8 {
        /// The field.
        what: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// A one-byte mark has a meaning that protocol version 1 does not know.
    #[error("{what} at byte {at} is {mark:#04x}, which pgoutput protocol 1 does not have; ask for proto_version '1'")]
    UnknownMark {
        /// Which mark: of the message, of a row image, of a column, of a replica identity.
        what: &'static str,
        /// Where it stands.
        at: usize,
        /// The byte.
        mark: u8,
    },
    /// A column came in binary format.
    #[error("the column at byte {at} is in binary format; leave the plugin's option binary off")]
    BinaryColumn {
        /// Where it stands.
        at: usize,
    },
    /// The message goes on after its end.
    #[error("{left} bytes follow the message's end at byte {at}; reconnect")]
    Trailing {
        /// Where the message ends.
        at: usize,
        /// How much follows.
        left: usize,
    },
    /// A change, an origin or a transactional message came outside Begin and Commit.
    #[error("{what} came outside a transaction; reconnect")]
    OutsideTransaction {
        /// The message's name.
        what: &'static str,
    },
    /// A second Begin came before Commit.
    #[error("a transaction began while the one that commits at {open} was open; reset the decoder and reconnect")]
    NestedBegin {
        /// The open transaction's commit LSN.
        open: Lsn,
    },
    /// Commit ends another transaction than the one that Begin opened.
    #[error("Begin announced the commit at {begin}, Commit says {commit}; reconnect")]
    CommitMismatch {
        /// `Begin.final_lsn`.
        begin: Lsn,
        /// `Commit.lsn`.
        commit: Lsn,
    },
    /// A change names a relation that no Relation message has described.
    #[error("relation {oid} was not described before its first change; reconnect")]
    UnknownRelation {
        /// `pg_class.oid`.
        oid: u32,
    },
    /// A row image has another number of columns than its Relation message.
    #[error("a row of relation {oid} has {sent} columns, its description has {described}; reconnect")]
    ColumnCount {
        /// `pg_class.oid`.
        oid: u32,
        /// In the row image.
        sent: usize,
        /// In the Relation message.
        described: usize,
    },
    /// A transaction has more changes than a position can number.
    #[error("the transaction that commits at {commit_lsn} has more than 4294967295 changes; split it")]
    TooManyChanges {
        /// Its commit LSN.
        commit_lsn: Lsn,
    },
}

impl DecodeError {
    /// A stable name for logs, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            DecodeError::Truncated { .. } => "DECODE_TRUNCATED",
            DecodeError::NegativeLength { .. } => "DECODE_NEGATIVE_LENGTH",
            DecodeError::Unterminated { .. } => "DECODE_UNTERMINATED",
            DecodeError::NotUtf8 { .. } => "DECODE_NOT_UTF8",
            DecodeError::UnknownMark { .. } => "DECODE_UNKNOWN_MARK",
            DecodeError::BinaryColumn { .. } => "DECODE_BINARY_COLUMN",
            DecodeError::Trailing { .. } => "DECODE_TRAILING",
            DecodeError::OutsideTransaction { .. } => "DECODE_OUTSIDE_TRANSACTION",
            DecodeError::NestedBegin { .. } => "DECODE_NESTED_BEGIN",
            DecodeError::CommitMismatch { .. } => "DECODE_COMMIT_MISMATCH",
            DecodeError::UnknownRelation { .. } => "DECODE_UNKNOWN_RELATION",
            DecodeError::ColumnCount { .. } => "DECODE_COLUMN_COUNT",
            DecodeError::TooManyChanges { .. } => "DECODE_TOO_MANY_CHANGES",
        }
    }
}
