//! How long the evaluator takes, without any storage's own work.
//!
//! `cargo bench -p xiezhi-promql`: an hour of 10,000 series and a day of one, a sample every 15 s.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot run should stop"
)]

use std::sync::Arc;

use xiezhi_promql::testing::MemoryStorage;
use xiezhi_promql::{Answer, Budget, Engine, Labels, Limits};

fn main() {
    divan::main();
}

const EVERY_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;

/// Counters of `hosts` hosts with aligned samples from one hour before the Unix epoch on.
#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn fleet(hosts: usize, hours: i64) -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    let times: Arc<[i64]> = (-HOUR_MS / EVERY_MS..=hours * HOUR_MS / EVERY_MS)
        .map(|n| n * EVERY_MS)
        .collect();
    for host in 0..hosts {
        let labels = Labels::new([
            ("__name__", "node_network_receive_bytes_total".to_owned()),
            ("court", format!("court-{}", host % 100)),
            ("device", "eth0".to_owned()),
            ("host", format!("host-{host:05}")),
            ("job", "node".to_owned()),
        ]);
        let values = (0..times.len())
            .map(|n| (n * (host % 7 + 1)) as f64)
            .collect();
        storage.insert_column(labels, Arc::clone(&times), values);
    }
    storage
}

fn range(storage: &MemoryStorage, query: &str, hours: i64, step_ms: i64) -> Answer {
    let budget = Budget::new(Limits::default());
    let answer = Engine::default().range(storage, query, 0, hours * HOUR_MS, step_ms, &budget);
    answer.expect("the query is right")
}

#[divan::bench(args = [
    "sum(node_network_receive_bytes_total)",
    "sum(rate(node_network_receive_bytes_total[5m]))",
    "sum by (court) (rate(node_network_receive_bytes_total[5m]))",
    "topk(5, rate(node_network_receive_bytes_total[5m]))",
    "quantile by (court) (0.9, rate(node_network_receive_bytes_total[5m]))",
    "avg_over_time(node_network_receive_bytes_total[5m]) > 100",
    "rate(node_network_receive_bytes_total[5m]) / on (host) node_network_receive_bytes_total",
], sample_count = 10)]
fn an_hour_of_10_000_series(bencher: divan::Bencher<'_, '_>, query: &str) {
    let storage = fleet(10_000, 1);
    bencher.bench_local(|| range(&storage, query, 1, EVERY_MS));
}

#[divan::bench]
fn a_day_of_one_series(bencher: divan::Bencher<'_, '_>) {
    let storage = fleet(1, 24);
    bencher.bench_local(|| range(&storage, "node_network_receive_bytes_total", 24, EVERY_MS));
}
