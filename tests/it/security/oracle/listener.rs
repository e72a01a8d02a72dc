//! The engine's answer: one subscription as one principal, and all that it is sent.

use std::sync::Arc;

use rowcast::engine::{Engine, PullQueue};
use rowcast::error::Error;
use serde_json::Value;

use super::column::Column;
use super::filter::Filter;
use super::principal::Principal;
use super::table::Table;
use crate::engine::client::{PATIENCE, request};

pub(super) struct Listener {
    /// By table and principal of its world.
    pub(super) table: usize,
    pub(super) principal: usize,
    pub(super) filter: Filter,
    /// The filter is the world's for this principal.
    pub(super) filtered: bool,
    pub(super) query: String,
    queue: Result<Arc<PullQueue>, Error>,
    pub(super) frames: Vec<Value>,
    pub(super) ended: Option<Error>,
}

impl Listener {
    pub(super) fn new(
        engine: &Engine,
        (at, table): (usize, &Table),
        (who, principal): (usize, &Principal),
        readable: &[Column],
        filter: &Filter,
        filtered: bool,
    ) -> Self {
        let query = query(table, readable, filter);
        let queue = engine.register(&Arc::new(principal.model()), &request(&query)).map(|(_, queue)| queue);
        let (frames, ended, filter) = (Vec::new(), None, filter.clone());
        Listener { table: at, principal: who, filter, filtered, query, queue, frames, ended }
    }

    /// Why it was refused.
    pub(super) fn refusal(&self) -> Option<&Error> {
        self.queue.as_ref().err()
    }

    /// Reads up to this TRUNCATE, which ends the world, or its own end.
    pub(super) fn read(&mut self, truncations: usize) {
        let Ok(queue) = &self.queue else { return };
        let sees_truncations = self.filter.operations.contains(&"TRUNCATE");
        let mut seen = 0;
        while seen < truncations {
            let patience = if sees_truncations { PATIENCE } else { std::time::Duration::ZERO };
            match queue.next(Some(patience)) {
                Ok(Some(result)) => {
                    let mut frame: Value = serde_json::from_slice(&result).unwrap();
                    let told = told(&mut frame);
                    seen += usize::from(told["operation"] == "TRUNCATE");
                    self.frames.push(if is_whole(&frame) { told } else { frame });
                }
                Ok(None) if sees_truncations => panic!("no end came within {PATIENCE:?}: {}", self.query),
                Ok(None) => return,
                Err(error) => {
                    self.ended = Some(error);
                    return;
                }
            }
        }
    }
}

fn told(frame: &mut Value) -> Value {
    let data = frame["data"].as_object_mut().and_then(|data| data.values_mut().next());
    data.map_or(Value::Null, Value::take)
}

/// A number that JSON does not have is null, with an error beside it.
fn is_whole(frame: &Value) -> bool {
    let formless = |error: &Value| error["extensions"]["code"] == "VALUE_WITHOUT_JSON_FORM";
    frame["errors"].as_array().is_none_or(|errors| errors.iter().all(formless))
}

/// All readable columns and no other.
pub(super) fn query(table: &Table, readable: &[Column], filter: &Filter) -> String {
    let fields = |of: &[Column]| -> String {
        let fields: Vec<_> = of.iter().filter(|column| readable.contains(column)).map(|column| column.field).collect();
        fields.join(" ")
    };
    let key = fields(&table.key);
    let key = if key.is_empty() { String::new() } else { format!("key {{ {key} }}") };
    let row = fields(&table.columns);
    let row = if row.is_empty() { "__typename".to_owned() } else { row };
    format!(
        "subscription {{ {}{} {{ operation transition row {{ {row} }} {key} changed }} }}",
        table.field,
        filter.arguments()
    )
}
