//! Odd questions, asked of Debian's Prometheus and of ours side by side: the same status, the same kind
//! of error in the same words, the same shape of data, but for what docs/prometheus-interface.md lists.
//! `XIEZHI_WRITE_DOCS=1` writes that list anew.

use std::fmt::Write as _;
use std::process::Command;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xiezhi_model::ApiRight;
use xiezhi_test_support::{Running, eventually, free_port, skip};

use super::bench::*;
use super::prometheus::token;

const BEGIN: &str = "<!-- measured:begin -->\n";
const END: &str = "<!-- measured:end -->\n";

/// Method, path and form of each question. Neither side has a sample.
const QUESTIONS: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/query?query=1&time=1000", ""),
    ("GET", "/api/v1/query?query=%22text%22&time=1000", ""),
    ("GET", "/api/v1/query?query=vector(1e3)&time=1000.25", ""),
    ("GET", "/api/v1/query?query=1/0&time=1000", ""),
    ("GET", "/api/v1/query?query=-Inf&time=1000", ""),
    ("GET", "/api/v1/query?query=1e300*1e300&time=1000", ""),
    ("GET", "/api/v1/query?query=1e400&time=1000", ""),
    ("GET", "/api/v1/query?query=-1e400&time=1000", ""),
    ("GET", "/api/v1/query?query=1e-400&time=1000", ""),
    ("GET", "/api/v1/query?query=0x&time=1000", ""),
    ("GET", "/api/v1/query?query=0x1f&time=1000", ""),
    (
        "GET",
        "/api/v1/query?query=0xffffffffffffffffff&time=1000",
        "",
    ),
    ("GET", "/api/v1/query?query=up[5m]&time=1000", ""),
    ("GET", "/api/v1/query?query=up&time=1000", ""),
    ("GET", "/api/v1/query", ""),
    ("GET", "/api/v1/query?query=", ""),
    ("GET", "/api/v1/query?query=up{", ""),
    ("GET", "/api/v1/query?query=sum(", ""),
    ("GET", "/api/v1/query?query=1%2B", ""),
    ("GET", "/api/v1/query?query=nothing(1)", ""),
    ("GET", "/api/v1/query?query={}", ""),
    ("GET", "/api/v1/query?query={a=~%22.*%22}", ""),
    ("GET", "/api/v1/query?query=up{a=~%22(%22}", ""),
    ("GET", "/api/v1/query?query=rate(up)", ""),
    ("GET", "/api/v1/query?query=up[0s]", ""),
    ("GET", "/api/v1/query?query=up%20offset%205", ""),
    ("GET", "/api/v1/query?query=%22open", ""),
    ("GET", "/api/v1/query?query=%C3%28", ""),
    ("GET", "/api/v1/query?query=1&time=now", ""),
    ("GET", "/api/v1/query?query=1&time=NaN", ""),
    ("GET", "/api/v1/query?query=1&time=1e300", ""),
    (
        "GET",
        "/api/v1/query?query=1&time=2015-07-01T20:10:51.781Z",
        "",
    ),
    ("GET", "/api/v1/query?query=1&time=2015-07-01", ""),
    ("GET", "/api/v1/query?query=up&time=1000&timeout=x", ""),
    ("GET", "/api/v1/query?query=up&time=1000&timeout=0", ""),
    ("GET", "/api/v1/query?query=up&time=1000&timeout=-5", ""),
    ("GET", "/api/v1/query?query=up&time=1000&timeout=-5s", ""),
    ("GET", "/api/v1/query?query=up&time=1000&timeout=5m", ""),
    (
        "GET",
        "/api/v1/query?query=1&time=1000&lookback_delta=0",
        "",
    ),
    (
        "GET",
        "/api/v1/query?query=1&time=1000&lookback_delta=5m",
        "",
    ),
    (
        "GET",
        "/api/v1/query?query=1&time=1000&lookback_delta=-1",
        "",
    ),
    (
        "GET",
        "/api/v1/query?query=1&time=1000&lookback_delta=x",
        "",
    ),
    ("GET", "/api/v1/query?query=1&time=1000&query=2", ""),
    ("GET", "/api/v1/query?query=1;time=1000", ""),
    ("POST", "/api/v1/query", "query=1&time=1000"),
    ("POST", "/api/v1/query?query=2&time=1000", "query=1"),
    ("POST", "/api/v1/query", ""),
    (
        "GET",
        "/api/v1/query_range?query=1&start=0&end=3&step=1",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=1&start=0&end=11000&step=1",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=1&start=0&end=11001&step=1",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=1&start=0&end=3&step=0",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=1&start=0&end=3&step=-1",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=1&start=0&end=3&step=x",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=1&start=0&end=3&step=NaN",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=1&start=0&end=3&step=1e-9",
        "",
    ),
    ("GET", "/api/v1/query_range?query=1&start=0&end=3", ""),
    ("GET", "/api/v1/query_range?query=1&end=3&step=1", ""),
    (
        "GET",
        "/api/v1/query_range?query=1&start=3&end=0&step=1",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=up[5m]&start=0&end=3&step=1",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=%22text%22&start=0&end=3&step=1",
        "",
    ),
    (
        "GET",
        "/api/v1/query_range?query=sum(&start=0&end=3&step=1",
        "",
    ),
    ("GET", "/api/v1/query_range?start=0&end=3&step=1", ""),
    ("GET", "/api/v1/series", ""),
    ("GET", "/api/v1/series?match[]=up", ""),
    ("GET", "/api/v1/series?match[]=1", ""),
    ("GET", "/api/v1/series?match[]={}", ""),
    ("GET", "/api/v1/series?match[]=up[5m]", ""),
    ("GET", "/api/v1/series?match[]=up&start=x", ""),
    ("GET", "/api/v1/series?match[]=up&start=3&end=1", ""),
    ("POST", "/api/v1/series", "match[]=up"),
    ("GET", "/api/v1/labels", ""),
    ("GET", "/api/v1/labels?match[]=up{", ""),
    ("GET", "/api/v1/labels?start=x", ""),
    ("POST", "/api/v1/labels", "match[]=up"),
    ("GET", "/api/v1/label/job/values", ""),
    ("GET", "/api/v1/label/1a/values", ""),
    ("GET", "/api/v1/label/a-b/values", ""),
    ("GET", "/api/v1/label/job/values?match[]={}", ""),
    ("POST", "/api/v1/label/job/values", ""),
    ("GET", "/api/v1/metadata", ""),
    ("GET", "/api/v1/metadata?limit=x", ""),
    ("GET", "/api/v1/metadata?limit=-1", ""),
    ("GET", "/api/v1/metadata?limit=0", ""),
    ("GET", "/api/v1/metadata?metric=nothing", ""),
    ("GET", "/api/v1/rules", ""),
    ("GET", "/api/v1/rules?type=alert", ""),
    ("GET", "/api/v1/rules?type=x", ""),
    ("GET", "/api/v1/alerts", ""),
    ("GET", "/api/v1/targets", ""),
    ("GET", "/api/v1/targets?state=active", ""),
    ("GET", "/api/v1/alertmanagers", ""),
    ("GET", "/api/v1/query_exemplars?query=up&start=0&end=3", ""),
    (
        "GET",
        "/api/v1/query_exemplars?query=sum(&start=0&end=3",
        "",
    ),
    ("GET", "/api/v1/query_exemplars?query=up&start=3&end=0", ""),
    ("GET", "/api/v1/status/buildinfo", ""),
    ("GET", "/api/v1/status/runtimeinfo", ""),
    ("GET", "/api/v1/status/config", ""),
    ("GET", "/api/v1/status/flags", ""),
    ("GET", "/api/v1/status/tsdb", ""),
    ("GET", "/api/v1/status/walreplay", ""),
    ("GET", "/api/v1/format_query?query=sum%20by(a)(up)%2B1", ""),
    ("GET", "/api/v1/format_query?query=sum(", ""),
    ("GET", "/api/v1/format_query", ""),
    ("GET", "/api/v1/nothing", ""),
    ("PUT", "/api/v1/query", ""),
    ("DELETE", "/api/v1/query", ""),
    ("DELETE", "/api/v1/series", ""),
    ("POST", "/api/v1/rules", ""),
    ("OPTIONS", "/api/v1/query", ""),
];

/// What clients see of an answer: its status, which methods are allowed, and either the error or the
/// data. Of data that tells of the program itself only the shape counts.
fn seen(path: &str, status: u16, allow: Option<&str>, body: &[u8]) -> String {
    let mut text = status.to_string();
    if let Some(allow) = allow {
        let mut methods: Vec<&str> = allow.split(',').map(str::trim).collect();
        methods.retain(|method| !matches!(*method, "HEAD" | "OPTIONS"));
        methods.sort_unstable();
        write!(text, ", allow {}", methods.join(" ")).unwrap();
    }
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return text;
    };
    if json["status"] == "error" {
        let (kind, why) = (&json["errorType"], plain(&json["error"]));
        // Where a query was when its time was over is a matter of chance.
        let why = why
            .split_once(" timed out in")
            .map_or(why, |(what, _)| what);
        write!(text, ", {}: {why}", plain(kind)).unwrap();
    } else if json["status"] != "success" {
        // An error in another form than Prometheus's, which has none there.
    } else if path.contains("/status/") {
        let keys = json["data"].as_object().into_iter().flatten();
        let mut keys: Vec<&str> = keys.map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        write!(text, ", keys {}", keys.join(" ")).unwrap();
    } else {
        let data = sorted(&json["data"]).to_string();
        let shown: String = data.chars().take(120).collect();
        write!(text, ", {shown}").unwrap();
    }
    text
}

/// With the keys of objects in the order of the alphabet, whatever features of `serde_json` are compiled in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(map) => {
            let ordered: std::collections::BTreeMap<_, _> = map.iter().collect();
            let keys = ordered.into_iter();
            keys.map(|(key, value)| (key.clone(), sorted(value)))
                .collect()
        }
        plain => plain.clone(),
    }
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// Asks Prometheus: one connection for each question, so that the answer ends where it does.
async fn theirs(port: u16, (method, path, form): (&str, &str, &str)) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| anyhow::anyhow!("no answer to {path}"))?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let status = head.split(' ').nth(1).unwrap_or("0").parse()?;
    let allow = head.lines().find_map(|line| line.strip_prefix("Allow: "));
    Ok(seen(path, status, allow, body))
}

async fn ours(bench: &Bench, secret: &str, (method, path, form): (&str, &str, &str)) -> String {
    let request = Request::builder()
        .method(method)
        .uri(path.replace('{', "%7B").replace('}', "%7D"))
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let got = bench
        .ask(request.body(Body::from(form.to_owned())).unwrap())
        .await;
    let allow = got.headers.get(header::ALLOW);
    let allow = allow.and_then(|value| value.to_str().ok());
    seen(path, got.status.as_u16(), allow, &got.body)
}

fn page_path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/prometheus-interface.md")
}

/// Differences as the page has them.
fn written(differences: &[(String, String, String)]) -> String {
    let mut text = format!(
        "Of {} questions {} are answered in another way:\n\n",
        QUESTIONS.len(),
        differences.len()
    );
    for (question, theirs, ours) in differences {
        writeln!(
            text,
            "- `{question}`\n  - Prometheus: `{theirs}`\n  - here: `{ours}`"
        )
        .unwrap();
    }
    text
}

#[tokio::test]
async fn odd_questions_are_answered_as_prometheus_answers_them() -> anyhow::Result<()> {
    if Command::new("prometheus")
        .arg("--version")
        .output()
        .is_err()
    {
        skip("prometheus is not installed: apt-get install prometheus");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let configuration = folder.path().join("prometheus.yml");
    std::fs::write(&configuration, "global:\n  evaluation_interval: 1m\n")?;
    let port = free_port()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", configuration.display()));
    let data = folder.path().join("data");
    command.arg(format!("--storage.tsdb.path={}", data.display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let log = folder.path().join("log");
    let mut running = Running::start("prometheus", &mut command, &log)?;
    eventually("prometheus answers", async || {
        running.check()?;
        let ready = theirs(port, ("GET", "/-/ready", "")).await;
        Ok(ready
            .is_ok_and(|seen| seen.starts_with("200"))
            .then_some(()))
    })
    .await?;

    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let mut differences = Vec::new();
    for &question in QUESTIONS {
        let (theirs, ours) = (
            theirs(port, question).await?,
            ours(&bench, &secret, question).await,
        );
        if theirs != ours {
            let (method, path, form) = question;
            let form = if form.is_empty() {
                String::new()
            } else {
                format!(" with {form}")
            };
            differences.push((format!("{method} {path}{form}"), theirs, ours));
        }
    }
    let page = std::fs::read_to_string(page_path())?;
    let marks = || anyhow::anyhow!("docs/prometheus-interface.md has lost its marks");
    let (before, rest) = page.split_once(BEGIN).ok_or_else(marks)?;
    let (list, after) = rest.split_once(END).ok_or_else(marks)?;
    let found = written(&differences);
    if std::env::var_os("XIEZHI_WRITE_DOCS").is_some() {
        let text = format!("{before}{BEGIN}{found}{END}{after}");
        std::fs::write(page_path(), text)?;
        return Ok(());
    }
    assert_eq!(
        found, list,
        "docs/prometheus-interface.md is not what is measured: run this test with XIEZHI_WRITE_DOCS=1"
    );
    Ok(())
}
