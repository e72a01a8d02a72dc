//! One trip to the server and back: every statement is on the wire before the first answer is awaited.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::error::Trouble;
use super::image::{array, form};
use super::session::{Lease, Names, Session};
use super::split::Part;
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

async fn travel(session: &Session, asks: &[&Ask], parts: &[Part], answers: &mut Vec<Answer>) {
    let mut prepared = HashMap::new();
    for index in parts.iter().map(|part| part.ask) {
        if !prepared.contains_key(&index) {
            let form = form(asks[index].images.iter());
            let statement = session.prepare(&asks[index].question, form).await;
            prepared.insert(index, (statement.map_err(|error| Trouble::of(&error, Trouble::Condition)), form));
        }
    }
    let steps = parts.iter().map(|part| {
        let (ask, (statement, form)) = (asks[part.ask], prepared[&part.ask].clone());
        let images = array(&ask.images[part.images.clone()], form);
        Box::pin(step(session, &ask.question, statement, images))
    });
    let mut steps: Vec<_> = steps.map(Step::Begun).collect();
    begin(&mut steps).await;
    for step in steps {
        answers.push(step.finish().await);
    }
}

/// One part in its transaction, which ends whatever happens in it: all five requests leave at the first poll.
async fn step(session: &Session, question: &Question, statement: Result<Statement, Trouble>, images: String) -> Answer {
    let statement = statement?;
    let (names, values) = settings(question);
    let set: [&(dyn ToSql + Sync); 2] = [&names, &values];
    let tell: [&(dyn ToSql + Sync); 1] = [&images];
    let (begun, set, told, ended) = tokio::join!(
        biased;
        session.client.execute(&session.begin, &[]),
        session.client.query(&session.set, &set),
        session.client.query(&statement, &tell),
        session.client.execute(&session.end, &[]),
    );
    let refused = |code: Box<str>| match &*code {
        "22023" | "42501" | "42704" => Trouble::Role(code),
        _ => Trouble::Setting(code),
    };
    begun.map_err(|error| Trouble::of(&error, Trouble::Busy))?;
    set.map_err(|error| Trouble::of(&error, refused))?;
    let told = told.map_err(|error| Trouble::of(&error, Trouble::Raised))?;
    ended.map_err(|error| Trouble::of(&error, Trouble::Busy))?;
    read(&told).map_err(|error| Trouble::Lost(error.to_string()))
}

/// What `set_config` takes, the role first: settings are set with the role's own rights.
fn settings(question: &Question) -> (Vec<&str>, Vec<&str>) {
    let role = std::iter::once(("role", &*question.role));
    role.chain(question.settings.iter().map(|(name, value)| (&**name, &**value))).unzip()
}

fn read(rows: &[Row]) -> Result<Vec<bool>, Error> {
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// A step on its way.
enum Step<F: Future> {
    Begun(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Step<F> {
    async fn finish(self) -> F::Output {
        match self {
            Step::Begun(future) => future.await,
            Step::Done(answer) => answer,
        }
    }
}

/// Polls each once, in order: so their requests leave in order.
async fn begin<F: Future>(steps: &mut [Step<F>]) {
    poll_fn(|context| {
        for step in &mut *steps {
            if let Step::Begun(future) = step
                && let Poll::Ready(answer) = future.as_mut().poll(context)
            {
                *step = Step::Done(answer);
            }
        }
        Poll::Ready(())
    })
    .await;
}
