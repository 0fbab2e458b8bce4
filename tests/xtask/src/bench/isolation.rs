//! How long agents wait for their acknowledgements while the worst queries run at full concurrency.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::load::{self, Load};
use super::span::{Span, machine_load, pause};
use super::{Programs, http, verdict};
use crate::process::output;
use crate::stage::{Children, Stage};

/// Hosts, each with a report of 150 series per second: 2,000 live reports in 30 s each.
const HOSTS: usize = 200;
const INTERVAL: Duration = Duration::from_secs(1);
/// More than query threads and their line.
const ASKERS: usize = 24;
/// Milliseconds that the slowest of a hundred reports may wait longer under load than without. Reports
/// wait 200 ms at most in any case: so long one commit gathers them.
const BAR_MS: f64 = 100.0;

/// Waits for acknowledgements without and with queries.
pub(super) fn queries(programs: &Programs) -> Result<()> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, super::peers::free_port()?));
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
    let mut hosts = load::prepare_fleet(&stage, HOSTS, INTERVAL, 0)?;
    let mut children = Children::default();
    let ready = stage.start_controller(&mut children)?;
    load::announce(&stage, &ready)?;
    hosts.wait_until("connected", Duration::from_secs(120), |connected| {
        connected >= HOSTS as f64
    })?;
    // The first frames carry all names; and queries need something to read.
    pause(60);
    let seconds = programs.seconds.unwrap_or(30);
    let id = children.id("controller").context("no controller")?;
    let quiet = Waits::over(&hosts, seconds);
    println!("without queries: {quiet}; machine load {}", machine_load());
    let (span, load) = (Span::begin(id), QueryLoad::start(web.port(), token.trim()));
    pause(5);
    let busy = Waits::over(&hosts, seconds);
    let (answered, refused) = load.stop();
    println!(
        "with {ASKERS} askers: {busy}; {answered} queries answered, {refused} refused, {:.2} cores; \
         machine load {}",
        span.end().cores(),
        machine_load()
    );
    children.check()?;
    hosts.stop()?;
    verdict(
        "query-isolation",
        &format!(
            "p50 {:.1} ms, p99 {:.1} ms under queries ({:.1} and {:.1} without)",
            busy.at(0.5),
            busy.at(0.99),
            quiet.at(0.5),
            quiet.at(0.99)
        ),
        "none",
        &format!("p99 {BAR_MS} ms more than without"),
        busy.at(0.99) <= quiet.at(0.99) + BAR_MS,
    );
    Ok(())
}

/// Waits of a span, by class.
struct Waits(Vec<f64>);

impl Waits {
    /// What is counted while time passes.
    fn over(hosts: &Load, seconds: u64) -> Self {
        let now = || -> Vec<f64> {
            let names = (0..CLASSES).map(|class| format!("wait{class}"));
            names.map(|name| hosts.get(&name)).collect()
        };
        let before = now();
        pause(seconds);
        let each = now().into_iter().zip(before);
        Self(each.map(|(after, before)| after - before).collect())
    }

    /// Milliseconds that this share of the reports waited at most.
    fn at(&self, share: f64) -> f64 {
        let all: f64 = self.0.iter().sum();
        let mut below = 0.0;
        for (class, count) in self.0.iter().enumerate() {
            below += count;
            if below >= all * share {
                return FIRST_US * 2_f64.powf(class as f64 / 8.0) / 1000.0;
            }
        }
        f64::NAN
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: f64 = self.0.iter().sum();
        let (p50, p99, most) = (self.at(0.5), self.at(0.99), self.at(1.0));
        write!(
            f,
            "{all} reports waited {p50:.1} ms (p50), {p99:.1} ms (p99), {most:.1} ms (most)"
        )
    }
}

/// As the load generator prints them.
const CLASSES: usize = 144;
const FIRST_US: f64 = 50.0;

/// Threads that ask one of the worst queries after the other.
struct QueryLoad {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl QueryLoad {
    fn start(port: u16, token: &str) -> Self {
        let (stop, answered, refused) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self {
            stop,
            answered,
            refused,
            threads: Vec::new(),
        };
        let worst = Arc::new(worst());
        for asker in 0..ASKERS {
            let (stop, worst) = (Arc::clone(&load.stop), Arc::clone(&worst));
            let (answered, refused) = (Arc::clone(&load.answered), Arc::clone(&load.refused));
            let bearer = format!("Bearer {token}");
            load.threads.push(std::thread::spawn(move || {
                let headers = [
                    ("Authorization", bearer.as_str()),
                    ("Content-Type", "application/x-www-form-urlencoded"),
                    ("Accept-Encoding", "gzip"),
                ];
                for (path, form) in worst.iter().cycle().skip(asker) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let got = http::request(port, "POST", path, &headers, form);
                    let is_answer = got.is_ok_and(|answer| answer.status == 200);
                    let counter = if is_answer { &answered } else { &refused };
                    counter.fetch_add(1, Ordering::Relaxed);
                    if !is_answer {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            }));
        }
        load
    }

    /// Queries that were answered, and those that were refused.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                eprintln!("an asker ended by a panic");
            }
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.answered), read(&self.refused))
    }
}

/// Paths and forms: everything, long loops, dear patterns, large answers.
fn worst() -> Vec<(&'static str, String)> {
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs();
    let range = |query: &str, seconds: u64| {
        let start = now - seconds;
        format!("query={query}&start={start}&end={now}&step=1")
    };
    let patterns: Vec<String> = (0..100)
        .map(|n| format!("match[]={{a=~\"%5C%5Cp{{L}}{{14}}{n}\"}}"))
        .collect();
    vec![
        ("/api/v1/query_range", range("{__name__=~\".%2B\"}", 300)),
        ("/api/v1/series", patterns.join("&")),
        (
            "/api/v1/query_range",
            range("rate({__name__=~\".%2B\"}[5m])", 60),
        ),
        (
            "/api/v1/query",
            "query=sum_over_time((vector(1))[300d:1s])".to_owned(),
        ),
        ("/api/v1/series", "match[]={host_id!=\"\"}".to_owned()),
        ("/api/v1/query_range", range("node_cpu_seconds_total", 300)),
        (
            "/api/v1/query",
            "query=count_values(\"v\",{__name__=~\".%2B\"})".to_owned(),
        ),
    ]
}
