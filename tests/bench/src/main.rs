//! `xiezhi-load`: simulated hosts for the demonstration and for figures.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command answers on the terminal"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use xiezhi_bench::load::province::{self, Behaviour, Counters};
use xiezhi_bench::load::tree::{self, Size};
use xiezhi_bench::load::{credentials, flap, fleet, receiver, send_on, sink, verify, wire};

const HELP: &str = "\
xiezhi-load province DATA_DIR PASSPHRASE_FILE COUNT READY_FILE
    adds simulated hosts to a controller and reports for them until it is stopped
xiezhi-load wire DATA_DIR PASSPHRASE_FILE ADDRESS REPORTS CAPTURE_FILE
    one host, a report each second, captured with tcpdump
xiezhi-load fleet DATA_DIR PASSPHRASE_FILE ADDRESS_FILE COUNT INTERVAL_MS ACKNOWLEDGED_FILE BACKLOG
    hosts that report until SIGTERM, with status lines; writes what was acknowledged; each brings
    BACKLOG reports of the time before
xiezhi-load flap DATA_DIR PASSPHRASE_FILE ADDRESS_FILE COUNT PER_SECOND
    hosts that come and go, PER_SECOND of them each second, with status lines
xiezhi-load remote-write PORT PATH HOSTS CONNECTIONS INTERVAL_MS
    the same reports as remote write until SIGTERM, with status lines
xiezhi-load sink PORT
    takes remote write and keeps nothing until SIGTERM, with status lines
xiezhi-load send-on PORT HOSTS REPORTS
    stores reports of simulated hosts, then sends them on to a sink and says what that took
xiezhi-load verify DATA_DIR ACKNOWLEDGED_FILE
    whether a stopped controller holds what was acknowledged
xiezhi-load fill DATABASE COURTS SITES ASSETS
    writes a large province into the database of a stopped controller and says who may ask for it
xiezhi-load seal DATA_DIR
    seals a stopped controller's samples and says what that took
";

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xiezhi-load: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["province", data, passphrase, count, address_file] => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(run_province(data, passphrase, count.parse()?, address_file))
        }
        ["wire", data, passphrase, address, reports, capture] => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let passphrase = read_passphrase(passphrase)?;
            let said = runtime.block_on(wire::run(
                data.as_ref(),
                &passphrase,
                address,
                reports.parse()?,
                capture.as_ref(),
            ))?;
            print!("{said}");
            Ok(())
        }
        [
            "fleet",
            data,
            passphrase,
            address,
            count,
            interval,
            acknowledged,
            backlog,
        ] => {
            let passphrase = read_passphrase(passphrase)?;
            let plan = fleet::Plan {
                data: data.as_ref(),
                passphrase: &passphrase,
                address_file: address.as_ref(),
                count: count.parse()?,
                interval: Duration::from_millis(interval.parse()?),
                acknowledged_file: acknowledged.as_ref(),
                backlog: backlog.parse()?,
            };
            many_threads()?.block_on(fleet::run(plan, |line| println!("{line}")))
        }
        ["flap", data, passphrase, address, count, per_second] => {
            let passphrase = read_passphrase(passphrase)?;
            let (count, per_second) = (count.parse()?, per_second.parse()?);
            let (data, address) = (data.as_ref(), address.as_ref());
            let run = flap::run(data, &passphrase, address, count, per_second, |line| {
                println!("{line}")
            });
            many_threads()?.block_on(run)
        }
        ["remote-write", port, path, hosts, connections, interval] => {
            let interval = Duration::from_millis(interval.parse()?);
            let (port, hosts, connections) = (port.parse()?, hosts.parse()?, connections.parse()?);
            let run = receiver::run(port, path, hosts, connections, interval, |line| {
                println!("{line}")
            });
            many_threads()?.block_on(run)
        }
        ["sink", port] => {
            let run = sink::run(port.parse()?, |line| println!("{line}"));
            many_threads()?.block_on(run)
        }
        ["send-on", port, hosts, reports] => {
            let run = send_on::run(port.parse()?, hosts.parse()?, reports.parse()?);
            print!("{}", many_threads()?.block_on(run)?);
            Ok(())
        }
        ["fill", database, courts, sites, assets] => {
            let size = Size {
                courts: courts.parse()?,
                sites: sites.parse()?,
                assets: assets.parse()?,
            };
            let run = tree::run(database, size, |line| println!("{line}"));
            many_threads()?.block_on(run)
        }
        ["verify", data, acknowledged] => {
            print!(
                "{}",
                verify::acknowledged(data.as_ref(), acknowledged.as_ref())?
            );
            Ok(())
        }
        ["seal", data] => {
            print!("{}", verify::seal(data.as_ref())?);
            Ok(())
        }
        _ => bail!("{HELP}"),
    }
}

fn many_threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

fn read_passphrase(file: &str) -> Result<String> {
    let text = std::fs::read_to_string(file).context("reading the passphrase")?;
    Ok(text.trim().to_owned())
}

/// Prepares the hosts, says so, waits for the controller's address to appear and reports for ever.
async fn run_province(
    data: &str,
    passphrase: &str,
    count: usize,
    address_file: &str,
) -> Result<()> {
    let passphrase = read_passphrase(passphrase)?;
    let hosts = credentials::prepare(data.as_ref(), &passphrase, count).await?;
    println!("prepared");
    let address = loop {
        if let Ok(text) = std::fs::read_to_string(address_file) {
            let ready: serde_json::Value = serde_json::from_str(&text)?;
            break ready
                .get("agents")
                .and_then(|value| value.as_str())
                .unwrap_or_default()
                .to_owned();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let behaviour = Behaviour {
        address,
        interval: Duration::from_secs(15),
        start_within: Duration::from_secs(3),
        retry_within: Duration::from_secs(5),
        backlog: 0,
    };
    let counters = Arc::new(Counters::default());
    let mut tasks = province::start(hosts, &behaviour, &counters);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = tasks.join_next() => bail!("a simulated host ended"),
    }
    let acknowledged = counters.acknowledged.load(Ordering::Relaxed);
    println!("{acknowledged} reports acknowledged");
    Ok(())
}
