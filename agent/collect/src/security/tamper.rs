//! The agent watches itself: its binary, configuration, keys and unit file.
//!
//! Owner, mode, size and times are compared at every look; the content only when those changed.
//! What only root can read is compared by metadata. The agent announces its own changes
//! ([`super::SecurityWatch::expect_change`]), so a renewed key is no alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::watcher::{Context, Watcher};

/// Largest file whose content is compared.
const MAX_BYTES: u64 = 64 << 20;

/// What a file looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    inode: u64,
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, i64),
    ctime: (i64, i64),
    digest: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// Per path; `None` is a file that does not exist.
    looks: BTreeMap<String, Option<Look>>,
}

/// The watcher.
#[derive(Debug)]
pub(crate) struct Tamper {
    guarded: Vec<PathBuf>,
    expected: BTreeSet<PathBuf>,
    state: State,
}

impl Tamper {
    pub(crate) fn new(guarded: Vec<PathBuf>) -> Self {
        Self {
            guarded,
            expected: BTreeSet::new(),
            state: State::default(),
        }
    }
}

impl Watcher for Tamper {
    fn name(&self) -> &'static str {
        "agent_files"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        for path in &self.guarded {
            let key = path.to_string_lossy().into_owned();
            let before = self.state.looks.get(&key).cloned();
            let now = look(path, before.as_ref().and_then(Option::as_ref));
            if before.as_ref() == Some(&now) {
                continue;
            }
            let is_expected = self.expected.remove(path);
            if let (Some(before), false) = (&before, is_expected) {
                emit(context, &key, before.as_ref(), now.as_ref());
            }
            self.state.looks.insert(key, now);
            context.mark_urgent();
        }
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value(saved)
            .map(|state| self.state = state)
            .is_ok()
    }

    fn expect_change(&mut self, path: &Path) {
        if self.guarded.iter().any(|guarded| guarded == path) {
            self.expected.insert(path.to_owned());
        }
    }
}

fn look(path: &Path, before: Option<&Look>) -> Option<Look> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let mut now = Look {
        inode: metadata.ino(),
        size: metadata.size(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        ctime: (metadata.ctime(), metadata.ctime_nsec()),
        digest: before.and_then(|before| before.digest.clone()),
    };
    if before != Some(&now) {
        let is_readable = metadata.is_file() && metadata.size() <= MAX_BYTES;
        now.digest = is_readable.then(|| digest(path)).flatten();
    }
    Some(now)
}

/// SHA-256 in hexadecimal, read in small pieces.
fn digest(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path).ok()?;
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(data_encoding::HEXLOWER.encode(hash.finish().as_ref())),
            length => hash.update(buffer.get(..length)?),
        }
    }
}

fn emit(context: &mut Context<'_>, path: &str, before: Option<&Look>, now: Option<&Look>) {
    let change = match (before, now) {
        (_, None) => "removed".to_owned(),
        (None, Some(_)) => "created".to_owned(),
        (Some(before), Some(now)) => changes(before, now),
    };
    let mut event = context
        .event(
            kinds::AGENT_TAMPERED,
            Severity::Critical,
            format!("{path}: {change}"),
        )
        .with("path", path)
        .with("change", change);
    for (name, look) in [("digest_before", before), ("digest_after", now)] {
        if let Some(digest) = look.and_then(|look| look.digest.as_ref()) {
            event = event.with(name, digest.as_str());
        }
    }
    context.emit(event);
}

fn changes(before: &Look, now: &Look) -> String {
    let mut found = Vec::new();
    if before.digest != now.digest {
        found.push("content".to_owned());
    }
    if (before.uid, before.gid) != (now.uid, now.gid) {
        found.push(format!(
            "owner {}:{} → {}:{}",
            before.uid, before.gid, now.uid, now.gid
        ));
    }
    if before.mode != now.mode {
        found.push(format!("mode {:o} → {:o}", before.mode, now.mode));
    }
    if before.inode != now.inode {
        found.push("replaced".to_owned());
    }
    if found.is_empty() {
        found.push("times".to_owned());
    }
    found.join(", ")
}
