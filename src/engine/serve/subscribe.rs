//! From a request to a live subscription: compile, admit, make, put into the index, catch up.

use std::sync::Arc;

use bytes::Bytes;

use super::make::{Lasting, Made, SubscriptionDraft};
use crate::engine::catch_up::{Beginning, CatchUp, check_snapshot};
use crate::engine::deliver::{Core, Grouping, Sink};
use crate::engine::outbound::Progress;
use crate::engine::rate::RateKey;
use crate::engine::served::Live;
use crate::failure::Failure;
use crate::graphql::{CompiledSubscription, EntityRequest, Operation as Compiled, Request};
use crate::journal::Origin;
use crate::model::{Principal, SubscriptionId};

/// A request to begin an operation.
pub(crate) struct Subscribe<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) principal: &'a Arc<Principal>,
    /// Whose rates count.
    pub(crate) rates: RateKey,
    pub(crate) request: &'a Arc<Request>,
    /// Where results go.
    pub(crate) sink: Sink,
}

/// What became of a request.
pub(crate) enum Subscribed {
    /// A query: this is its response.
    Answer(Bytes),
    /// Rows by key, to be read as what is served now; the number is theirs alone.
    Entities(SubscriptionId, Arc<Live>, Box<EntityRequest>),
    /// A subscription: events from now on go to its sink.
    Live(SubscriptionId),
}

impl Subscribe<'_> {
    /// A subscription is in force when this returns: what is new comes behind what it missed.
    pub(crate) fn begin(self) -> Result<Subscribed, Failure> {
        let Subscribe { core, principal, rates, request, sink } = self;
        let id = SubscriptionId(core.next_id());
        let beginner = Beginner {
            draft: SubscriptionDraft { core, id, principal, request, sink },
            rates,
            progress: Progress::new(),
        };
        loop {
            let live = core.live()?;
            match live.compile(request)? {
                Compiled::Query(response) => return Ok(Subscribed::Answer(response)),
                Compiled::Entities(asked) => return Ok(Subscribed::Entities(id, live, asked)),
                Compiled::Subscription(compiled) => {
                    if beginner.begin(&live, *compiled)? {
                        return Ok(Subscribed::Live(id));
                    }
                }
            }
        }
    }
}

/// A subscription that begins.
struct Beginner<'a> {
    draft: SubscriptionDraft<'a>,
    rates: RateKey,
    progress: Arc<Progress>,
}

impl Beginner<'_> {
    /// False if the schema that it was compiled for has been replaced since.
    fn begin(&self, live: &Arc<Live>, compiled: CompiledSubscription) -> Result<bool, Failure> {
        let core = self.draft.core;
        let (history, origin) = (&core.outbound.history, core.outbound.history.origin());
        let beginning = Beginning::wanted(&compiled.arguments, self.draft.request, |cursor| history.contains(cursor))?;
        let lasting = self.lasting(&compiled, beginning);
        let made = self.draft.make(live, compiled, lasting)?;
        if let Some(lane) = &made.subscription.policy {
            core.check_askable(lane.question())?;
            core.rates.check_delegated(self.rates)?;
        }
        check_snapshot(core, &made.subscription, beginning)?;
        let enlisted = self.enlist(live, made, beginning, origin)?;
        if enlisted {
            CatchUp::of(core, self.draft.id).start(beginning)?;
        }
        Ok(enlisted)
    }

    fn lasting(&self, compiled: &CompiledSubscription, beginning: Beginning) -> Lasting {
        self.progress.resume_from(beginning.after());
        Lasting {
            progress: Arc::clone(&self.progress),
            grouping: compiled.plan.transaction.is_some().then(|| Grouping::new(beginning.after())),
            keeps_rows: beginning.keeps_rows(),
        }
    }

    /// False when the schema, or the history that the cursor was checked against, has been replaced since the
    /// subscription was compiled.
    fn enlist(&self, live: &Arc<Live>, made: Made, beginning: Beginning, origin: Origin) -> Result<bool, Failure> {
        let core = self.draft.core;
        let mut index = core.index.lock();
        let current = core.is_served(&index, live)? && core.outbound.history.origin() == origin;
        if current {
            index.admits(&made.subscription.source)?;
            made.subscription.sink.begins(beginning != Beginning::Now || made.subscription.is_told_later());
            if let Some(after) = beginning.after() {
                made.subscription.progress.told(after);
            }
            match beginning {
                Beginning::Now => index.insert(&made.subscription, made.condition.as_ref()),
                _ => index.hold(&made.subscription, made.condition),
            }
        }
        Ok(current)
    }
}
