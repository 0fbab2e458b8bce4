//! The privilege table against real processes: starts the warden as root, looks at
//! `/proc/PID/status` of everything that it starts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::let_underscore_must_use,
    reason = "a test may panic and says on the terminal why it is skipped"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

#[path = "../src/privilege/table.rs"]
#[allow(dead_code, unreachable_pub, reason = "the test reads the table itself")]
mod table;

const PATIENCE: Duration = Duration::from_secs(60);
/// An ordinary user that every system has.
const USER: &str = "nobody";

struct Warden {
    child: Child,
    lines: BufReader<ChildStderr>,
    state: PathBuf,
    /// Holds the state and what belongs to devices.
    _folder: tempfile::TempDir,
}

impl Drop for Warden {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn probe() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/privilege_probe")
}

/// `None`, with the reason on the terminal, if this cannot run here.
fn start(arguments: &[&str]) -> Option<Warden> {
    if !rustix::process::geteuid().is_root() {
        xiezhi_test_skip::skip("not root");
        return None;
    }
    assert!(
        probe().exists(),
        "the example privilege_probe is not built: run the tests of the whole package"
    );
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let state = folder.path().join("agent");
    fs::create_dir_all(state.join("identity")).unwrap();
    fs::write(state.join("identity/host.json"), "x").unwrap();
    let devices = state.with_extension("devices.d");
    fs::create_dir(&devices).unwrap();
    if arguments.contains(&"devices") {
        fs::write(devices.join("room.yaml"), "").unwrap();
    }
    let mut child = Command::new(probe())
        .arg(&state)
        .arg(USER)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap());
    Some(Warden {
        child,
        lines,
        state,
        _folder: folder,
    })
}

impl Warden {
    /// Answers by name, and the worker's number, once it is ready.
    fn ready(&mut self) -> (BTreeMap<String, String>, u32) {
        let mut answers = BTreeMap::new();
        loop {
            let mut line = String::new();
            assert!(
                self.lines.read_line(&mut line).unwrap() > 0,
                "the worker said nothing: {answers:?}"
            );
            let (name, rest) = line
                .trim_end()
                .split_once(' ')
                .unwrap_or((line.trim_end(), ""));
            if name == "ready" {
                return (answers, rest.parse().unwrap());
            }
            answers.insert(name.to_owned(), rest.to_owned());
        }
    }
}

impl Warden {
    /// The number of the process whose packet reaches the worker next.
    fn asked(&mut self) -> u32 {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "nothing came");
            if let Some(number) = line.trim_end().strip_prefix("asked ") {
                return number.parse().unwrap();
            }
        }
    }
}

/// `/proc/PID/status` by field; empty if the process has ended.
fn status(pid: u32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(":\t"))
        .map(|(name, value)| (name.into(), value.trim().into()))
        .collect()
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn capabilities(hexadecimal: &str) -> Vec<String> {
    const NAMES: [(u32, &str); 7] = [
        (0, "CAP_CHOWN"),
        (2, "CAP_DAC_READ_SEARCH"),
        (5, "CAP_KILL"),
        (6, "CAP_SETGID"),
        (7, "CAP_SETUID"),
        (8, "CAP_SETPCAP"),
        (10, "CAP_NET_BIND_SERVICE"),
    ];
    let bits = u64::from_str_radix(hexadecimal, 16).unwrap();
    let mut names: Vec<String> = (0..64)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| {
            NAMES
                .iter()
                .find(|(known, _)| *known == bit)
                .map_or(format!("#{bit}"), |(_, name)| (*name).into())
        })
        .collect();
    names.sort();
    names
}

fn check_against_row(pid: u32, row: &table::Row) {
    let status = status(pid);
    let name = row.purpose;
    assert_eq!(status["Name"], row.process, "{name}");
    assert_eq!(capabilities(&status["CapEff"]), row.effective, "{name}");
    assert_eq!(capabilities(&status["CapPrm"]), row.permitted, "{name}");
    assert_eq!(capabilities(&status["CapBnd"]), row.bounding, "{name}");
    assert_eq!(
        capabilities(&status["CapInh"]),
        Vec::<String>::new(),
        "{name}"
    );
    assert_eq!(
        capabilities(&status["CapAmb"]),
        Vec::<String>::new(),
        "{name}"
    );
    assert_eq!(status["NoNewPrivs"], "1", "{name}");
    let mode = if row.filtered { "2" } else { "0" };
    assert_eq!(status["Seccomp"], mode, "{name}");
    let user = if row.user == "root" { "0" } else { "65534" };
    assert_eq!(
        status["Uid"].split('\t').collect::<Vec<_>>(),
        [user; 4],
        "{name}"
    );
    let groups: Vec<&str> = status["Groups"].split_whitespace().collect();
    match row.user {
        "root" => {}
        user if user.contains("no groups") => assert!(groups.is_empty(), "{name}: {groups:?}"),
        _ => assert_eq!(groups, log_readers(), "{name}"),
    }
}

/// Numbers of `adm` and `systemd-journal`, if the host has them.
fn log_readers() -> Vec<String> {
    let text = fs::read_to_string("/etc/group").unwrap();
    let number = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2).map(str::to_owned)
    };
    ["adm", "systemd-journal"]
        .into_iter()
        .filter_map(number)
        .collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn send(pid: u32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal)
        .unwrap();
}

fn row(process: &str, purpose: &str) -> &'static table::Row {
    table::table()
        .iter()
        .find(|row| row.process == process && row.purpose.starts_with(purpose))
        .unwrap()
}

/// A root-only audit log for the helper to read; an existing one is left alone.
struct AuditLog(Option<PathBuf>);

impl AuditLog {
    fn ensure() -> Self {
        let path = Path::new("/var/log/audit/audit.log");
        if path.exists() {
            return Self(None);
        }
        fs::create_dir_all("/var/log/audit").unwrap();
        fs::set_permissions("/var/log/audit", fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(
            path,
            "type=DAEMON_START msg=audit(1795300000.123:1): op=start res=success\n",
        )
        .unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        Self(Some(path.to_owned()))
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
            // Only if it is empty, as this test made it.
            let _ = fs::remove_dir("/var/log/audit");
        }
    }
}

#[test]
fn every_process_holds_what_the_table_says_and_ends_with_its_warden() {
    let _log = AuditLog::ensure();
    let Some(mut warden) = start(&["scan"]) else {
        return;
    };
    let (answers, worker) = warden.ready();
    let pid = warden.child.id();
    assert!(
        answers["log-tail"].starts_with("{\"position\":"),
        "a root-only log is read: {answers:?}"
    );
    assert!(
        !answers["authorized-keys"].starts_with("failed"),
        "{answers:?}"
    );
    assert!(!answers["dmi"].starts_with("failed"), "{answers:?}");
    // A call that needs no right at all, and that the filter denies all the same.
    assert_eq!(answers["traced"], "Err(EPERM)", "{answers:?}");

    let (mut helper, mut since) = (None, Instant::now());
    wait_until("the scan runs with its rights given up", || {
        let before = helper;
        helper = children(pid).into_iter().find(|child| {
            *child != worker
                && fs::read_to_string(format!("/proc/{child}/comm"))
                    .is_ok_and(|name| name.trim() == "xiezhi-helper")
                && status(*child)
                    .get("NoNewPrivs")
                    .is_some_and(|flag| flag == "1")
                && status(*child)
                    .get("Uid")
                    .is_some_and(|uid| !uid.starts_with('0'))
        });
        // Another helper may be at its end still: the scan is the one that stays.
        if helper != before {
            since = Instant::now();
        }
        helper.is_some() && since.elapsed() > Duration::from_millis(200)
    });
    let helper = helper.unwrap();
    check_against_row(pid, row("xiezhi-warden", ""));
    check_against_row(worker, row("xiezhi-worker", ""));
    check_against_row(helper, row("xiezhi-helper", "setuid-scan"));
    assert_eq!(
        fs::metadata(warden.state.join("identity/host.json"))
            .unwrap()
            .uid(),
        65534
    );
    let threads = &status(pid)["Threads"];
    assert_eq!(threads, "1");

    // A worker that is killed comes back; its helpers do not stay.
    send(worker, Signal::KILL);
    let (_, again) = warden.ready();
    assert_ne!(again, worker);
    wait_until("the old helper ends", || !is_running(helper));

    // A stop ends all.
    send(pid, Signal::TERM);
    let status = warden.child.wait().unwrap();
    assert!(status.success(), "{status}");
    wait_until("the worker ends", || !is_running(again));
}

#[test]
fn who_asks_devices_has_no_right_and_what_it_hands_over_reaches_the_worker() {
    let Some(mut warden) = start(&["devices"]) else {
        return;
    };
    let (_, worker) = warden.ready();
    let asker = warden.asked();
    check_against_row(asker, row("xiezhi-devices", ""));
    let of_the_asker = fs::metadata(warden.state.with_extension("devices")).unwrap();
    assert_eq!(
        (of_the_asker.uid(), of_the_asker.mode() & 0o777),
        (65534, 0o700)
    );

    // One that is killed comes back, and so does a worker, who hears it again.
    send(asker, Signal::KILL);
    let again = warden.asked();
    assert_ne!(again, asker);
    send(worker, Signal::KILL);
    let (_, next) = warden.ready();
    assert_ne!(next, worker);
    send(again, Signal::KILL);
    let third = warden.asked();

    // A stop ends it too.
    send(warden.child.id(), Signal::TERM);
    assert!(warden.child.wait().unwrap().success());
    wait_until("it ends", || !is_running(third));
}

#[test]
fn nothing_asks_devices_where_there_are_none() {
    let Some(mut warden) = start(&[]) else { return };
    warden.ready();
    let names: Vec<String> = children(warden.child.id())
        .into_iter()
        .filter_map(|child| fs::read_to_string(format!("/proc/{child}/comm")).ok())
        .collect();
    assert!(
        !names.iter().any(|name| name.trim() == "xiezhi-devices"),
        "{names:?}"
    );
    assert!(!warden.state.with_extension("devices").exists());
}

#[test]
fn worker_ends_when_its_warden_is_killed() {
    let Some(mut warden) = start(&[]) else { return };
    let (_, worker) = warden.ready();
    warden.child.kill().unwrap();
    wait_until("the worker ends", || !is_running(worker));
}

#[test]
fn missing_user_is_refused_with_what_to_do() {
    if !rustix::process::geteuid().is_root() || !probe().exists() {
        xiezhi_test_skip::skip("not root, or the probe is not built");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let output = Command::new(probe())
        .arg(state.path())
        .arg("no-such-user")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("useradd --system"));
}
