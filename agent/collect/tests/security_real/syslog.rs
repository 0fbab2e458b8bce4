//! A `/dev` of a test's own, and in it what a system's log daemon listens on.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Gives this thread, and what it starts from now on, a `/dev` with the usual devices and without
/// `log`; nobody else sees it, and it goes with the last of them.
pub(crate) fn make_own_dev(dir: &Path) -> Result<(), String> {
    let unshared = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS);
    unshared.map_err(|error| error.to_string())?;
    let dev = dir.join("dev");
    fs::create_dir(&dev).unwrap();
    let dev = dev.display().to_string();
    let mut mounts = vec![
        vec!["--make-rprivate".to_owned(), "/".to_owned()],
        ["-t", "tmpfs", "-o", "mode=0755", "none", &dev]
            .map(Into::into)
            .into(),
    ];
    for name in [
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm",
    ] {
        let (host, own) = (format!("/dev/{name}"), format!("{dev}/{name}"));
        if Path::new(&host).exists() {
            mounts.push(vec!["--rbind".to_owned(), host, own]);
        }
    }
    mounts.push(vec!["--move".to_owned(), dev, "/dev".to_owned()]);
    for words in mounts {
        // What is mounted onto must be there.
        if let [kind, host, own] = &words[..]
            && kind == "--rbind"
        {
            if Path::new(host).is_dir() {
                fs::create_dir(own).unwrap();
            } else {
                fs::write(own, "").unwrap();
            }
        }
        let done = Command::new("mount").args(&words).output();
        let done = done.map_err(|error| error.to_string())?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
    }
    for (name, target) in [
        ("fd", ""),
        ("stdin", "/0"),
        ("stdout", "/1"),
        ("stderr", "/2"),
    ] {
        let target = format!("/proc/self/fd{target}");
        std::os::unix::fs::symlink(target, Path::new("/dev").join(name)).unwrap();
    }
    Ok(())
}

/// What rsyslog does: takes datagrams from `/dev/log` and writes traditional lines.
pub(crate) struct Syslog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Syslog {
    /// Writes them to `log`, until it is dropped.
    pub(crate) fn start(log: PathBuf) -> Self {
        let socket = UnixDatagram::bind("/dev/log").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions("/dev/log", fs::Permissions::from_mode(0o666)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(log)
                .unwrap();
            let mut buffer = [0; 8192];
            while !stopped.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else {
                    continue;
                };
                let text = String::from_utf8_lossy(&buffer[..length]);
                // `<86>Nov 21 10:00:00 sshd[1]: …`: rsyslog drops the number and adds the host.
                let text = text
                    .split_once('>')
                    .map_or(&*text, |(_, rest)| rest)
                    .trim_end_matches('\0')
                    .trim_end();
                let (stamp, rest) = text.split_at(15);
                writeln!(file, "{stamp} gs-01{rest}").unwrap();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}
