//! One trip to the server and back: every statement is on the wire before the first answer is awaited.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::error::Trouble;
use super::image::{array, form};
use super::session::{Lease, Names, ProbeSession};
use super::split::Part;
use super::statement::{self, Form};
use super::{Ask, Question};

/// For each image of a part: whether it may be seen.
pub(super) type Answer = Result<Vec<bool>, Trouble>;

impl Lease {
    /// An answer for each part. A session that did not answer in time is closed.
    pub(super) async fn trip(
        &mut self,
        asks: &[&Ask],
        parts: &[Part],
        names: &Names,
        deadline: Instant,
    ) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(parts.len());
        if let Some(session) = self.session() {
            session.remember(names);
            if timeout_at(deadline, travel(session, asks, parts, &mut answers)).await.is_err() {
                blame(&mut answers);
                self.close();
            }
        }
        answers.resize(parts.len(), Err(Trouble::Unanswered));
        answers
    }
}

/// The first statement without an answer is the one that runs, unless the server ended another one before it.
fn blame(answers: &mut Vec<Answer>) {
    if !answers.iter().any(|answer| matches!(answer, Err(Trouble::TimedOut))) {
        answers.push(Err(Trouble::TimedOut));
    }
}

async fn travel(session: &mut ProbeSession, asks: &[&Ask], parts: &[Part], answers: &mut Vec<Answer>) {
    let mut prepared = Prepared::new();
    for index in parts.iter().map(|part| part.ask) {
        if let Entry::Vacant(place) = prepared.entry(index) {
            let form = form(asks[index].images.iter());
            let bound = session.bound.bind(&session.client, &asks[index].question, form).await;
            place.insert((bound, form));
        }
    }
    exchange(session, asks, parts, &prepared, answers).await;
    for (part, answer) in parts.iter().zip(&*answers) {
        if matches!(answer, Ok(_) | Err(Trouble::Stale)) {
            let stale = matches!(answer, Err(Trouble::Stale));
            session.bound.note(&asks[part.ask].question, prepared[&part.ask].1, stale);
        }
    }
}

type Prepared = HashMap<usize, (Result<Statement, Trouble>, Form)>;

async fn exchange(
    session: &ProbeSession,
    asks: &[&Ask],
    parts: &[Part],
    prepared: &Prepared,
    answers: &mut Vec<Answer>,
) {
    let steps = parts.iter().map(|part| {
        let (ask, (bound, form)) = (asks[part.ask], prepared[&part.ask].clone());
        let images = &ask.images[part.images.clone()];
        Sent::new(step(session, &ask.question, bound, array(images, form)))
    });
    let mut steps: Vec<_> = steps.collect();
    let mut begun = [Sent::new(session.client.execute(&session.begin, &[]))];
    let mut ended = [Sent::new(session.client.execute(&session.end, &[]))];
    // Nothing is awaited until the last request has left.
    send(&mut begun).await;
    send(&mut steps).await;
    send(&mut ended).await;
    let mut in_transaction = finished(begun).await;
    for step in steps {
        let (answer, next) = step.finish().await;
        answers.push(in_transaction.clone().and(answer));
        in_transaction = in_transaction.and(next);
    }
    if let (Err(trouble), Some(last)) = (finished(ended).await, answers.last_mut()) {
        *last = Err(trouble);
    }
}

async fn finished(sent: [Sent<impl Future<Output = Result<u64, Error>>>; 1]) -> Result<(), Trouble> {
    let [sent] = sent;
    sent.finish().await.map(drop).map_err(|error| Trouble::of(&error, Trouble::Busy))
}

/// Evaluates one part in the open transaction and opens the next one; returns whether that succeeded. All three
/// requests are sent at the first poll. The role holds only in a transaction, so results without one do not count.
async fn step(
    session: &ProbeSession,
    question: &Question,
    bound: Result<Statement, Trouble>,
    images: String,
) -> (Answer, Result<(), Trouble>) {
    let statement = match bound {
        Ok(statement) => statement,
        Err(trouble) => return (Err(trouble), Ok(())),
    };
    let (names, values) = settings(question);
    let set: [&(dyn ToSql + Sync); 2] = [&names, &values];
    let tell: [&(dyn ToSql + Sync); 1] = [&images];
    let (set, told, next) = tokio::join!(
        biased;
        session.client.query(&session.set, &set),
        session.client.query(&statement, &tell),
        session.client.execute(&session.next, &[]),
    );
    let set = set.map_err(|error| Trouble::of(&error, refused));
    let told = told.map_err(|error| trouble(&error));
    let answer = set.and(told).and_then(|rows| read(&rows));
    (answer, next.map(drop).map_err(|error| Trouble::of(&error, Trouble::Busy)))
}

/// A role that does not exist is an invalid value to PostgreSQL; a setting of the user's own takes any value.
fn refused(code: Box<str>) -> Trouble {
    match &*code {
        "22023" | "42501" | "42704" => Trouble::Role(code),
        _ => Trouble::Setting(code),
    }
}

/// What `set_config` takes, the role first: settings are set with the role's own rights.
fn settings(question: &Question) -> (Vec<&str>, Vec<&str>) {
    let role = std::iter::once(("role", &*question.role));
    role.chain(question.settings.iter().map(|(name, value)| (&**name, &**value))).unzip()
}

fn trouble(error: &Error) -> Trouble {
    if statement::is_stale(error) { Trouble::Stale } else { Trouble::of(error, Trouble::Raised) }
}

fn read(rows: &[Row]) -> Answer {
    let visible = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, Error>>();
    visible.map_err(|error| Trouble::Lost(error.to_string()))
}

/// Requests on their way.
enum Sent<F: Future> {
    Waiting(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Sent<F> {
    fn new(future: F) -> Self {
        Sent::Waiting(Box::pin(future))
    }

    async fn finish(self) -> F::Output {
        match self {
            Sent::Waiting(future) => future.await,
            Sent::Done(output) => output,
        }
    }
}

/// Polls each once, in order: so their requests leave in order.
async fn send<F: Future>(requests: &mut [Sent<F>]) {
    poll_fn(|context| {
        for request in &mut *requests {
            if let Sent::Waiting(future) = request
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                *request = Sent::Done(output);
            }
        }
        Poll::Ready(())
    })
    .await;
}
