//! Parses one message of the `pgoutput` plugin, protocol version 1 (manual, section 55.9 "Logical Replication Message
//! Formats").
//!
//! A [`Row`] decodes its images only when they are needed: a row of a table that is not watched costs five bytes of
//! reading. Streamed (version 2) and two-phase (version 3) messages are not requested and are refused.

use bytes::Bytes;

use super::DecodeError;
use super::cursor::Cursor;
use crate::model::{Lsn, Operation, ReplicaIdentity, Timestamp};

const BEGIN: u8 = b'B';
const COMMIT: u8 = b'C';
const ORIGIN: u8 = b'O';
const RELATION: u8 = b'R';
const TYPE: u8 = b'Y';
const INSERT: u8 = b'I';
const UPDATE: u8 = b'U';
const DELETE: u8 = b'D';
const TRUNCATE: u8 = b'T';
const MESSAGE: u8 = b'M';

const IMAGE_KEY: u8 = b'K';
const IMAGE_OLD: u8 = b'O';
const IMAGE_NEW: u8 = b'N';

const COLUMN_NULL: u8 = b'n';
const COLUMN_UNCHANGED: u8 = b'u';
const COLUMN_TEXT: u8 = b't';
const COLUMN_BINARY: u8 = b'b';

const MESSAGE_IS_TRANSACTIONAL: u8 = 1;

/// Microseconds from 1970-01-01 to 2000-01-01, where the server's clock begins.
const SERVER_EPOCH: i64 = 946_684_800_000_000;

/// One message, by name.
pub(super) enum Message<'a> {
    Begin { commit_lsn: Lsn, committed_at: Timestamp, xid: u32 },
    Commit { commit_lsn: Lsn, end_lsn: Lsn },
    Origin,
    Relation(Description<'a>),
    Type,
    Row(Row<'a>),
    Truncate { relations: Vec<u32> },
    Logical { transactional: bool, prefix: &'a str, content: Bytes },
}

/// A table as a Relation message describes it.
pub(super) struct Description<'a> {
    pub(super) oid: u32,
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    pub(super) identity: ReplicaIdentity,
    pub(super) columns: Vec<(&'a str, u32)>,
}

/// A changed row whose images have not been read yet.
pub(super) struct Row<'a> {
    pub(super) operation: Operation,
    pub(super) relation: u32,
    images: Cursor<'a>,
}

/// Which image of a row follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WireImage {
    /// The old row's identity columns; all others are sent as if they were NULL.
    Key,
    /// The whole old row.
    Old,
    /// The new row.
    New,
}

/// One column of an image.
pub(super) enum Value {
    Null,
    Unchanged,
    Text(Bytes),
}

impl<'a> Message<'a> {
    pub(super) fn parse(frame: &'a Bytes) -> Result<Message<'a>, DecodeError> {
        let mut cursor = Cursor::new(frame);
        let tag = cursor.u8("the message's tag")?;
        let message = match tag {
            INSERT => return Row::parse(Operation::Insert, cursor),
            UPDATE => return Row::parse(Operation::Update, cursor),
            DELETE => return Row::parse(Operation::Delete, cursor),
            BEGIN => begin(&mut cursor)?,
            COMMIT => commit(&mut cursor)?,
            ORIGIN => origin(&mut cursor)?,
            RELATION => Message::Relation(Description::parse(&mut cursor)?),
            TYPE => type_name(&mut cursor)?,
            TRUNCATE => truncate(&mut cursor)?,
            MESSAGE => logical(&mut cursor)?,
            mark => return Err(DecodeError::UnknownMark { what: "the message's tag", at: 0, mark }),
        };
        cursor.finish()?;
        Ok(message)
    }
}

fn begin<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    Ok(Message::Begin {
        commit_lsn: Lsn(cursor.u64("Begin's final LSN")?),
        committed_at: Timestamp(cursor.i64("Begin's commit time")?.saturating_add(SERVER_EPOCH)),
        xid: cursor.u32("Begin's transaction id")?,
    })
}

fn commit<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    cursor.u8("Commit's flags")?;
    let commit_lsn = Lsn(cursor.u64("Commit's LSN")?);
    let end_lsn = Lsn(cursor.u64("Commit's end LSN")?);
    cursor.i64("Commit's time")?;
    Ok(Message::Commit { commit_lsn, end_lsn })
}

fn origin<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    cursor.u64("Origin's LSN")?;
    cursor.string("Origin's name")?;
    Ok(Message::Origin)
}

fn type_name<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    cursor.u32("Type's OID")?;
    cursor.string("Type's schema")?;
    cursor.string("Type's name")?;
    Ok(Message::Type)
}

fn truncate<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let count = cursor.count32("Truncate's number of relations")?;
    cursor.u8("Truncate's options")?;
    // Collecting stops at the message's end, so a count that lies allocates nothing beyond it.
    let relations = (0..count).map(|_| cursor.u32("Truncate's relation")).collect::<Result<_, _>>()?;
    Ok(Message::Truncate { relations })
}

fn logical<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let flags = cursor.u8("Message's flags")?;
    cursor.u64("Message's LSN")?;
    let prefix = cursor.string("Message's prefix")?;
    let content = cursor.sized("Message's content")?;
    Ok(Message::Logical { transactional: flags & MESSAGE_IS_TRANSACTIONAL != 0, prefix, content })
}

impl<'a> Description<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let oid = cursor.u32("Relation's OID")?;
        // The server shortens pg_catalog to nothing.
        let schema = match cursor.string("Relation's schema")? {
            "" => "pg_catalog",
            schema => schema,
        };
        let name = cursor.string("Relation's name")?;
        let identity = identity(cursor)?;
        let count = cursor.count16("Relation's number of columns")?;
        let columns = (0..count).map(|_| column(cursor)).collect::<Result<_, _>>()?;
        Ok(Description { oid, schema, name, identity, columns })
    }
}

fn identity(cursor: &mut Cursor<'_>) -> Result<ReplicaIdentity, DecodeError> {
    let at = cursor.at();
    match cursor.u8("Relation's replica identity")? {
        b'd' => Ok(ReplicaIdentity::Default),
        b'n' => Ok(ReplicaIdentity::Nothing),
        b'f' => Ok(ReplicaIdentity::Full),
        b'i' => Ok(ReplicaIdentity::Index),
        mark => Err(DecodeError::UnknownMark { what: "Relation's replica identity", at, mark }),
    }
}

fn column<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, u32), DecodeError> {
    cursor.u8("a column's flags")?;
    let name = cursor.string("a column's name")?;
    let type_oid = cursor.u32("a column's type")?;
    cursor.u32("a column's type modifier")?;
    Ok((name, type_oid))
}

impl<'a> Row<'a> {
    fn parse(operation: Operation, mut images: Cursor<'a>) -> Result<Message<'a>, DecodeError> {
        let relation = images.u32("the row's relation")?;
        Ok(Message::Row(Row { operation, relation, images }))
    }

    /// Reads the images that the operation has, old before new, each through `read`, and nothing after them.
    pub(super) fn images<T>(
        mut self,
        mut read: impl FnMut(WireImage, &mut Columns<'_, 'a>) -> Result<T, DecodeError>,
    ) -> Result<(Option<T>, Option<T>), DecodeError> {
        let mut next = |row: &mut Self, image| read(image, &mut Columns(&mut row.images));
        let images = match (self.operation, self.image()?) {
            (Operation::Insert | Operation::Update, (_, WireImage::New)) => {
                (None, Some(next(&mut self, WireImage::New)?))
            }
            (Operation::Update, (_, image)) => {
                let old = next(&mut self, image)?;
                self.expect_new()?;
                (Some(old), Some(next(&mut self, WireImage::New)?))
            }
            (Operation::Delete, (_, image @ (WireImage::Key | WireImage::Old))) => {
                (Some(next(&mut self, image)?), None)
            }
            (_, (at, image)) => return Err(misplaced(at, image)),
        };
        self.images.finish()?;
        Ok(images)
    }

    fn image(&mut self) -> Result<(usize, WireImage), DecodeError> {
        let at = self.images.at();
        match self.images.u8("a row image's mark")? {
            IMAGE_KEY => Ok((at, WireImage::Key)),
            IMAGE_OLD => Ok((at, WireImage::Old)),
            IMAGE_NEW => Ok((at, WireImage::New)),
            mark => Err(DecodeError::UnknownMark { what: "a row image's mark", at, mark }),
        }
    }

    fn expect_new(&mut self) -> Result<(), DecodeError> {
        match self.image()? {
            (_, WireImage::New) => Ok(()),
            (at, image) => Err(misplaced(at, image)),
        }
    }
}

/// An image that its operation does not have at this place, such as an INSERT's old row.
fn misplaced(at: usize, image: WireImage) -> DecodeError {
    let mark = match image {
        WireImage::Key => IMAGE_KEY,
        WireImage::Old => IMAGE_OLD,
        WireImage::New => IMAGE_NEW,
    };
    DecodeError::UnknownMark { what: "a row image's mark, misplaced,", at, mark }
}

/// The columns of one image, to be read in order: first their number, then each.
pub(super) struct Columns<'c, 'a>(&'c mut Cursor<'a>);

impl Columns<'_, '_> {
    pub(super) fn count(&mut self) -> Result<usize, DecodeError> {
        self.0.count16("a row image's number of columns")
    }

    pub(super) fn value(&mut self) -> Result<Value, DecodeError> {
        let at = self.0.at();
        match self.0.u8("a column's mark")? {
            COLUMN_TEXT => self.0.text("a column's value").map(Value::Text),
            COLUMN_NULL => Ok(Value::Null),
            COLUMN_UNCHANGED => Ok(Value::Unchanged),
            mark => Err(unknown_column(at, mark)),
        }
    }

    /// Passes over a column that the table does not have.
    pub(super) fn skip(&mut self) -> Result<(), DecodeError> {
        let at = self.0.at();
        match self.0.u8("a column's mark")? {
            COLUMN_TEXT => self.0.skip_sized("a column's value"),
            COLUMN_NULL | COLUMN_UNCHANGED => Ok(()),
            mark => Err(unknown_column(at, mark)),
        }
    }
}

fn unknown_column(at: usize, mark: u8) -> DecodeError {
    match mark {
        COLUMN_BINARY => DecodeError::BinaryColumn { at },
        mark => DecodeError::UnknownMark { what: "a column's mark", at, mark },
    }
}
