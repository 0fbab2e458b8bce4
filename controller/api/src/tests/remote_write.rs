//! Remote write: whose samples they are, what is refused and how, and that hosts stay theirs.

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use xiezhi_metrics::remote_write::encode::{BodyWriter, body, description};
use xiezhi_model::ApiRight;

use super::bench::*;
use super::prometheus::{asked, report_loads, result, token};

const PATH: &str = "/api/v1/write";
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

fn to_send(secret: &str, bytes: impl Into<Body>) -> Request<Body> {
    Request::post(PATH)
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .header(header::CONTENT_ENCODING, "snappy")
        .body(bytes.into())
        .unwrap()
}

async fn send(bench: &Bench, secret: &str, bytes: Vec<u8>) -> Got {
    bench.ask(to_send(secret, bytes)).await
}

fn rows<'a>(series: &'a [(&'a str, Vec<(i64, f64)>)]) -> Vec<u8> {
    body(
        series
            .iter()
            .map(|(text, points)| (*text, points.as_slice())),
        &[],
    )
}

fn counted(bench: &Bench, name: &str, label: &str) -> u64 {
    let families = bench.state.inner.registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == name)
        .unwrap();
    let mut metrics = family.get_metric().iter();
    let found = metrics.find(|metric| metric.get_label()[0].value() == label);
    found.map_or(0, |metric| metric.get_counter().get_value() as u64)
}

/// A literal of up to 60 bytes, as snappy's block format writes it.
fn snappy(plain: &[u8]) -> Vec<u8> {
    let mut packed = vec![plain.len() as u8, (plain.len() as u8 - 1) << 2];
    packed.extend_from_slice(plain);
    packed
}

/// Labels and values of an instant query, by a token that reads.
async fn query(bench: &Bench, reader: &str, text: &str) -> Vec<serde_json::Value> {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let got = asked(bench, reader, &format!("/api/v1/query?query={encoded}")).await;
    result(&got)["result"].as_array().unwrap().clone()
}

#[tokio::test]
async fn samples_belong_to_the_token_and_its_site_whatever_the_sender_says() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (id, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs-01")).await;
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    let now_ms = bench.now_ms();
    let claims = format!(
        "node_load1{{host_id=\"{}\",instance=\"alpha\",job=\"node\",site=\"gs\",site_id=\"{}\",\
         source_id=\"77\"}}",
        host.id, host.site
    );
    let series = [(claims.as_str(), vec![(now_ms, 500.0)])];
    assert_eq!(
        send(&bench, &secret, rows(&series)).await.status,
        StatusCode::NO_CONTENT
    );

    let site = bench.site("gs-01").await;
    let mut found = query(&bench, &reader, "node_load1").await;
    assert_eq!(found.len(), 2, "{found:?}");
    found.sort_by_key(|one| one["metric"]["source_id"].to_string());
    let own = &found
        .iter()
        .find(|one| one["metric"]["host_id"].is_null())
        .unwrap();
    assert_eq!(
        own["metric"],
        serde_json::json!({"__name__": "node_load1", "instance": "alpha", "job": "node",
            "site": "gs-01", "site_id": site.id.to_string(), "source_id": id.to_string()})
    );
    assert_eq!(own["value"][1], "500");
    let of_host = query(
        &bench,
        &reader,
        &format!("node_load1{{host_id=\"{}\"}}", host.id),
    )
    .await;
    assert_eq!(of_host.len(), 1);
    assert_eq!(of_host[0]["value"][1], "9", "the host's own value stays");

    let (_, here) = token(&bench, ApiRight::ReadMetrics, Some("gs-01")).await;
    let seen = query(&bench, &here, "node_load1").await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["metric"]["source_id"], id.to_string());
    let values = asked(&bench, &here, "/api/v1/label/source_id/values").await;
    assert_eq!(result(&values), serde_json::json!([id.to_string()]));
    let (_, elsewhere) = token(&bench, ApiRight::ReadMetrics, Some("gs-02")).await;
    assert_eq!(query(&bench, &elsewhere, "node_load1").await.len(), 0);
    let series = asked(&bench, &elsewhere, "/api/v1/series?match[]=node_load1").await;
    assert_eq!(result(&series), serde_json::json!([]));
}

#[tokio::test]
async fn a_body_that_cannot_be_used_is_refused_so_that_nobody_sends_it_again() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let good = rows(&[("a", vec![(bench.now_ms(), 1.0)])]);
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    let bad: [(&str, Vec<u8>); 6] = [
        ("no snappy", b"not compressed".to_vec()),
        ("nothing", Vec::new()),
        ("cut", good[..good.len() - 3].to_vec()),
        ("no protobuf", snappy(b"\x0f\xff\xff")),
        ("a field beyond the end", snappy(b"\x0a\x7fx")),
        ("four gigabytes", bomb.to_vec()),
    ];
    for (what, bytes) in bad {
        let got = send(&bench, &secret, bytes).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{what}: {got:?}");
        assert_eq!(got.json()["status"], "error", "{what}");
    }
    let large = send(&bench, &secret, vec![0; (8 << 20) + 1]).await;
    assert_eq!(large.status, StatusCode::BAD_REQUEST, "{large:?}");
    for (name, value) in [
        (header::CONTENT_ENCODING, "zstd"),
        (header::CONTENT_TYPE, "application/json"),
        (
            header::CONTENT_TYPE,
            "application/x-protobuf;proto=some.Other",
        ),
    ] {
        let mut request = to_send(&secret, good.clone());
        request.headers_mut().insert(name, value.parse().unwrap());
        let got = bench.ask(request).await;
        assert_eq!(got.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{value}");
    }
    let empty = send(&bench, &secret, rows(&[])).await;
    assert_eq!(empty.status, StatusCode::NO_CONTENT, "{empty:?}");
    assert_eq!(bench.series.stats().foreign_stored, 0);
    assert_eq!(
        counted(&bench, "xiezhi_remote_write_requests_total", "bad"),
        7
    );
    assert_eq!(
        counted(&bench, "xiezhi_remote_write_requests_total", "unsupported"),
        3
    );
}

#[tokio::test]
async fn only_a_token_that_writes_and_has_a_site_may_and_none_that_was_withdrawn() {
    let bench = Bench::new().await;
    let (id, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, Some("gs")).await;
    let (_, nowhere) = token(&bench, ApiRight::WriteMetrics, None).await;
    let now_ms = bench.now_ms();
    let one = |step: i64| rows(&[("a", vec![(now_ms + step, 1.0)])]);
    assert_eq!(
        send(&bench, "xza_00", one(0)).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        send(&bench, &reader, one(0)).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        send(&bench, &nowhere, one(0)).await.status,
        StatusCode::FORBIDDEN
    );
    let cookie = bench.sign_in().await;
    let mut by_page = to_send("", one(0));
    by_page.headers_mut().remove(header::AUTHORIZATION);
    by_page
        .headers_mut()
        .insert(header::COOKIE, cookie.parse().unwrap());
    by_page
        .headers_mut()
        .insert("x-xiezhi-request", "1".parse().unwrap());
    assert_eq!(bench.ask(by_page).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.series.stats().foreign_stored, 0);
    assert_eq!(
        send(&bench, &secret, one(0)).await.status,
        StatusCode::NO_CONTENT
    );
    let revoke = bench
        .store
        .revoke_api_token(id, by_system("api_token.revoke"));
    revoke.await.unwrap();
    assert_eq!(
        send(&bench, &secret, one(1)).await.status,
        StatusCode::UNAUTHORIZED
    );
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    let kept = query(&bench, &reader, "a").await;
    assert_eq!(kept.len(), 1, "what came before it was withdrawn stays");
}

/// As its sources have it: the metric's name first, other labels in the order of a Go map, a password
/// instead of a bearer's token, and version 0.1.0.
#[tokio::test]
async fn what_a_categraf_sends_is_taken() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    let now_ms = bench.now_ms();
    let mut writer = BodyWriter::default();
    let labels = [
        ("__name__", "cpu_usage_active"),
        ("ident", "alpha"),
        ("cpu", "cpu-total"),
        ("agent_hostname", "alpha"),
        ("region", ""),
    ];
    writer.add_unsorted(&labels, &[(now_ms, 12.5)]);
    let password = data_encoding::BASE64.encode(format!("categraf:{secret}").as_bytes());
    let request = Request::post(PATH)
        .header(header::AUTHORIZATION, format!("Basic {password}"))
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .header(header::CONTENT_ENCODING, "snappy")
        .header(header::USER_AGENT, "categraf")
        .header("x-prometheus-remote-write-version", "0.1.0");
    let got = bench
        .ask(request.body(Body::from(writer.take())).unwrap())
        .await;
    assert_eq!(got.status, StatusCode::NO_CONTENT, "{got:?}");
    let found = query(&bench, &reader, "cpu_usage_active{ident=\"alpha\"}").await;
    assert_eq!(found[0]["value"][1], "12.5");
    assert_eq!(found[0]["metric"]["cpu"], "cpu-total");
    assert!(found[0]["metric"]["region"].is_null(), "{found:?}");
    // With `precision = "s"` it writes seconds where milliseconds belong.
    writer.add_unsorted(&labels, &[(now_ms / 1000, 12.5)]);
    let got = send(&bench, &secret, writer.take()).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    let text = String::from_utf8_lossy(&got.body);
    assert!(text.contains("older than what is kept"), "{text}");
}

#[tokio::test]
async fn version_two_is_taken_and_told_how_much_was_written() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    // Symbols "", "__name__" and "up"; a series with one sample, 2.0, and its type, a counter.
    let mut sample = b"\x09\x00\x00\x00\x00\x00\x00\x00\x40\x10".to_vec();
    xiezhi_protocol::codec::varint::write(&mut sample, bench.now_ms() as u64);
    let mut series = b"\x0a\x02\x01\x02\x12".to_vec();
    series.push(sample.len() as u8);
    series.extend(sample);
    series.extend(b"\x2a\x02\x08\x01");
    let mut plain = b"\x22\x00\x22\x08__name__\x22\x02up\x2a".to_vec();
    plain.push(series.len() as u8);
    plain.extend(series);
    let mut request = to_send(&secret, snappy(&plain));
    let kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
    let got = bench.ask(request).await;
    assert_eq!(got.status, StatusCode::NO_CONTENT, "{got:?}");
    assert_eq!(
        got.headers["x-prometheus-remote-write-samples-written"],
        "1"
    );
    assert_eq!(query(&bench, &reader, "up").await[0]["value"][1], "2");
    let all = result(&asked(&bench, &reader, "/api/v1/metadata").await);
    assert_eq!(all["up"][0]["type"], "counter");
}

#[tokio::test]
async fn a_good_sender_beside_one_that_guesses_hears_later_and_loses_nothing() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let one = rows(&[("a", vec![(bench.now_ms(), 1.0)])]);
    let mut last = StatusCode::UNAUTHORIZED;
    for _ in 0..200 {
        last = send(&bench, "xza_00", one.clone()).await.status;
        if last != StatusCode::UNAUTHORIZED {
            break;
        }
    }
    assert_eq!(last, StatusCode::SERVICE_UNAVAILABLE);
    let got = send(&bench, &secret, one.clone()).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.headers.contains_key(header::RETRY_AFTER), "{got:?}");
    bench.advance_ms(60_000);
    assert_eq!(
        send(&bench, &secret, one).await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn what_breaks_a_rule_is_told_and_the_rest_is_stored() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let now_ms = bench.now_ms();
    const DAY_MS: i64 = 86_400_000;
    let many: Vec<String> = (0..40)
        .map(|number| format!("l{number:02}=\"x\""))
        .collect();
    let many = format!("many{{{}}}", many.join(","));
    let series = [
        ("good", vec![(now_ms - 5, 1.0), (now_ms, 2.0)]),
        ("future", vec![(now_ms + 600_001, 1.0)]),
        ("near", vec![(now_ms + 600_000, 1.0)]),
        ("old", vec![(now_ms - 16 * DAY_MS, 1.0)]),
        ("late", vec![(now_ms - 14 * DAY_MS, 1.0)]),
        ("", vec![(now_ms, 1.0)]),
        (many.as_str(), vec![(now_ms, 1.0)]),
    ];
    let got = send(&bench, &secret, rows(&series)).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST, "{got:?}");
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    for part in [
        "in the future",
        "older than",
        "a series needs a label",
        "more labels",
        "many{l00",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\n'), "{text}");
    assert_eq!(bench.series.stats().foreign_stored, 4);
    for reason in ["too_new", "too_old", "no_name", "too_many_labels"] {
        assert_eq!(
            counted(&bench, "xiezhi_remote_write_refused_total", reason),
            1,
            "{reason}"
        );
    }
    // The same again, late, and another value.
    let again = [("good", vec![(now_ms, 2.0), (now_ms - 3, 7.0)])];
    assert_eq!(
        send(&bench, &secret, rows(&again)).await.status,
        StatusCode::NO_CONTENT
    );
    let other = [("good", vec![(now_ms, 3.0)])];
    let got = send(&bench, &secret, rows(&other)).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(
        String::from_utf8_lossy(&got.body).contains("another value"),
        "{got:?}"
    );
    let both = [("good", vec![(now_ms + 1, 4.0), (now_ms + 1, 5.0)])];
    let got = send(&bench, &secret, rows(&both)).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    let text = String::from_utf8_lossy(&got.body);
    assert!(text.contains("two values for one time"), "{text}");
    let samples = "xiezhi_remote_write_samples_total";
    for (outcome, count) in [("stored", 6), ("repeated", 1), ("contradicted", 2)] {
        assert_eq!(counted(&bench, samples, outcome), count, "{outcome}");
    }
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    let found = query(&bench, &reader, "good").await;
    assert_eq!(found[0]["value"][1], "2", "what came first stays");
    bench.advance_ms(1);
    let counted_over = query(&bench, &reader, "count_over_time(good[1m])").await;
    assert_eq!(counted_over[0]["value"][1], "4");
}

#[tokio::test]
async fn a_million_labels_cost_one_refusal() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let names: Vec<String> = (0..1_000_000).map(|number| format!("l{number}")).collect();
    let labels: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let point = [(bench.now_ms(), 1.0)];
    let bytes = body([("a", &point[..])], &labels);
    let got = send(&bench, &secret, bytes).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST, "{got:?}");
    let labels = &labels[..5000];
    let got = send(&bench, &secret, body([("a", &point[..])], labels)).await;
    assert!(
        String::from_utf8_lossy(&got.body).contains("64 labels"),
        "{got:?}"
    );
    assert_eq!(bench.series.stats().foreign_stored, 0);
}

#[tokio::test]
async fn a_marker_ends_a_series_and_a_nan_does_not() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    let now_ms = bench.now_ms();
    let series = [
        ("gone", vec![(now_ms - 15_000, 1.0), (now_ms, STALE)]),
        ("odd", vec![(now_ms - 15_000, 1.0), (now_ms, f64::NAN)]),
    ];
    assert_eq!(
        send(&bench, &secret, rows(&series)).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(query(&bench, &reader, "gone").await.len(), 0);
    assert_eq!(query(&bench, &reader, "odd").await[0]["value"][1], "NaN");
    assert_eq!(query(&bench, &reader, "gone offset 15s").await.len(), 1);
}

#[tokio::test]
async fn a_sender_hears_later_when_it_holds_all_that_it_may_and_no_other_does() {
    let bench = Bench::new().await;
    let (id, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let (_, other) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let held = bench.state.inner.write_desk.hold_all_of(id);
    let one = rows(&[("a", vec![(bench.now_ms(), 1.0)])]);
    let got = send(&bench, &secret, one.clone()).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.headers[header::RETRY_AFTER], "2");
    let beside = send(&bench, &other, one.clone()).await;
    assert_eq!(beside.status, StatusCode::NO_CONTENT);
    drop(held);
    assert_eq!(
        send(&bench, &secret, one).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(bench.state.inner.write_desk.held_bytes(), 0);
}

#[tokio::test]
async fn a_length_that_is_only_announced_holds_nothing() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let one = rows(&[("a", vec![(bench.now_ms(), 1.0)])]);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let (waits, begun) = tokio::sync::oneshot::channel::<()>();
        let mut waits = Some(waits);
        let never = futures_util::stream::poll_fn(move |_| {
            waits.take();
            std::task::Poll::<Option<Result<Bytes, std::io::Error>>>::Pending
        });
        let mut request = to_send(&secret, Body::from_stream(never));
        let length = (8 << 20).into();
        request.headers_mut().insert(header::CONTENT_LENGTH, length);
        waiting.push(tokio::spawn(bench.sender(request)));
        // It waits for its body, or was refused and the body is gone.
        assert!(begun.await.is_err());
    }
    let got = send(&bench, &secret, one).await;
    assert_eq!(got.status, StatusCode::NO_CONTENT, "{got:?}");
    for asked in waiting {
        asked.abort();
    }
}

#[tokio::test]
async fn late_samples_that_would_read_too_much_are_taken_when_they_come_again() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let start_ms = bench.now_ms() - bench.now_ms() % 3_600_000 - 7_200_000;
    let points: Vec<(i64, f64)> = (0..600).map(|at| (start_ms + at * 1000, 1.0)).collect();
    let all = rows(&[("a", points.clone()), ("b", points)]);
    let got = send(&bench, &secret, all).await;
    assert_eq!(got.status, StatusCode::NO_CONTENT);
    // Six hundred points of each lie between these two, and a thousand are read at once.
    let late = vec![(start_ms + 1, 2.0), (start_ms + 598_001, 2.0)];
    let late = rows(&[("a", late.clone()), ("b", late)]);
    let got = send(&bench, &secret, late.clone()).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.headers[header::RETRY_AFTER], "2");
    assert!(
        got.json()["error"]
            .as_str()
            .unwrap()
            .contains("send the same again")
    );
    let got = send(&bench, &secret, late.clone()).await;
    assert_eq!(got.status, StatusCode::NO_CONTENT);
    let name = "xiezhi_remote_write_samples_total";
    assert_eq!(counted(&bench, name, "stored"), 1204);
    assert_eq!(counted(&bench, name, "contradicted"), 0);
}

#[tokio::test]
async fn what_senders_tell_of_their_metrics_is_shown_beside_what_is_ours() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    let series = [
        ("wait_seconds_bucket{le=\"1\"}", vec![(bench.now_ms(), 1.0)]),
        ("node_cpu_seconds_total", vec![(bench.now_ms(), 1.0)]),
    ];
    send(&bench, &secret, rows(&series)).await;
    for (name, kind, help) in [
        ("wait_seconds", 3, "Time that callers waited."),
        (
            "node_cpu_seconds_total",
            1,
            "Seconds the CPUs spent in each mode.",
        ),
        ("never_seen", 2, "No series of it came."),
    ] {
        let got = send(&bench, &secret, description(name, kind, help)).await;
        assert_eq!(got.status, StatusCode::NO_CONTENT);
    }
    let all = result(&asked(&bench, &reader, "/api/v1/metadata").await);
    assert_eq!(all["wait_seconds_bucket"][0]["type"], "histogram");
    assert_eq!(
        all["wait_seconds_bucket"][0]["help"],
        "Time that callers waited."
    );
    let cpu = all["node_cpu_seconds_total"].as_array().unwrap();
    assert_eq!(cpu.len(), 2);
    assert_eq!(
        (&cpu[0]["help"], &cpu[0]["unit"]),
        (&"".into(), &"seconds".into())
    );
    assert_eq!(cpu[1]["help"], "Seconds the CPUs spent in each mode.");
    assert_eq!(all["node_load1"].as_array().unwrap().len(), 1);
    assert!(all["never_seen"].is_null());
    let (_, elsewhere) = token(&bench, ApiRight::ReadMetrics, Some("gs-02")).await;
    let none = result(&asked(&bench, &elsewhere, "/api/v1/metadata").await);
    assert_eq!(none, serde_json::json!({}));
}

#[tokio::test]
async fn names_of_any_signs_are_stored_and_asked_for_as_prometheus_3_has_it() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::WriteMetrics, Some("gs")).await;
    let (_, reader) = token(&bench, ApiRight::ReadMetrics, None).await;
    let now_ms = bench.now_ms();
    // The body carries what these forms stand for.
    let series = [
        (
            "U__http_2e_requests_2e_total{U___6848__53f7_=\"（2026）\",U__service_2e_name=\"web\"}",
            vec![(now_ms - 15_000, 1.0), (now_ms, 5.0)],
        ),
        ("up{U__service_2e_name=\"web\"}", vec![(now_ms, 1.0)]),
    ];
    let got = send(&bench, &secret, rows(&series)).await;
    assert_eq!(got.status, StatusCode::NO_CONTENT, "{got:?}");
    for (text, expected) in [
        ("{\"http.requests.total\"}", "5"),
        ("{\"http.requests.total\",\"service.name\"=\"web\"}", "5"),
        (
            "{__name__=~\"http[.]requests.+\",\"案号\"=~\".*2026.*\"}",
            "5",
        ),
        ("sum by (\"service.name\") ({\"http.requests.total\"})", "5"),
        ("{\"http.requests.total\"} * on (\"service.name\") up", "5"),
        ("max_over_time({\"http.requests.total\"}[1m])", "5"),
    ] {
        let found = query(&bench, &reader, text).await;
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0]["value"][1], expected, "{text}");
    }
    let found = query(&bench, &reader, "{\"http.requests.total\"}").await;
    assert_eq!(found[0]["metric"]["__name__"], "http.requests.total");
    assert_eq!(found[0]["metric"]["service.name"], "web");
    assert_eq!(found[0]["metric"]["案号"], "（2026）");
    assert_eq!(query(&bench, &reader, "{\"http.requests\"}").await.len(), 0);
    for (path, expected) in [
        ("/api/v1/label/U__service_2e_name/values", "web"),
        ("/api/v1/label/__name__/values", "http.requests.total"),
        ("/api/v1/labels", "案号"),
    ] {
        let got = asked(&bench, &reader, path).await;
        let listed = result(&got);
        assert!(
            listed.as_array().unwrap().contains(&expected.into()),
            "{path}: {listed}"
        );
    }
}
