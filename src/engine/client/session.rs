//! One connected client: the protocol's state machine, its operations and its queue, each behind its own lock.
//!
//! Locks are taken in one order: conversation, then index, then lane, then queue. The dispatcher holds the index when
//! it queues, so nothing here asks for the conversation while it holds a queue.

mod conversation;
mod events;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::Clients;
use super::revocations::Requests;
use crate::adapter::Wake;
use crate::engine::deliver::Core;
use crate::engine::outbound::{Mailbox, Progress};
use crate::engine::rate::RateKey;
use crate::failure::{Failure, RetryAfter};
use crate::model::{Ending, OperationId, Principal, SessionId, SubscriptionId};
use crate::payload::Frame;
use crate::session::{Close, CloseCode, Dialect, Input, Phase, Session};

/// One connected client.
pub struct SessionHandle {
    clients: Arc<Clients>,
    address: Option<Box<str>>,
    dialect: Dialect,
    conversation: Mutex<Conversation>,
    mailbox: Arc<Mailbox>,
}

struct Conversation {
    machine: Session,
    principal: Option<Arc<Principal>>,
    /// What the answer of the `authenticate` hook is checked against.
    requests: Requests,
    /// Whose rates count: the address's until there is a principal.
    key: RateKey,
    operations: HashMap<OperationId, SubscriptionId>,
}

impl SessionHandle {
    pub(crate) fn new(
        clients: &Arc<Clients>,
        wake: Arc<dyn Wake>,
        address: Option<&str>,
        dialect: Dialect,
    ) -> Arc<Self> {
        let core = &clients.core;
        let limits = core.settings.session_limits();
        let machine = match dialect {
            Dialect::Socket => Session::new(limits, core.clock.now()),
            Dialect::Distinct | Dialect::Single => Session::of_stream(limits, dialect),
        };
        let key = core.rates.of_address(address);
        let mailbox = Mailbox::new(SessionId(core.next_id()), wake, Arc::clone(&core.outbound), &limits);
        Arc::new(SessionHandle {
            clients: Arc::clone(clients),
            address: address.map(Into::into),
            dialect,
            conversation: Mutex::new(Conversation {
                machine,
                principal: None,
                requests: Requests::default(),
                key,
                operations: HashMap::new(),
            }),
            mailbox,
        })
    }

    fn core(&self) -> &Arc<Core> {
        &self.clients.core
    }

    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The token by which the session is woken.
    pub fn id(&self) -> SessionId {
        self.mailbox.session()
    }

    /// The client sent text. JSON text of the `connection_init` payload (`null` without one) asks the caller to
    /// authenticate it and to answer with [`accept`](Self::accept) or [`refuse`](Self::refuse).
    pub fn receive_text(self: &Arc<Self>, text: &str) -> Option<Box<str>> {
        let mut conversation = self.conversation.lock();
        let input = match self.check_message(&conversation) {
            Ok(()) => Input::Text(text),
            Err(RetryAfter(seconds)) => Input::GoingAway(Close::too_many_messages(seconds)),
        };
        self.proceed(&mut conversation, input)
    }

    /// A closing session does not read its messages, so they do not count.
    fn check_message(&self, conversation: &Conversation) -> Result<(), RetryAfter> {
        match conversation.machine.phase() {
            Phase::AwaitingInit | Phase::Authenticating | Phase::Ready => {
                self.core().rates.check_message(conversation.key)
            }
            Phase::Closing | Phase::Closed => Ok(()),
        }
    }

    /// The client sent a binary frame.
    pub fn receive_binary(self: &Arc<Self>) {
        self.handle(Input::Binary);
    }

    /// The client is this principal; `payload` is a JSON object for the ack. Only an answer to the question counts:
    /// the principal of a conversation does not change. A principal that was revoked since the question was
    /// asked is refused.
    pub fn accept(self: &Arc<Self>, principal: Principal, payload: Option<&str>) {
        let expires = principal.expires_at.map(|at| self.core().clock.instant_of(at));
        let mut conversation = self.conversation.lock();
        if conversation.machine.phase() == Phase::Authenticating {
            let requests = std::mem::take(&mut conversation.requests);
            if let Some(close) = requests.close_of(&principal) {
                self.proceed(&mut conversation, Input::Refused(close));
                return;
            }
            conversation.key = self.core().rates.of_principal(&principal, self.address());
            conversation.principal = Some(Arc::new(principal));
            self.proceed(&mut conversation, Input::Accepted { ack_payload: payload, expires });
        }
    }

    /// The application refused the client, or its hook failed.
    pub fn refuse(self: &Arc<Self>, code: u16, reason: &str) {
        let close = match CloseCode::of(code) {
            Some(code) => Close::new(code, reason.to_owned()).after_flush(),
            None => Close::internal_error(),
        };
        self.handle(Input::Refused(close));
    }

    /// The server that holds the socket stops.
    pub fn leave(self: &Arc<Self>) {
        self.close(Close::shutting_down());
    }

    /// The socket is gone. Every operation ends, the queue is freed.
    pub fn disconnect(self: &Arc<Self>) {
        self.handle(Input::Disconnected);
        self.mailbox.finish(Close::shutting_down().at_once());
        self.clients.forget(self.id());
    }

    /// Up to `limit` frames to send, in order.
    pub fn take(&self, limit: usize) -> Vec<Frame> {
        self.mailbox.take(limit)
    }

    /// How the socket is to be closed, once it is.
    pub fn closing(&self) -> Option<Close> {
        self.mailbox.closing()
    }

    /// Where the client connected from, if that is known.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The server ends the session.
    pub(crate) fn close(self: &Arc<Self>, close: Close) {
        self.handle(Input::GoingAway(close));
    }

    /// The `authenticate` hook is about to be asked on behalf of an event stream.
    pub(crate) fn begin_authentication(&self) {
        self.conversation.lock().requests = self.clients.revocations.in_force();
    }

    /// Closes it if its principal is meant; whether that was so. One whose hook is being asked remembers the request.
    pub(crate) fn end_by(self: &Arc<Self>, ending: &Arc<Ending>, close: &Close) -> bool {
        self.end_if(close, |requests| requests.add(ending), |principal| ending.who.matches(principal))
    }

    /// Closes it if a request that was lost could name its principal; whether that was so.
    pub(crate) fn doubt(self: &Arc<Self>) -> bool {
        self.end_if(&Close::authenticate_again(), Requests::lose, Principal::can_be_named)
    }

    fn end_if(
        self: &Arc<Self>,
        close: &Close,
        remember: impl FnOnce(&mut Requests),
        is_meant: impl FnOnce(&Principal) -> bool,
    ) -> bool {
        let mut conversation = self.conversation.lock();
        let ends = match conversation.machine.phase() {
            Phase::Authenticating => {
                remember(&mut conversation.requests);
                false
            }
            Phase::Ready => conversation.principal.as_deref().is_some_and(is_meant),
            Phase::AwaitingInit | Phase::Closing | Phase::Closed => false,
        };
        if ends {
            self.proceed(&mut conversation, Input::GoingAway(close.clone()));
        }
        ends
    }

    /// The engine ends an operation with errors, unless its client has been quicker: then the id may belong to another
    /// operation by now.
    pub(crate) fn fail(
        self: &Arc<Self>,
        operation: &OperationId,
        subscription: SubscriptionId,
        failure: &Failure,
        progress: &Progress,
    ) {
        let mut conversation = self.conversation.lock();
        if conversation.operations.get(operation) == Some(&subscription) {
            conversation.operations.remove(operation);
            let errors = match self.mailbox.last_told(progress, failure) {
                Some(cursor) => failure.to_json_at(&cursor),
                None => failure.to_json(),
            };
            self.answer_with_errors(operation, &errors);
            self.proceed(&mut conversation, Input::OperationEnded(operation));
        }
    }

    /// When the protocol's next timer is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.conversation.lock().machine.poll_timeout()
    }

    /// Timers of the protocol and the age of the queue.
    pub(crate) fn on_time(self: &Arc<Self>, now: Instant) {
        if let Some(close) = self.mailbox.overdue(now) {
            self.close(close);
            // One that was closing already closes at once now, and that is all that changes.
            self.mailbox.ring();
        }
        let mut conversation = self.conversation.lock();
        if conversation.machine.poll_timeout().is_some_and(|at| at <= now) {
            conversation.machine.on_timeout(now);
            self.carry_out(&mut conversation);
        }
    }

    /// Ends the conversation of a session whose queue has overflowed; the queue itself says how the socket closes.
    pub(crate) fn end_slow(self: &Arc<Self>) {
        if let Some(close) = self.closing() {
            self.close(close);
        }
    }
}
