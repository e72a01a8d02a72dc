//! Evaluates delegated policies: PostgreSQL decides whether a row image is visible.
//!
//! A question is a condition, evaluated as one role with certain settings, and row images as JSON. The result is
//! a verdict for each image, in the images' order, or the reason why the question cannot be evaluated. The images of one question are
//! decided by one statement in one read-only transaction of its own; all statements of a trip are on the wire before the
//! first answer is awaited, so that a trip with many questions still costs about one round trip.
//!
//! - One statement in its own read-only transaction decides all images of a question.
//! - All statements of a trip are sent before the first answer is awaited. A trip costs about one round trip, with any
//!   number of questions.
//! - An image that makes the condition raise does not affect other images.
//! - A role or setting ends with its transaction, which always ends in ROLLBACK.
//! - No call lasts longer than [`Probe::patience`]. A call that is dropped does not leave a session in a transaction.
//! - An image that lacks a column that the condition reads is not sent. An error never makes a row visible.
//! - Errors never contain a row value or a setting.
//!
//! Policies whose text means something else than what is stored cannot be delegated. They are found when the catalog is
//! read: see [`unbound`].

mod bind;
mod error;
mod fetch;
mod image;
mod pages;
mod reading;
mod session;
mod split;
mod statement;
mod survey;
mod trip;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{BuildError, Object, PoolError, Timeouts};
use tokio::time::Instant;

pub use error::ProbeError;
pub use fetch::{Fetch, Fetched};
pub use image::image;
pub use pages::{Moment, Pages, Scan, Texts};
pub use survey::unbound;

use crate::security::{Question, Reads};
use error::Trouble;
use session::{Lease, Names, Sessions};
use split::Parts;

/// Connecting, waiting for a free session included.
const CONNECT: Duration = Duration::from_secs(10);

/// Rounds in which PostgreSQL only parsed a statement again. One is usual after a change, and two for a new role.
const STALE_ROUNDS_MAX: usize = 8;

/// PostgreSQL's result for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowVerdict {
    /// The condition is true.
    Visible,
    /// It is false or NULL.
    Hidden,
    /// It raised an error on this image; the SQLSTATE.
    Raised(Box<str>),
    /// The statement with this image ran into the time limit. If it had other images too, one of those may be the
    /// cause.
    TimedOut,
    /// The time of the call was over before its turn came.
    Unasked,
}

/// One question and the images to decide.
#[derive(Clone, Debug)]
pub struct Ask {
    /// As whom, and what.
    pub question: Arc<Question>,
    /// Each as [`image`] makes it.
    pub images: Vec<Arc<str>>,
}

/// A pool of separate sessions, opened when the first question arrives.
pub struct Probe {
    pool: deadpool::managed::Pool<Sessions>,
    statement_timeout: Duration,
}

impl Probe {
    /// At most so many sessions; a statement that runs longer than the timeout is cancelled by the server.
    pub fn new(
        manager: deadpool_postgres::Manager,
        sessions: usize,
        statement_timeout: Duration,
    ) -> Result<Self, BuildError> {
        let pool = deadpool::managed::Pool::builder(Sessions { manager, statement_timeout })
            .max_size(sessions)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(CONNECT), create: Some(CONNECT), recycle: Some(CONNECT) })
            .build()?;
        Ok(Probe { pool, statement_timeout })
    }

    /// How long a call may take, connecting apart: a statement's time, as much again for others that wait behind it,
    /// and a moment for the wire.
    pub fn patience(&self) -> Duration {
        self.statement_timeout * 2 + Duration::from_millis(250)
    }

    /// A verdict for each image.
    pub async fn ask(&self, question: &Arc<Question>, images: &[Arc<str>]) -> Result<Vec<RowVerdict>, ProbeError> {
        let ask = Ask { question: Arc::clone(question), images: images.to_vec() };
        let mut answers = self.ask_all(&[ask]).await;
        answers.pop().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// The same for several questions in as few round trips as can be: questions that set the same settings share them.
    pub async fn ask_all(&self, asks: &[Ask]) -> Vec<Result<Vec<RowVerdict>, ProbeError>> {
        let mut kin: BTreeMap<Names, Vec<usize>> = BTreeMap::new();
        for (index, ask) in asks.iter().enumerate() {
            kin.entry(Names::of(&ask.question)).or_default().push(index);
        }
        let mut answers: Vec<_> = asks.iter().map(|ask| Ok(vec![RowVerdict::Unasked; ask.images.len()])).collect();
        let mut deadline = None;
        for (names, indexes) in kin {
            let group: Vec<&Ask> = indexes.iter().map(|index| &asks[*index]).collect();
            let decided = self.ask_kin(&names, &group, &mut deadline).await;
            for (index, answer) in indexes.into_iter().zip(decided) {
                answers[index] = answer;
            }
        }
        answers
    }

    /// Questions with the same setting names, over one session.
    async fn ask_kin(
        &self,
        names: &Names,
        asks: &[&Ask],
        deadline: &mut Option<Instant>,
    ) -> Vec<Result<Vec<RowVerdict>, ProbeError>> {
        let mut session = match self.session(names).await {
            Ok(session) => session,
            Err(error) => return asks.iter().map(|_| Err(error.clone())).collect(),
        };
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.patience());
        let mut parts = Parts::new(asks);
        let (mut is_lost, mut stale_rounds) = (false, 0);
        // Each question gets the time of one statement at least.
        while !is_lost && stale_rounds < STALE_ROUNDS_MAX && Instant::now() + self.statement_timeout <= deadline {
            let Some(round) = parts.next_round() else { break };
            let answers = session.trip(asks, &round, names, deadline).await;
            is_lost = answers.iter().any(|answer| matches!(answer, Err(Trouble::Lost(_) | Trouble::Unanswered)));
            stale_rounds += usize::from(answers.iter().all(|answer| matches!(answer, Err(Trouble::Stale))));
            for (part, answer) in round.iter().zip(answers) {
                parts.settle(part, answer);
            }
        }
        session.give_back();
        parts.finish()
    }

    /// Gets a session that has never set a setting that these questions leave unset: a custom setting that was set once
    /// is empty afterwards, not unset, for the rest of its session.
    async fn session(&self, names: &Names) -> Result<Lease, ProbeError> {
        let mut session = self.pool.get().await.map_err(no_session)?;
        let mut unfit = Vec::new();
        while !session.fits(names) {
            unfit.push(session);
            session = match self.pool.timeout_get(&Timeouts { wait: Some(Duration::ZERO), ..CONNECTING }).await {
                Ok(another) => another,
                Err(PoolError::Timeout(_)) => {
                    // The pool is full: close one session to make room for a new one.
                    unfit.pop().map(Object::take);
                    self.pool.get().await.map_err(no_session)?
                }
                Err(error) => return Err(no_session(error)),
            };
        }
        Ok(Lease::new(session))
    }
}

const CONNECTING: Timeouts = Timeouts { wait: Some(CONNECT), create: Some(CONNECT), recycle: Some(CONNECT) };

fn no_session(error: PoolError<ProbeError>) -> ProbeError {
    match error {
        PoolError::Backend(error) => error,
        other => ProbeError::NoSession { reason: other.to_string() },
    }
}
