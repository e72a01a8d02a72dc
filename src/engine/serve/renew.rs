//! A live subscription after its table's shape or the schema has changed: compiled, admitted and made again, with the same
//! id, reader and queue.

use std::sync::Arc;

use super::make::{Lasting, Made, SubscriptionDraft};
use crate::engine::deliver::{Core, Subscription};
use crate::engine::served::Live;
use crate::failure::Failure;
use crate::graphql::Operation as Compiled;

/// What became of a subscription whose table or role has changed.
pub(crate) enum Renewal {
    /// It continues under the new rules, or has ended.
    Done,
    /// Earlier events of it wait in a lane that it would leave.
    Later,
}

/// Holds a subscription against what is served now.
pub(crate) fn renew(core: &Arc<Core>, live: &Live, old: &Subscription) -> Result<Renewal, Failure> {
    let made = make_again(core, live, old)?;
    if old.leaves_unfinished(&made.subscription) {
        return Ok(Renewal::Later);
    }
    if made.subscription.is_told_later() && !old.is_told_later() {
        made.subscription.sink.begins(true);
    }
    core.index.lock().replace(&made.subscription, made.condition);
    Ok(Renewal::Done)
}

/// Takes it out of the index until it has got the rows. False when it has ended.
pub(crate) fn hold_again(core: &Arc<Core>, old: &Subscription) -> Result<bool, Failure> {
    let made = make_again(core, &*core.live()?, old)?;
    let mut index = core.index.lock();
    let is_there = index.remove(old.id).is_some();
    if is_there {
        index.hold(&made.subscription, made.condition);
    }
    Ok(is_there)
}

fn make_again(core: &Arc<Core>, live: &Live, old: &Subscription) -> Result<Made, Failure> {
    let compiled = live.compile(&old.request).map_err(schema_changed)?;
    let Compiled::Subscription(compiled) = compiled else {
        return Err(Failure::new("SCHEMA_CHANGED", "the schema has changed: subscribe again"));
    };
    let sink = old.sink.clone();
    let draft = SubscriptionDraft { core, id: old.id, principal: &old.principal, request: &old.request, sink };
    let (progress, grouping) = (Arc::clone(&old.progress), old.grouping.clone());
    draft.make(live, *compiled, Lasting { progress, grouping, keeps_rows: old.keeps_rows })
}

/// Why a document that was valid when its subscription began is refused now.
fn schema_changed(failure: Failure) -> Failure {
    let Failure::Request(_) = failure else { return failure };
    Failure::new(
        "SCHEMA_CHANGED",
        format!("the schema has changed, and this document does not fit it any more: {failure}"),
    )
}
