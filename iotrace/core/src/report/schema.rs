//! The JSON Schema of what [`super::json`] writes.

use serde_json::Value;

use crate::summary::{Document, SCHEMA};

/// The schema, made from the types themselves.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Document);
    schema.insert("$id".to_owned(), SCHEMA.into());
    schema.to_value()
}
