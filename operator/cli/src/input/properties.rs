//! What holds for every text.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{
    json,
    tree::{Content, Node, Position},
    yaml,
};

fn value() -> impl Strategy<Value = Value> {
    let text =
        prop_oneof![".*", "[ -~]{0,12}", "[0-9xeE.+-]{1,8}", Just("null".to_owned()), Just("yes".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The text from a place on.
fn at(text: &str, position: Position) -> String {
    let line = text.split('\n').nth(position.line - 1).unwrap_or_default();
    line.chars().skip(position.column - 1).collect()
}

/// Every value stands where it is said to, and is found by its path.
fn places(root: &Node, node: &Node, path: &str, text: &str) -> Result<(), TestCaseError> {
    match &node.content {
        Content::Scalar(value) => {
            let here = at(text, node.at);
            prop_assert!(
                here.starts_with(&value.to_string()),
                "{path}: {value} is not at {}: {here:?}",
                node.at
            );
        }
        Content::List(items) => {
            prop_assert!(at(text, node.at).starts_with('['), "{path}");
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                prop_assert_eq!(root.locate(&path), item.at, "{}", path);
                places(root, item, &path, text)?;
            }
        }
        Content::Map(entries) => {
            prop_assert!(at(text, node.at).starts_with('{'), "{path}");
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                prop_assert_eq!(root.locate(&path), entry.at, "{}", path);
                let quoted = format!("\"{}\"", entry.key);
                prop_assert!(at(text, entry.at).starts_with(&quoted), "{path}");
                places(root, &entry.value, &path, text)?;
            }
        }
    }
    Ok(())
}

proptest! {
    /// What serde_json writes is read back, and JSON is YAML but for control characters.
    #[test]
    fn json_is_read_as_it_was_written(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("it is written");
        let (documents, problem) = json::read(&text);
        prop_assert!(problem.is_none(), "{:?} in {}", problem, text);
        let [document] = &documents[..] else { panic!("{documents:?}") };
        prop_assert_eq!(document.root.to_value(), value.clone());
        prop_assert!(document.problems.is_empty());
        places(&document.root, &document.root, "", &text)?;
        if text.chars().all(|one| !one.is_control() || one == '\n') && text.len() < 1000 {
            let (documents, problem) = yaml::read(&text);
            prop_assert!(problem.is_none(), "{:?} in {}", problem, text);
            let [document] = &documents[..] else { panic!("{documents:?}") };
            prop_assert_eq!(document.root.to_value(), value);
        }
    }

    #[test]
    fn no_text_is_too_much(text in prop_oneof![".*", "[\\[\\]{}\":,&*?|> \n\ta-c0-9-]{0,80}"]) {
        let _ = json::read(&text);
        let _ = yaml::read(&text);
    }
}
