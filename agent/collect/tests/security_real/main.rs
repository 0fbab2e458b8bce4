//! Security events of real programs: sshd, sudo, useradd, journald, a listening socket.
//!
//! These need root and the Debian packages openssh-server, sudo, systemd and rpm, which
//! `cargo xtask test` installs. What logs through syslog has a `/dev` of its own, so that whoever owns
//! the host's `/dev/log` neither hinders the test nor hears of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    reason = "a test may panic"
)]

mod syslog;

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xiezhi_collect::security::privileged::Unprivileged;
use xiezhi_collect::security::{SecurityOptions, SecurityWatch};
use xiezhi_protocol::event::{Event, kinds};
use xiezhi_test_skip::skip;

use crate::syslog::{Syslog, make_own_dev};

const PATIENCE: Duration = Duration::from_secs(120);

/// A child that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn missing(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".into());
    }
    programs
        .iter()
        .find(|path| !Path::new(path).exists())
        .map(|path| format!("no {path}"))
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// Polls until `enough` says so.
fn wait_for(watch: &mut SecurityWatch, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while !enough(&events) {
        assert!(Instant::now() < deadline, "only {events:#?}");
        events.extend(watch.poll(now_ms()));
        std::thread::yield_now();
    }
    events
}

fn has(events: &[Event], kind: &str, fields: &[(&str, &str)]) -> bool {
    events.iter().any(|event| {
        event.kind == kind
            && fields
                .iter()
                .all(|(name, value)| event.fields.get(*name).is_some_and(|found| found == value))
    })
}

fn open(root: &Path) -> SecurityWatch {
    let state = root.join("state");
    let mut watch = SecurityWatch::open(
        root,
        &state,
        SecurityOptions::default(),
        Box::new(Unprivileged),
    )
    .unwrap();
    watch.poll(now_ms());
    watch
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn start_sshd(dir: &Path, port: u16) -> Ended {
    let path = |name: &str| dir.join(name).display().to_string();
    assert!(run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", &path("host_key")]
    ));
    assert!(run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", &path("client_key")]
    ));
    fs::copy(dir.join("client_key.pub"), dir.join("authorized_keys")).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin yes\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM yes\nStrictModes no\n\
         SyslogFacility AUTHPRIV\nPidFile none\n",
        path("host_key"),
        path("authorized_keys"),
    );
    fs::write(dir.join("sshd_config"), config).unwrap();
    let child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-f", &path("sshd_config")])
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "sshd does not listen");
        std::thread::yield_now();
    }
    Ended(child)
}

fn ssh(dir: &Path, port: u16, user: &str, key: &str) -> bool {
    let port = port.to_string();
    let key = dir.join(key).display().to_string();
    let target = format!("{user}@127.0.0.1");
    run(
        "ssh",
        &[
            "-F",
            "none",
            "-p",
            &port,
            "-i",
            &key,
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            &target,
            "true",
        ],
    )
}

#[test]
fn real_sshd_and_sudo_and_useradd_become_events() {
    if let Some(reason) = missing(&[
        "/usr/sbin/sshd",
        "/usr/bin/sudo",
        "/usr/bin/ssh",
        "/usr/sbin/useradd",
    ]) {
        skip(reason);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("var/log")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    if let Ok(zone) = fs::read("/etc/localtime") {
        fs::write(root.join("etc/localtime"), zone).unwrap();
    }
    let log = root.join("var/log/auth.log");
    fs::write(&log, "").unwrap();
    if let Err(reason) = make_own_dev(dir.path()) {
        skip(format!("mounts of its own are refused: {reason}"));
        return;
    }
    let _syslog = Syslog::start(log);
    let mut watch = open(&root);

    let port = free_port();
    let _sshd = start_sshd(dir.path(), port);
    assert!(
        ssh(dir.path(), port, "root", "client_key"),
        "the key login failed"
    );
    // Keys that are not authorised: a known account and one that does not exist.
    assert!(!ssh(dir.path(), port, "root", "host_key"));
    assert!(!ssh(dir.path(), port, "no-such-user", "client_key"));
    let events = wait_for(&mut watch, |events| {
        has(
            events,
            kinds::LOGIN,
            &[
                ("user", "root"),
                ("service", "sshd"),
                ("method", "publickey"),
                ("source_address", "127.0.0.1"),
            ],
        ) && has(events, kinds::LOGOUT, &[("user", "root")])
            && has(
                events,
                kinds::LOGIN_FAILED,
                &[("user", "root"), ("source_address", "127.0.0.1")],
            )
            && has(
                events,
                kinds::LOGIN_FAILED,
                &[("user", "no-such-user"), ("unknown_user", "true")],
            )
    });
    let login = events
        .iter()
        .find(|event| event.kind == kinds::LOGIN)
        .unwrap();
    assert!(
        login.fields["fingerprint"].starts_with("ED25519 SHA256:"),
        "{login:?}"
    );
    assert!((now_ms() - login.time_ms).abs() < 3_600_000, "{login:?}");
    assert_eq!(
        events
            .iter()
            .filter(|event| event.kind == kinds::LOGIN)
            .count(),
        1
    );
    assert_eq!(
        events
            .iter()
            .filter(|event| event.kind == kinds::LOGIN_FAILED)
            .count(),
        2,
        "{events:#?}"
    );

    assert!(run("sudo", &["-n", "/bin/true"]));
    // As a user that sudoers does not name, with a wrong password (`-n` would log nothing).
    let mut refused = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "sudo",
            "-S",
            "/bin/true",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    refused.stdin.take().unwrap().write_all(b"wrong\n").unwrap();
    assert!(!refused.wait().unwrap().success());
    wait_for(&mut watch, |events| {
        has(
            events,
            kinds::SUDO,
            &[
                ("user", "root"),
                ("target_user", "root"),
                ("command", "/bin/true"),
            ],
        ) && has(
            events,
            kinds::SUDO_FAILED,
            &[("user", "nobody"), ("service", "sudo")],
        )
    });

    let _removed = RemovedUser;
    assert!(run("useradd", &["--no-create-home", "xiezhi-test-user"]));
    assert!(run("userdel", &["xiezhi-test-user"]));
    wait_for(&mut watch, |events| {
        has(
            events,
            kinds::ACCOUNT_CHANGED,
            &[("user", "xiezhi-test-user"), ("change", "added")],
        ) && has(
            events,
            kinds::ACCOUNT_CHANGED,
            &[("user", "xiezhi-test-user"), ("change", "removed")],
        )
    });
}

/// Whatever happens, the account does not stay.
struct RemovedUser;

impl Drop for RemovedUser {
    fn drop(&mut self) {
        run("userdel", &["xiezhi-test-user"]);
    }
}

#[test]
fn real_journald_is_followed_without_journalctl() {
    let journald = [
        "/usr/lib/systemd/systemd-journald",
        "/lib/systemd/systemd-journald",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists());
    let Some(journald) = journald else {
        skip("no systemd-journald: apt-get install systemd");
        return;
    };
    if let Some(reason) = missing(&["/etc/machine-id"]) {
        skip(reason);
        return;
    }
    // A journald of its own name has its own sockets and folders, and leaves the host's alone.
    let name = format!("xiezhi{}", std::process::id());
    let machine = fs::read_to_string("/etc/machine-id").unwrap();
    let folder = format!("{}.{name}", machine.trim());
    let _cleaned = Removed(vec![
        format!("/run/log/journal/{folder}").into(),
        format!("/var/log/journal/{folder}").into(),
        format!("/run/systemd/journal.{name}").into(),
    ]);
    let child = Command::new(journald)
        .arg(&name)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let socket = PathBuf::from(format!("/run/systemd/journal.{name}/dev-log"));
    let deadline = Instant::now() + PATIENCE;
    while !socket.exists() {
        let is_gone = child.0.try_wait().unwrap().is_some();
        if is_gone {
            skip("systemd-journald does not run here");
            return;
        }
        assert!(Instant::now() < deadline, "journald does not start");
        std::thread::yield_now();
    }
    let logger = UnixDatagram::unbound().unwrap();
    let say = |text: &str| logger.send_to(text.as_bytes(), &socket).unwrap();
    say("<86>Nov 21 10:00:00 sshd[4242]: Accepted password for old from 10.0.0.1 port 1 ssh2");

    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let found = wait_for_journal(&folder);
    // Once a later message is in the file, the entry of the one before is complete.
    say("<86>Nov 21 10:00:00 cron[4242]: marker-of-the-test");
    wait_for_text(&found, b"marker-of-the-test");
    fs::create_dir_all(root.join("var/log/journal")).unwrap();
    std::os::unix::fs::symlink(&found, root.join("var/log/journal/machine")).unwrap();
    let mut watch = open(&root);
    say("<86>Nov 21 10:00:01 sshd[4243]: Accepted password for zhang from 10.0.0.2 port 22 ssh2");
    say("<86>Nov 21 10:00:02 cron[4244]: nothing to see");
    say("<85>Nov 21 10:00:03 sudo: zhang : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id");
    let events = wait_for(&mut watch, |events| {
        has(events, kinds::SUDO, &[("command", "/bin/id")])
    });
    let logins: Vec<_> = events
        .iter()
        .filter(|event| event.kind == kinds::LOGIN)
        .collect();
    assert_eq!(logins.len(), 1, "the baseline is silent: {events:#?}");
    assert_eq!(logins[0].fields["user"], "zhang");
    assert_eq!(logins[0].fields["log"], "journal");
    watch.commit().unwrap();

    // Across a restart of the agent and a rotation of the journal.
    drop(watch);
    say("<86>Nov 21 10:00:04 sshd[4245]: Accepted password for before from 10.0.0.2 port 22 ssh2");
    say("<86>Nov 21 10:00:04 cron[4242]: second-marker-of-the-test");
    wait_for_text(&found, b"second-marker-of-the-test");
    drop(child);
    let _child = Ended(
        Command::new(journald)
            .arg(&name)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut watch = SecurityWatch::open(
        &root,
        &root.join("state"),
        SecurityOptions::default(),
        Box::new(Unprivileged),
    )
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while logger
        .send_to(b"<86>Nov 21 10:00:05 sshd[4246]: Accepted password for after from 10.0.0.2 port 22 ssh2", &socket)
        .is_err()
    {
        assert!(Instant::now() < deadline, "journald does not start again");
        std::thread::yield_now();
    }
    let events = wait_for(&mut watch, |events| {
        has(events, kinds::LOGIN, &[("user", "after")])
    });
    let users: Vec<_> = events
        .iter()
        .filter(|event| event.kind == kinds::LOGIN)
        .map(|event| event.fields["user"].as_str())
        .collect();
    assert_eq!(users, ["before", "after"], "{events:#?}");
}

fn wait_for_text(folder: &Path, text: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    while !contains(&folder.join("system.journal"), text) {
        assert!(Instant::now() < deadline, "journald does not write");
        std::thread::yield_now();
    }
}

fn contains(path: &Path, text: &[u8]) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text))
}

fn wait_for_journal(folder: &str) -> PathBuf {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for base in ["/run/log/journal", "/var/log/journal"] {
            let found = Path::new(base).join(folder);
            if found.join("system.journal").exists() {
                return found;
            }
        }
        assert!(Instant::now() < deadline, "no journal appears");
        std::thread::yield_now();
    }
}

struct Removed(Vec<PathBuf>);

impl Drop for Removed {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Builds a package without content and installs it below `root`.
fn install_rpm(dir: &Path, root: &Path, version: &str) {
    let top = dir.join("rpmbuild");
    fs::create_dir_all(&top).unwrap();
    let spec = top.join("probe.spec");
    let text = format!(
        "Name: xiezhi-probe\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n\
         %description\nx\n%files\n"
    );
    fs::write(&spec, text).unwrap();
    let define = format!("_topdir {}", top.display());
    let spec = spec.display().to_string();
    assert!(run("rpmbuild", &["-bb", "--define", &define, &spec]));
    let package = top.join(format!("RPMS/noarch/xiezhi-probe-{version}-1.noarch.rpm"));
    let (root, package) = (root.display().to_string(), package.display().to_string());
    assert!(run(
        "rpm",
        &[
            "--root",
            &root,
            "--dbpath",
            "/var/lib/rpm",
            "-U",
            "--nodeps",
            "--nosignature",
            &package
        ],
    ));
}

#[test]
fn real_rpm_changes_become_events() {
    if let Some(reason) = missing(&["/usr/bin/rpm", "/usr/bin/rpmbuild"]) {
        skip(reason);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("var/lib/rpm")).unwrap();
    install_rpm(dir.path(), &root, "1.0");
    let mut watch = open(&root);
    // The baseline takes two looks, ten seconds apart by the clock of the host; a new watch looks
    // at once.
    let list = root.join("state/security-rpm.list");
    let deadline = Instant::now() + PATIENCE;
    while !list.exists() {
        assert!(Instant::now() < deadline, "no list of packages");
        assert_eq!(watch.poll(now_ms()), []);
        std::thread::yield_now();
    }
    watch.commit().unwrap();
    install_rpm(dir.path(), &root, "2.0");
    let events = wait_for(&mut watch, |events| {
        has(events, kinds::PACKAGE_CHANGED, &[])
    });
    assert!(
        has(
            &events,
            kinds::PACKAGE_CHANGED,
            &[
                ("package", "xiezhi-probe.noarch"),
                ("before", "0:1.0-1"),
                ("after", "0:2.0-1")
            ]
        ),
        "{events:#?}"
    );
}
