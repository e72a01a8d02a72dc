//! Runs one connection: reads bytes, hands them over, sends status updates in time, and returns how it ended.
//!
//! While the consumer is full nothing is read, so TCP slows the server down; status updates go out all the same, so the
//! server does not take a slow consumer for a dead one.

use std::time::Instant;

use postgres_protocol::message::backend::Message;
use tokio::sync::mpsc;

use super::feedback::{Feedback, Step};
use super::link::Link;
use crate::capture::error::CaptureError;
use crate::capture::handover::Parcel;
use crate::capture::supervisor::{ConnectionEnd, Ends};
use crate::capture::wire::{Incoming, Replication};
use crate::model::Lsn;
use crate::postgres::{ConnectionError, ServerError};

/// What the pump works with; all of it outlives the connection.
pub(super) struct Pump<'a> {
    pub(super) ends: Ends<'a>,
    /// What the watch over the publication found.
    pub(super) alarm: &'a mut mpsc::Receiver<CaptureError>,
    /// Names the missing publication.
    pub(super) publication: &'a str,
    /// The furthest position that was read.
    pub(super) seen: &'a mut Lsn,
}

/// What woke the pump.
enum Woken {
    Stop,
    Alarm(CaptureError),
    Read(Result<usize, ConnectionError>),
    Handed(Result<(), crate::capture::handover::Gone>),
    Moved,
    Time,
}

impl Pump<'_> {
    /// Runs until the connection ends.
    pub(super) async fn run(mut self, link: &mut Link, mut feedback: Feedback) -> ConnectionEnd {
        let mut waiting: Option<Parcel> = None;
        loop {
            if waiting.is_none() {
                waiting = match self.parse(link, &mut feedback) {
                    Ok(parcel) => parcel,
                    // What was whole before the end still counts.
                    Err((parcel, error)) => return self.hand_over_last(parcel, error).await,
                };
            }
            feedback.acknowledge(self.ends.acknowledged.get());
            let until = match feedback.step(waiting.is_none(), Instant::now()) {
                Step::WaitUntil(until) => until,
                Step::GiveUp => {
                    return ConnectionEnd::Broken(
                        link.session.lost("the server was silent for too long".to_owned()).into(),
                    );
                }
                Step::GiveWay => {
                    return ConnectionEnd::Broken(link.session.lost("the server is shutting down".to_owned()).into());
                }
                Step::Tell { ask } => {
                    let lsn = feedback.tell(ask, Instant::now());
                    match link.send_status(lsn, ask).await {
                        Ok(()) => continue,
                        Err(error) => return ConnectionEnd::Broken(error.into()),
                    }
                }
            };
            match self.wait(link, &mut waiting, &feedback, until).await {
                Woken::Stop | Woken::Handed(Err(_)) => return ConnectionEnd::Stopped,
                Woken::Alarm(error) => return ConnectionEnd::Broken(error),
                Woken::Read(Err(error)) => return ConnectionEnd::Broken(error.into()),
                // The engine paused reading, so the server was not silent.
                Woken::Read(Ok(_)) | Woken::Handed(Ok(())) => feedback.heard(Instant::now()),
                Woken::Moved | Woken::Time => {}
            }
        }
    }

    async fn wait(
        &mut self,
        link: &mut Link,
        waiting: &mut Option<Parcel>,
        feedback: &Feedback,
        until: Instant,
    ) -> Woken {
        let room = tokio::select! {
            biased;
            _ = &mut *self.ends.stop => return Woken::Stop,
            Some(error) = self.alarm.recv() => return Woken::Alarm(error),
            room = self.ends.giver.room_for(waiting.as_ref()) => room,
            read = link.read(), if waiting.is_none() => return Woken::Read(read),
            () = self.ends.acknowledged.beyond(feedback.known()), if feedback.is_moved_by_progress() => return Woken::Moved,
            () = tokio::time::sleep_until(until.into()) => return Woken::Time,
        };
        Woken::Handed(room.and_then(|room| waiting.take().map_or(Ok(()), |parcel| self.ends.giver.send(parcel, room))))
    }

    /// Everything that is whole in the buffer. An error comes with what was whole before it.
    fn parse(&mut self, link: &mut Link, feedback: &mut Feedback) -> Result<Option<Parcel>, (Parcel, CaptureError)> {
        let mut items = Vec::new();
        loop {
            match self.parse_one(link, feedback) {
                Ok(Some(item)) => items.push(item),
                Ok(None) if items.is_empty() => return Ok(None),
                Ok(None) => return Ok(Some(Parcel::new(items))),
                Err(error) => return Err((Parcel::new(items), error)),
            }
        }
    }

    fn parse_one(&mut self, link: &mut Link, feedback: &mut Feedback) -> Result<Option<Replication>, CaptureError> {
        while let Some(incoming) = link.next_frame()? {
            match incoming {
                Incoming::Data(data) => {
                    let item = Replication::parse(data).map_err(|reason| link.session.violation(reason))?;
                    match item {
                        Replication::Keepalive { wal_end, answer } => {
                            *self.seen = wal_end.max(*self.seen);
                            if answer {
                                feedback.asked(wal_end, Instant::now());
                            }
                        }
                        Replication::Data { wal_start, .. } => *self.seen = wal_start.max(*self.seen),
                    }
                    return Ok(Some(item));
                }
                Incoming::Other(Message::ErrorResponse(body)) => {
                    return Err(self.explain(link, ServerError::read(body.fields())));
                }
                Incoming::Other(Message::NoticeResponse(body)) => self.heed(link, &ServerError::read(body.fields()))?,
                Incoming::Other(Message::CopyDone | Message::CommandComplete(_)) => {
                    return Err(link
                        .session
                        .lost("the server ended the stream; it is shutting down".to_owned())
                        .into());
                }
                Incoming::Other(Message::ParameterStatus(_)) => {}
                Incoming::Other(_) | Incoming::CopyBoth => {
                    return Err(link.session.violation("an unexpected message came in the stream".to_owned()).into());
                }
            }
        }
        Ok(None)
    }

    /// Before version 18 a missing publication is an error at the first change.
    fn explain(&self, link: &Link, server: ServerError) -> CaptureError {
        if server.sqlstate == "42704" { self.publication_missing(link) } else { link.session.refused(server).into() }
    }

    fn heed(&self, link: &Link, notice: &ServerError) -> Result<(), CaptureError> {
        if notice.tells_a_skipped_publication() {
            return Err(self.publication_missing(link));
        }
        tracing::debug!(place = link.session.place, %notice, "a notice came in the stream");
        Ok(())
    }

    fn publication_missing(&self, link: &Link) -> CaptureError {
        let place = link.session.place.clone();
        CaptureError::PublicationMissing { place, publication: self.publication.to_owned() }
    }

    async fn hand_over_last(self, parcel: Parcel, error: CaptureError) -> ConnectionEnd {
        tokio::select! {
            biased;
            _ = &mut *self.ends.stop => ConnectionEnd::Stopped,
            room = self.ends.giver.room_for(Some(&parcel)) => match room.and_then(|room| self.ends.giver.send(parcel, room)) {
                Ok(()) => ConnectionEnd::Broken(error),
                Err(_) => ConnectionEnd::Stopped,
            },
        }
    }
}
