//! Number and digest of the installed packages, so that a change shows without sending the list.
//!
//! Debian's family keeps a text file, which is read line by line. RPM's database has no format for
//! others to read, so `rpm -qa` is asked, only on the running host. Both happen again only when
//! the database's file has changed.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};
use xiezhi_protocol::facts::Packages;

use super::Looking;

/// Most packages that are counted; large desktops have five thousand.
const MAX_PACKAGES: usize = 100_000;
/// Longest line of the lists.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// Most bytes of `rpm -qa`.
const MAX_OUTPUT_BYTES: u64 = MAX_PACKAGES as u64 * 128;
/// `rpm -qa` takes a few seconds on a slow disk.
const RPM_LIMIT: Duration = Duration::from_secs(30);

const DPKG: &str = "/var/lib/dpkg/status";
/// The databases of RPM's versions: SQLite, Berkeley DB, NDB, and where newer systems moved them.
const RPM: [&str; 5] = [
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/var/lib/rpm/Packages.db",
    "/var/lib/rpm/Packages",
];

/// The last answer, and the database's identity when it was given.
#[derive(Default)]
pub(super) struct Inventory {
    known: Option<(Identity, Packages)>,
}

/// Device, inode, size and times of a file.
type Identity = (u64, u64, u64, i64, i64);

impl Inventory {
    pub(super) fn read(&mut self, looking: &mut Looking<'_>) -> Packages {
        let find = |path: &&str| std::fs::metadata(looking.host.path(path)).ok();
        let dpkg = find(&DPKG).map(|metadata| (metadata, true));
        let rpm = || RPM.iter().find_map(find).map(|metadata| (metadata, false));
        let Some((metadata, is_dpkg)) = dpkg.or_else(rpm) else {
            looking.miss("packages", "neither dpkg's nor rpm's database was found");
            return Packages::default();
        };
        let identity = identity(&metadata);
        if let Some((known, packages)) = &self.known
            && *known == identity
        {
            return packages.clone();
        }
        let list = if is_dpkg {
            dpkg_list(looking)
        } else {
            rpm_list(looking)
        };
        match list {
            Err(error) => {
                looking.miss("packages", &error.to_string());
                Packages::default()
            }
            Ok(list) => {
                let packages = digest(if is_dpkg { "dpkg" } else { "rpm" }, list);
                self.known = Some((identity, packages.clone()));
                packages
            }
        }
    }
}

fn identity(metadata: &Metadata) -> Identity {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    (
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        seconds,
        nanoseconds,
    )
}

fn digest(manager: &str, mut list: Vec<String>) -> Packages {
    list.sort_unstable();
    let mut context = Context::new(&SHA256);
    for line in &list {
        context.update(line.as_bytes());
        context.update(b"\n");
    }
    Packages {
        manager: manager.to_owned(),
        count: u32::try_from(list.len()).unwrap_or(u32::MAX),
        digest: data_encoding::HEXLOWER.encode(context.finish().as_ref()),
    }
}

fn dpkg_list(looking: &Looking<'_>) -> io::Result<Vec<String>> {
    let file = File::open(looking.host.path(DPKG))?;
    dpkg_packages(BufReader::with_capacity(16 << 10, file))
}

/// Paragraphs of `Package:`, `Status: … installed`, `Architecture:` and `Version:` lines.
fn dpkg_packages(mut status: impl BufRead) -> io::Result<Vec<String>> {
    let mut list = Vec::new();
    let (mut name, mut version, mut architecture) = (String::new(), String::new(), String::new());
    let mut is_installed = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = status
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        if text.is_empty() {
            if is_installed && !name.is_empty() && list.len() < MAX_PACKAGES {
                list.push(format!("{name}:{architecture} {version}"));
            }
            (name, version, architecture) = Default::default();
            is_installed = false;
            if count == 0 {
                return Ok(list);
            }
        } else if let Some((key, value)) = text.split_once(": ") {
            match key {
                "Package" => name = value.to_owned(),
                "Version" => version = value.to_owned(),
                "Architecture" => architecture = value.to_owned(),
                "Status" => is_installed = value.ends_with(" installed"),
                _ => {}
            }
        }
    }
}

fn rpm_list(looking: &Looking<'_>) -> io::Result<Vec<String>> {
    if !looking.host.is_live() {
        return Err(io::Error::other(
            "rpm's database can only be asked on the running host",
        ));
    }
    let format = "%{NAME}:%{ARCH} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\n";
    let mut rpm = Command::new("rpm");
    rpm.args([
        "-qa",
        "--nosignature",
        "--nodigest",
        "--queryformat",
        format,
    ]);
    let text = output(&mut rpm, RPM_LIMIT)?;
    Ok(text.lines().take(MAX_PACKAGES).map(str::to_owned).collect())
}

/// What a program prints. One that has not ended within `limit` is killed: rpm waits without end
/// for a lock that an interrupted installation left behind.
fn output(program: &mut Command, limit: Duration) -> io::Result<String> {
    let deadline = Instant::now() + limit;
    let mut child = program
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        // Read aside, so that a program that prints nothing can be given up. The thread ends with
        // the program. Without a thread the pipe closes, and that is the error below.
        drop(std::thread::Builder::new().spawn(move || {
            let mut text = String::new();
            let read = stdout.take(MAX_OUTPUT_BYTES).read_to_string(&mut text);
            drop(sender.send(read.map(|_| text)));
        }));
    }
    let text = receiver.recv_timeout(limit);
    let status = wait(&mut child, deadline)?;
    if !status.success() {
        return Err(io::Error::other(format!("rpm ended with {status}")));
    }
    text.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

/// Waits until `deadline`, then kills.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "rpm -qa did not end in time and was killed",
            ));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Package: zlib\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.2\n\n\
Package: gone\nStatus: deinstall ok config-files\nVersion: 3\n\n\
Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\nDescription: shell\n long: text\n";

    #[test]
    fn only_installed_packages_count_and_order_does_not() {
        let list = dpkg_packages(STATUS).unwrap();
        assert_eq!(list, ["zlib:amd64 1.2", "bash:amd64 5.2"]);
        let mut reversed = list.clone();
        reversed.reverse();
        assert_eq!(digest("dpkg", list), digest("dpkg", reversed));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let mut silent = Command::new("sleep");
        let error = output(silent.arg("600"), Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn output_beyond_a_pipe_is_read_whole() {
        let mut long = Command::new("seq");
        let text = output(long.arg("50000"), RPM_LIMIT).unwrap();
        assert_eq!(text.lines().last(), Some("50000"));
        assert!(output(&mut Command::new("false"), RPM_LIMIT).is_err());
    }
}
