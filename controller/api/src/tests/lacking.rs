//! Answers of a time of which samples were set aside say so, each way of asking them; others do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;
use xiezhi_model::ApiRight;
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::report::Report;
use xiezhi_series::{Clock, Frame, Sealing, SeriesOptions, SeriesStore};

use super::bench::*;
use super::prometheus::{asked, report_loads, token};

const DAY_MS: i64 = 86_400_000;

/// A block with the samples of some minutes, as another controller wrote it.
fn a_block(begin_ms: i64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let now_ms = Arc::new(AtomicI64::new(begin_ms));
    let options = SeriesOptions {
        sealing: Sealing::Manual,
        clock: Clock::new({
            let now_ms = Arc::clone(&now_ms);
            move || now_ms.load(Ordering::Relaxed)
        }),
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open(folder.path(), options).unwrap();
    let mut encoder = Encoder::new(15_000);
    for seq in 1..=20 {
        let mut report = Report::new();
        report.start(begin_ms + seq * 15_000);
        report.push("node_load1", &[], 1.0).unwrap();
        let mut bytes = Vec::new();
        let batch = encoder.encode(seq as u64, &report, &mut bytes);
        let frame = Frame {
            host: 1,
            epoch: 1,
            batch,
            key: seq == 1,
            bytes: &bytes,
        };
        store.append(&[frame]).unwrap();
        if seq == 19 {
            now_ms.fetch_add(3_600_000, Ordering::Relaxed);
        }
    }
    store.maintain().unwrap();
    std::fs::read(folder.path().join("block-0000000001-0000000001.xzb")).unwrap()
}

fn warnings(body: &Value) -> String {
    let warnings = body["warnings"].as_array();
    let texts = warnings
        .into_iter()
        .flatten()
        .map(|text| text.as_str().unwrap());
    texts.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn answers_of_the_time_of_a_file_that_was_set_aside_name_it_and_its_time() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let cookie = bench.sign_in().await;
    let now_s = bench.now_ms() / 1000;
    // As if it had been set aside ten days ago.
    let begin_ms = bench.now_ms() - 10 * DAY_MS;
    let name = "block-0000000001-0000000001.xzb.damaged";
    let file = bench.series_folder().join(name);
    std::fs::write(&file, a_block(begin_ms)).unwrap();
    // Whoever looks at the store sees it.
    bench.get("", "/metrics").await;
    let _seen = bench.series.stats();

    let then_s = begin_ms / 1000;
    let at = |time_s: i64| {
        [
            format!("/api/v1/query?query=node_load1&time={time_s}"),
            format!(
                "/api/v1/query_range?query=node_load1&start={}&end={time_s}&step=15",
                time_s - 60
            ),
            format!(
                "/api/v1/series?match[]=node_load1&start={}&end={time_s}",
                time_s - 60
            ),
            format!("/api/v1/labels?start={}&end={time_s}", time_s - 60),
            format!(
                "/api/v1/label/job/values?start={}&end={time_s}",
                time_s - 60
            ),
        ]
    };
    for path in at(then_s + 120) {
        let told = warnings(&asked(&bench, &secret, &path).await.json());
        assert!(told.contains(name), "{path}: {told}");
        assert!(
            told.contains("was set aside because it is damaged"),
            "{told}"
        );
        let begin = time::OffsetDateTime::from_unix_timestamp(then_s + 15).unwrap();
        let begin = begin.format(&time::format_description::well_known::Rfc3339);
        assert!(told.contains(&begin.unwrap()), "{told}");
    }
    for path in at(now_s) {
        let got = asked(&bench, &secret, &path).await;
        assert_eq!(warnings(&got.json()), "", "{path}");
    }
    // The charts of a host's page.
    let page = |to_ms: i64| {
        format!(
            "/api/v1/hosts/{}/series?match=node_load1&from={}&to={to_ms}",
            host.id,
            to_ms - 60_000
        )
    };
    let body = bench.read(&cookie, &page(begin_ms + 120_000)).await;
    assert!(warnings(&body).contains(name), "{body}");
    let body = bench.read(&cookie, &page(bench.now_ms())).await;
    assert_eq!(body["warnings"].as_array().unwrap().len(), 0, "{body}");

    std::fs::remove_file(file).unwrap();
    let _seen = bench.series.stats();
    for path in at(then_s + 120) {
        let got = asked(&bench, &secret, &path).await;
        assert_eq!(warnings(&got.json()), "", "{path}");
    }
}
