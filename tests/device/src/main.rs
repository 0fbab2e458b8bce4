//! `xiezhi-fake-devices [--alive] COUNT WALK_FILE [COUNT WALK_FILE …]`: so many devices that tell a
//! recorded walk, each on a port of its own on loopback, until it is stopped. Prints their addresses, one
//! a line, then `ready`. With `--alive` their counters grow.

#![expect(clippy::print_stdout, reason = "a command answers on the terminal")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use xiezhi_profiles::Walk;
use xiezhi_test_device::{Behaviour, FakeDevice};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut behaviour = Behaviour::default();
    if arguments.first().is_some_and(|word| word == "--alive") {
        behaviour.alive = true;
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
    runtime.block_on(serve(kinds, behaviour))
}

const USAGE: &str = "usage: xiezhi-fake-devices [--alive] COUNT WALK_FILE [COUNT WALK_FILE …]";

async fn serve(
    kinds: Vec<(usize, Arc<Walk>)>,
    behaviour: Behaviour,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut devices = Vec::new();
    for (count, walk) in kinds {
        for _ in 0..count {
            let address = Ipv4Addr::LOCALHOST.into();
            let device =
                FakeDevice::start_at(address, Arc::clone(&walk), behaviour.clone()).await?;
            println!("{}", device.address());
            devices.push(device);
        }
    }
    println!("ready");
    std::future::pending().await
}
