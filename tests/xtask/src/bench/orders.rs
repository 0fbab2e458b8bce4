//! How soon the controller's word takes effect: revocations and directives.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::http::request;
use super::load::{self, Load};
use super::{Programs, verdict};
use crate::process::output;
use crate::stage::{Children, Ready, Stage};

/// Hosts that are connected.
const HOSTS: usize = 100;

/// Directives to each.
const ROUNDS: usize = 3;

/// Hosts that are revoked, one after another.
const REVOKED: i64 = 10;

/// From the command to the end of the session, and from a request to the agent's answer.
pub(super) fn revocation(programs: &Programs) -> Result<()> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
    let mut hosts = load::prepare_fleet(&stage, HOSTS, Duration::from_secs(15), 0)?;
    let mut children = Children::default();
    let ready = stage.start_controller(&mut children)?;
    load::announce(&stage, &ready)?;
    hosts.wait_until("connected", Duration::from_secs(60), |connected| {
        connected >= HOSTS as f64
    })?;
    let mut latencies = directives(&ready, &hosts)?;
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        latencies
            .get((latencies.len() as f64 * share) as usize)
            .or(latencies.last())
            .copied()
            .unwrap_or(f64::NAN)
    };
    let (median, p99) = (at(0.5), at(0.99));
    println!(
        "{} directives, request to agent's answer: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
        latencies.len(),
        median * 1e3,
        p99 * 1e3,
        at(1.0) * 1e3
    );
    let slowest = revoke(&stage, &mut hosts)?;
    children.check()?;
    verdict(
        "revocation",
        &format!("{slowest:.2} s at most, directive p99 {p99:.3} s"),
        "none",
        "5 s, p99 1 s",
        slowest <= 5.0 && p99 <= 1.0,
    );
    Ok(())
}

/// Latency of every directive, seconds: through the API, to the agent, and back.
fn directives(ready: &Ready, hosts: &Load) -> Result<Vec<f64>> {
    let (base, code) = ready
        .login
        .split_once("/login?code=")
        .context("no one-time login")?;
    let port = base.rsplit(':').next().context("no port")?.parse()?;
    let mut headers = vec![
        ("X-Xiezhi-Request", "1"),
        ("Content-Type", "application/json"),
    ];
    let body = serde_json::json!({ "code": code }).to_string();
    let entered = request(port, "POST", "/api/v1/login/once", &headers, &body)?;
    let cookie = entered
        .header("set-cookie")
        .and_then(|value| value.split(';').next());
    headers.push((
        "Cookie",
        cookie.with_context(|| format!("not signed in: {}", entered.body))?,
    ));
    let (first, last) = hosts.hosts().context("no hosts")?;
    let mut latencies = Vec::new();
    for _ in 0..ROUNDS {
        for id in first..=last {
            let path = format!("/api/v1/hosts/{id}/directives");
            let start = Instant::now();
            let answer = request(port, "POST", &path, &headers, r#"{"kind":"collect_now"}"#)?;
            if answer.status != 200 || !answer.body.contains("done") {
                bail!("host {id}: {} {}", answer.status, answer.body);
            }
            latencies.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(latencies)
}

/// The longest time from the command's start to the end of the session, seconds.
fn revoke(stage: &Stage, hosts: &mut Load) -> Result<f64> {
    let (first, _) = hosts.hosts().context("no hosts")?;
    let mut times = Vec::new();
    for id in first..first + REVOKED {
        let open = hosts.get("connected");
        let start = Instant::now();
        output(&mut stage.controller(&["host", "revoke", &id.to_string(), "--reason", "figure"]))?;
        hosts.wait_until("connected", Duration::from_secs(30), |connected| {
            connected < open
        })?;
        times.push(start.elapsed().as_secs_f64());
    }
    // They try again within 30 s and must not come back.
    let failures = hosts.get("failures");
    hosts.wait_until("failures", Duration::from_secs(60), |now| {
        now >= failures + 3.0
    })?;
    let open = hosts.get("connected");
    println!("{open} of {HOSTS} sessions open; times of revocation: {times:.2?} s");
    if open > (HOSTS as i64 - REVOKED) as f64 {
        bail!("a revoked host came back");
    }
    Ok(times.into_iter().fold(0.0, f64::max))
}
