//! What dashboards ask, of a controller and of the peers, over HTTP and in JSON alike.
//!
//! The same recorded reports go to all. Ours stores them before the controller starts, as it would have
//! from its agents; it knows the hosts, checks a token and holds every query to its scope and limits.
//! What the engine takes of that, in a process of its own, is printed beside.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::engine::{self, Peer, engine, feed, list, number};
use super::span::machine_load;
use super::{Programs, http, load, peers, verdict};
use crate::process::output;
use crate::stage::{Children, Stage};

/// Metrics that are stored: 16 series of a host, and one.
const METRICS: [&str; 4] = [
    "--only",
    "node_cpu_seconds_total",
    "--only",
    "node_memory_MemAvailable_bytes",
];
/// Each question is asked so often; the best counts, of all programs alike.
const TIMES: usize = 7;

/// A series of a day, and a sum over ten thousand of an hour.
pub(super) fn latency(programs: &Programs) -> Result<()> {
    let asked = ask(programs)?;
    let [one, sum, _] = asked.ours;
    let times = |question: fn(&[f64; 3]) -> f64| -> Vec<_> {
        let one = |(times, name): &([f64; 3], &'static str)| (question(times), *name);
        asked.peers.iter().map(one).collect()
    };
    let (one_peers, sum_peers) = (times(|[one, ..]| *one), times(|[_, sum, _]| *sum));
    verdict(
        "query-latency",
        &format!("{one:.2} ms and {sum:.0} ms"),
        &format!("{} and {}", list(&one_peers, "ms"), list(&sum_peers, "ms")),
        "2 ms (1 series, 24 h) and 150 ms (sum of 10,000, 1 h)",
        one <= 2.0 && sum <= 150.0,
    );
    Ok(())
}

/// The rate of ten thousand series of an hour.
pub(super) fn rate(programs: &Programs) -> Result<()> {
    let asked = ask(programs)?;
    let [.., ours] = asked.ours;
    let peers: Vec<_> = asked
        .peers
        .iter()
        .map(|([.., rate], name)| (*rate, *name))
        .collect();
    verdict(
        "query-rate",
        &format!("{ours:.0} ms"),
        &list(&peers, "ms"),
        "150 ms",
        ours <= 150.0,
    );
    Ok(())
}

/// Milliseconds of the three questions, of all programs.
struct Asked {
    ours: [f64; 3],
    peers: Vec<([f64; 3], &'static str)>,
}

/// 625 hosts have 10,000 series of one metric for two hours; the first has a day.
fn ask(programs: &Programs) -> Result<Asked> {
    let size = &programs.size;
    let (hosts, minutes) = (size.hosts.unwrap_or(625), size.minutes.unwrap_or(1440));
    let mut shape = METRICS.to_vec();
    shape.extend(["--others-minutes", "120"]);
    let ours = ask_ours(programs, hosts, minutes, &shape)?;
    println!("a controller {ours:.2?} ms");
    let mut peers = Vec::new();
    for kind in engine::PEERS {
        let running = Peer::start(kind)?;
        let sent = running.send(hosts, minutes, &shape)?;
        running.settle()?;
        let one = "node_memory_MemAvailable_bytes%7Binstance%3D%22host-00001%22%7D";
        let end_ms = number(&sent, "end_ms")? as i64;
        peers.push((questions(running.port, &[], one, end_ms)?, kind.name));
    }
    println!("machine load {}", machine_load());
    Ok(Asked { ours, peers })
}

fn ask_ours(programs: &Programs, hosts: u64, minutes: u64, shape: &[&str]) -> Result<[f64; 3]> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, peers::free_port()?));
    let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
    let create = [
        "api-token",
        "create",
        "--name",
        "bench",
        "--right",
        "read-metrics",
    ];
    let token = output(&mut stage.controller(&create))?;
    let count = usize::try_from(hosts)?;
    // Only so that the controller knows them: they never report.
    let known = load::prepare_fleet(&stage, count, Duration::from_secs(15), 0)?;
    let first = known.hosts().context("no hosts were prepared")?.0;
    ensure!(
        first == 1,
        "the first host has number {first}, the samples are those of number 1"
    );
    known.stop()?;
    let folder = stage.folder().join("controller/series");
    let mut shape = shape.to_vec();
    shape.push("--until-now");
    let said = feed(&folder, hosts, minutes, &shape)?;
    let inside = output(engine()?.arg("ask").arg(&folder))?;
    print!("the engine in its own process:\n{inside}");
    let mut children = Children::default();
    stage.start_controller(&mut children)?;
    let bearer = format!("Bearer {}", token.trim());
    let one = "node_memory_MemAvailable_bytes%7Bhost_id%3D%221%22%7D";
    let end_ms = number(&said, "end_ms")? as i64;
    let times = questions(web.port(), &[("Authorization", &bearer)], one, end_ms);
    children.check()?;
    times
}

/// Milliseconds of the three questions, the best of seven.
fn questions(port: u16, headers: &[(&str, &str)], one: &str, end_ms: i64) -> Result<[f64; 3]> {
    let questions = [
        (one, 24),
        ("sum(node_cpu_seconds_total)", 1),
        ("sum(rate(node_cpu_seconds_total%5B5m%5D))", 1),
    ];
    let mut best = [f64::MAX; 3];
    for ((query, hours), best) in questions.iter().zip(&mut best) {
        let end = end_ms / 1000;
        let path = format!(
            "/api/v1/query_range?query={query}&start={}&end={end}&step=15",
            end - hours * 3600
        );
        for _ in 0..TIMES {
            let begin = Instant::now();
            let answer = http::request(port, "GET", &path, headers, "")?;
            *best = best.min(begin.elapsed().as_secs_f64() * 1e3);
            let (status, body) = (answer.status, &answer.body);
            ensure!(status == 200, "{path}: {status} {body}");
            // Each has a point for every step: what answers with less was given less.
            ensure!(body.len() > 3000, "{path} answers {body}");
        }
    }
    Ok(best)
}
