//! One event before the gate: the one place where a [`Visible`] is made.

use std::cell::OnceCell;

use super::admission::{Admission, RowsRule, Rule};
use super::row_policy::RowRule;
use super::{Image, Visible};
use crate::model::{Change, Event, RowChange, Transition, Tuple};
use crate::predicate::{Predicate, RowImage, Truth};

/// What PostgreSQL answered about the two images of one change. An image that was not evaluated is `Unavailable`: not
/// visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Judged {
    /// The answer for the image before.
    pub old: Truth,
    /// The answer for the image after.
    pub new: Truth,
}

impl Judged {
    /// Neither image was evaluated by PostgreSQL.
    pub const NOT: Judged = Judged { old: Truth::Unavailable, new: Truth::Unavailable };
}

/// What is known of one image before PostgreSQL evaluates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// The compiled part of the policies decides.
    Known(Truth),
    /// PostgreSQL has to evaluate this image.
    Ask(&'a Tuple),
}

/// One event before the gate. Its columns are read once for all admissions.
pub struct Inspection<'a> {
    event: &'a Event,
    old: OnceCell<RowImage<'a>>,
    new: OnceCell<RowImage<'a>>,
}

impl<'a> Inspection<'a> {
    /// Nothing is read yet.
    pub fn new(event: &'a Event) -> Self {
        Inspection { event, old: OnceCell::new(), new: OnceCell::new() }
    }

    /// What the policies of this admission say of the old and the new image without asking.
    pub fn standing(&self, admission: &Admission) -> (Standing<'a>, Standing<'a>) {
        match (&self.event.change, &admission.rule) {
            (Change::Row(change), Rule::Rows(rule)) => {
                let standing = |image, tuple: &'a Option<Tuple>| match tuple {
                    Some(tuple) => standing(&rule.policy, image_of(image, change, tuple), tuple),
                    None => Standing::Known(Truth::Unavailable),
                };
                (standing(&self.old, &change.old), standing(&self.new, &change.new))
            }
            (
                Change::Row(_) | Change::Truncate(_) | Change::Message(_) | Change::SnapshotEnd(_),
                Rule::Rows(_) | Rule::Topic(_),
            ) => (Standing::Known(Truth::Unavailable), Standing::Known(Truth::Unavailable)),
        }
    }

    /// The event as this admission may see it. The image that is delivered is the one that is judged: the new one of a
    /// row in view, the old one of a row that left. An UPDATE of hidden columns only is hidden: delivering it would
    /// reveal them.
    pub fn visible<'v>(&self, admission: &'v Admission, transition: Transition, judged: Judged) -> Option<Visible<'v>>
    where
        'a: 'v,
    {
        let mut seen_before = false;
        let image = match (&self.event.change, &admission.rule) {
            (Change::Row(change), Rule::Rows(rule)) => {
                seen_before = self.was_visible(change, rule, judged);
                self.row(change, rule, transition, judged)?
            }
            // A TRUNCATE and the end of a snapshot reveal nothing of a row.
            (Change::Truncate(_) | Change::SnapshotEnd(_), Rule::Rows(_)) => Image::None,
            (Change::Message(message), Rule::Topic(rule)) if rule.shows(message) => Image::None,
            (
                Change::Row(_) | Change::Truncate(_) | Change::Message(_) | Change::SnapshotEnd(_),
                Rule::Rows(_) | Rule::Topic(_),
            ) => return None,
        };
        let visible = Visible::new(self.event, image, transition, admission.columns(), seen_before);
        (!visible.is_hidden_update()).then_some(visible)
    }

    /// Whether the image before may be compared with, as the list of changed columns reveals it too. An image that is
    /// not carried whole (replica identity) counts as one that was not visible, unless the key alone says that it was.
    fn was_visible(&self, change: &'a RowChange, rule: &RowsRule, judged: Judged) -> bool {
        change.old.as_ref().is_some_and(|tuple| holds(rule, image_of(&self.old, change, tuple), judged.old))
    }

    fn row(&self, change: &'a RowChange, rule: &RowsRule, transition: Transition, judged: Judged) -> Option<Image<'a>> {
        match transition {
            Transition::Enter | Transition::Stay => {
                let tuple = change.new.as_ref()?;
                holds(rule, image_of(&self.new, change, tuple), judged.new).then_some(Image::Row(change, tuple))
            }
            Transition::Leave => {
                let tuple = change.old.as_ref()?;
                holds(rule, image_of(&self.old, change, tuple), judged.old).then_some(Image::Key(change, tuple))
            }
        }
    }
}

fn image_of<'i, 'a>(cell: &'i OnceCell<RowImage<'a>>, change: &'a RowChange, tuple: &'a Tuple) -> &'i RowImage<'a> {
    cell.get_or_init(|| RowImage::new(&change.table, tuple))
}

fn standing<'a>(policy: &RowRule, image: &RowImage<'_>, tuple: &'a Tuple) -> Standing<'a> {
    match policy {
        RowRule::All => Standing::Known(Truth::True),
        RowRule::Decided(predicate) => Standing::Known(predicate.eval(image)),
        RowRule::Delegated { possible, .. } if matches!(possible.eval(image), Truth::False | Truth::Unknown) => {
            Standing::Known(Truth::False)
        }
        RowRule::Delegated { certain, .. } if certain.eval(image).is_true() => Standing::Known(Truth::True),
        RowRule::Delegated { .. } => Standing::Ask(tuple),
    }
}

/// Unknown is no.
fn holds(rule: &RowsRule, image: &RowImage<'_>, judged: Truth) -> bool {
    let says = |predicate: &Predicate| predicate.eval(image).is_true();
    let policy = match &rule.policy {
        RowRule::All => true,
        RowRule::Decided(predicate) => says(predicate),
        RowRule::Delegated { .. } => judged.is_true(),
    };
    policy && rule.tenant.as_ref().is_none_or(says)
}
