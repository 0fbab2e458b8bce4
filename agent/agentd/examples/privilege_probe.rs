//! The warden with a worker that only asks: lets a test look at real processes without a
//! controller, a configuration or an identity. Not shipped.

#![expect(
    clippy::print_stderr,
    reason = "its answers go to the test on standard error; standard output is a socket"
)]
#![allow(missing_docs, reason = "an example's modules are those of the agent")]

#[path = "../src/privilege/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the probe uses a part of it")]
mod privilege;

use std::process::ExitCode;
use std::time::Duration;

use privilege::{AskerOptions, PrivilegedClient, WardenOptions};
use xiezhi_collect::security::privileged::{Ask, Privileged as _, RootLog};

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = privilege::dispatch() {
        return Ok(code);
    }
    if std::env::args().next().as_deref() == Some("xiezhi-devices") {
        return hand_over();
    }
    let mut arguments = std::env::args().skip(1);
    if privilege::is_supervised() {
        let scan = arguments.any(|word| word == "scan");
        return probe(scan);
    }
    let state_dir = std::path::PathBuf::from(arguments.next().unwrap_or_default());
    let user = arguments.next().unwrap_or_default();
    let worker = std::iter::once("worker".to_owned())
        .chain(arguments)
        .collect();
    privilege::supervise(&WardenOptions {
        asker: AskerOptions {
            program: std::env::current_exe()?,
            folder: state_dir.with_extension("devices.d"),
            state_dir: state_dir.with_extension("devices"),
            links: state_dir.with_extension("links.d"),
            profiles: state_dir.with_extension("profiles.d"),
            user: user.clone(),
            traps: None,
        },
        user,
        state_dir,
        worker,
    })
}

/// In the place of the program that asks devices: hands over one packet and waits to be ended.
fn hand_over() -> anyhow::Result<ExitCode> {
    rustix::thread::set_name(c"xiezhi-devices")?;
    let packet = format!("asked {}", std::process::id());
    let flags = rustix::net::SendFlags::NOSIGNAL;
    rustix::net::send(std::io::stdin(), packet.as_bytes(), flags)?;
    loop {
        std::thread::park();
    }
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
            Ok(bytes) => eprintln!(
                "{name} {}",
                String::from_utf8_lossy(&bytes).lines().next().unwrap_or("")
            ),
            Err(error) => eprintln!("{name} failed: {error:?}"),
        }
    }
    eprintln!("traced {:?}", nix::sys::ptrace::traceme());
    if scan {
        client.ask(Ask::SetuidScan)?;
    }
    eprintln!("ready {}", std::process::id());
    let mut packet = [0; 64];
    loop {
        drop(client.take());
        let flags = rustix::net::RecvFlags::DONTWAIT;
        if let Ok((_, length)) = rustix::net::recv(std::io::stdout(), &mut packet, flags) {
            let told = packet.get(..length).unwrap_or_default();
            eprintln!("{}", String::from_utf8_lossy(told));
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
