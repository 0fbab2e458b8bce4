//! Asks a fed folder what dashboards ask.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use xiezhi_promql::{Budget, Label, Limits, Matcher, Select, SelectHint, Storage as _};
use xiezhi_series::{
    Clock, HostLabels, LabelledHost, Sealing, Selector, SeriesOptions, SeriesStore,
};

use crate::{Arguments, cpu_time, resident_mib};

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
    let newest_ms = store.stats().newest_ms.context("an empty folder")?;
    let label = |name: &str, value: String| Label {
        name: name.into(),
        value: value.into(),
    };
    let labelled = |host: i64| LabelledHost {
        host,
        labels: vec![
            label("instance", format!("host-{host:05}")),
            label("site", format!("site-{}", host % 113)),
        ],
    };
    let hosts: Arc<[LabelledHost]> = store.hosts().into_iter().map(labelled).collect();
    let selector = Selector::new(store.clone(), Arc::new(Hosts(Arc::clone(&hosts))));
    let hour = 3_600_000;
    let one = vec![
        Matcher::equal("__name__", "node_memory_MemAvailable_bytes"),
        Matcher::equal("instance", format!("host-{:05}", hosts.len() / 2)),
    ];
    measure(
        "one_series_day_ms",
        &selector,
        one,
        newest_ms - 24 * hour,
        newest_ms,
    )?;
    // Metrics of as many series per host as make ten thousand of them.
    for (what, name) in [
        ("cpu_hour_ms", "node_cpu_seconds_total"),
        ("load_hour_ms", "node_load1"),
        ("memory_day_ms", "node_memory_MemAvailable_bytes"),
    ] {
        let length = if what.contains("day") {
            24 * hour
        } else {
            hour
        };
        measure(
            what,
            &selector,
            vec![Matcher::equal("__name__", name)],
            newest_ms - length,
            newest_ms,
        )?;
    }
    println!("resident_mib {:.0}", resident_mib().0);
    Ok(())
}

fn measure(
    what: &str,
    selector: &Selector,
    matchers: Vec<Matcher>,
    from: i64,
    to: i64,
) -> Result<()> {
    let request = Select {
        matchers,
        start_ms: from,
        end_ms: to,
        hint: SelectHint::default(),
    };
    let (mut best, mut cpu) = (f64::MAX, f64::MAX);
    let (mut series, mut samples) = (0, 0);
    for _ in 0..5 {
        let budget = Budget::new(Limits {
            samples: u64::MAX,
            memory_bytes: u64::MAX,
            ..Limits::default()
        });
        let (begin, spent) = (Instant::now(), cpu_time());
        let found = selector.select(&request, &budget)?;
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
        cpu = cpu.min((cpu_time() - spent).as_secs_f64() * 1e3);
        series = found.len();
        samples = found.iter().map(|one| one.times.len()).sum();
    }
    println!("{what} {best:.2} cpu_ms {cpu:.2} series {series} samples {samples}");
    Ok(())
}
