//! Lines that are JSON objects: `journalctl -o json`, docker's json-file, and the Security Profiles Operator's JSON enricher.

use serde_json::{Map, Value};

use super::enricher::Enriched;

/// What an object holds.
pub(super) enum Document {
    /// A line of a log.
    Message(Vec<u8>),
    /// What the enricher wrote.
    Enriched(Enriched),
}

/// Reads a line; `None` where it is no such object.
pub(super) fn read(line: &[u8]) -> Option<Document> {
    let line = line.trim_ascii();
    if !line.starts_with(b"{") {
        return None;
    }
    let object: Map<String, Value> = serde_json::from_slice(line).ok()?;
    ["MESSAGE", "log", "message"]
        .iter()
        .find_map(|key| message(object.get(*key)?))
        .map(Document::Message)
        .or_else(|| enriched(&object).map(Document::Enriched))
}

/// A string, or the numbers of its bytes, as journald writes what is no UTF-8.
fn message(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(bytes) => bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect(),
        _ => None,
    }
}

fn enriched(object: &Map<String, Value>) -> Option<Enriched> {
    object.get("version")?.as_str()?.starts_with("spo/").then_some(())?;
    let calls = object.get("syscalls")?.as_array()?.iter();
    Some(Enriched {
        program: object.get("executable")?.as_str()?.to_owned(),
        calls: calls.map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        number: None,
    })
}
