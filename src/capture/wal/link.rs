//! A session in replication mode: messages in, messages out, and plain queries before the stream begins.

use std::io;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::capture::wire::{self, Frames, Incoming};
use crate::model::Lsn;
use crate::postgres::{ConnectionError, Endpoint, ServerError, Stream, classify};

/// A row of a plain query, in text.
pub(super) type Row = Vec<Option<String>>;

/// The names a session is known by in errors.
#[derive(Clone, Debug)]
pub(super) struct ReplicationSession {
    pub(super) place: String,
    pub(super) user: String,
    pub(super) database: String,
}

/// An authenticated replication session.
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) frames: Frames,
    pub(super) session: ReplicationSession,
    /// What the server says of its version, such as `15.18 (Debian …)`.
    pub(super) version: String,
    /// Where it is connected to.
    pub(super) endpoint: Endpoint,
    /// Process and secret for a cancel request.
    pub(super) key: Option<(i32, i32)>,
    /// How long the answer to a query may take.
    pub(super) patience: Duration,
}

impl Link {
    /// 15 for `15.18`, 19 for `19beta1`.
    pub(super) fn major_version(&self) -> u32 {
        let digits = self.version.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// Runs one statement by the simple protocol.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, ConnectionError> {
        let patience = self.patience;
        let answer = tokio::time::timeout(patience, async {
            self.ask(sql).await?;
            self.answer().await
        });
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.session.lost(format!("no answer to a query within {} ms", patience.as_millis()))),
        }
    }

    /// Sends a statement and waits for nothing.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<(), ConnectionError> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|error| self.session.violation(error.to_string()))?;
        self.send(&out).await
    }

    /// The rows of a statement, or its error once the server is ready again.
    pub(super) async fn answer(&mut self) -> Result<Vec<Row>, ConnectionError> {
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            match self.receive().await? {
                Incoming::Other(Message::DataRow(row)) => rows.push(self.session.read_row(&row)?),
                Incoming::Other(Message::ErrorResponse(body)) => failed = Some(ServerError::read(body.fields())),
                Incoming::Other(Message::ReadyForQuery(_)) => break,
                Incoming::Other(_) => {}
                Incoming::Data(_) | Incoming::CopyBoth => {
                    return Err(self.session.violation("copy data came in answer to a query".to_owned()));
                }
            }
        }
        failed.map_or(Ok(rows), |server| Err(self.session.refused(server)))
    }

    /// The next message, whichever it is.
    pub(super) async fn receive(&mut self) -> Result<Incoming, ConnectionError> {
        loop {
            match self.next_frame()? {
                Some(incoming) => return Ok(incoming),
                None => self.read().await?,
            };
        }
    }

    /// The next message of those that are already read.
    pub(super) fn next_frame(&mut self) -> Result<Option<Incoming>, ConnectionError> {
        self.frames.next().map_err(|reason| self.session.violation(reason))
    }

    /// Reads what is there, at least one byte. Dropping the future loses nothing.
    pub(super) async fn read(&mut self) -> Result<usize, ConnectionError> {
        match self.stream.read_buf(&mut self.frames.buffer).await {
            Ok(0) => Err(self.session.lost("the server closed the connection".to_owned())),
            Ok(size) => Ok(size),
            Err(error) => Err(self.session.broken(&error)),
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| self.session.broken(&error))
    }

    /// Tells the server how far everything is safe with us.
    pub(super) async fn send_status(&mut self, lsn: Lsn, ask: bool) -> Result<(), ConnectionError> {
        let mut out = BytesMut::new();
        wire::status_update(lsn, ask, SystemTime::now(), &mut out);
        self.send(&out).await
    }

    /// Takes leave in the middle of the stream: the last position, the end of our side, the end of theirs.
    pub(super) async fn finish(&mut self, lsn: Lsn) -> Result<(), ConnectionError> {
        let mut out = BytesMut::new();
        wire::status_update(lsn, false, SystemTime::now(), &mut out);
        frontend::copy_done(&mut out);
        self.send(&out).await?;
        // What was on its way is sent again to whoever streams next.
        while !matches!(self.receive().await?, Incoming::Other(Message::ReadyForQuery(_))) {}
        out.clear();
        frontend::terminate(&mut out);
        self.send(&out).await
    }
}

impl ReplicationSession {
    pub(super) fn lost(&self, reason: String) -> ConnectionError {
        ConnectionError::ConnectionLost { place: self.place.clone(), reason }
    }

    pub(super) fn violation(&self, reason: String) -> ConnectionError {
        ConnectionError::ProtocolViolation { place: self.place.clone(), reason }
    }

    pub(super) fn broken(&self, error: &io::Error) -> ConnectionError {
        self.lost(error.to_string())
    }

    pub(super) fn refused(&self, server: ServerError) -> ConnectionError {
        classify(self.place.clone(), &self.user, &self.database, server)
    }

    fn read_row(&self, row: &DataRowBody) -> Result<Row, ConnectionError> {
        let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&row.buffer()[range]).into_owned();
        let columns: io::Result<Row> = row.ranges().map(|range| Ok(range.map(text))).collect();
        columns.map_err(|error| self.violation(format!("a data row that cannot be read ({error})")))
    }
}
