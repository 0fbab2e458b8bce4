//! Queries that are made to hurt: each is refused or answered in Prometheus's shape, the next one is
//! answered, and nothing stays charged.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use xiezhi_model::ApiRight;

use super::bench::*;
use super::prometheus::{asked, report_loads, result, token};
use crate::ApiOptions;

const YEAR_S: i64 = 365 * 86_400;

fn form(pairs: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish()
}

async fn posted(bench: &Bench, secret: &str, path: &str, form: String) -> Got {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    bench.ask(request).await
}

/// Asks, and sees that the controller is as it was afterwards.
async fn survived(bench: &Bench, secret: &str, path: &str, form: String) -> Got {
    let got = posted(bench, secret, path, form).await;
    let shape = got.json();
    if got.status == StatusCode::OK {
        assert_eq!(shape["status"], "success");
    } else {
        assert_eq!(shape["status"], "error", "{got:?}");
        assert!(shape["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
    let held = bench.state.inner.queries.held_bytes();
    assert_eq!(held.0, 0, "charged after {path}");
    let kept = Got { ..got };
    let next = asked(bench, secret, "/api/v1/query?query=1").await;
    assert_eq!(result(&next)["result"][1], "1");
    kept
}

async fn refused(bench: &Bench, secret: &str, query: &str, kind: &str, part: &str) {
    let asked = form(&[("query", query), ("timeout", "5s")]);
    let got = survived(bench, secret, "/api/v1/query", asked).await;
    let shown: String = query.chars().take(60).collect();
    assert_eq!(got.json()["errorType"], kind, "{shown}: {got:?}");
    let error = got.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains(part), "{shown}: {error}");
}

#[tokio::test]
async fn regular_expressions_are_bounded_together() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    // Thousands of matchers: stopped at the first too many, whatever they would cost.
    let many = |one: &dyn Fn(usize) -> String, count| {
        let all: Vec<String> = (0..count).map(one).collect();
        all.join(" or ")
    };
    let each = many(&|n| format!("{{a=~\"\\\\p{{L}}{{14}}{n}\"}}"), 200);
    refused(&bench, &secret, &each, "bad_data", "classes").await;
    let each = many(&|n| format!("{{a=~\"x{{900}}{n}\"}}"), 120);
    let got = survived(&bench, &secret, "/api/v1/query", form(&[("query", &each)])).await;
    assert_eq!(got.status, StatusCode::OK);
    let braces: Vec<String> = (0..1_000).map(|n| format!("a=~\"{n}.*\"")).collect();
    let braces = format!("{{{}}}", braces.join(","));
    refused(&bench, &secret, &braces, "bad_data", "in one selector").await;
    let three: Vec<String> = (0..60).map(|n| format!("a=~\"{n}.*\"")).collect();
    let three = format!("{{{}}}", three.join(","));
    let each = many(&|_| three.clone(), 20);
    refused(&bench, &secret, &each, "bad_data", "256 label matchers").await;
    let long = format!("{{a=~\"{}\"}}", "a".repeat(40_000));
    refused(&bench, &secret, &long, "bad_data", "more than 32768 bytes").await;
    let folded = format!("{{a=~\"(?i){}\"}}", "[^a]".repeat(5_000));
    refused(&bench, &secret, &folded, "bad_data", "classes").await;
    let exploding = "{a=~\"((a{100}){100}){100}\"}";
    refused(
        &bench,
        &secret,
        exploding,
        "bad_data",
        "expression needs more",
    )
    .await;
}

#[tokio::test]
async fn selectors_of_lists_are_bounded_together_and_read_on_a_query_thread() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    for path in ["/api/v1/series", "/api/v1/labels"] {
        let many = vec![("match[]", "{a=~\"b.*\"}"); 300];
        let got = survived(&bench, &secret, path, form(&many)).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{got:?}");
        let error = got.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("invalid parameter \"match[]\""), "{error}");
        assert!(error.contains("256 label matchers"), "{error}");
        let empty = vec![("match[]", "{"); 3_000];
        let got = survived(&bench, &secret, path, form(&empty)).await;
        assert_eq!(got.json()["errorType"], "bad_data");
    }
}

#[tokio::test]
async fn queries_that_explode_end_within_their_budget() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let too_much = "execution";
    for (query, part) in [
        // Inner steps: ten years of seconds, and within each of them again.
        ("sum_over_time((vector(1))[10y:1s])", "too many samples"),
        (
            "count_values(\"v\", label_replace(vector(1),\"a\",\"b\",\"\",\"\")) * on() group_left() \
             count_over_time((vector(time()))[300d:1ms])",
            "too many samples",
        ),
    ] {
        refused(&bench, &secret, query, too_much, part).await;
    }
    // Billions of comparisons that need little memory: its time ends it.
    let nested = "max_over_time(max_over_time(vector(time())[1d:1s])[10d:1s])";
    let asked = form(&[("query", nested), ("timeout", "1s")]);
    let got = survived(&bench, &secret, "/api/v1/query", asked).await;
    assert_eq!(got.json()["errorType"], "timeout", "{got:?}");
    // A label that doubles with every call.
    let mut doubled = "label_replace(node_load1,\"x\",\"0123456789abcdef\",\"\",\"\")".to_owned();
    for _ in 0..20 {
        doubled = format!("label_replace({doubled},\"x\",\"$1$1\",\"x\",\"(.*)\")");
    }
    refused(&bench, &secret, &doubled, too_much, "label_replace").await;
    let dear = "label_replace(node_load1,\"x\",\"$1\",\"instance\",\"((a?){1000}){1000}\")";
    refused(
        &bench,
        &secret,
        dear,
        too_much,
        "invalid regular expression",
    )
    .await;
    let deep = format!("{}1{}", "(".repeat(9_000), ")".repeat(9_000));
    refused(&bench, &secret, &deep, "bad_data", "nested too deeply").await;
    let minus = "-".repeat(60_000) + "1";
    refused(&bench, &secret, &minus, "bad_data", "nested too deeply").await;
    let long = "1+".repeat(40_000);
    refused(&bench, &secret, &long, "bad_data", "").await;
}

#[tokio::test]
async fn a_year_of_everything_second_by_second_is_refused_and_a_year_of_days_is_answered() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let end_s = bench.now_ms() / 1000;
    let (start, end) = ((end_s - YEAR_S).to_string(), end_s.to_string());
    let all = |step| {
        let query = ("query", "{__name__=~\".+\"}");
        form(&[query, ("start", &start), ("end", &end), ("step", step)])
    };
    let path = "/api/v1/query_range";
    let got = survived(&bench, &secret, path, all("1")).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert_eq!(got.json()["errorType"], "bad_data");
    let got = survived(&bench, &secret, path, all("1d")).await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_in_prometheus_shape() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let huge = format!("query={}", "1%2B".repeat(10 << 18));
    for path in ["/api/v1/query", "/api/v1/query_range", "/api/v1/series"] {
        let got = survived(&bench, &secret, path, huge.clone()).await;
        assert_eq!(got.json()["errorType"], "bad_data", "{got:?}");
    }
}

#[tokio::test]
async fn what_is_left_out_at_a_limit_is_told() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let end = (bench.now_ms() / 1000).to_string();
    let range = [("start", end.as_str()), ("end", &end), ("step", "1")];
    for (path, pair, length) in [
        ("/api/v1/query", ("query", "{host_id!=\"\"}"), 2),
        ("/api/v1/query_range", ("query", "{host_id!=\"\"}"), 2),
        ("/api/v1/series", ("match[]", "{host_id!=\"\"}"), 2),
        ("/api/v1/labels", ("match[]", "node_load1"), 6),
    ] {
        for (limit, expected) in [("1", 1), ("2", 2), ("0", length), ("1000", length)] {
            let pairs: Vec<_> = range.into_iter().chain([pair, ("limit", limit)]).collect();
            let body = survived(&bench, &secret, path, form(&pairs)).await.json();
            let data = &body["data"];
            let list = data.as_array().or_else(|| data["result"].as_array());
            assert_eq!(list.unwrap().len(), expected, "{path} {limit}: {body}");
            let warning = &body["warnings"][0];
            if expected < length {
                assert_eq!(warning, "results truncated due to limit", "{path}");
            } else {
                assert!(warning.is_null(), "{path}: {warning}");
            }
        }
    }
    let path = "/api/v1/label/__name__/values?limit=1";
    let got = asked(&bench, &secret, path).await.json();
    assert_eq!(got["data"].as_array().unwrap().len(), 1);
    assert_eq!(got["warnings"][0], "results truncated due to limit");
    let scalar = form(&[("query", "1"), ("limit", "1")]);
    let got = survived(&bench, &secret, "/api/v1/query", scalar).await;
    assert!(got.json()["warnings"].is_null());
}

#[tokio::test]
async fn an_answer_is_compressed_once_for_whoever_takes_that() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let query = "/api/v1/query_range?query=vector(time())&start=0&end=9000&step=1";
    let plain = asked(&bench, &secret, query).await;
    assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
    let request = Request::get(query)
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .header(header::ACCEPT_ENCODING, "gzip");
    let packed = bench.ask(request.body(Body::empty()).unwrap()).await;
    assert_eq!(packed.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(packed.headers[header::VARY], "accept-encoding");
    let mut text = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&*packed.body);
    std::io::Read::read_to_end(&mut decoder, &mut text).unwrap();
    assert_eq!(text, plain.body);
    let held = bench.state.inner.queries.held_bytes();
    assert!(held.1 > 0, "bodies that are still here count");
    drop((plain, packed));
    assert_eq!(bench.state.inner.queries.held_bytes(), (0, 0));
}

#[tokio::test]
async fn a_long_text_is_answered_and_one_beyond_a_megabyte_hears_what_to_do() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let text = |length: usize| format!("# {}\nvector(1)", "x".repeat(length));
    let long = form(&[("query", &text(500_000))]);
    let got = survived(&bench, &secret, "/api/v1/query", long).await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    let pairs = vec![("a", ""); 20_000];
    for (what, form, part) in [
        ("long", form(&[("query", &text(1 << 20))]), "1048576 bytes"),
        ("many", form(&pairs), "10000 parameters"),
    ] {
        let got = survived(&bench, &secret, "/api/v1/query", form).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{what}: {got:?}");
        let error = got.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(part), "{what}: {error}");
        assert!(error.contains("ask in several requests"), "{what}: {error}");
    }
}

#[tokio::test]
async fn what_takes_too_long_ends_in_the_shape_of_its_interface() {
    let bench = Bench::with(ApiOptions {
        secure: false,
        request_timeout: Duration::from_millis(50),
        ..ApiOptions::default()
    })
    .await;
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    let (_, writer) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    for (path, secret) in [("/api/v1/query", reader), ("/api/v1/write", writer)] {
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut request =
            Request::post(path).header(header::AUTHORIZATION, format!("Bearer {secret}"));
        if path.ends_with("query") {
            let kind = "application/x-www-form-urlencoded";
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let got = bench
            .ask(request.body(Body::from_stream(never)).unwrap())
            .await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{got:?}");
        assert_eq!(got.json()["errorType"], "timeout", "{got:?}");
        assert!(got.headers.contains_key(header::RETRY_AFTER), "{got:?}");
    }
}
