//! What PostgreSQL says beside what the engine sent. Every difference is kept, with what is needed to see it again.

use serde_json::Value;

use super::delivery::{Carried, Change, Truth, frame, transition};
use super::judge::{Judgement, Selected};
use super::listener::Listener;
use super::rights::Rights;
use super::tally::Tally;
use super::world::World;

/// Policies that no row can pass are refused at once. The gate asks them before it looks at columns.
pub(super) fn is_of_policies(code: &str) -> bool {
    ["SETTING_", "POLICY_"].iter().any(|prefix| code.starts_with(prefix))
}

/// One listener of one table, and what it should have received.
pub(super) struct Case<'a> {
    pub(super) world: &'a World,
    pub(super) listener: &'a Listener,
    pub(super) rights: &'a Rights,
    pub(super) judgement: &'a Judgement,
}

impl Case<'_> {
    /// The first difference.
    pub(super) fn difference(&self, tally: &mut Tally) -> Option<String> {
        let table = &self.world.tables[self.listener.table];
        let principal = &self.world.principals[self.listener.principal];
        let wanted = self.rights.refusals(table, principal);
        let shows = self.judgement.selected[self.listener.principal].contains(&Selected::Shown);
        match (self.listener.refusal(), wanted.as_slice()) {
            (Some(error), []) if shows => Some(format!("it was refused with {}: {error}", error.code())),
            (Some(error), []) => {
                tally.refused(error.code());
                None
            }
            (Some(error), codes) if codes.contains(&error.code()) || is_of_policies(error.code()) => {
                tally.refused(error.code());
                None
            }
            (Some(error), codes) => Some(format!("refused with {} instead of {codes:?}", error.code())),
            (None, []) => self.told(shows, tally),
            (None, codes) => Some(format!("it was not refused, with one of {codes:?}")),
        }
    }

    fn told(&self, shows: bool, tally: &mut Tally) -> Option<String> {
        if let Some(ended) = &self.listener.ended {
            // An error that persists ends a subscription to which PostgreSQL shows nothing.
            tally.ended(ended.code());
            return shows.then(|| format!("it ended with {}: {ended}", ended.code()));
        }
        let mut frames = self.listener.frames.iter().peekable();
        let changes = self.judgement.changes.iter().enumerate();
        for (number, change) in
            changes.flat_map(|(number, change)| change.parts().into_iter().map(move |part| (number, part)))
        {
            let due = self.due(change);
            let fits = frames.peek().is_some_and(|told| due.iter().flatten().any(|due| due == *told));
            if fits {
                tally.told(frames.next());
            } else if !due.contains(&None) {
                return Some(self.describe(number, change, &due, frames.peek().copied()));
            }
        }
        frames.next().map(|told| format!("nothing was due any more, but it received\n  {told}"))
    }

    /// The frames that may come of this change; `None` for no frame. More than one where an old image is carried in part.
    fn due(&self, change: Change) -> Vec<Option<Value>> {
        let table = &self.world.tables[self.listener.table];
        if !self.listener.filter.operations.contains(&change.operation()) {
            return vec![None];
        }
        let (old, new) = change.images();
        let news = new.map_or(vec![Truth::Untold], |new| self.truths(new));
        let olds = match (old.map(|old| self.truths(old)), Carried::of(table, change)) {
            (None, _) | (_, Carried::Nothing) => vec![Truth::Untold],
            (Some(truths), Carried::Key) if !self.by_key_alone() => [truths, vec![Truth::Untold]].concat(),
            (Some(truths), Carried::All | Carried::Key) => truths,
        };
        let carried = Carried::of(table, change);
        let mut due = Vec::new();
        for (old_truth, new) in olds.iter().flat_map(|old| news.iter().map(move |new| (*old, *new))) {
            let transition = transition(change, old_truth, new);
            for seen in self.seen(carried, old, old_truth) {
                let frame = transition.and_then(|transition| {
                    frame(table, &self.rights.readable, &self.judgement.images, change, transition, seen)
                });
                if !due.contains(&frame) {
                    due.push(frame);
                }
            }
        }
        due
    }

    /// Whether the reader could see the image before, as far as it is carried: from a key it may not be known, and then
    /// nothing is compared with it.
    fn seen(&self, carried: Carried, old: Option<usize>, truth: Truth) -> Vec<bool> {
        match (carried, old) {
            (Carried::Key, Some(_)) if self.by_key_alone() => vec![true],
            (Carried::Key, Some(old)) if self.may_see(old) => vec![true, false],
            (Carried::All, _) => vec![truth == Truth::Shown],
            (Carried::Key | Carried::Nothing, _) => vec![false],
        }
    }

    /// Whether policies and tenant let the reader see it, or may.
    fn may_see(&self, image: usize) -> bool {
        let who = self.listener.principal;
        let selected = self.judgement.selected[who][image];
        let policies = !self.rights.policies || matches!(selected, Selected::Shown | Selected::Unplanned);
        policies && self.judgement.of_tenant[who][image]
    }

    /// Nothing but the key is needed to decide.
    fn by_key_alone(&self) -> bool {
        let table = &self.world.tables[self.listener.table];
        let filter = &self.listener.filter;
        !self.rights.policies
            && table.tenant.is_none()
            && filter.columns.iter().all(|column| table.key.contains(column))
    }

    /// One, but where PostgreSQL could not even plan.
    fn truths(&self, image: usize) -> Vec<Truth> {
        let who = self.listener.principal;
        let selected = if self.rights.policies { self.judgement.selected[who][image] } else { Selected::Shown };
        let filter = !self.listener.filtered || self.judgement.filtered[who][image];
        match selected {
            Selected::Shown if filter && self.judgement.of_tenant[who][image] => vec![Truth::Shown],
            Selected::Unplanned if filter && self.judgement.of_tenant[who][image] => vec![Truth::Hidden, Truth::Shown],
            _ => vec![Truth::Hidden],
        }
    }

    fn describe(&self, number: usize, change: Change, due: &[Option<Value>], told: Option<&Value>) -> String {
        let image = |image: usize| {
            let selected = self.judgement.selected[self.listener.principal][image];
            format!("{} ({selected:?}, {:?} with filter)", self.judgement.images[image].text, self.truths(image))
        };
        let (old, new) = change.images();
        let named = [("old", old), ("new", new)].into_iter().filter_map(|(name, image)| Some((name, image?)));
        let images = named.map(|(name, at)| format!("{name} {}", image(at))).collect::<Vec<_>>().join("\n  ");
        let due: Vec<_> =
            due.iter().map(|due| due.as_ref().map_or("nothing".to_owned(), ToString::to_string)).collect();
        let told = told.map_or("nothing more".to_owned(), ToString::to_string);
        format!("change {number}: {}\n  {images}\n  due  {}\n  told {told}", change.operation(), due.join(" or "))
    }
}
