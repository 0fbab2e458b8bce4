//! Asks a fed folder what dashboards ask.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use xiezhi_promql::{Budget, Engine, Label, Limits, Value};
use xiezhi_series::{
    Clock, HostLabels, LabelledHost, Sealing, Selector, SeriesOptions, SeriesStore,
};

use crate::{Arguments, cpu_time, resident_mib};

const HOUR_MS: i64 = 3_600_000;

struct Hosts(Arc<[LabelledHost]>);

impl HostLabels for Hosts {
    fn all(&self) -> Arc<[LabelledHost]> {
        Arc::clone(&self.0)
    }
}

pub(crate) fn ask(arguments: &Arguments) -> Result<()> {
    let options = SeriesOptions {
        sealing: Sealing::Manual,
        clock: Clock::new(|| 1_700_006_400_000),
        ..SeriesOptions::default()
    };
    let begin = Instant::now();
    let store = SeriesStore::open(&arguments.folder, options)?;
    println!("open_ms {:.1}", begin.elapsed().as_secs_f64() * 1e3);
    let end_ms = store.stats().newest_ms.context("an empty folder")?;
    let label = |name: &str, value: String| Label {
        name: name.into(),
        value: value.into(),
    };
    let labelled = |host: i64| LabelledHost {
        host,
        labels: vec![label("instance", format!("host-{host:05}"))],
    };
    let hosts: Arc<[LabelledHost]> = store.hosts().into_iter().map(labelled).collect();
    let selector = Selector::new(store, Arc::new(Hosts(hosts)));
    let one = r#"node_memory_MemAvailable_bytes{instance="host-00001"}"#;
    let sum = "sum(node_cpu_seconds_total)";
    let rate = "sum(rate(node_cpu_seconds_total[5m]))";
    for (what, query, hours, step_ms) in [
        ("one_series_day", one, 24, 15_000),
        ("sum_hour", sum, 1, 15_000),
        ("rate_hour", rate, 1, 15_000),
    ] {
        measure(
            what,
            &selector,
            query,
            (end_ms - hours * HOUR_MS, end_ms),
            step_ms,
        )?;
    }
    println!("resident_mib {:.0}", resident_mib().0);
    Ok(())
}

fn measure(
    what: &str,
    selector: &Selector,
    query: &str,
    (from, to): (i64, i64),
    step_ms: i64,
) -> Result<()> {
    let (mut best, mut cpu, mut points, mut read) = (f64::MAX, f64::MAX, 0, 0);
    for _ in 0..7 {
        let budget = Budget::new(Limits {
            samples: u64::MAX,
            memory_bytes: u64::MAX,
            ..Limits::default()
        });
        let (begin, spent) = (Instant::now(), cpu_time());
        let answer = Engine::default().range(selector, query, from, to, step_ms, &budget)?;
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
        cpu = cpu.min((cpu_time() - spent).as_secs_f64() * 1e3);
        if let Value::Matrix(series) = &answer.value {
            points = series.iter().map(|one| one.points.len()).sum();
        }
        read = budget.samples_used();
    }
    println!("{what}_ms {best:.2}");
    println!("{what}_cpu_ms {cpu:.2}");
    println!("{what}_points {points} of {read} read");
    Ok(())
}
