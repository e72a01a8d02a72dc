//! What the protocol's state machine asks for, carried out.

use std::sync::Arc;

use bytes::Bytes;

use super::{Conversation, SessionHandle};
use crate::engine::deliver::Sink;
use crate::engine::serve::{Subscribe, Subscribed, answer};
use crate::failure::Failure;
use crate::model::{OperationId, Request, SubscriptionId};
use crate::payload::{Body, Frame};
use crate::session::{Action, Input, ServerMessage};

impl SessionHandle {
    pub(super) fn handle(self: &Arc<Self>, input: Input<'_>) -> Option<Box<str>> {
        self.proceed(&mut self.conversation.lock(), input)
    }

    pub(super) fn proceed(self: &Arc<Self>, conversation: &mut Conversation, input: Input<'_>) -> Option<Box<str>> {
        conversation.machine.handle(input, self.core().clock.now());
        self.carry_out(conversation)
    }

    pub(super) fn carry_out(self: &Arc<Self>, conversation: &mut Conversation) -> Option<Box<str>> {
        let mut credentials = None;
        while let Some(action) = conversation.machine.poll_action() {
            match action {
                Action::Authenticate { payload } => {
                    conversation.requests = self.clients.revocations.in_force();
                    credentials = Some(payload.map_or("null".into(), |payload| payload.as_str().into()));
                }
                Action::Subscribe { id, request } => self.subscribe(conversation, &id, request),
                Action::Release { id } => self.release(conversation, &id),
                Action::Purge { id } => self.mailbox.purge(&id),
                Action::Transmit { frame, lane } => self.mailbox.transmit(lane, frame, self.core().clock.now()),
                Action::Close(close) => {
                    self.mailbox.finish(close);
                    self.mailbox.ring();
                }
            }
        }
        credentials
    }

    fn subscribe(self: &Arc<Self>, conversation: &mut Conversation, id: &OperationId, request: Request) {
        if let Err(failure) = self.begin(conversation, id, request) {
            self.answer_with_errors(id, &failure.to_json());
            conversation.machine.handle(Input::OperationEnded(id), self.core().clock.now());
        }
    }

    /// Starts what the machine has admitted. A failure is for the caller to tell, who also ends the operation.
    pub(super) fn begin(
        self: &Arc<Self>,
        conversation: &mut Conversation,
        id: &OperationId,
        request: Request,
    ) -> Result<(), Failure> {
        let principal = conversation.principal.clone().unwrap_or_default();
        let head = self.dialect.next_head(id);
        let sink = Sink::Session { mailbox: Arc::clone(&self.mailbox), operation: id.clone(), head };
        self.core().rates.check_subscribe(conversation.key)?;
        if self.core().live()?.schema.introspects(&request) {
            self.core().rates.check_introspection(conversation.key)?;
        }
        let (core, rates) = (self.core(), conversation.key);
        let subscribe = Subscribe { core, principal: &principal, rates, request: &Arc::new(request), sink };
        match subscribe.begin()? {
            Subscribed::Live(subscription) => {
                conversation.operations.insert(id.clone(), subscription);
            }
            Subscribed::Entities(reading, live, asked) => {
                let runtime = self.core().runtime.get().filter(|_| self.core().by_key.get().is_some());
                let runtime = runtime.ok_or_else(Failure::entities_unsupported)?;
                conversation.operations.insert(id.clone(), reading);
                let (session, id) = (Arc::clone(self), id.clone());
                runtime.spawn(async move {
                    let answer = answer(session.core(), &live, &principal, &asked).await;
                    session.answer_later(&id, reading, answer);
                });
            }
            Subscribed::Answer(body) => {
                self.answer(id, body);
                conversation.machine.handle(Input::OperationEnded(id), self.core().clock.now());
            }
        }
        Ok(())
    }

    /// Does nothing if the client completed the operation first: its id may now be another operation's.
    fn answer_later(self: &Arc<Self>, id: &OperationId, reading: SubscriptionId, answer: Result<Bytes, Failure>) {
        let mut conversation = self.conversation.lock();
        if conversation.operations.get(id) != Some(&reading) {
            return;
        }
        conversation.operations.remove(id);
        match answer {
            Ok(body) => self.answer(id, body),
            Err(failure) => self.answer_with_errors(id, &failure.to_json()),
        }
        self.proceed(&mut conversation, Input::OperationEnded(id));
    }

    fn release(&self, conversation: &mut Conversation, id: &OperationId) {
        if let Some(subscription) = conversation.operations.remove(id) {
            self.core().complete(subscription);
        }
    }

    fn answer(&self, id: &OperationId, body: Bytes) {
        self.queue(id, Frame::next(self.dialect.next_head(id), &Body::whole(body)));
        self.queue(id, self.dialect.frame(ServerMessage::Complete { id }));
    }

    pub(super) fn answer_with_errors(&self, id: &OperationId, errors: &str) {
        self.queue(id, self.dialect.frame(ServerMessage::Error { id, errors }));
    }

    fn queue(&self, id: &OperationId, frame: Frame) {
        self.mailbox.answer(id, frame, self.core().clock.now());
    }
}
