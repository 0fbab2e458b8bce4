//! A running load generator: its last status line, and waiting for a state.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{output, target};
use crate::stage::{Ready, Stage};

/// Time that a stopped generator has to write what was acknowledged.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Time between two looks at the status; the generator prints it every 50 ms.
const LOOK: Duration = Duration::from_millis(20);

/// A `xiezhi-load` that prints status lines.
pub(super) struct Load {
    child: Child,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    prepared: Option<(i64, i64)>,
    status: BTreeMap<String, f64>,
}

/// A command of the load generator.
pub(super) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(target().join("release/xiezhi-load"));
    command.args(arguments);
    command
}

/// Where the hosts of a stage look for the controller's address.
pub(super) fn address_file(stage: &Stage) -> PathBuf {
    stage.folder().join("load-address.json")
}

fn acknowledged_file(stage: &Stage) -> PathBuf {
    stage.folder().join("acknowledged.json")
}

/// Prepares simulated hosts; the controller must not run yet. They start with [`announce`].
///
/// Each brings `backlog` reports of the time before.
pub(super) fn prepare_fleet(
    stage: &Stage,
    count: usize,
    interval: Duration,
    backlog: u64,
) -> Result<Load> {
    let start = Instant::now();
    let mut command = command(&["fleet"]);
    command
        .arg(stage.folder().join("controller"))
        .arg(stage.folder().join("passphrase"));
    command
        .arg(address_file(stage))
        .arg(count.to_string())
        .arg(interval.as_millis().to_string());
    command
        .arg(acknowledged_file(stage))
        .arg(backlog.to_string());
    let mut load = Load::start(&mut command)?;
    load.reach(
        "the hosts to be prepared",
        Duration::from_secs(600),
        |said| said.prepared.is_some(),
    )?;
    println!(
        "{count} hosts prepared in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    Ok(load)
}

/// Tells the hosts where the controller is, which starts them.
pub(super) fn announce(stage: &Stage, ready: &Ready) -> Result<()> {
    let text = serde_json::json!({ "agents": ready.agents }).to_string();
    // Renamed, so that nobody reads half of it.
    let draft = stage.folder().join("load-address.draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, address_file(stage))?)
}

/// Compares what the hosts saw acknowledged with a stopped controller's samples.
pub(super) fn verify(stage: &Stage) -> Result<String> {
    let data = stage.folder().join("controller");
    output(command(&["verify"]).arg(data).arg(acknowledged_file(stage)))
}

/// The number after a word at a line's beginning.
pub(super) fn field(said: &str, name: &str) -> Option<f64> {
    let line = said
        .lines()
        .find(|line| line.split(' ').next() == Some(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

impl Load {
    /// Starts a generator and reads what it prints.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the load")?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(&line);
            }
        });
        Ok(Self { child, said })
    }

    /// Waits until its hosts are prepared.
    pub(super) fn prepared(&mut self) -> Result<()> {
        let limit = Duration::from_secs(600);
        self.reach("the hosts to be prepared", limit, |said| {
            said.prepared.is_some()
        })?;
        Ok(())
    }

    /// A number of the last status line; 0 before the first.
    pub(super) fn get(&self, name: &str) -> f64 {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.status.get(name).copied().unwrap_or_default()
    }

    /// Numbers of the first and the last host.
    pub(super) fn hosts(&self) -> Option<(i64, i64)> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .prepared
    }

    /// Waits until a number of the status is what is wanted; yields how long that took.
    pub(super) fn wait_until(
        &mut self,
        name: &str,
        limit: Duration,
        wanted: impl Fn(f64) -> bool,
    ) -> Result<Duration> {
        self.reach(name, limit, |said| {
            said.status.get(name).copied().is_some_and(&wanted)
        })
    }

    fn reach(
        &mut self,
        what: &str,
        limit: Duration,
        there: impl Fn(&Said) -> bool,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            {
                let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                if there(&said) {
                    return Ok(start.elapsed());
                }
                if start.elapsed() > limit {
                    bail!(
                        "waited {} s for {what}; last status: {:?}",
                        limit.as_secs(),
                        said.status
                    );
                }
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the load generator ended: {status}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends it and waits for what it writes at the end.
    pub(super) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        let deadline = Instant::now() + STOP_WITHIN;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                bail!(
                    "the load generator did not stop within {} s",
                    STOP_WITHIN.as_secs()
                );
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

impl Said {
    fn take(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("prepared") => {
                let mut number = || words.next().and_then(|word| word.parse().ok());
                self.prepared = number().zip(number());
            }
            Some("status") => {
                let pairs = words.filter_map(|word| word.split_once('='));
                let read =
                    |(name, value): (&str, &str)| Some((name.to_owned(), value.parse().ok()?));
                self.status = pairs.filter_map(read).collect();
            }
            _ => {}
        }
    }
}
