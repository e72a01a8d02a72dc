//! What is still to be asked of a call: a part that raises is split until only the images that raise are left.
//!
//! A part of 512 is split in eights: one image that raises costs three rounds of eight statements, 512 of them 585
//! statements in four rounds, which is some 30 ms. Together with the first split the question is asked about no image:
//! when that raises as well, it is not the images' fault.

use std::ops::Range;

use super::error::Trouble;
use super::trip::Answer;
use super::{Ask, ProbeError, Question, RowVerdict};

/// Into how many parts a part is split.
const WAYS: usize = 8;

/// Some images of one question; none, to hear whether the question can be asked at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) ask: usize,
    pub(super) images: Range<usize>,
}

/// Verdicts so far and parts that wait.
pub(super) struct Parts<'a> {
    asks: &'a [&'a Ask],
    verdicts: Vec<Result<Vec<RowVerdict>, ProbeError>>,
    tested: Vec<bool>,
    /// Questions without an answer in the last round, because their statement was parsed again.
    stale: Vec<bool>,
    waiting: Vec<Part>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(asks: &'a [&'a Ask]) -> Self {
        let whole = |(ask, asked): (usize, &&Ask)| Part { ask, images: 0..asked.images.len() };
        Parts {
            asks,
            verdicts: asks.iter().map(|ask| check(ask)).collect(),
            tested: vec![false; asks.len()],
            stale: vec![false; asks.len()],
            waiting: asks.iter().enumerate().map(whole).filter(|part| !part.images.is_empty()).collect(),
        }
    }

    /// What to ask next; `None` when all is said.
    pub(super) fn next_round(&mut self) -> Option<Vec<Part>> {
        let mut round = std::mem::take(&mut self.waiting);
        round.retain(|part| self.verdicts[part.ask].is_ok());
        (!round.is_empty()).then_some(round)
    }

    pub(super) fn settle(&mut self, part: &Part, answer: Answer) {
        self.stale[part.ask] = matches!(answer, Err(Trouble::Stale));
        match answer {
            Ok(visible) if visible.len() == part.images.len() => {
                let verdict = |visible| if visible { RowVerdict::Visible } else { RowVerdict::Hidden };
                self.write(part, visible.into_iter().map(verdict));
            }
            Ok(_) => self.fail(part, |question| unanswerable(question, "00000".into())),
            Err(Trouble::Raised(code)) => self.raised(part, code),
            Err(Trouble::TimedOut) => self.write_all(part, &RowVerdict::TimedOut),
            Err(Trouble::Unanswered) => {}
            Err(Trouble::Lost(reason)) => self.fail(part, |_| ProbeError::ConnectionLost { reason }),
            Err(Trouble::Busy(sqlstate)) => self.fail(part, |_| ProbeError::Busy { sqlstate }),
            Err(Trouble::Role(sqlstate)) => {
                self.fail(part, |question| ProbeError::RoleRefused { role: question.role.clone(), sqlstate });
            }
            Err(Trouble::Setting(sqlstate)) => self.fail(part, |_| ProbeError::SettingRefused { sqlstate }),
            Err(Trouble::Stale) => self.waiting.push(part.clone()),
            Err(Trouble::Unbound(reason)) => self.fail(part, |question| unbound(question, reason)),
            Err(Trouble::Condition(sqlstate)) => self.fail(part, |question| unanswerable(question, sqlstate)),
        }
    }

    pub(super) fn finish(self) -> Vec<Result<Vec<RowVerdict>, ProbeError>> {
        let verdicts = self.verdicts.into_iter().zip(self.stale).zip(self.asks);
        verdicts
            .map(|((verdicts, stale), ask)| if stale { unsettled(verdicts, &ask.question) } else { verdicts })
            .collect()
    }

    fn raised(&mut self, part: &Part, code: Box<str>) {
        if !std::mem::replace(&mut self.tested[part.ask], true) {
            self.waiting.push(Part { ask: part.ask, images: 0..0 });
        }
        match part.images.len() {
            0 => self.fail(part, |question| unanswerable(question, code)),
            1 => self.write_all(part, &RowVerdict::Raised(code)),
            _ => self.waiting.extend(split(part)),
        }
    }

    fn write_all(&mut self, part: &Part, verdict: &RowVerdict) {
        self.write(part, part.images.clone().map(|_| verdict.clone()));
    }

    fn write(&mut self, part: &Part, verdicts: impl Iterator<Item = RowVerdict>) {
        if let Ok(all) = &mut self.verdicts[part.ask] {
            all[part.images.clone()].iter_mut().zip(verdicts).for_each(|(old, new)| *old = new);
        }
    }

    fn fail(&mut self, part: &Part, error: impl FnOnce(&Question) -> ProbeError) {
        let verdicts = &mut self.verdicts[part.ask];
        if verdicts.is_ok() {
            *verdicts = Err(error(&self.asks[part.ask].question));
        }
    }
}

/// `set role none` means rowcast's own user, and a setting without a prefix may be PostgreSQL's own: row security itself
/// is one.
fn check(ask: &Ask) -> Result<Vec<RowVerdict>, ProbeError> {
    let question = &ask.question;
    if &*question.role == "none" {
        return Err(ProbeError::RoleRefused { role: question.role.clone(), sqlstate: "22023".into() });
    }
    if question.settings.iter().any(|(name, _)| !name.contains('.')) {
        return Err(ProbeError::SettingRefused { sqlstate: "42602".into() });
    }
    Ok(vec![RowVerdict::Unasked; ask.images.len()])
}

fn unanswerable(question: &Question, sqlstate: Box<str>) -> ProbeError {
    ProbeError::Unanswerable { table: question.table.to_string(), role: question.role.clone(), sqlstate }
}

fn unbound(question: &Question, reason: &'static str) -> ProbeError {
    ProbeError::Unbound { table: question.table.to_string(), role: question.role.clone(), reason }
}

/// What was decided is kept; otherwise the reason is reported.
fn unsettled(
    verdicts: Result<Vec<RowVerdict>, ProbeError>,
    question: &Question,
) -> Result<Vec<RowVerdict>, ProbeError> {
    let verdicts = verdicts?;
    if verdicts.iter().any(|verdict| *verdict != RowVerdict::Unasked) {
        return Ok(verdicts);
    }
    Err(ProbeError::Unsettled { table: question.table.to_string(), role: question.role.clone() })
}

fn split(part: &Part) -> impl Iterator<Item = Part> + use<> {
    let (ask, Range { start, end }) = (part.ask, part.images.clone());
    let step = (end - start).div_ceil(WAYS);
    (start..end).step_by(step).map(move |from| Part { ask, images: from..(from + step).min(end) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Part, Parts, split};
    use crate::model::TableName;
    use crate::probe::error::Trouble;
    use crate::probe::{Ask, ProbeError, Question, RowVerdict};
    use crate::security::Reads;

    fn ask(images: usize) -> Ask {
        let question = Question {
            table: TableName { schema: "public".into(), name: "docs".into() },
            role: "reader".into(),
            settings: Box::default(),
            condition: "true".into(),
            reads: Reads::Row,
            binding: None,
        };
        Ask { question: Arc::new(question), images: vec!["{}".into(); images] }
    }

    #[test]
    fn whoever_is_only_parsed_anew_is_told_so_and_what_was_decided_is_kept() {
        let (first, second) = (ask(2), ask(2));
        let asks = [&first, &second];
        let mut parts = Parts::new(&asks);
        parts.settle(&Part { ask: 0, images: 0..2 }, Err(Trouble::Stale));
        parts.settle(&Part { ask: 1, images: 0..1 }, Ok(vec![true]));
        parts.settle(&Part { ask: 1, images: 1..2 }, Err(Trouble::Stale));
        let answers = parts.finish();
        assert!(matches!(&answers[0], Err(error @ ProbeError::Unsettled { .. }) if error.is_transient()));
        assert_eq!(answers[1], Ok(vec![RowVerdict::Visible, RowVerdict::Unasked]));
    }

    #[test]
    fn a_part_is_split_without_a_gap() {
        for end in 2..1100 {
            let parts: Vec<_> = split(&Part { ask: 0, images: 1..end + 1 }).collect();
            assert!(parts.len() <= 8 && parts.iter().all(|part| part.images.len() < end));
            assert_eq!((parts[0].images.start, parts[parts.len() - 1].images.end), (1, end + 1));
            assert!(parts.windows(2).all(|pair| pair[0].images.end == pair[1].images.start));
        }
    }
}
