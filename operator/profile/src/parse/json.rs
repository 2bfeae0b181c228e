//! JSON without duplicate keys: serde_json's own `Value` keeps the last of them silently.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{ParseErrors, error::Path};

/// Reads one JSON document. Duplicate keys go to `errors`; text that isn't JSON ends the reading.
///
/// serde_json itself stops at a depth of 128.
pub(crate) fn read(document: &[u8], errors: &mut ParseErrors) -> Result<Value, ParseErrors> {
    let found = RefCell::new(std::mem::take(errors));
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let value = Unique { path: &Path::Root, errors: &found }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(value) => {
            *errors = found.into_inner();
            Ok(value)
        }
        Err(error) => {
            let mut errors = found.into_inner();
            errors.push(&Path::Root, format!("the document is not JSON: {error}"));
            Err(errors)
        }
    }
}

/// Reads a value at a path.
struct Unique<'p> {
    path: &'p Path<'p>,
    errors: &'p RefCell<ParseErrors>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = Path::Item(self.path, values.len());
            match items.next_element_seed(Unique { path: &path, errors: self.errors })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path::Key(self.path, &key);
            let duplicate = object.contains_key(&key);
            if duplicate {
                self.errors.borrow_mut().push(
                    &path,
                    "the key stands twice; runtimes keep the last one only: remove one of them".to_owned(),
                );
            }
            let value = entries.next_value_seed(Unique { path: &path, errors: self.errors })?;
            if !duplicate {
                object.insert(key, value);
            }
        }
        Ok(Value::Object(object))
    }
}
