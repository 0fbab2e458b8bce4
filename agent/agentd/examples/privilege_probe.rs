//! The warden with a worker that only asks: lets a test look at real processes without a
//! controller, a configuration or an identity. Not shipped.

#![expect(
    clippy::print_stdout,
    reason = "its answers go to the test on standard output"
)]
#![allow(missing_docs, reason = "an example's modules are those of the agent")]

#[path = "../src/privilege/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the probe uses a part of it")]
mod privilege;

use std::process::ExitCode;
use std::time::Duration;

use privilege::{PrivilegedClient, WardenOptions};
use xiezhi_collect::security::privileged::{Ask, Privileged as _, RootLog};

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = privilege::dispatch() {
        return Ok(code);
    }
    let mut arguments = std::env::args().skip(1);
    if privilege::is_supervised() {
        let scan = arguments.any(|word| word == "scan");
        return probe(scan);
    }
    let state_dir = arguments.next().unwrap_or_default().into();
    let user = arguments.next().unwrap_or_default();
    let worker = std::iter::once("worker".to_owned())
        .chain(arguments)
        .collect();
    privilege::supervise(&WardenOptions {
        user,
        state_dir,
        worker,
    })
}

/// Asks everything once, leaves a scan running, and waits to be ended.
fn probe(scan: bool) -> anyhow::Result<ExitCode> {
    let Some(mut client) = PrivilegedClient::from_stdin() else {
        anyhow::bail!("no warden's socket")
    };
    let asks = [
        ("log-tail", Ask::LogTail(RootLog::Audit, None)),
        ("authorized-keys", Ask::AuthorizedKeys),
        ("dmi", Ask::Dmi),
    ];
    for (name, ask) in asks {
        match client.request(ask, Duration::from_secs(60)) {
            Ok(bytes) => println!(
                "{name} {}",
                String::from_utf8_lossy(&bytes).lines().next().unwrap_or("")
            ),
            Err(error) => println!("{name} failed: {error:?}"),
        }
    }
    println!("traced {:?}", nix::sys::ptrace::traceme());
    if scan {
        client.ask(Ask::SetuidScan)?;
    }
    println!("ready {}", std::process::id());
    loop {
        drop(client.take());
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
