//! Plans as one line of text, so that a corpus can hold them: `orders: event { row { id: #0! } }`.

use crate::graphql::plan::{ColumnValue, EventValue, LeafKind, Plan, PlanRoot, RowSelection, Shape, TopicValue};

pub(super) fn render(plan: &Plan) -> String {
    let root = match &plan.root {
        PlanRoot::Event(event) => {
            format!("event {}", members(event.fields.iter().map(|f| (&*f.name, event_value(&f.value)))))
        }
        PlanRoot::Topic(topic) => {
            format!("topic {}", members(topic.fields.iter().map(|f| (&*f.name, topic_value(&f.value)))))
        }
        PlanRoot::Value(value) => shape(value),
    };
    format!("{}: {root}", plan.response_key)
}

fn members<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let members: Vec<_> = members.map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{{ {} }}", members.join(", "))
}

fn text(json: &[u8]) -> String {
    String::from_utf8(json.to_vec()).unwrap()
}

fn event_value(value: &EventValue) -> String {
    match value {
        EventValue::Typename(name) => text(name),
        EventValue::Operation => "operation".to_owned(),
        EventValue::Transition => "transition".to_owned(),
        EventValue::Row(selection) => format!("row {}", row(selection)),
        EventValue::Key(selection) => format!("key {}", row(selection)),
        EventValue::Changed => "changed".to_owned(),
        EventValue::Cursor => "cursor".to_owned(),
        EventValue::CommittedAt => "committedAt".to_owned(),
    }
}

fn row(selection: &RowSelection) -> String {
    members(selection.fields.iter().map(|field| {
        let value = match &field.value {
            ColumnValue::Typename(name) => text(name),
            ColumnValue::Column { index, non_null } => format!("#{index}{}", if *non_null { "!" } else { "" }),
        };
        (&*field.name, value)
    }))
}

fn topic_value(value: &TopicValue) -> String {
    match value {
        TopicValue::Typename(name) => text(name),
        TopicValue::Operation => "operation".to_owned(),
        TopicValue::Topic => "topic".to_owned(),
        TopicValue::Payload => "payload".to_owned(),
        TopicValue::Cursor => "cursor".to_owned(),
        TopicValue::CommittedAt => "committedAt".to_owned(),
    }
}

fn shape(value: &Shape) -> String {
    match value {
        Shape::NonNull(inner) => format!("{}!", shape(inner)),
        Shape::List(inner) => format!("[{}]", shape(inner)),
        Shape::Leaf(LeafKind::Scalar(scalar)) => scalar.name().to_owned(),
        Shape::Leaf(LeafKind::Enum { name, values }) => format!("{name}({})", values.join("|")),
        Shape::Constant(name) => text(name),
        Shape::Object(object) => {
            let fields = object.fields.iter().map(|f| (&*f.name, format!("{} {}", f.attribute, shape(&f.shape))));
            format!("{} {}", object.typename, members(fields))
        }
    }
}
