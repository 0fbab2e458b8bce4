//! What the agent costs a host: memory, CPU time, size on disk.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::usage::{cpu_s, pss_mib, tree};
use super::{Programs, peers, verdict};
use crate::stage::{Children, Stage};

/// Processes that a busy court server has at least.
const PROCESSES: usize = 200;

/// The programs that run side by side.
const NAMES: [&str; 4] = ["agent", "node_exporter", "zabbix_agent2", "collectd"];

/// What one program was seen to use.
struct Used {
    median_mib: f64,
    most_mib: f64,
    cpu_s_per_hour: f64,
}

/// PSS of all resident processes, default configuration.
pub(super) fn memory(programs: &Programs) -> Result<()> {
    let used = side_by_side(programs)?;
    let shown: Vec<String> = used
        .iter()
        .map(|used| format!("{:.2}", used.most_mib))
        .collect();
    print_all(&used);
    let ours = used.first().map_or(f64::NAN, |used| used.most_mib);
    verdict(
        "agent-memory",
        &format!("{ours:.2} MiB"),
        &peer_text(&shown, "MiB"),
        "6 MiB",
        ours <= 6.0,
    );
    Ok(())
}

/// CPU time of all processes, default configuration.
pub(super) fn cpu(programs: &Programs) -> Result<()> {
    let used = side_by_side(programs)?;
    let shown: Vec<String> = used
        .iter()
        .map(|used| format!("{:.2}", used.cpu_s_per_hour))
        .collect();
    print_all(&used);
    let ours = used.first().map_or(f64::NAN, |used| used.cpu_s_per_hour);
    verdict(
        "agent-cpu",
        &format!("{ours:.2} s/h"),
        &peer_text(&shown, "s/h"),
        "1.5 s/h",
        ours <= 1.5,
    );
    Ok(())
}

/// Size of the stripped program.
pub(super) fn binary(programs: &Programs) -> Result<()> {
    let size = |path: &Path| -> Result<f64> {
        let meta =
            std::fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
        Ok(meta.len() as f64 / 1e6)
    };
    let ours = size(&programs.agent)?;
    let node = size(Path::new("/usr/bin/prometheus-node-exporter"))?;
    let zabbix = size(Path::new("/usr/sbin/zabbix_agent2"))?;
    let peers = format!("{node:.1} MB (node_exporter), {zabbix:.1} MB (zabbix_agent2)");
    verdict(
        "agent-binary",
        &format!("{ours:.2} MB"),
        &peers,
        "5 MB",
        ours <= 5.0,
    );
    Ok(())
}

fn side_by_side(programs: &Programs) -> Result<Vec<Used>> {
    let seconds = programs.seconds.unwrap_or(300);
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
    let mut children = Children::default();
    for _ in 0..PROCESSES {
        children.start("idle process", Command::new("sleep").arg("infinity"))?;
    }
    let ready = stage.start_controller(&mut children)?;
    stage.start_agent(&mut children, &ready)?;
    let exporter = peers::start(&mut children, stage.folder())?;
    let ids = NAMES.map(|name| children.id(name).unwrap_or_default());
    let [agent, ..] = ids;
    let daily_s = settle(agent);
    let before = ids.map(cpu_s);
    let start = Instant::now();
    let mut seen = [const { Vec::new() }; NAMES.len()];
    let (mut scraped, mut next_scrape) = (0, start);
    while start.elapsed() < Duration::from_secs(seconds) {
        if Instant::now() >= next_scrape {
            scraped = exporter.scrape()?;
            next_scrape += Duration::from_secs(15);
        }
        for (seen, id) in seen.iter_mut().zip(ids) {
            seen.push(pss_mib(id));
        }
        children.check()?;
        std::thread::sleep(Duration::from_secs(5));
    }
    let hours = start.elapsed().as_secs_f64() / 3600.0;
    println!("{seconds} s, {PROCESSES} idle processes; node_exporter's page {scraped} B");
    let after = ids.map(cpu_s);
    let used =
        seen.into_iter()
            .zip(before.into_iter().zip(after))
            .map(|(mut seen, (before, after))| {
                seen.sort_by(f64::total_cmp);
                Used {
                    median_mib: seen.get(seen.len() / 2).copied().unwrap_or(f64::NAN),
                    most_mib: seen.last().copied().unwrap_or(f64::NAN),
                    cpu_s_per_hour: (after - before) / hours,
                }
            });
    let mut used: Vec<Used> = used.collect();
    if let Some(ours) = used.first_mut() {
        // What happens once a day belongs to every hour with its twenty-fourth.
        ours.cpu_s_per_hour += daily_s / 24.0;
    }
    Ok(used)
}

/// Waits until the agent's first search for setuid files, which it repeats once a day, is over:
/// until no helper ran for ten seconds. Yields the CPU time that it took.
fn settle(agent: u32) -> f64 {
    let start = Instant::now();
    let mut quiet_since = start;
    std::thread::sleep(Duration::from_secs(15));
    while start.elapsed() < Duration::from_secs(600) {
        // Warden and worker stay; anything more is a helper.
        if tree(agent).len() > 2 {
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() > Duration::from_secs(10) {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let cpu = cpu_s(agent);
    println!(
        "start and the daily search for setuid files: {cpu:.2} s of CPU in {:.0} s; counted with a \
         twenty-fourth per hour",
        start.elapsed().as_secs_f64()
    );
    cpu
}

fn print_all(used: &[Used]) {
    for (name, used) in NAMES.iter().zip(used) {
        println!(
            "{name:<14} PSS median {:.2} MiB, most {:.2} MiB; CPU {:.2} s per hour",
            used.median_mib, used.most_mib, used.cpu_s_per_hour
        );
    }
}

fn peer_text(shown: &[String], unit: &str) -> String {
    let peers = NAMES.iter().zip(shown).skip(1);
    peers
        .map(|(name, value)| format!("{value} {unit} ({name})"))
        .collect::<Vec<_>>()
        .join(", ")
}
