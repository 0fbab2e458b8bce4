//! Hosts that come and go, so that their states change at a chosen pace.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};
use xiezhi_protocol::PROTOCOL_VERSION;
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::message::{Goodbye, GoodbyeReason, Hello};
use xiezhi_protocol::record::Kind;
use xiezhi_protocol::report::Report;

use super::credentials::{self, Credentials};
use super::fleet;
use super::machine::Machine;
use super::session::Session;

/// Connects `count` hosts in turn, `per_second` of them each second; a host reports once, and half a
/// turn later says goodbye: two changes of its state in each turn. Prints `prepared FIRST LAST` and
/// then status lines, until it is ended.
///
/// # Errors
/// They cannot be prepared.
pub async fn run(
    data: &Path,
    passphrase: &str,
    address_file: &Path,
    count: usize,
    per_second: f64,
    print: impl Fn(&str),
) -> Result<()> {
    let hosts = credentials::prepare(data, passphrase, count).await?;
    let ends = (
        hosts.first().map_or(0, |host| host.host),
        hosts.last().map_or(0, |host| host.host),
    );
    print(&format!("prepared {} {}", ends.0, ends.1));
    let address = fleet::address(address_file).await?;
    let turn = Duration::from_secs_f64(count as f64 / per_second);
    let changes = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    let mut places = interval(turn / u32::try_from(count)?);
    for (seed, credentials) in hosts.into_iter().enumerate() {
        places.tick().await;
        let (address, changes) = (address.clone(), Arc::clone(&changes));
        tasks.spawn(async move {
            let mut machine = Machine::new(seed as u64 + 1, now_ms());
            let mut turns = interval(turn);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut before = Before::default();
            loop {
                turns.tick().await;
                let come = visit(
                    &credentials,
                    &address,
                    &mut machine,
                    &mut before,
                    turn / 2,
                    &changes,
                );
                if let Err(error) = come.await {
                    eprintln!("simulated host {}: {error:#}", credentials.hostname);
                }
            }
        });
    }
    let mut status = interval(fleet::STATUS_INTERVAL);
    loop {
        status.tick().await;
        print(&format!(
            "status changes={}",
            changes.load(Ordering::Relaxed)
        ));
    }
}

/// What a host remembers of its last visit: without it, it would look like a second machine.
#[derive(Default)]
struct Before {
    session: String,
    epoch: u64,
    seq: u64,
}

/// One visit: connect, report, stay, say goodbye.
async fn visit(
    credentials: &Credentials,
    address: &str,
    machine: &mut Machine,
    before: &mut Before,
    stay: Duration,
    changes: &AtomicU64,
) -> Result<()> {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: credentials.hostname.clone(),
        epoch: before.epoch,
        previous_session: before.session.clone(),
        boot_id: credentials.hostname.clone(),
        clock_ms: now_ms(),
        interval_ms: 15_000,
        ..Hello::default()
    };
    let (mut session, welcome) = Session::open(address, credentials.tls()?, &hello).await?;
    before.session = welcome.session;
    before.epoch = welcome.epoch;
    let (mut report, mut frame) = (Report::new(), Vec::new());
    machine.report(now_ms(), 15.0, &mut report);
    before.seq += 1;
    Encoder::new(15_000).encode(before.seq, &report, &mut frame);
    session.send(Kind::LiveSamples, &frame)?;
    changes.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(stay).await;
    let reason = GoodbyeReason::AgentStopped;
    session.send(Kind::Goodbye, &serde_json::to_vec(&Goodbye { reason })?)?;
    changes.fetch_add(1, Ordering::Relaxed);
    // The record must be out before the connection is closed under it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(())
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}
