//! `cargo xtask demo`: a controller and this machine's agent, live in a browser.
//!
//! Everything lies in one temporary folder and ends with this command.

mod devices;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{call, cargo, root, target};
use crate::stage::{Children, Ready, Stage, stop_on_signal};

/// Simulated hosts of `--province`: a few in every court.
const SIMULATED_HOSTS: u32 = 339;

/// Builds, starts and waits for Ctrl-C.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    println!("building (the first time takes some minutes) …");
    let mut packages = vec![
        "--package",
        "xiezhi-agentd",
        "--package",
        "xiezhi-devicesd",
        "--package",
        "xiezhi-test-device",
        "--package",
        "xiezhi-controllerd",
    ];
    if options.province {
        packages.extend(["--package", "xiezhi-bench"]);
    }
    call(cargo(&["build", "--release", "--quiet"]).args(&packages))?;
    let stop = stop_on_signal()?;
    let programs = target().join("release");
    let (controller, agent) = (
        programs.join("xiezhi-controller"),
        programs.join("xiezhi-agent"),
    );
    let stage = Stage::prepare(
        controller,
        agent,
        options.web_address(),
        "reconnect_within: 2s\n",
    )?;
    let mut children = Children::default();
    let ready = stage.start_controller(&mut children)?;
    devices::start(
        &programs.join("xiezhi-fake-devices"),
        &root().join("agent/profiles/library"),
        stage.folder(),
        &mut children,
    )?;
    stage.start_agent(&mut children, &ready)?;
    if options.province {
        start_province(&stage, &mut children)?;
    }
    greet(&stage, &ready, options.province);
    children.wait(options.stop_after, &stop)
}

struct Options {
    province: bool,
    port: u16,
    /// For tests: end by itself.
    stop_after: Option<Duration>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            province: false,
            port: 8080,
            stop_after: None,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--province" => options.province = true,
                "--port" => {
                    let port = rest.next().context("--port needs a number")?;
                    options.port = port.parse().context("--port needs a number")?;
                }
                "--stop-after" => {
                    let seconds = rest.next().context("--stop-after needs seconds")?;
                    options.stop_after = Some(Duration::from_secs(seconds.parse()?));
                }
                other => bail!(
                    "unknown argument `{other}`; there are --province, --port N, --stop-after SECONDS"
                ),
            }
        }
        Ok(options)
    }

    /// The wanted port, or any free one if it is taken.
    fn web_address(&self) -> SocketAddr {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        match TcpListener::bind(wanted) {
            Ok(_) => wanted,
            Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

fn start_province(stage: &Stage, children: &mut Children) -> Result<()> {
    println!("adding {SIMULATED_HOSTS} simulated hosts …");
    let mut command = Command::new(target().join("release/xiezhi-load"));
    command
        .arg("province")
        .arg(stage.folder().join("controller"));
    command
        .arg(stage.folder().join("passphrase"))
        .arg(SIMULATED_HOSTS.to_string());
    command.arg(stage.folder().join("ready.json"));
    children.start("simulated hosts", command.stdout(Stdio::null()))
}

fn greet(stage: &Stage, ready: &Ready, province: bool) {
    println!(
        "\n  獬豸 is running. Open this address; it signs you in once:\n\n    {}\n",
        ready.login
    );
    println!("  This machine is a host of 甘肃省高级人民法院 and reports every 15 s.");
    println!(
        "  It asks a switch, a UPS, a camera and a terminal that is switched off; they are simulated."
    );
    if province {
        println!("  Hosts marked 模拟 are simulated.");
    }
    println!("  Everything lies in {}.", stage.folder().display());
    println!("  Stop with Ctrl-C; nothing stays behind.\n");
}
