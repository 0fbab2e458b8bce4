//! What Prometheus's own clients ask besides queries, in the shapes that they read.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use xiezhi_model::ApiRight;
use xiezhi_store::AuditQuery;

use super::bench::*;
use super::prometheus::{asked, report_loads, result, token};

/// Requests of Grafana's data source, as the code of its package @grafana/prometheus 13.1 sends them
/// when it is driven over its clients for labels and series, and its Go part for queries and health.
/// `S` and `E` stand for the ends of the dashboard's time, `M` for its end in milliseconds: Grafana
/// sends those to the exemplars, where Prometheus takes them for seconds.
const OF_GRAFANA: [(&str, &str, &str); 21] = [
    ("POST", "query", "query=1%2B1&time=E"),
    ("GET", "query", "query=1%2B1&time=4"),
    ("GET", "status/buildinfo", ""),
    ("GET", "metadata", "limit=40000"),
    ("GET", "label/__name__/values", "limit=40000&start=S&end=E"),
    (
        "GET",
        "label/__name__/values",
        "limit=40000&start=S&end=E&match[]=%7B__name__%3D~%22.*load.*%22%7D",
    ),
    (
        "GET",
        "label/instance/values",
        "limit=40000&start=S&end=E&match[]=%7Bjob%3D%22node%22%7D",
    ),
    ("GET", "label/U__a_2e_b/values", "limit=40000&start=S&end=E"),
    ("POST", "labels", "limit=40000&start=S&end=E"),
    (
        "GET",
        "labels",
        "limit=100&start=S&end=E&match[]=%7B__name__%3D%22node_load1%22%7D",
    ),
    (
        "POST",
        "series",
        "start=S&end=E&match[]=%7B__name__!%3D%22%22%7D&limit=40000",
    ),
    (
        "GET",
        "series",
        "start=S&end=E&match[]=%7Bsite!%3D%22%22%7D&limit=40000",
    ),
    (
        "POST",
        "series",
        "start=S&end=E&match[]=%7B__name__%3D%22node_load1%22,job%3D%22node%22,instance!%3D%22%22%7D&limit=40000",
    ),
    ("POST", "query", "query=node_load1&time=E"),
    (
        "POST",
        "query_range",
        "query=rate(node_cpu_seconds_total%5B1m0s%5D)&start=S.000&end=E.000&step=15",
    ),
    (
        "POST",
        "query_exemplars",
        "query=node_load1&start=S.000&end=E.000",
    ),
    ("GET", "query_exemplars", "query=test&start=M&end=M"),
    ("GET", "rules", ""),
    ("GET", "alerts", ""),
    ("GET", "format_query", "query=up%7B%7D"),
    ("GET", "targets", "state=active"),
];

async fn sent(bench: &Bench, secret: &str, (method, path, form): (&str, &str, &str)) -> Got {
    let path = format!("/api/v1/{path}");
    let method: Method = method.parse().unwrap();
    let (uri, body) = match method {
        Method::POST => (path, form.to_owned()),
        _ => (format!("{path}?{form}"), String::new()),
    };
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    bench.ask(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn every_request_of_grafana_is_answered() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let end_s = bench.now_ms() / 1000;
    for (method, path, form) in OF_GRAFANA {
        let form = form
            .replace("=S", &format!("={}", end_s - 3600))
            .replace("=E", &format!("={end_s}"))
            .replace("=M", &format!("={}", end_s * 1000));
        let got = sent(&bench, &secret, (method, path, &form)).await;
        let data = result(&got);
        let shape = match path {
            "status/buildinfo" | "metadata" | "query" | "query_range" | "rules" | "alerts"
            | "targets" => data.is_object(),
            "format_query" => data.is_string(),
            _ => data.is_array(),
        };
        assert!(shape, "{method} {path}: {data}");
        if let Some(found) = data["result"].as_array() {
            assert!(!found.is_empty(), "{method} {path}?{form}");
        }
    }
}

#[tokio::test]
async fn what_it_is_and_holds_is_told_as_far_as_the_caller_sees() {
    let bench = Bench::new().await;
    let above = bench.host("gs", "above", false).await;
    let below = bench.host("gs-01", "below", false).await;
    report_loads(&bench, &above, 1.0);
    report_loads(&bench, &below, 2.0);
    let (_, all) = token(&bench, ApiRight::ReadMetrics, None).await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, Some("gs-01")).await;

    for (who, series, hosts) in [(&all, 4, 2), (&secret, 2, 1)] {
        let told = result(&asked(&bench, who, "/api/v1/status/tsdb").await);
        assert_eq!(told["headStats"]["numSeries"], series, "{told}");
        let metrics = &told["seriesCountByMetricName"];
        assert_eq!(metrics.as_array().unwrap().len(), 2, "{told}");
        assert_eq!(metrics[0]["value"], hosts, "{told}");
        let labels = told["labelValueCountByLabelName"].as_array().unwrap();
        let hosts_of = labels.iter().find(|count| count["name"] == "instance");
        assert_eq!(hosts_of.unwrap()["value"], hosts, "{told}");
    }
    let one = result(&asked(&bench, &all, "/api/v1/status/tsdb?limit=1").await);
    assert_eq!(one["seriesCountByMetricName"].as_array().unwrap().len(), 1);

    let flags = result(&asked(&bench, &secret, "/api/v1/status/flags").await);
    assert_eq!(flags["query.lookback-delta"], "300s");
    let runtime = result(&asked(&bench, &secret, "/api/v1/status/runtimeinfo").await);
    assert!(runtime["startTime"].as_str().unwrap().ends_with('Z'));
    let yaml = result(&asked(&bench, &secret, "/api/v1/status/config").await);
    assert!(yaml["yaml"].as_str().unwrap().starts_with('#'));
    for (path, name) in [
        ("targets", "activeTargets"),
        ("alertmanagers", "activeAlertmanagers"),
    ] {
        let told = result(&asked(&bench, &secret, &format!("/api/v1/{path}")).await);
        assert_eq!(told[name], json!([]));
    }
}

#[tokio::test]
async fn what_is_not_offered_says_so_as_prometheus_would() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    for (method, path) in [
        ("GET", "/federate?match[]=up"),
        ("POST", "/api/v1/read"),
        ("GET", "/api/v1/targets/metadata"),
        ("GET", "/api/v1/scrape_pools"),
        ("POST", "/api/v1/parse_query"),
        ("GET", "/api/v1/status/walreplay"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {secret}"));
        let got = bench.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{path}");
        let body: Value = got.json();
        assert_eq!(body["status"], "error", "{path}");
        assert_eq!(body["errorType"], "not_found", "{path}");
    }
}

#[tokio::test]
async fn a_caller_sets_how_far_selectors_look_back_and_how_much_metadata_it_gets() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let now_s = bench.now_ms() / 1000;
    let found = async |path: &str, form: &str| {
        let got = asked(&bench, &secret, &format!("/api/v1/{path}?{form}")).await;
        result(&got)["result"].as_array().unwrap().len()
    };
    let (near, far) = (now_s + 100, now_s + 600);
    for (time_s, lookback, expected) in [
        (near, "", 1),
        (near, "&lookback_delta=30s", 0),
        (near, "&lookback_delta=0", 1),
        (far, "", 0),
        (far, "&lookback_delta=15m", 1),
        (far, "&lookback_delta=900", 1),
    ] {
        let instant = format!("query=node_load1&time={time_s}{lookback}");
        assert_eq!(found("query", &instant).await, expected, "{instant}");
        let range = format!("query=node_load1&start={time_s}&end={time_s}&step=1{lookback}");
        assert_eq!(found("query_range", &range).await, expected, "{range}");
    }
    for wrong in [
        "query?query=up&lookback_delta=x",
        "query?query=up&lookback_delta=-5",
        "metadata?limit_per_metric=x",
        "status/tsdb?limit=0",
        "query_exemplars?query=up{",
        "query_exemplars?query=up&start=2&end=1",
    ] {
        let got = asked(&bench, &secret, &format!("/api/v1/{wrong}")).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert_eq!(got.json()["errorType"], "bad_data", "{wrong}");
    }
    let one = result(&asked(&bench, &secret, "/api/v1/metadata?limit_per_metric=1").await);
    assert_eq!(one["node_load1"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn refused_queries_are_counted_and_the_costly_ones_audited_once_an_hour() {
    let mut bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (id, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    // Ten thousand million steps of subqueries within each other.
    let costly =
        "/api/v1/query?query=sum_over_time(sum_over_time(vector(1)%5B1d:1s%5D)%5B90d:1s%5D)";
    for _ in 0..3 {
        let got = asked(&bench, &secret, costly).await;
        assert_eq!(got.status, StatusCode::UNPROCESSABLE_ENTITY, "{got:?}");
    }
    for _ in 0..2 {
        asked(&bench, &secret, "/api/v1/query?query=up%7B").await;
    }
    asked(&bench, &secret, "/federate").await;

    let query = AuditQuery {
        action: Some("query.refuse".to_owned()),
        ..AuditQuery::default()
    };
    let entries = bench.store.audit(&query).await.unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].subject, format!("api_token {id}"));
    assert!(entries[0].detail["query"].starts_with("sum_over_time("));
    bench.peer = [127, 0, 0, 1].into();
    let metrics = bench.get("", "/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body);
    for (reason, number) in [("budget", 3), ("parse", 2), ("not_found", 1)] {
        let line = format!("xiezhi_queries_refused_total{{reason=\"{reason}\"}} {number}");
        assert!(text.contains(&line), "{line}\n{text}");
    }
}
