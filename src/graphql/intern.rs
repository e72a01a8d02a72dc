//! Equal plans become one. The set holds no plan alive: a plan ends with its last subscription.

use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;

use super::plan::Plan;

/// Below this many entries dead ones are left where they are.
const SWEEP_MIN: usize = 64;

/// The plans in use, by the hash of their structure.
#[derive(Debug, Default)]
pub(super) struct Plans {
    by_hash: FxHashMap<u64, SmallVec<[Weak<Plan>; 1]>>,
    sweep_at: usize,
}

impl Plans {
    /// The plan in use that equals `plan`, or `plan` itself from now on.
    pub(super) fn intern(&mut self, plan: Plan) -> Arc<Plan> {
        let bucket = self.by_hash.entry(FxBuildHasher.hash_one(&plan)).or_default();
        if let Some(known) = bucket.iter().filter_map(Weak::upgrade).find(|known| **known == plan) {
            return known;
        }
        let plan = Arc::new(plan);
        bucket.retain(|known| known.strong_count() > 0);
        bucket.push(Arc::downgrade(&plan));
        self.sweep();
        plan
    }

    /// Costs what the set holds, once it has doubled: nothing per plan in the long run.
    fn sweep(&mut self) {
        if self.by_hash.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.by_hash.retain(|_, bucket| bucket.iter().any(|known| known.strong_count() > 0));
        self.sweep_at = self.by_hash.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{LeafKind, PlanRoot, Shape, key};
    use super::super::scalar::Scalar;
    use super::*;

    fn plan(name: &str) -> Plan {
        let root = PlanRoot::Value(Shape::Leaf(LeafKind::Scalar(Scalar::Int)));
        Plan { key: key(name), response_key: name.into(), root, transaction: None }
    }

    #[test]
    fn equal_plans_are_one_and_others_are_not() {
        let mut plans = Plans::default();
        let first = plans.intern(plan("a"));
        assert!(Arc::ptr_eq(&first, &plans.intern(plan("a"))));
        assert!(!Arc::ptr_eq(&first, &plans.intern(plan("b"))));
    }

    #[test]
    fn plans_that_nobody_uses_are_forgotten() {
        let mut plans = Plans::default();
        let kept = plans.intern(plan("kept"));
        for n in 0..10_000 {
            plans.intern(plan(&format!("p{n}")));
        }
        assert!(plans.by_hash.len() <= SWEEP_MIN, "{}", plans.by_hash.len());
        assert!(Arc::ptr_eq(&kept, &plans.intern(plan("kept"))));
    }
}
