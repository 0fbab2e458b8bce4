//! `xiezhi-fake-devices COUNT WALK_FILE`: so many devices that tell a recorded walk, each on a port of
//! its own on loopback, until it is stopped. Prints their addresses, one a line, then `ready`.

#![expect(clippy::print_stdout, reason = "a command answers on the terminal")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use xiezhi_profiles::Walk;
use xiezhi_test_device::{Behaviour, FakeDevice};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, file] = arguments.as_slice() else {
        return Err("usage: xiezhi-fake-devices COUNT WALK_FILE".into());
    };
    let (walk, bad) = Walk::parse(&std::fs::read_to_string(file)?);
    if let Some(bad) = bad.first() {
        return Err(format!("{file}: {bad}").into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(count.parse()?, Arc::new(walk)))
}

async fn serve(count: usize, walk: Arc<Walk>) -> Result<(), Box<dyn std::error::Error>> {
    let mut devices = Vec::with_capacity(count);
    for _ in 0..count {
        let address = Ipv4Addr::LOCALHOST.into();
        let device = FakeDevice::start_at(address, Arc::clone(&walk), Behaviour::default()).await?;
        println!("{}", device.address());
        devices.push(device);
    }
    println!("ready");
    std::future::pending().await
}
