//! `walks ROUNDS ADDRESSES_FILE`: polls ifTable and ifXTable of every device in the file, so often, and
//! says what that took. The figure `snmp-walk` is made with it.

#![expect(clippy::print_stdout, reason = "a command answers on the terminal")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use xiezhi_devices::{Ask, Credentials, Limits, Login, Poller, Secret, Socket, Target};
use xiezhi_profiles::{Hints, Oid};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Polls at once, as many as the agent allows.
const AT_ONCE: usize = 64;

/// Values of a device with 100 ports: 22 and 19 columns.
const VALUES: usize = 100 * 41;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rounds, file] = arguments.as_slice() else {
        return Err("usage: walks ROUNDS ADDRESSES_FILE".into());
    };
    let addresses: Vec<SocketAddr> = std::fs::read_to_string(file)?
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // One thread, as the agent has, so that its time is all that was used.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(rounds.parse()?, &addresses))
}

async fn run(rounds: usize, addresses: &[SocketAddr]) -> Outcome<()> {
    let poller = Arc::new(Poller::new(Socket::open().await?, AT_ONCE));
    let login = Login::new(&Credentials::V2c {
        community: Secret::new("public".to_owned()),
    })?;
    let ask = Arc::new(interfaces()?);
    let (start, cpu) = (Instant::now(), cpu_s()?);
    let (mut requests, mut bytes) = (0, 0);
    for _ in 0..rounds {
        let mut polls = JoinSet::new();
        for address in addresses {
            let (poller, ask) = (Arc::clone(&poller), Arc::clone(&ask));
            let target = Target {
                address: *address,
                login: login.clone(),
                hints: Hints {
                    timeout: Duration::from_secs(10),
                    ..Hints::default()
                },
                pace: None,
            };
            polls.spawn(async move {
                poller
                    .poll(&target, &ask, Limits::default(), Duration::from_secs(60))
                    .await
            });
        }
        while let Some(polled) = polls.join_next().await {
            let polled = polled?;
            if polled.answers.values() < VALUES || !polled.faults.is_empty() {
                let told = polled.answers.values();
                return Err(format!("only {told} values: {:?}", polled.error).into());
            }
            requests += polled.counts.requests;
            bytes += polled.counts.bytes_in;
        }
    }
    let walks = rounds * addresses.len();
    println!("walks {walks}");
    println!("cpu_s {:.4}", cpu_s()? - cpu);
    println!("elapsed_s {:.2}", start.elapsed().as_secs_f64());
    println!("requests {requests}");
    println!("bytes_in {bytes}");
    Ok(())
}

/// All 22 columns of ifTable and all 19 of ifXTable.
fn interfaces() -> Outcome<Ask> {
    let columns = |entry: &str, last: u32| -> Outcome<Vec<Oid>> {
        let entry: Oid = entry.parse()?;
        Ok((1..=last)
            .map(|column| entry.at(&Oid::new(&[column])))
            .collect())
    };
    Ok(Ask {
        scalars: Vec::new(),
        columns: vec![
            columns("1.3.6.1.2.1.2.2.1", 22)?,
            columns("1.3.6.1.2.1.31.1.1.1", 19)?,
        ],
    })
}

/// CPU time of this thread, seconds. Source: the first field of `schedstat`, nanoseconds.
fn cpu_s() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}
