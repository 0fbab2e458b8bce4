//! Files that run with their owner's rights (setuid, setgid): what appeared and what changed.
//!
//! A helper walks the local file systems once a day at the lowest priority, in slices, and
//! answers with metadata. File systems mounted `nosuid`, network ones and the kernel's own are
//! passed: the bit has no effect there, or another host watches them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::privileged::Ask;
use super::watcher::{Context, Loss, Pending, Watcher};

/// Files that are kept and answered at most.
const MAX_FILES: usize = 8192;
/// Folders that wait to be walked at most: a tree with more side branches is cut, and said.
const MAX_FOLDERS: usize = 65_536;
/// Entries between two pauses.
const SLICE: u32 = 512;
/// Kernel and network file systems.
const PASSED: [&str; 22] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "tracefs",
    "debugfs",
    "cgroup",
    "cgroup2",
    "securityfs",
    "pstore",
    "bpf",
    "configfs",
    "mqueue",
    "hugetlbfs",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "autofs",
    "9p",
    "fuse",
];

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetuidFile {
    path: String,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: i64,
    inode: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    files: Option<BTreeMap<String, String>>,
    scanned_ms: Option<i64>,
    loss: Loss,
}

/// The watcher.
#[derive(Debug)]
pub(crate) struct SetuidFiles {
    every: Duration,
    state: State,
    pending: Pending,
    asked_boot_ms: Option<i64>,
}

impl SetuidFiles {
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            every,
            state: State::default(),
            pending: Pending::default(),
            asked_boot_ms: None,
        }
    }

    fn is_due(&self, context: &Context<'_>) -> bool {
        let every = i64::try_from(self.every.as_millis()).unwrap_or(i64::MAX);
        // A refused request is repeated after ten minutes, not at every poll.
        let is_early = self
            .asked_boot_ms
            .is_some_and(|at| context.now.boot_ms - at < every.min(600_000));
        let age = self.state.scanned_ms.map(|at| context.now.wall_ms - at);
        !is_early && !self.pending.waiting() && age.is_none_or(|age| age < 0 || age >= every)
    }

    fn answered(&mut self, context: &mut Context<'_>, answer: Result<Vec<u8>, String>) {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(reason) => return self.state.loss.lost(context, &reason),
        };
        self.state.loss.regained(context);
        self.state.scanned_ms = Some(context.now.wall_ms);
        let files: Vec<SetuidFile> = super::json_lines(&bytes).collect();
        let now: BTreeMap<_, _> = files
            .iter()
            .map(|file| (file.path.clone(), file.summary()))
            .collect();
        let before = self.state.files.replace(now);
        context.mark_urgent();
        let Some(before) = before else { return };
        for file in &files {
            match before.get(&file.path) {
                None => emit(context, kinds::SETUID_FILE_ADDED, file, ""),
                Some(old) if *old != file.summary() => {
                    emit(context, kinds::SETUID_FILE_CHANGED, file, old);
                }
                Some(_) => {}
            }
        }
        let now = self.state.files.as_ref();
        for (path, old) in before
            .iter()
            .filter(|(path, _)| now.is_some_and(|now| !now.contains_key(*path)))
        {
            let event = context
                .event(
                    kinds::SETUID_FILE_CHANGED,
                    Severity::Info,
                    format!("{path} is setuid no more"),
                )
                .with("path", path.as_str())
                .with("before", old.as_str())
                .with("change", "removed or bit cleared");
            context.emit(event);
        }
    }
}

impl Watcher for SetuidFiles {
    fn name(&self) -> &'static str {
        "setuid_files"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if self.is_due(context) {
            self.asked_boot_ms = Some(context.now.boot_ms);
            if let Err(error) = self.pending.ask(context, Ask::SetuidScan) {
                self.state.loss.lost(context, &error.to_string());
            }
        }
        if let Some(answer) = self.pending.take(context) {
            self.answered(context, answer);
        }
    }

    fn loss(&self) -> Option<String> {
        self.state.loss.current()
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

impl SetuidFile {
    fn summary(&self) -> String {
        format!(
            "mode {:o}, owner {}:{}, size {}, modified {}, inode {}",
            self.mode, self.uid, self.gid, self.size, self.mtime, self.inode
        )
    }
}

fn emit(context: &mut Context<'_>, kind: &str, file: &SetuidFile, before: &str) {
    let runs_as_root = file.uid == 0 && file.mode & 0o4000 != 0;
    let severity = if runs_as_root {
        Severity::Warning
    } else {
        Severity::Notice
    };
    let mut event = context
        .event(
            kind,
            severity,
            format!("setuid file {}: {}", file.path, file.summary()),
        )
        .with("path", file.path.as_str())
        .with("mode", format!("{:o}", file.mode))
        .with("owner", file.uid.to_string())
        .with("group", file.gid.to_string());
    if !before.is_empty() {
        event = event.with("before", before);
    }
    context.emit(event);
}

/// Serves [`Ask::SetuidScan`]: one file per line of JSON.
pub(crate) fn serve(root: &Path, pause: &mut dyn FnMut(), out: &mut dyn Write) -> io::Result<()> {
    let passed = passed_mounts(root);
    let mut folders = vec![root.to_owned()];
    let (mut entries_left, mut found) = (SLICE, 0);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            entries_left -= 1;
            if entries_left == 0 {
                entries_left = SLICE;
                pause();
            }
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let path = entry.path();
            if kind.is_dir() && folders.len() < MAX_FOLDERS && !passed.contains(&path) {
                folders.push(path);
            } else if kind.is_file()
                && let Some(file) = setuid(root, &path, entry.ino())
            {
                found += 1;
                if found > MAX_FILES {
                    return Err(io::Error::other(format!(
                        "more than {MAX_FILES} setuid files"
                    )));
                }
                serde_json::to_writer(&mut *out, &file)?;
                out.write_all(b"\n")?;
            }
        }
    }
    Ok(())
}

fn setuid(root: &Path, path: &Path, inode: u64) -> Option<SetuidFile> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let is_set = metadata.is_file() && metadata.mode() & 0o6000 != 0;
    is_set.then(|| SetuidFile {
        path: format!(
            "/{}",
            path.strip_prefix(root).unwrap_or(path).to_string_lossy()
        ),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.size(),
        mtime: metadata.mtime(),
        inode,
    })
}

/// Mount points that are not walked, from `/proc/self/mountinfo`.
fn passed_mounts(root: &Path) -> std::collections::BTreeSet<PathBuf> {
    let text = super::read_bounded(&root.join("proc/self/mountinfo"), 4 << 20).unwrap_or_default();
    let mut passed: std::collections::BTreeSet<_> =
        text.lines().filter_map(|line| mount(root, line)).collect();
    passed.insert(root.join("proc"));
    passed.insert(root.join("sys"));
    passed
}

/// `36 35 98:0 / /mnt rw,nosuid shared:1 - ext4 /dev/sda1 rw`
fn mount(root: &Path, line: &str) -> Option<PathBuf> {
    let (left, right) = line.split_once(" - ")?;
    let kind = right.split(' ').next()?;
    let mut words = left.split(' ').skip(4);
    let (point, options) = (words.next()?, words.next()?);
    let is_passed = PASSED.contains(&kind)
        || kind.starts_with("fuse.")
        || options.split(',').any(|option| option == "nosuid");
    let point = point.replace("\\040", " ");
    // The root itself is always walked.
    (is_passed && point != "/").then(|| root.join(point.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn scan_finds_set_bits_and_passes_other_mounts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["usr/bin", "mnt/nosuid dir", "proc/self"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for (name, mode) in [
            ("usr/bin/su", 0o4755),
            ("usr/bin/ls", 0o755),
            ("mnt/nosuid dir/x", 0o4755),
        ] {
            std::fs::write(root.join(name), name).unwrap();
            std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode))
                .unwrap();
        }
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /mnt/nosuid\\040dir rw,nosuid - ext4 /dev/b rw\n";
        std::fs::write(root.join("proc/self/mountinfo"), mounts).unwrap();
        let mut out = Vec::new();
        serve(root, &mut || {}, &mut out).unwrap();
        let files: Vec<SetuidFile> = super::super::json_lines(&out).collect();
        let paths: Vec<_> = files
            .iter()
            .map(|file| (file.path.as_str(), file.mode))
            .collect();
        assert_eq!(paths, [("/usr/bin/su", 0o4755)]);
    }
}
