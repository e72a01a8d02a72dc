//! What was decided, in figures.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::judge::{Judgement, Selected};
use super::rights::Rights;

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) worlds: usize,
    pub(super) tables: usize,
    pub(super) policies: usize,
    pub(super) changes: usize,
    /// (policies of a table, row image, principal).
    pub(super) decisions: usize,
    pub(super) visible: usize,
    pub(super) hidden: usize,
    pub(super) raising: usize,
    /// The condition holds, but the planner raises: see [`judge`](super::judge).
    pub(super) unplanned: usize,
    pub(super) subscriptions: usize,
    pub(super) frames: BTreeMap<String, usize>,
    pub(super) refusals: BTreeMap<String, usize>,
    pub(super) ends: BTreeMap<String, usize>,
    /// Decisions by how the engine came to them.
    pub(super) ways: BTreeMap<&'static str, usize>,
}

impl Tally {
    pub(super) fn judged(&mut self, judgement: &Judgement, rights: &[Rights], ways: &[&'static str]) {
        self.tables += 1;
        self.changes += judgement.changes.len();
        for ((selected, rights), way) in judgement.selected.iter().zip(rights).zip(ways) {
            // Without policies and with no right at all nothing is decided about a row.
            if rights.readable.is_empty() {
                continue;
            }
            self.decisions += selected.len();
            *self.ways.entry(*way).or_default() += selected.len();
            for selected in selected {
                match selected {
                    Selected::Shown => self.visible += 1,
                    Selected::Hidden => self.hidden += 1,
                    Selected::Raised => self.raising += 1,
                    Selected::Unplanned => self.unplanned += 1,
                }
            }
        }
    }

    pub(super) fn told(&mut self, frame: Option<&Value>) {
        let word = |key: &str| frame.and_then(|frame| frame[key].as_str()).unwrap_or("?").to_owned();
        *self.frames.entry(format!("{} {}", word("operation"), word("transition"))).or_default() += 1;
    }

    pub(super) fn refused(&mut self, code: &str) {
        *self.refusals.entry(code.to_owned()).or_default() += 1;
    }

    pub(super) fn ended(&mut self, code: &str) {
        *self.ends.entry(code.to_owned()).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Tally) {
        self.worlds += other.worlds;
        self.tables += other.tables;
        self.policies += other.policies;
        self.changes += other.changes;
        self.decisions += other.decisions;
        self.visible += other.visible;
        self.hidden += other.hidden;
        self.raising += other.raising;
        self.unplanned += other.unplanned;
        self.subscriptions += other.subscriptions;
        let sums =
            [(&mut self.frames, &other.frames), (&mut self.refusals, &other.refusals), (&mut self.ends, &other.ends)];
        for (mine, theirs) in sums {
            for (key, count) in theirs {
                *mine.entry(key.clone()).or_default() += count;
            }
        }
        for (key, count) in &other.ways {
            *self.ways.entry(*key).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "decisions: {} ({} visible, {} hidden, {} raising, {} unplanned) by {:?}",
            self.decisions, self.visible, self.hidden, self.raising, self.unplanned, self.ways
        )?;
        writeln!(
            f,
            "  {} worlds, {} tables, {} policies, {} changes, {} subscriptions",
            self.worlds, self.tables, self.policies, self.changes, self.subscriptions
        )?;
        writeln!(f, "  frames: {:?}", self.frames)?;
        write!(f, "  refusals: {:?}, ended: {:?}", self.refusals, self.ends)
    }
}
