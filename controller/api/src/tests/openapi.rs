//! The description of the interface: the golden file, the standard's own schema, and that nothing is
//! missing.

use axum::http::StatusCode;
use serde_json::Value;

use super::bench::Bench;
use crate::openapi;
use crate::routes::{method_of, routes};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn the_description_is_the_golden_file() {
    let made = openapi::document();
    if std::env::var_os("XIEZHI_WRITE_DOCS").is_some() {
        // Keys in order, whichever features of `serde_json` another crate asks for.
        let text = serde_json::to_string_pretty(&sorted(&made)).unwrap() + "\n";
        std::fs::write(GOLDEN, text).unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(GOLDEN).unwrap()).unwrap();
    let differs = first_difference("", &golden, &made);
    assert_eq!(
        differs, None,
        "docs/openapi.json is not what the routes say: look at the change, then write it with \
         XIEZHI_WRITE_DOCS=1"
    );
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.keys().collect();
            names.sort();
            let field = |name: &String| (name.clone(), sorted(&fields[name]));
            names.into_iter().map(field).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn first_difference(at: &str, a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(one), Value::Object(other)) => {
            let names = one.keys().chain(other.keys());
            names
                .filter_map(|name| {
                    let of =
                        |map: &serde_json::Map<_, _>| map.get(name).cloned().unwrap_or_default();
                    first_difference(&format!("{at}/{name}"), &of(one), &of(other))
                })
                .next()
        }
        (a, b) => (a != b).then(|| format!("{at}: {a} in the file, {b} in the routes")),
    }
}

#[test]
fn the_golden_file_is_openapi_3_1_by_the_standards_own_schema() {
    let standard = include_str!("openapi_3_1.json");
    let standard: Value = serde_json::from_str(standard).unwrap();
    let validator = jsonschema::draft202012::new(&standard).unwrap();
    let document = openapi::document();
    let problems: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    let mut broken = document.clone();
    broken["paths"]["/api/v1/me"]["get"]["responses"] = Value::Null;
    assert!(!validator.is_valid(&broken));
}

/// The standard's schema says nothing about the schemas of a document: they are JSON Schema.
#[test]
fn every_schema_is_one_and_every_reference_leads_somewhere() {
    let document = openapi::document();
    let meta = jsonschema::draft202012::meta::validator();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(meta.is_valid(schema), "{name}: {schema}");
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(
                fields
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields.values().for_each(|field| collect(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}

#[test]
fn every_route_is_an_operation_with_a_name_of_its_own_a_permission_and_an_answer() {
    let document = openapi::document();
    let mut names = std::collections::BTreeSet::new();
    for route in routes() {
        let path = route.path.replace("{*", "{");
        let method = method_of(route.method).as_str().to_lowercase();
        let operation = &document["paths"][&path][&method];
        let what = format!("{method} {path}");
        let name = operation["operationId"].as_str().expect(&what).to_owned();
        assert!(names.insert(name), "{what}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{what}");
        assert!(operation["x-permission"].is_string(), "{what}");
        let answers = operation["responses"].as_object().unwrap();
        let answered = answers.keys().any(|status| status.starts_with('2'));
        assert!(
            answered || route.summary == "Not offered",
            "{what}: {answers:?}"
        );
        for one in operation["parameters"].as_array().into_iter().flatten() {
            let described = one["description"].as_str();
            assert!(
                described.is_some_and(|text| !text.is_empty()),
                "{what}: {one}"
            );
        }
        let tag = operation["tags"][0].as_str();
        let mut tags = document["tags"].as_array().unwrap().iter();
        assert!(
            tags.any(|one| one["name"].as_str() == tag),
            "{what}: {tag:?}"
        );
        let named = path.matches('{').count();
        let parameters = operation["parameters"].as_array();
        let found = parameters
            .into_iter()
            .flatten()
            .filter(|one| one["in"] == "path");
        assert_eq!(found.count(), named, "{what}");
    }
    let operations = document["paths"].as_object().unwrap().values();
    let operations: usize = operations.map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(operations, routes().len());
}

#[tokio::test]
async fn people_who_are_signed_in_read_the_description() {
    let bench = Bench::new().await;
    let path = "/api/v1/openapi.json";
    let stranger = bench.get("", path).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    let cookie = bench.sign_in().await;
    assert_eq!(bench.read(&cookie, path).await, openapi::document());
}
