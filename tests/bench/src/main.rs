//! `xiezhi-load`: simulated hosts for the demonstration and for figures.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command answers on the terminal")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use xiezhi_bench::load::province::{self, Behaviour, Counters};
use xiezhi_bench::load::credentials;

const HELP: &str = "\
xiezhi-load province DATA_DIR PASSPHRASE_FILE COUNT READY_FILE
    adds simulated hosts to a controller and reports for them until it is stopped
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
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(run_province(data, passphrase, count.parse()?, address_file))
        }
        _ => bail!("{HELP}"),
    }
}

/// Prepares the hosts, says so, waits for the controller's address to appear and reports for ever.
async fn run_province(data: &str, passphrase: &str, count: usize, address_file: &str) -> Result<()> {
    let passphrase = std::fs::read_to_string(passphrase).context("reading the passphrase")?;
    let hosts = credentials::prepare(data.as_ref(), passphrase.trim(), count).await?;
    println!("prepared");
    let address = loop {
        if let Ok(text) = std::fs::read_to_string(address_file) {
            let ready: serde_json::Value = serde_json::from_str(&text)?;
            break ready["agents"].as_str().unwrap_or_default().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let behaviour = Behaviour {
        address,
        interval: Duration::from_secs(15),
        start_within: Duration::from_secs(3),
        retry_within: Duration::from_secs(5),
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
