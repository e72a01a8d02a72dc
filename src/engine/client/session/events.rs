//! A session as an event stream: the client's requests come one by one over HTTP, and answers go into the stream.

use std::sync::Arc;

use super::{Conversation, SessionHandle};
use crate::failure::{Failure, RetryAfter};
use crate::graphql::Request;
use crate::journal::Cursor;
use crate::model::OperationId;
use crate::payload::Frame;
use crate::session::{Admission, Dialect, Input, Route};

impl SessionHandle {
    /// Begins an operation. A failure is the answer to the request that asked for it; of a stream that has but one
    /// operation it is the stream's content as well.
    pub fn start(self: &Arc<Self>, id: &str, request: Request) -> Result<(), Failure> {
        let mut conversation = self.conversation.lock();
        self.check_message(&conversation).map_err(too_many_messages)?;
        let id = match conversation.machine.admit(id) {
            Some(Admission::Admitted(id)) => id,
            Some(Admission::Duplicate) => return Err(in_use()),
            Some(Admission::Full) => return Err(full()),
            None => return Err(closed()),
        };
        let here = self.core().here();
        let begun = self.begin(&mut conversation, &id, request);
        match &begun {
            Ok(()) => self.tell_start(&conversation, &id, here),
            Err(failure) => {
                self.refuse_operation(&id, failure);
                conversation.machine.handle(Input::OperationEnded(&id), self.core().clock.now());
            }
        }
        self.carry_out(&mut conversation);
        begun
    }

    /// The client completed an operation: the session sends nothing more for it.
    pub fn end(self: &Arc<Self>, id: &str) {
        self.handle(Input::Completed(id));
    }

    /// The client opened the stream that it had reserved.
    pub fn claim(self: &Arc<Self>) {
        self.handle(Input::Claimed);
    }

    /// Up to `limit` frames as they go over the wire.
    pub fn take_events(&self, limit: usize) -> Vec<u8> {
        let events = self.mailbox.take_with_cursors(limit);
        let mut text = Vec::with_capacity(events.iter().map(|(frame, _)| frame.len() + 64).sum());
        for (frame, cursor) in &events {
            let cursor = cursor.as_deref().filter(|_| self.dialect == Dialect::Distinct);
            self.dialect.write(frame, cursor, &mut text);
        }
        text
    }

    /// The text after the last frame, if the server ends the stream early.
    pub fn farewell(self: &Arc<Self>) -> Option<Box<str>> {
        // A queue that has overflowed closes a moment before its session does.
        self.end_slow();
        self.conversation.lock().machine.take_farewell()
    }

    /// Sends the cursor from which an `EventSource` can resume if it loses its stream before the first result. A client
    /// that resumes, or that has received a result since, has a cursor already; the same thread sends results, so this
    /// goes out before them. Inside a snapshot a client cannot resume.
    fn tell_start(&self, conversation: &Conversation, id: &OperationId, here: Option<Cursor>) {
        let (Dialect::Distinct, Some(here)) = (self.dialect, here) else { return };
        let subscription = conversation.operations.get(id).and_then(|id| {
            let index = self.core().index.lock();
            index.find(*id).filter(|_| !index.is_held(*id))
        });
        if subscription.is_some_and(|subscription| subscription.progress.last_told().is_none()) {
            let frame = Frame::whole(format!("id: {here}\n\n"));
            self.mailbox.transmit(Route::Control, frame, self.core().clock.now());
        }
    }

    fn refuse_operation(&self, id: &OperationId, failure: &Failure) {
        match self.dialect {
            Dialect::Single => {}
            Dialect::Distinct | Dialect::Socket => self.answer_with_errors(id, &failure.to_json()),
        }
    }
}

fn too_many_messages(after: RetryAfter) -> Failure {
    Failure::rate_limited("requests", after)
}

fn in_use() -> Failure {
    Failure::new("OPERATION_EXISTS", "an operation with this id is active in the stream: complete it first")
}

fn full() -> Failure {
    Failure::new("OPERATION_LIMIT", "the stream has as many operations as it may: complete one first")
}

fn closed() -> Failure {
    Failure::new("STREAM_CLOSED", "the stream has ended: open another one")
}
