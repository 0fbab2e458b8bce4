//! Queries over hosts whose agents speak for others.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use std::sync::Arc;

use xiezhi_metrics::{Directory, Origins, Queries, Scope, Selectors, Settings, Wish};
use xiezhi_promql::{Label, Value};
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{Frame, LabelledHost, SeriesOptions, SeriesStore};

const TIME_MS: i64 = 1_700_000_010_000;

#[derive(Debug)]
struct OneHost;

impl Directory for OneHost {
    fn origins(&self) -> Origins {
        let label = |(name, value): (&str, &str)| Label {
            name: name.into(),
            value: value.into(),
        };
        Origins {
            hosts: Arc::new([LabelledHost {
                host: 1,
                labels: [("host_id", "1"), ("site_id", "2")].map(label).to_vec(),
            }]),
            sites: Arc::new([2]),
        }
    }
}

/// A host says that its series are those of a foreign source, of a host and of a site.
fn store(folder: &std::path::Path) -> SeriesStore {
    let store = SeriesStore::open(folder, SeriesOptions::default()).unwrap();
    let mut report = Report::new();
    report.start(TIME_MS);
    let claims = [
        ("host_id", "9"),
        ("job", "node"),
        ("site", "court"),
        ("source_id", "3"),
    ];
    report.push("up", &claims, 1.0).unwrap();
    let mut bytes = Vec::new();
    let batch = Encoder::new(15_000).encode(1, &report, &mut bytes);
    let frame = Frame {
        host: 1,
        epoch: 1,
        batch,
        key: peek(&bytes).unwrap().key,
        bytes: &bytes,
    };
    store.append(&[frame]).unwrap();
    store
}

fn selectors(selector: &str) -> Selectors {
    Selectors {
        texts: vec![selector.to_owned()],
        start_ms: TIME_MS - 60_000,
        end_ms: TIME_MS + 60_000,
    }
}

#[tokio::test]
async fn a_host_that_claims_to_be_a_source_is_not_found_as_one_and_shows_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder.path().join("series"));
    let queries = Queries::embedded(store, Arc::new(OneHost), Settings::default()).unwrap();
    let found = async |query: &str| -> Vec<String> {
        let scope = Scope::Province;
        let answer = queries.instant(scope, query.to_owned(), TIME_MS, None);
        let Value::Vector(samples) = answer.await.unwrap().value else {
            panic!("no vector");
        };
        let labels = samples.iter().map(|sample| sample.labels.to_string());
        labels.collect()
    };
    for forged in ["{source_id=\"3\"}", "{site=\"court\"}", "{host_id=\"9\"}"] {
        assert_eq!(found(forged).await, [""; 0], "{forged}");
    }
    let own = ["{__name__=\"up\", host_id=\"1\", job=\"node\", site_id=\"2\"}"];
    for honest in [
        "up",
        "up{source_id=\"\"}",
        "up{source_id!=\"3\",job=\"node\"}",
    ] {
        assert_eq!(found(honest).await, own, "{honest}");
    }
    let names = queries.label_names_json(Scope::Province, selectors("up"), Wish::default());
    let expected = r#"{"status":"success","data":["__name__","host_id","job","site_id"]}"#;
    assert_eq!(*names.await.unwrap().bytes, *expected.as_bytes());
    for (name, expected) in [("source_id", &[][..]), ("host_id", &["1"]), ("site", &[])] {
        let values = queries.label_values(Scope::Province, name.to_owned(), selectors("up"));
        assert_eq!(values.await.unwrap(), expected, "{name}");
    }
}
