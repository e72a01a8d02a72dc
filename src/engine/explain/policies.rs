//! A table's policies one by one, and what they come to for this principal.

use super::Case;
use super::report::{Policy, Question, Reason, Refusal, RowPolicy};
use crate::model::{self, PUBLIC, Role};
use crate::security::{self, Explanation, PolicyClass, PolicyExplanation, Reads, RowRule, TablePolicies};

impl Case<'_> {
    pub(super) fn policies(&self) -> RowPolicy {
        let access = &self.table.access;
        let explanation = self.explanation();
        let rule = explanation.as_ref().map(|explanation| &explanation.rule);
        RowPolicy {
            enabled: access.row_security,
            forced: access.force_row_security,
            exempt: explanation.as_ref().and_then(|explanation| explanation.exempt),
            rule: match rule {
                None if access.row_security => "unknown",
                None | Some(Ok(RowRule::All)) => "all",
                Some(Ok(RowRule::Decided(_))) => "decided",
                Some(Ok(RowRule::Delegated { .. })) => "delegated",
                Some(Err(_)) => "refused",
            },
            question: match rule {
                Some(Ok(RowRule::Delegated { question, .. })) => Some(self.question(question)),
                _ => None,
            },
            policies: access.policies.iter().map(|policy| self.policy(policy, explanation.as_ref())).collect(),
        }
    }

    /// What the policies say to the principal's role; none without one.
    pub(super) fn explanation(&self) -> Option<Explanation> {
        let role = self.role()?;
        let defaults = &self.live.tables.setting_defaults;
        Some(TablePolicies::of(&self.table).explain(&self.table, role, self.principal, defaults))
    }

    fn role(&self) -> Option<&Role> {
        self.live.tables.roles.named(self.principal.role.as_deref()?)
    }

    fn policy(&self, policy: &model::Policy, explanation: Option<&Explanation>) -> Policy {
        let mut known = explanation.iter().flat_map(|explanation| &explanation.policies);
        let explained = known.find(|explained| explained.name == policy.name);
        let why_not = self.why_not(policy, explanation, explained);
        Policy {
            name: policy.name.clone(),
            permissive: policy.permissive,
            applies: explanation.map(|_| why_not.is_none()),
            why_not,
            using: policy.using.clone(),
            evaluation: self.evaluation(policy),
            predicate: explained.map(|explained| explained.possible_with_values.clone()),
            reasons: explained.map(reasons).unwrap_or_default(),
            refusal: explained
                .and_then(|explained| explained.refusal.as_ref())
                .map(|refusal| Refusal { code: refusal.code(), message: refusal.to_string() }),
        }
    }

    fn why_not(
        &self,
        policy: &model::Policy,
        explanation: Option<&Explanation>,
        explained: Option<&PolicyExplanation>,
    ) -> Option<String> {
        match (explanation?.exempt, explained) {
            (Some(exempt), _) => Some(exempt.to_owned()),
            (None, None) => Some("it has no USING expression: it speaks of writing alone".to_owned()),
            (None, Some(explained)) => explained.ignored.map(|why| format!("{why}: {}", self.names(policy))),
        }
    }

    fn names(&self, policy: &model::Policy) -> String {
        let all = || self.live.tables.roles.by_name.values();
        let name = |oid: &u32| match all().find(|role| role.oid == *oid) {
            Some(role) => role.name.to_string(),
            None if *oid == PUBLIC => "public".to_owned(),
            None => format!("role {oid}"),
        };
        policy.roles.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    fn evaluation(&self, policy: &model::Policy) -> &'static str {
        let classes = TablePolicies::of(&self.table).classes(&self.table);
        match classes.iter().find(|(name, _)| *name == policy.name) {
            Some((_, PolicyClass::Compiled)) => "compiled",
            Some((_, PolicyClass::Delegated)) => "delegated",
            Some((_, PolicyClass::Mixed)) => "mixed",
            Some((_, PolicyClass::Refused)) => "refused",
            None => "nothing",
        }
    }

    fn question(&self, question: &security::Question) -> Question {
        let all = || (0..self.table.columns.len()).collect();
        let reads: Vec<usize> = match &question.reads {
            Reads::Row => all(),
            Reads::Columns(columns) => columns.to_vec(),
        };
        Question {
            role: question.role.clone(),
            settings: question.settings.iter().cloned().collect(),
            condition: question.condition.clone(),
            reads: reads.iter().filter_map(|index| Some(self.table.columns.get(*index)?.name.clone())).collect(),
        }
    }
}

fn reasons(explained: &PolicyExplanation) -> Vec<Reason> {
    let reason = |reason: &security::Reason| Reason { why: reason.why.to_string(), part: reason.text.clone() };
    explained.reasons.iter().map(reason).collect()
}
