//! A subscription on its way to the present: what it missed, or the rows that are there, and then what is new.
//!
//! The input is a subscription that the index holds and does not match yet, and its [`Beginning`]. It alone gets what
//! it lacks; with the last of that, under the lock that every new event is delivered under, the index begins to match
//! it. So it gets no event twice and misses none, and no other subscription waits.

mod beginning;
mod give_way;
mod replay;
mod rows;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::engine::deliver::{Core, NotServing, Subscription};
use crate::failure::Failure;
use crate::model::SubscriptionId;

pub(crate) use beginning::Beginning;
use beginning::is_outlived;
pub(crate) use snapshot::check as check_snapshot;

/// How long between two looks whether there is room, or the stream has come far enough.
const GLANCE: Duration = Duration::from_millis(2);
/// How long the engine waits for a snapshot that sees what was delivered long ago.
const SETTLED: Duration = Duration::from_secs(10);

/// One held subscription that catches up.
#[derive(Clone)]
pub(crate) struct CatchUp {
    core: Arc<Core>,
    id: SubscriptionId,
}

impl CatchUp {
    pub(crate) fn of(core: &Arc<Core>, id: SubscriptionId) -> Self {
        CatchUp { core: Arc::clone(core), id }
    }

    /// In the background.
    pub(crate) fn start(self, beginning: Beginning) -> Result<(), Failure> {
        match beginning {
            Beginning::Now => Ok(()),
            _ => self.clone().in_background(async move { self.begin(beginning).await }),
        }
    }

    /// After a gap between two streams: the rows that are there, behind what of the first stream is still on its way to
    /// `old`, which this subscription was before it was held.
    pub(crate) fn start_anew(self, old: Arc<Subscription>, gap: Failure) -> Result<(), Failure> {
        self.clone().in_background(async move {
            let deadline = Instant::now() + SETTLED;
            while !old.is_idle() {
                if Instant::now() >= deadline {
                    return Err(gap);
                }
                tokio::time::sleep(GLANCE).await;
            }
            self.core.transactions.forget(old.id);
            old.forget();
            self.snapshot().await
        })
    }

    /// Ends the subscription if this fails.
    fn in_background(self, work: impl Future<Output = Result<(), Failure>> + Send + 'static) -> Result<(), Failure> {
        let core = self.core;
        let runtime = core.runtime.get().ok_or(NotServing)?.clone();
        core.replaying.fetch_add(1, Ordering::SeqCst);
        runtime.spawn(async move {
            if let Err(failure) = work.await {
                core.fail_later(self.id, failure);
            }
            core.replaying.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(())
    }

    async fn begin(&self, beginning: Beginning) -> Result<(), Failure> {
        match beginning {
            Beginning::Now => Ok(()),
            Beginning::After(after) => self.replay(after).await,
            Beginning::Snapshot => self.snapshot().await,
            Beginning::AfterOrSnapshot(after) => match self.replay(after).await {
                Err(failure) if is_outlived(&failure) => {
                    self.forget_progress();
                    self.snapshot().await
                }
                replayed => replayed,
            },
        }
    }

    fn forget_progress(&self) {
        if let Some((subscription, _)) = self.held() {
            subscription.forget();
        }
    }
}
