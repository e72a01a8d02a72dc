//! One session: what it has prepared, and which settings it has ever set.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Statement;

use super::bind::Bindings;
use super::{ProbeError, Question, statement};

/// The names of the settings that a question sets, in lower case: PostgreSQL ignores case in them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names(BTreeSet<Box<str>>);

impl Names {
    pub(super) fn of(question: &Question) -> Self {
        Names::these(question.settings.iter().map(|(name, _)| &**name))
    }

    pub(super) fn these<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Names(names.map(|name| name.to_ascii_lowercase().into()).collect())
    }
}

/// A session and what is known of it.
pub(super) struct ProbeSession {
    pub(super) client: ClientWrapper,
    pub(super) begin: Statement,
    pub(super) set: Statement,
    pub(super) next: Statement,
    pub(super) end: Statement,
    pub(super) bound: Bindings,
    named: BTreeSet<Box<str>>,
}

impl ProbeSession {
    /// Whether it has never set anything but these.
    pub(super) fn fits(&self, names: &Names) -> bool {
        self.named.is_subset(&names.0)
    }

    /// To be called before they are set: what is set in vain may count as well.
    pub(super) fn remember(&mut self, names: &Names) {
        if !names.0.is_subset(&self.named) {
            self.named.extend(names.0.iter().cloned());
        }
    }
}

/// Makes sessions for the pool.
pub(super) struct Sessions {
    pub(super) manager: deadpool_postgres::Manager,
    pub(super) statement_timeout: Duration,
}

impl Manager for Sessions {
    type Type = ProbeSession;
    type Error = ProbeError;

    async fn create(&self) -> Result<ProbeSession, ProbeError> {
        let client = self.manager.create().await?;
        client.batch_execute(&statement::setup(self.statement_timeout.as_millis().max(1))).await?;
        Ok(ProbeSession {
            begin: client.prepare(statement::BEGIN).await?,
            set: client.prepare(statement::SET).await?,
            next: client.prepare(statement::NEXT).await?,
            end: client.prepare(statement::END).await?,
            client,
            bound: Bindings::default(),
            named: BTreeSet::new(),
        })
    }

    /// A session that is given back has ended its transaction: all that may have happened is that it was closed.
    async fn recycle(&self, session: &mut ProbeSession, _: &Metrics) -> RecycleResult<ProbeError> {
        if session.client.is_closed() { Err(RecycleError::message("the connection is closed")) } else { Ok(()) }
    }

    fn detach(&self, session: &mut ProbeSession) {
        self.manager.detach(&mut session.client);
    }
}

/// A session on loan. It is closed unless it is given back, because its state is unknown otherwise.
pub(super) struct Lease(Option<Object<Sessions>>);

impl Lease {
    pub(super) fn new(session: Object<Sessions>) -> Self {
        Lease(Some(session))
    }

    /// `None` once it was closed.
    pub(super) fn session(&mut self) -> Option<&mut ProbeSession> {
        self.0.as_deref_mut()
    }

    /// It has nothing more to do.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }

    /// Leaves the pool and hangs up, which also cancels what it does on the server.
    pub(super) fn close(&mut self) {
        self.0.take().map(Object::take);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.close();
    }
}
