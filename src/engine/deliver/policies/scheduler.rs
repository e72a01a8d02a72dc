//! Workers, one for each session: they take what lanes have to ask, ask it, and put the answers in.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Teller;
use super::lane::{Batch, PolicyLane};
use super::policy::{IMAGES_MAX, PolicyState, Speed, Turn};
use super::ready::{Ready, Worker};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::predicate::Truth;
use crate::probe::{Ask, Probe, ProbeError, RowVerdict};

/// Bytes of JSON in one trip, unless a single image is larger.
const TRIP_BYTES_MAX: usize = 1024 * 1024;

type Answer = Result<Vec<RowVerdict>, ProbeError>;

/// The server that evaluates delegated policies.
pub(crate) trait Asker: Send + Sync + 'static {
    /// An answer for each, with a verdict for each image.
    fn ask_all<'a>(&'a self, asks: &'a [Ask]) -> Pin<Box<dyn Future<Output = Vec<Answer>> + Send + 'a>>;
}

impl Asker for Probe {
    fn ask_all<'a>(&'a self, asks: &'a [Ask]) -> Pin<Box<dyn Future<Output = Vec<Answer>> + Send + 'a>> {
        Box::pin(Probe::ask_all(self, asks))
    }
}

/// Asks until it is dropped, over so many sessions.
pub(crate) async fn run(
    ready: Arc<Ready>,
    metrics: Arc<Metrics>,
    teller: Arc<dyn Teller>,
    asker: Arc<dyn Asker>,
    sessions: usize,
) {
    let office = Arc::new(Office { ready, metrics, teller, asker });
    let mut workers = JoinSet::new();
    for number in 0..sessions {
        let worker = if number == 0 { Worker::Slow } else { Worker::Fast };
        workers.spawn(Arc::clone(&office).work(worker));
    }
    while workers.join_next().await.is_some() {}
}

struct Office {
    ready: Arc<Ready>,
    metrics: Arc<Metrics>,
    teller: Arc<dyn Teller>,
    asker: Arc<dyn Asker>,
}

impl Office {
    async fn work(self: Arc<Self>, worker: Worker) {
        loop {
            let lanes = self.ready.next(worker).await;
            self.trip(lanes).await;
        }
    }

    async fn trip(&self, lanes: Vec<Arc<PolicyLane>>) {
        let batches = self.pack(lanes);
        if batches.is_empty() {
            return;
        }
        let asks: Vec<Ask> = batches.iter().map(ask).collect();
        let images = batches.iter().map(Batch::len).sum();
        self.metrics.policy_batches_total.add(batches.len() as u64);
        self.metrics.policy_delegated_total.add(images as u64);
        let started = Instant::now();
        let answers = self.asker.ask_all(&asks).await;
        let took = started.elapsed();
        if answers.iter().any(|answer| matches!(answer, Err(error) if error.is_transient())) {
            tokio::time::sleep(batches[0].lane.policy().backoff()).await;
        }
        for (batch, answer) in batches.iter().zip(answers) {
            self.conclude(batch, &answer, Speed { batch: batch.len(), trip: images, took });
        }
    }

    /// What the lanes have to ask, as much as fits; lanes that find no room go back.
    fn pack(&self, lanes: Vec<Arc<PolicyLane>>) -> Vec<Batch> {
        let (mut images, mut bytes) = (0, 0);
        let mut batches = Vec::new();
        for lane in lanes {
            if images >= IMAGES_MAX || bytes >= TRIP_BYTES_MAX {
                self.ready.push(lane);
                continue;
            }
            let batch = lane.take(IMAGES_MAX - images, TRIP_BYTES_MAX - bytes);
            if batch.len() == 0 {
                if lane.settle(&batch, &[], &*self.teller) {
                    lane.come_back();
                }
                continue;
            }
            images += batch.len();
            bytes += batch.bytes();
            batches.push(batch);
        }
        batches
    }

    fn conclude(&self, batch: &Batch, answer: &Answer, pace: Speed) {
        let lane = &batch.lane;
        let (turn, was) = (turn(answer), lane.standing());
        self.count(answer, turn);
        // What cannot be bound is not hidden in silence either.
        if lane.note(turn, pace, Instant::now()) || is_unbound(answer) {
            let failure = failure(lane, answer);
            tracing::warn!(code = failure.code(), "subscriptions end: {failure}");
            lane.fail(&failure);
        }
        if was == PolicyState::Slow && lane.standing() != PolicyState::Slow {
            self.ready.promote();
        }
        if lane.settle(batch, &truths(answer, batch.len()), &*self.teller) {
            return_after(lane, lane.policy().pause(pace));
        }
    }

    fn count(&self, answer: &Answer, turn: Turn) {
        let errors = match answer {
            Ok(verdicts) => verdicts.iter().filter(|verdict| matches!(verdict, RowVerdict::Raised(_))).count(),
            Err(_) => 1,
        };
        self.metrics.policy_errors_total.add(errors as u64);
        self.metrics.policy_timeouts_total.add(u64::from(turn == Turn::TimedOut));
    }
}

/// Returns the lane after a pause. The pause does not delay other lanes. Nothing of this lane is decided during the
/// pause, so its order stays. A lane that was dropped during the pause does not return.
fn return_after(lane: &Arc<PolicyLane>, pause: Duration) {
    if pause.is_zero() {
        return lane.come_back();
    }
    let lane = Arc::downgrade(lane);
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        lane.upgrade().inspect(PolicyLane::come_back);
    });
}

fn ask(batch: &Batch) -> Ask {
    Ask { question: Arc::clone(batch.lane.question()), images: batch.images() }
}

fn turn(answer: &Answer) -> Turn {
    let any = |wanted: fn(&RowVerdict) -> bool| answer.as_ref().is_ok_and(|verdicts| verdicts.iter().any(wanted));
    match answer {
        Err(error) if error.is_transient() => Turn::Disconnected,
        Err(_) => Turn::Failed,
        Ok(_) if any(|verdict| matches!(verdict, RowVerdict::TimedOut)) => Turn::TimedOut,
        Ok(_) if any(|verdict| matches!(verdict, RowVerdict::Visible | RowVerdict::Hidden)) => Turn::Answered,
        Ok(_) if any(|verdict| matches!(verdict, RowVerdict::Raised(_))) => Turn::Failed,
        Ok(_) => Turn::Passed,
    }
}

/// Maps each image's answer to a result; `None` is evaluated again. An image on which the policies raise an error is
/// hidden, because no SELECT shows it. So a row that an UPDATE brings out of such a state enters the view, without a
/// comparison with its old image. A timeout is not an answer: the server may have been delayed, and hiding the row
/// would lose it silently. A timeout that persists ends the subscription.
pub(crate) fn truths(answer: &Answer, images: usize) -> Vec<Option<Truth>> {
    let truth = |verdict: &RowVerdict| match verdict {
        RowVerdict::Visible => Some(Truth::True),
        RowVerdict::Hidden | RowVerdict::Raised(_) => Some(Truth::False),
        RowVerdict::TimedOut | RowVerdict::Unasked => None,
    };
    match answer {
        Ok(verdicts) => verdicts.iter().map(truth).collect(),
        Err(error) if error.is_transient() => vec![None; images],
        Err(_) => vec![Some(Truth::Unavailable); images],
    }
}

fn is_unbound(answer: &Answer) -> bool {
    matches!(answer, Err(ProbeError::Unbound { .. }))
}

fn failure(lane: &PolicyLane, answer: &Answer) -> Failure {
    let code = if is_unbound(answer) { "POLICY_UNBOUND" } else { "POLICY_FAILED" };
    // The reason names roles and hosts.
    tracing::warn!(code, "the row policies of {} fail: {}", lane.question().table, reason(answer));
    Failure::new(code, "the row policies of this table fail; the server's log has the reason")
}

fn reason(answer: &Answer) -> String {
    let raised = |verdict: &RowVerdict| match verdict {
        RowVerdict::Raised(sqlstate) => Some(format!("they raise SQLSTATE {sqlstate}")),
        _ => None,
    };
    match answer {
        Err(error) => format!("{error} ({})", error.code()),
        Ok(verdicts) => {
            verdicts.iter().find_map(raised).unwrap_or_else(|| "they take longer than policy_timeout_s".to_owned())
        }
    }
}
