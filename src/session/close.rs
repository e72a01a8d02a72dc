//! How a session ends: a code, a reason that fits its frame, and whether queued frames go out first.
//!
//! The code decides what becomes of the user's subscription, because the stock client (npm `graphql-ws`) reconnects
//! and resubscribes after some codes and gives up for good after others. So every end that a reconnect can mend closes
//! with a code that is retried, and a code that is never retried says that the client itself is at fault.
//!
//! | code | when | stock client |
//! |---|---|---|
//! | 1000 | the client's own end | retries if subscriptions are active |
//! | 1001 | shutdown | retries |
//! | 1012 | restart; a revoke may be among changes that were lost | retries |
//! | 1013 | overload, slow client, connections beyond their rate | retries |
//! | 3008 | no answer to a ping | retries |
//! | 4400 | a malformed or misdirected message | gives up |
//! | 4401 | subscribe before `connection_init` | gives up |
//! | 4403 | refused, expired, revoked | retries with fresh `connectionParams` |
//! | 4406 | other subprotocol | gives up |
//! | 4408 | no `connection_init` in time | retries |
//! | 4409 | an id that is still active | gives up |
//! | 4429 | a second `connection_init`, messages beyond their rate | gives up |
//! | 4500 | a fault of the server or of its hooks | gives up |
//!
//! 3008 is the registered code for a timeout (IANA WebSocket Close Code Number Registry). 4408 would claim that the
//! init was late, 1013 that the server is busy; both would mislead an operator who reads the log.

use std::borrow::Cow;

/// A control frame holds 125 bytes, two of which are the code (RFC 6455, section 5.5).
pub const REASON_BYTES_MAX: usize = 123;

const SLOW_CLIENT: &str = "slow client";

/// Why the socket closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000
    Normal,
    /// 1001: this process shuts down.
    GoingAway,
    /// 1012: this process restarts.
    ServiceRestart,
    /// 1013: the server is overloaded, or the client reads too slowly.
    TryAgainLater,
    /// 3008: the client sent nothing in time.
    Timeout,
    /// 4400: a message that the protocol does not have.
    BadRequest,
    /// 4401: subscribe before `connection_init`.
    Unauthorized,
    /// 4403: the application refused the client or revoked its access.
    Forbidden,
    /// 4406: the client speaks another subprotocol.
    SubprotocolNotAcceptable,
    /// 4408: no `connection_init` in time.
    InitTimeout,
    /// 4409: the operation id is active.
    SubscriberExists,
    /// 4429: more than one `connection_init`, or messages beyond their rate.
    TooManyInits,
    /// 4500: an error in the server or in a hook.
    InternalError,
    /// A code of the application's own.
    Application(ApplicationCode),
}

/// A close code between 3000 and 4999 that [`CloseCode`] has no name for. Made by [`CloseCode::of`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApplicationCode(u16);

/// What the stock client does when it sees a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Reconnects and subscribes again.
    Always,
    /// Reconnects if a subscription is active.
    WhileSubscribed,
    /// Hands the close event to the user as an error.
    Never,
}

impl CloseCode {
    /// All codes with a name.
    const NAMED: [CloseCode; 13] = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::ServiceRestart,
        CloseCode::TryAgainLater,
        CloseCode::Timeout,
        CloseCode::BadRequest,
        CloseCode::Unauthorized,
        CloseCode::Forbidden,
        CloseCode::SubprotocolNotAcceptable,
        CloseCode::InitTimeout,
        CloseCode::SubscriberExists,
        CloseCode::TooManyInits,
        CloseCode::InternalError,
    ];

    /// The code that an application asked for: one of the named ones or any from 3000 to 4999. The rest of the
    /// numbers is not ours to send.
    pub fn of(code: u16) -> Option<CloseCode> {
        let application = || (3000..=4999).contains(&code).then_some(CloseCode::Application(ApplicationCode(code)));
        Self::NAMED.into_iter().find(|named| named.code() == code).or_else(application)
    }

    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            CloseCode::Normal => 1000,
            CloseCode::GoingAway => 1001,
            CloseCode::ServiceRestart => 1012,
            CloseCode::TryAgainLater => 1013,
            CloseCode::Timeout => 3008,
            CloseCode::BadRequest => 4400,
            CloseCode::Unauthorized => 4401,
            CloseCode::Forbidden => 4403,
            CloseCode::SubprotocolNotAcceptable => 4406,
            CloseCode::InitTimeout => 4408,
            CloseCode::SubscriberExists => 4409,
            CloseCode::TooManyInits => 4429,
            CloseCode::InternalError => 4500,
            CloseCode::Application(ApplicationCode(code)) => code,
        }
    }

    /// What npm `graphql-ws` does on seeing this code.
    pub fn stock_client(self) -> Retry {
        match self {
            CloseCode::Normal => Retry::WhileSubscribed,
            CloseCode::BadRequest
            | CloseCode::Unauthorized
            | CloseCode::SubprotocolNotAcceptable
            | CloseCode::SubscriberExists
            | CloseCode::TooManyInits
            | CloseCode::InternalError
            // BadResponse and InternalClientError, which only a client should send.
            | CloseCode::Application(ApplicationCode(4004 | 4005)) => Retry::Never,
            CloseCode::GoingAway
            | CloseCode::ServiceRestart
            | CloseCode::TryAgainLater
            | CloseCode::Timeout
            | CloseCode::Forbidden
            | CloseCode::InitTimeout
            | CloseCode::Application(_) => Retry::Always,
        }
    }
}

/// The end of a session. Its reason fits a close frame: [`Close::new`] sees to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    code: CloseCode,
    reason: Cow<'static, str>,
    flush: bool,
}

impl Close {
    /// An end at once: what is queued is dropped. The reason is cut to [`REASON_BYTES_MAX`], never inside a character.
    pub fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Close { code, reason: fit(reason.into(), REASON_BYTES_MAX), flush: false }
    }

    /// The same end, after what is queued has been sent.
    #[must_use]
    pub fn after_flush(self) -> Self {
        Close { flush: true, ..self }
    }

    /// The same end, at once.
    #[must_use]
    pub fn at_once(self) -> Self {
        Close { flush: false, ..self }
    }

    /// The code.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The reason: at most [`REASON_BYTES_MAX`] bytes.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether queued frames go out first.
    pub fn flush(&self) -> bool {
        self.flush
    }

    /// The process shuts down. Subscriptions get no `complete`: to a stock client that would be their regular end,
    /// whereas after 1001 alone it reconnects and resubscribes.
    pub fn shutting_down() -> Self {
        Close::new(CloseCode::GoingAway, "Going away").after_flush()
    }

    /// The process restarts.
    pub fn restarting() -> Self {
        Close::new(CloseCode::ServiceRestart, "Service restart").after_flush()
    }

    /// Changes were lost, perhaps including a request to close this session: the client reconnects, and the application
    /// authenticates it again.
    pub fn authenticate_again() -> Self {
        Close::new(CloseCode::ServiceRestart, "Changes were lost: authenticate again").after_flush()
    }

    /// The server cannot take more.
    pub fn overloaded() -> Self {
        Close::new(CloseCode::TryAgainLater, "Overloaded, try again later")
    }

    /// The client read too slowly (see [`Overflow`](super::Overflow)). A cursor that would not fit is left out, since
    /// half a cursor is worse than none.
    pub fn slow_client(resume_after: Option<&str>) -> Self {
        let reason = resume_after
            .map(|cursor| format!("{SLOW_CLIENT}; resume after {cursor}"))
            .filter(|reason| reason.len() <= REASON_BYTES_MAX)
            .map_or(Cow::Borrowed(SLOW_CLIENT), Cow::Owned);
        Close::new(CloseCode::TryAgainLater, reason)
    }

    /// Whether it was made by [`slow_client`](Self::slow_client).
    pub(super) fn is_slow_client(&self) -> bool {
        self.code == CloseCode::TryAgainLater && self.reason.starts_with(SLOW_CLIENT)
    }

    /// More messages than the principal may send. The client is at fault, and a reconnect would not help.
    pub fn too_many_messages(retry_after_s: u64) -> Self {
        Close::new(CloseCode::TooManyInits, format!("RATE_LIMITED: try again in {retry_after_s} s"))
    }

    /// The token has expired. The stock client reconnects with a fresh one.
    pub fn expired() -> Self {
        Close::new(CloseCode::Forbidden, "Forbidden: credentials expired")
    }

    /// The application revoked access.
    pub fn revoked() -> Self {
        Close::new(CloseCode::Forbidden, "Forbidden: credentials revoked")
    }

    /// The application's `authenticate` refused the client.
    pub fn forbidden() -> Self {
        Close::new(CloseCode::Forbidden, "Forbidden").after_flush()
    }

    /// A hook or the server raised an error. The error itself stays in the server's log.
    pub fn internal_error() -> Self {
        Close::new(CloseCode::InternalError, "Internal server error")
    }

    /// The socket was opened without a subprotocol that we speak.
    pub fn subprotocol_not_acceptable() -> Self {
        Close::new(CloseCode::SubprotocolNotAcceptable, "Subprotocol not acceptable")
    }

    /// The only operation of an event stream has ended.
    pub(super) fn completed() -> Self {
        Close::new(CloseCode::Normal, "Completed").after_flush()
    }

    /// The client did not open the event stream that it reserved.
    pub(super) fn unclaimed() -> Self {
        Close::new(CloseCode::InitTimeout, "The reserved stream was not opened in time")
    }

    pub(super) fn init_timeout() -> Self {
        Close::new(CloseCode::InitTimeout, "Connection initialisation timeout")
    }

    pub(super) fn unresponsive() -> Self {
        Close::new(CloseCode::Timeout, "No answer to ping")
    }

    pub(super) fn unauthorized() -> Self {
        Close::new(CloseCode::Unauthorized, "Unauthorized")
    }

    pub(super) fn too_many_inits() -> Self {
        Close::new(CloseCode::TooManyInits, "Too many initialisation requests")
    }

    /// A long id is shortened, so that the words around it survive.
    pub(super) fn subscriber_exists(id: &str) -> Self {
        const ID_BYTES_MAX: usize = REASON_BYTES_MAX - "Subscriber for  already exists".len();
        let id = fit(Cow::Borrowed(id), ID_BYTES_MAX);
        Close::new(CloseCode::SubscriberExists, format!("Subscriber for {id} already exists"))
    }
}

/// `text`, or as many of its characters as leave room for an ellipsis.
fn fit(text: Cow<'_, str>, bytes_max: usize) -> Cow<'_, str> {
    const ELLIPSIS: &str = "…";
    if text.len() <= bytes_max {
        return text;
    }
    let kept = text.floor_char_boundary(bytes_max - ELLIPSIS.len());
    Cow::Owned(format!("{}{ELLIPSIS}", &text[..kept]))
}

#[cfg(test)]
mod tests {
    use super::{Close, CloseCode, REASON_BYTES_MAX, Retry};

    #[test]
    fn rule_38_a_reason_is_cut_to_123_bytes_between_two_characters() {
        for filler in ["x", "é", "€", "🦀"] {
            for length in 0..200 {
                let close =
                    Close::new(CloseCode::BadRequest, format!("{}{}", "x".repeat(length % 4), filler.repeat(length)));
                assert!(close.reason().len() <= REASON_BYTES_MAX, "{}", close.reason());
            }
        }
        assert_eq!(Close::new(CloseCode::BadRequest, "x".repeat(123)).reason(), "x".repeat(123));
        assert_eq!(Close::new(CloseCode::BadRequest, "x".repeat(124)).reason(), format!("{}…", "x".repeat(120)));
    }

    #[test]
    fn rule_40_a_long_id_is_shortened_and_the_sentence_around_it_survives() {
        assert_eq!(Close::subscriber_exists("ü").reason(), "Subscriber for ü already exists");
        let close = Close::subscriber_exists(&"🦀".repeat(300));
        assert!(close.reason().starts_with("Subscriber for 🦀") && close.reason().ends_with("…\u{20}already exists"));
    }

    #[test]
    fn a_cursor_is_told_whole_or_not_at_all() {
        assert_eq!(Close::slow_client(Some("0/1A2B-3")).reason(), "slow client; resume after 0/1A2B-3");
        assert_eq!(Close::slow_client(Some(&"c".repeat(110))).reason(), "slow client");
        assert_eq!(Close::slow_client(None).reason(), "slow client");
    }

    #[test]
    fn every_end_that_a_reconnect_can_mend_is_retried_by_the_stock_client() {
        let mendable = [
            Close::shutting_down(),
            Close::restarting(),
            Close::authenticate_again(),
            Close::overloaded(),
            Close::slow_client(None),
            Close::expired(),
            Close::revoked(),
            Close::init_timeout(),
            Close::unresponsive(),
        ];
        for close in mendable {
            assert_eq!(close.code().stock_client(), Retry::Always, "{close:?}");
        }
    }

    #[test]
    fn the_stock_client_gives_up_exactly_on_the_codes_that_its_source_lists() {
        let fatal: Vec<u16> = (1000..=4999)
            .filter_map(CloseCode::of)
            .filter(|code| code.stock_client() == Retry::Never)
            .map(CloseCode::code)
            .collect();
        assert_eq!(fatal, [4004, 4005, 4400, 4401, 4406, 4409, 4429, 4500]);
    }

    #[test]
    fn an_application_cannot_choose_a_code_that_must_not_be_sent() {
        for code in [0, 999, 1002, 1005, 1006, 1011, 1015, 2999, 5000, u16::MAX] {
            assert_eq!(CloseCode::of(code), None, "{code}");
        }
        for code in [1000, 1013, 3000, 4403, 4999] {
            assert_eq!(CloseCode::of(code).map(CloseCode::code), Some(code));
        }
    }
}
