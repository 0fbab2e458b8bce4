//! `xiezhi-fake-devices [--alive] [--spread] COUNT WALK_FILE [COUNT WALK_FILE …]`: so many devices that
//! tell a recorded walk, each on a port of its own on loopback, until it is stopped. Prints their addresses,
//! one a line, then `ready`. With `--alive` their counters grow; with `--spread` each has an address of its
//! own, from 127.16.0.1 on.

#![expect(clippy::print_stdout, reason = "a command answers on the terminal")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use xiezhi_profiles::Walk;
use xiezhi_test_device::{Behaviour, FakeDevice};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut behaviour = Behaviour::default();
    let mut spread = false;
    while let Some(flag) = arguments.first().filter(|word| word.starts_with("--")) {
        match flag.as_str() {
            "--alive" => behaviour.alive = true,
            "--spread" => spread = true,
            _ => return Err(USAGE.into()),
        }
        arguments.remove(0);
    }
    let mut kinds = Vec::new();
    for pair in arguments.chunks(2) {
        let [count, file] = pair else {
            return Err(USAGE.into());
        };
        let (walk, bad) = Walk::parse(&std::fs::read_to_string(file)?);
        if let Some(bad) = bad.first() {
            return Err(format!("{file}: {bad}").into());
        }
        kinds.push((count.parse()?, Arc::new(walk)));
    }
    if kinds.is_empty() {
        return Err(USAGE.into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(kinds, behaviour, spread))
}

const USAGE: &str =
    "usage: xiezhi-fake-devices [--alive] [--spread] COUNT WALK_FILE [COUNT WALK_FILE …]";

/// The first address of those that are spread.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 1);

async fn serve(
    kinds: Vec<(usize, Arc<Walk>)>,
    behaviour: Behaviour,
    spread: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut devices = Vec::new();
    let mut next = u32::from(FIRST);
    for (count, walk) in kinds {
        for _ in 0..count {
            let address = if spread {
                next += 1;
                Ipv4Addr::from(next - 1).into()
            } else {
                Ipv4Addr::LOCALHOST.into()
            };
            let device =
                FakeDevice::start_at(address, Arc::clone(&walk), behaviour.clone()).await?;
            println!("{}", device.address());
            devices.push(device);
        }
    }
    println!("ready");
    std::future::pending().await
}
