//! The JSON Schema of the documents that [`super::json`] writes.

use serde_json::Value;

use crate::summary::{Document, SCHEMA};

/// The schema, made from the types of [`crate::summary`].
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Document);
    schema.insert("$id".to_owned(), SCHEMA.into());
    schema.to_value()
}
