//! One operation while it is being described, and the schemas that all of them share.

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};
use xiezhi_inventory::export::FileKind;

use crate::routes::Route;

/// Schemas of what is taken and of what is answered: a field that may be left out of a request
/// stands in every answer.
pub(crate) struct Schemas {
    taken: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            taken: settings().for_deserialize().into_generator(),
            answered: settings().for_serialize().into_generator(),
        }
    }

    /// The schema of an answer.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Schema {
        self.answered.subschema_for::<T>()
    }

    /// The schema of a body.
    pub(super) fn body<T: JsonSchema>(&mut self) -> Schema {
        self.taken.subschema_for::<T>()
    }

    /// The schema of parameters, written out.
    pub(super) fn inline<T: JsonSchema>(&mut self) -> Schema {
        T::json_schema(&mut self.taken)
    }

    /// What all operations refer to.
    pub(super) fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.taken.take_definitions(true);
        for (name, schema) in self.answered.take_definitions(true) {
            let other = all.insert(name.clone(), schema.clone());
            debug_assert!(
                other.is_none_or(|other| other == schema),
                "two types are called {name}: rename one with `schemars(rename)`"
            );
        }
        all
    }
}

/// One operation.
pub(crate) struct Draft<'a> {
    pub(super) path: &'static str,
    pub(super) schemas: &'a mut Schemas,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    /// By status; those of refusals are added in the end.
    pub(super) answers: BTreeMap<String, Value>,
    /// Statuses of refusals that follow from what is taken.
    pub(super) refusals: Vec<u16>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(route: &Route, schemas: &'a mut Schemas) -> Self {
        Self {
            path: route.path,
            schemas,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            refusals: Vec::new(),
        }
    }

    /// An answer in JSON.
    pub(super) fn answer_json(&mut self, status: u16, description: &str, schema: impl Into<Value>) {
        let content = json!({"application/json": {"schema": schema.into()}});
        let answer = json!({"description": description, "content": content});
        self.answers.insert(status.to_string(), answer);
    }

    /// A list as a file.
    pub(super) fn file_of_rows(&mut self) {
        let mut content = Map::new();
        for kind in FileKind::ALL {
            let media = kind.media_type().split(';').next().unwrap_or_default();
            content.insert(media.to_owned(), json!({"schema": {"type": "string"}}));
        }
        let answer = json!({"description": "The list as a file", "content": content});
        self.answers.insert("200".to_owned(), answer);
    }

    /// An answer without a body.
    pub(super) fn answer_empty(&mut self, status: u16, description: &str) {
        let answer = json!({"description": description});
        self.answers.insert(status.to_string(), answer);
    }

    /// Parameters after the question mark: one for each field of `T`.
    pub(super) fn query_of<T: JsonSchema>(&mut self) {
        let schema = self.schemas.inline::<T>();
        let required = schema.get("required").and_then(Value::as_array).cloned();
        let required = required.unwrap_or_default();
        let fields = schema.get("properties").and_then(Value::as_object).cloned();
        let mut fields: Vec<_> = fields.into_iter().flatten().collect();
        // In order, whichever features of `serde_json` another crate asks for.
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, mut schema) in fields {
            let description = schema
                .as_object_mut()
                .and_then(|one| one.remove("description"));
            let mut parameter = json!({
                "name": name, "in": "query",
                "required": required.iter().any(|one| *one == name),
                "schema": without_null(schema),
            });
            if let (Some(parameter), Some(text)) = (parameter.as_object_mut(), description) {
                parameter.insert("description".to_owned(), text);
            }
            self.parameters.push(parameter);
        }
    }

    /// The parameters that the path names.
    pub(super) fn path_of<T: JsonSchema>(&mut self) {
        let schema = self.schemas.inline::<T>();
        let several = schema.get("prefixItems").and_then(Value::as_array).cloned();
        let mut several = several.unwrap_or_default().into_iter();
        let mut before = "";
        for part in self.path.split('/') {
            let name = part
                .strip_prefix('{')
                .and_then(|name| name.strip_suffix('}'));
            let Some(name) = name else {
                before = part;
                continue;
            };
            let mut one = several.next().unwrap_or_else(|| schema.clone().into());
            let own = one
                .as_object_mut()
                .and_then(|one| one.remove("description"));
            let description = own.unwrap_or_else(|| format!("Which of `{before}`").into());
            let is_number = one.get("type").is_some_and(|kind| kind == "integer");
            let mut parameter = json!({
                "name": name.trim_start_matches('*'), "in": "path", "required": true,
                "schema": one, "description": description,
            });
            if let Some(parameter) = parameter.as_object_mut().filter(|_| is_number) {
                parameter.insert("example".to_owned(), 1.into());
            }
            self.parameters.push(parameter);
        }
    }

    /// A header that a request must or may bring.
    pub(super) fn header(&mut self, name: &str, required: bool, schema: Value, description: &str) {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": required, "schema": schema,
            "description": description,
        }));
    }
}

/// A parameter that is left out is not there; it is never `null`.
fn without_null(mut schema: Value) -> Value {
    let is_null =
        |one: &Value| *one == "null" || one.get("type").is_some_and(|kind| kind == "null");
    let Some(object) = schema.as_object_mut() else {
        return schema;
    };
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Array(enumerated)) = object.get_mut("enum") {
        enumerated.retain(|one| !one.is_null());
    }
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|one| !is_null(one));
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|one| !is_null(one));
        if let [only] = choices.as_slice() {
            return only.clone();
        }
    }
    schema
}
