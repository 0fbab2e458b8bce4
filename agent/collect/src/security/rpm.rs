//! Package changes on hosts with rpm: `rpm -qa`, run only when the database changed.
//!
//! The list of packages is kept in a file of its own beside the positions, because it is large; it
//! is written when the events are emitted. A crash between that and the spool loses the events of
//! one package operation; the packages digest of the facts still shows it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::packages;
use super::state::write_atomically;
use super::watcher::{Context, Watcher};

/// Where distributions keep the database.
const DATABASES: [&str; 6] = [
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages.db",
    "usr/lib/sysimage/rpm/Packages",
];
/// Largest answer of rpm that is read: some 50,000 packages.
const MAX_BYTES: u64 = 8 << 20;
/// How long rpm may take; it waits for a lock while packages are installed.
const PATIENCE_MS: i64 = 120_000;
/// What is asked per package. `ARCH` tells a library's two builds apart.
const FORMAT: &str = "%{NAME}.%{ARCH} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n";

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// Modification time and size of the database as of the list.
    stamp: Option<(i64, i64, u64)>,
}

/// The watcher.
#[derive(Debug, Default)]
pub(crate) struct Rpm {
    state: State,
    running: Option<Running>,
    loss: Option<String>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    started_boot_ms: i64,
    stamp: (i64, i64, u64),
}

impl Watcher for Rpm {
    fn name(&self) -> &'static str {
        "rpm"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if self.running.is_some() {
            return self.poll_running(context);
        }
        let Some((database, stamp)) = stamp(context) else {
            return;
        };
        if self.state.stamp == Some(stamp) {
            return;
        }
        // Into a file, not a pipe: nobody waits for the other, and the size is bounded by reading.
        let output = context.state_dir.join("security-rpm.output");
        let spawned = std::fs::File::create(&output).and_then(|file| list(context, database, file));
        match spawned {
            Ok(child) => {
                self.running = Some(Running {
                    child,
                    started_boot_ms: context.now.boot_ms,
                    stamp,
                });
            }
            Err(error) => self.loss = Some(format!("cannot run rpm: {error}")),
        }
    }

    fn loss(&self) -> Option<String> {
        self.loss.clone()
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value(saved)
            .map(|state| self.state = state)
            .is_ok()
    }
}

impl Rpm {
    fn poll_running(&mut self, context: &mut Context<'_>) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        match running.child.try_wait() {
            Ok(None) if context.now.boot_ms - running.started_boot_ms < PATIENCE_MS => {
                self.running = Some(running);
            }
            Ok(Some(status)) if status.success() => {
                self.loss = None;
                self.state.stamp = Some(running.stamp);
                context.mark_urgent();
                if let Err(error) = compare(context) {
                    self.loss = Some(format!("cannot keep the list of packages: {error}"));
                }
            }
            Ok(Some(status)) => self.loss = Some(format!("rpm -qa ended with {status}")),
            Ok(None) | Err(_) => {
                self.loss = Some("rpm -qa does not end".to_owned());
                if running.child.kill().is_ok() {
                    // Reaps it; after a kill this does not wait long.
                    drop(running.child.wait());
                }
            }
        }
    }
}

impl Drop for Rpm {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take()
            && running.child.kill().is_ok()
        {
            drop(running.child.wait());
        }
    }
}

/// Starts `rpm -qa`. Only a root other than the host's is named: that takes a capability.
fn list(context: &Context<'_>, database: &str, output: std::fs::File) -> std::io::Result<Child> {
    let mut rpm = Command::new("rpm");
    if context.root != Path::new("/") {
        rpm.arg("--root").arg(context.root);
    }
    let folder = Path::new(database).parent().unwrap_or(Path::new(""));
    rpm.arg("--dbpath").arg(Path::new("/").join(folder));
    rpm.args(["-qa", "--qf", FORMAT]);
    rpm.env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C");
    rpm.stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
}

/// The database of this host, and its modification time and size.
fn stamp(context: &Context<'_>) -> Option<(&'static str, (i64, i64, u64))> {
    let (path, metadata) = DATABASES
        .into_iter()
        .find_map(|path| Some((path, std::fs::metadata(context.path(path)).ok()?)))?;
    // The sqlite database writes to its log first; reading may touch the shared memory file only.
    let log = std::fs::metadata(context.path(&format!("{path}-wal"))).ok();
    let log = log
        .filter(|log| log.size() > 0)
        .map_or(0, |log| log.mtime());
    Some((
        path,
        (
            metadata.mtime().max(log),
            metadata.mtime_nsec(),
            metadata.size(),
        ),
    ))
}

fn compare(context: &mut Context<'_>) -> std::io::Result<()> {
    let output = context.state_dir.join("security-rpm.output");
    let kept = context.state_dir.join("security-rpm.list");
    let now_text = super::read_bounded(&output, MAX_BYTES)?;
    if kept.exists() {
        emit_changes(context, &kept, &now_text)?;
    }
    write_atomically(&kept, now_text.as_bytes())?;
    std::fs::remove_file(output)
}

fn emit_changes(context: &mut Context<'_>, kept: &Path, now_text: &str) -> std::io::Result<()> {
    let before_text = super::read_bounded(kept, MAX_BYTES)?;
    let (before, now) = (parse(&before_text), parse(now_text));
    let time_ms = context.now.wall_ms;
    for (package, versions) in &now {
        match before.get(package) {
            Some(old) if old == versions => {}
            Some(old) => {
                context.emit(packages::event(
                    time_ms,
                    package,
                    "changed",
                    &old.join(", "),
                    &versions.join(", "),
                ));
            }
            None => context.emit(packages::event(
                time_ms,
                package,
                "installed",
                "",
                &versions.join(", "),
            )),
        }
    }
    for (package, old) in before
        .iter()
        .filter(|(package, _)| !now.contains_key(*package))
    {
        context.emit(packages::event(
            time_ms,
            package,
            "removed",
            &old.join(", "),
            "",
        ));
    }
    Ok(())
}

/// Several versions of one package may be installed: kernels.
fn parse(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in text.lines().filter_map(|line| line.split_once(' ')) {
        packages.entry(name).or_default().push(version);
    }
    packages
        .values_mut()
        .for_each(|versions| versions.sort_unstable());
    packages
}
