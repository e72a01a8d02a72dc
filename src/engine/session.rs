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

use super::core::Core;
use super::evict::Eviction;
use super::pace::Sender;
use super::rate::Key;
use super::revoke::Requests;
use super::subscription::Progress;
use crate::adapter::Wake;
use crate::failure::{Failure, RetryAfter};
use crate::journal::Cursor;
use crate::model::{Ending, OperationId, Position, Principal, SessionId, SubscriptionId};
use crate::payload::Frame;
use crate::session::{Bound, Close, CloseCode, Dialect, Input, Overflow, Phase, Pushed, Queue, RowNews, Session};

/// Frames of about this many bytes are handed out at once; the rest stays in the queue, where it is seen.
const TAKE_BYTES: usize = 256 * 1024;

/// One connected client.
pub struct SessionHandle {
    id: SessionId,
    core: Arc<Core>,
    wake: Arc<dyn Wake>,
    address: Option<Box<str>>,
    dialect: Dialect,
    conversation: Mutex<Conversation>,
    queue: Mutex<Queue>,
    sender: Sender,
}

struct Conversation {
    machine: Session,
    principal: Option<Arc<Principal>>,
    /// What the answer of the `authenticate` hook is checked against.
    requests: Requests,
    /// Whose rates count: the address's until there is a principal.
    key: Key,
    operations: HashMap<OperationId, SubscriptionId>,
}

impl SessionHandle {
    pub(super) fn new(core: &Arc<Core>, wake: Arc<dyn Wake>, address: Option<&str>, dialect: Dialect) -> Arc<Self> {
        let limits = core.settings.session_limits();
        let machine = match dialect {
            Dialect::Socket => Session::new(limits, core.clock.now()),
            Dialect::Distinct | Dialect::Single => Session::of_stream(limits, dialect),
        };
        let key = core.rates.of_address(address);
        Arc::new(SessionHandle {
            id: core.registry.next_session_id(),
            core: Arc::clone(core),
            wake,
            address: address.map(Into::into),
            dialect,
            conversation: Mutex::new(Conversation {
                machine,
                principal: None,
                requests: Requests::default(),
                key,
                operations: HashMap::new(),
            }),
            queue: Mutex::new(Queue::new(&limits)),
            sender: Sender::new(limits.queue_bytes_max),
        })
    }

    /// The token by which the session is woken.
    pub fn id(&self) -> SessionId {
        self.id
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

    /// What a session that closes still gets is read by nobody.
    fn check_message(&self, conversation: &Conversation) -> Result<(), RetryAfter> {
        match conversation.machine.phase() {
            Phase::AwaitingInit | Phase::Authenticating | Phase::Ready => {
                self.core.rates.check_message(conversation.key)
            }
            Phase::Closing | Phase::Closed => Ok(()),
        }
    }

    /// The client sent a binary frame.
    pub fn receive_binary(self: &Arc<Self>) {
        self.handle(Input::Binary);
    }

    /// The client is this principal; `payload` is a JSON object for the ack. Only an answer to the question counts:
    /// nobody becomes somebody else in the middle of a conversation. A principal that was revoked since the question was
    /// asked is refused.
    pub fn accept(self: &Arc<Self>, principal: Principal, payload: Option<&str>) {
        let expires = principal.expires_at.map(|at| self.core.clock.instant_of(at));
        let mut conversation = self.conversation.lock();
        if conversation.machine.phase() == Phase::Authenticating {
            let requests = std::mem::take(&mut conversation.requests);
            if let Some(close) = requests.close_of(&principal) {
                self.proceed(&mut conversation, Input::Refused(close));
                return;
            }
            conversation.key = self.core.rates.of_principal(&principal, self.address());
            conversation.principal = Some(Arc::new(principal));
            self.proceed(&mut conversation, Input::Accepted { ack_payload: payload, expires });
        }
    }

    /// The client is nobody that we know, or its hook failed.
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
        self.finish(Close::shutting_down().at_once());
        if self.core.registry.remove_session(self.id) {
            self.core.metrics.sessions.sub(1);
        }
    }

    /// Up to `limit` frames to send, in order.
    pub fn take(&self, limit: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut queue = self.queue.lock();
        queue.take(limit, TAKE_BYTES, &mut frames);
        self.sender.came(queue.bytes(), &self.core.pace);
        frames
    }

    /// Whether much more fits.
    pub(super) fn has_room(&self) -> bool {
        self.queue.lock().bytes() <= self.core.settings.queue_bytes_max / 16
    }

    /// Where the sender stands, for the pace of the stream.
    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// What waits for the client, as its bound counts it.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.lock().bytes()
    }

    /// How the socket is to be closed, once it is.
    pub fn closing(&self) -> Option<Close> {
        self.queue.lock().closing().cloned()
    }

    /// Queues a result, unless its subscription has ended: that is asked under the queue's lock, so that nothing comes
    /// after a client's `complete` has purged the queue.
    pub(super) fn tell(
        &self,
        to: &Progress,
        operation: &OperationId,
        frame: Frame,
        at: Option<Position>,
        row: Option<RowNews>,
        now: Instant,
    ) {
        let mut queue = self.queue.lock();
        if to.is_live() {
            if let Some(position) = at {
                to.told(position);
            }
            let pushed = match row {
                Some(row) => queue.push_row(operation, frame, at, row, now),
                None => queue.push(operation, frame, at, now),
            };
            self.sender.queued(queue.bytes(), &self.core.pace);
            self.pushed(queue, pushed);
        }
    }

    /// An operation begins, which may be told something `behind` what others were told that committed later.
    pub(super) fn begins(&self, behind: bool) {
        self.queue.lock().begins(behind);
    }

    /// The positions of what is queued or was taken are of a history that is about to be left.
    pub(super) fn leave_history(&self) {
        self.queue.lock().forget_positions();
    }

    /// Where the client connected from, if that is known.
    pub(super) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The server ends the session.
    pub(super) fn close(self: &Arc<Self>, close: Close) {
        self.handle(Input::GoingAway(close));
    }

    /// The `authenticate` hook is about to be asked on behalf of an event stream.
    pub(super) fn begin_authentication(&self) {
        self.conversation.lock().requests = self.core.revocations.in_force();
    }

    /// Closes it if its principal is meant; whether that was so. One whose hook is being asked remembers the request.
    pub(super) fn end_by(self: &Arc<Self>, ending: &Arc<Ending>, close: &Close) -> bool {
        self.end_if(close, |requests| requests.add(ending), |principal| ending.who.matches(principal))
    }

    /// Closes it if a request that was lost could name its principal; whether that was so.
    pub(super) fn doubt(self: &Arc<Self>) -> bool {
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
    pub(super) fn fail(
        self: &Arc<Self>,
        operation: &OperationId,
        subscription: SubscriptionId,
        failure: &Failure,
        progress: &Progress,
    ) {
        let mut conversation = self.conversation.lock();
        if conversation.operations.get(operation) == Some(&subscription) {
            conversation.operations.remove(operation);
            let errors = match self.last_told(progress, failure) {
                Some(cursor) => failure.to_json_at(&cursor),
                None => failure.to_json(),
            };
            self.answer_with_errors(operation, &errors);
            self.proceed(&mut conversation, Input::OperationEnded(operation));
        }
    }

    /// When the protocol's next timer is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.conversation.lock().machine.poll_timeout()
    }

    /// Timers of the protocol and the age of the queue.
    pub(super) fn on_time(self: &Arc<Self>, now: Instant) {
        let overflow = self.overdue(now);
        if let Some(overflow) = overflow {
            self.sender.came(0, &self.core.pace);
            self.close(self.slow_client(overflow));
            // One that was closing already closes at once now, and that is all that changes.
            self.wake.wake(self.id.0);
        }
        let mut conversation = self.conversation.lock();
        if conversation.machine.poll_timeout().is_some_and(|at| at <= now) {
            conversation.machine.on_timeout(now);
            self.carry_out(&mut conversation);
        }
    }

    /// Ends the conversation of a session whose queue has overflowed; the queue itself says how the socket closes.
    pub(super) fn end_slow(self: &Arc<Self>) {
        if let Some(close) = self.closing() {
            self.close(close);
        }
    }

    /// Lets nothing more into the queue; what is in it goes out first or not at all, as `close` says.
    fn finish(&self, close: Close) {
        let mut queue = self.queue.lock();
        queue.finish(close);
        self.sender.came(queue.bytes(), &self.core.pace);
    }

    fn pushed(&self, mut queue: parking_lot::MutexGuard<'_, Queue>, pushed: Pushed) {
        self.count_folded(&mut queue);
        match pushed {
            Pushed::More | Pushed::Shut => {}
            Pushed::First => {
                self.sender.rung();
                drop(queue);
                self.wake.wake(self.id.0);
            }
            Pushed::Overflow(overflow) => {
                queue.finish(self.slow_client(overflow));
                self.sender.came(0, &self.core.pace);
                drop(queue);
                self.wake.wake(self.id.0);
                self.core.evictions.send(Eviction::SlowClient(self.id));
            }
        }
    }

    fn overdue(&self, now: Instant) -> Option<Overflow> {
        let mut queue = self.queue.lock();
        let overflow = queue.overdue(now);
        self.count_folded(&mut queue);
        overflow
    }

    fn count_folded(&self, queue: &mut Queue) {
        match queue.take_folded() {
            0 => {}
            folded => self.core.metrics.coalesced_total.add(folded),
        }
    }

    fn slow_client(&self, overflow: Overflow) -> Close {
        self.core.metrics.slow_clients_total.add(1);
        let setting = match overflow.bound {
            Bound::Bytes => "queue_bytes_max",
            Bound::Age => "queue_age_max_s",
        };
        tracing::info!(
            setting,
            dropped = overflow.dropped,
            "closing a client that reads too slowly: {setting} is reached"
        );
        let origin = self.core.origin();
        let cursor = overflow.resume_after.map(|position| Cursor { origin, position }.to_string());
        Close::slow_client(cursor.as_deref())
    }

    fn last_told(&self, progress: &Progress, failure: &Failure) -> Option<String> {
        let _queue = self.queue.lock();
        let origin = failure.told_in().unwrap_or_else(|| self.core.origin());
        progress.last_told().map(|position| Cursor { origin, position }.to_string())
    }
}
