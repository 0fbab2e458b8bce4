//! Follows the systemd journal: the files in `/var/log/journal` and `/run/log/journal`.
//!
//! No resident `journalctl`, no library: [`mod@file`] walks the objects. Each writer's file is a *lane*
//! with its own place: `system.journal`, and `user-1000.journal` where journald puts what the
//! processes of a person log (sudo among it). A lane follows its file through rotation
//! (`system@….journal`) by the file's own id. Reading needs the group `systemd-journal`.
//!
//! The journal names who really wrote a message. A message that claims to be sshd's or sudo's but
//! was not written by root or by that program is reported as forged, not believed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xiezhi_protocol::event::{Event, Severity};

use super::auth::{AuthParser, Message};
use super::watcher::{Context, Loss};

mod file;

use file::{JournalFile, Place, RawEntry};

/// Objects that one poll walks at most per lane.
const BUDGET: u32 = 20_000;
/// Lanes at most: the system's and one per person who logs in.
const MAX_LANES: usize = 64;
/// Fields of an entry that are used.
const WANTED: [&str; 7] = [
    "MESSAGE",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_PID",
    "_PID",
    "_UID",
    "_EXE",
    "_COMM",
];
/// Programs whose messages become events; others are passed over.
const TAGS: [&str; 22] = [
    "sshd",
    "sshd-session",
    "sshd-auth",
    "sudo",
    "su",
    "pkexec",
    "login",
    "useradd",
    "userdel",
    "usermod",
    "groupadd",
    "groupdel",
    "groupmod",
    "gpasswd",
    "passwd",
    "chage",
    "lightdm",
    "gdm-password",
    "gdm-password]",
    "adduser",
    "vsftpd",
    "cockpit-session",
];

/// What is saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalState {
    lanes: BTreeMap<String, Lane>,
    has_baseline: bool,
    loss: Loss,
}

/// Where reading of one writer's files stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lane {
    file_id: String,
    offset: u64,
    entries: u64,
    read_ms: i64,
}

impl Lane {
    fn place(&self) -> Place {
        Place {
            offset: self.offset,
            entries: self.entries,
        }
    }

    fn at(file: &JournalFile, place: Place, now_ms: i64) -> Self {
        Self {
            file_id: id_text(file),
            offset: place.offset,
            entries: place.entries,
            read_ms: now_ms,
        }
    }
}

/// One message of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    time_ms: i64,
    tag: String,
    pid: Option<u32>,
    uid: String,
    executable: String,
    text: String,
}

/// The journal of one host.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) state: JournalState,
}

impl Journal {
    /// Whether the host has one.
    pub(crate) fn exists(root: &Path) -> bool {
        !active_files(root).0.is_empty()
            || folders(root).iter().any(|dir| fs::read_dir(dir).is_err())
    }

    /// What is lost at the moment.
    pub(crate) fn loss(&self) -> Option<String> {
        self.state.loss.current()
    }

    /// The next poll takes a baseline at the end.
    pub(crate) fn skip_to_end(&mut self) {
        self.state = JournalState {
            loss: std::mem::take(&mut self.state.loss),
            ..JournalState::default()
        };
    }

    /// Hands every new message of a known program to `each`.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(&mut Context<'_>, &Entry),
    ) {
        let (files, refused) = active_files(context.root);
        if let Some(reason) = refused {
            self.state.loss.lost(context, &reason);
        } else {
            self.state.loss.regained(context);
        }
        for path in files.into_iter().take(MAX_LANES) {
            // journald writes through a memory map, which moves the modification time only now and
            // then; the header's count of entries is what is asked.
            if let Err(error) = self.follow(context, &path, each) {
                self.state
                    .loss
                    .lost(context, &format!("{}: {error}", path.display()));
            }
        }
        if !self.state.has_baseline {
            self.state.has_baseline = true;
            context.mark_urgent();
        }
    }

    fn follow(
        &mut self,
        context: &mut Context<'_>,
        path: &Path,
        each: &mut dyn FnMut(&mut Context<'_>, &Entry),
    ) -> io::Result<()> {
        let lane_name = path.to_string_lossy().into_owned();
        let current = JournalFile::open(path)?;
        let now_ms = context.now.wall_ms;
        let Some(mut lane) = self.state.lanes.get(&lane_name).cloned() else {
            // A lane that appears after the baseline is new from its first entry.
            let place = if self.state.has_baseline {
                current.start()
            } else {
                current.end()?
            };
            self.state
                .lanes
                .insert(lane_name.clone(), Lane::at(&current, place, now_ms));
            if self.state.has_baseline {
                return self.follow(context, path, each);
            }
            return Ok(());
        };
        let mut budget = BUDGET;
        if id_text(&current) != lane.file_id {
            let archived = archived_since(path, &lane.file_id);
            if archived.is_empty() {
                context.emit_gap(
                    "journal was rotated away before it was read",
                    Some(lane.read_ms),
                );
            }
            for file in archived {
                let place = if id_text(&file) == lane.file_id {
                    lane.place()
                } else {
                    file.start()
                };
                lane = Lane::at(&file, place, now_ms);
                let is_done = read(context, &file, &mut lane, &mut budget, each)?;
                self.state.lanes.insert(lane_name.clone(), lane.clone());
                if !is_done {
                    return Ok(());
                }
            }
            lane = Lane::at(&current, current.start(), now_ms);
        }
        let before = lane.offset;
        let result = read(context, &current, &mut lane, &mut budget, each);
        // Only when something was read: an idle host's state is not written again.
        if lane.offset != before {
            lane.read_ms = now_ms;
        }
        self.state.lanes.insert(lane_name, lane);
        result.map(drop)
    }
}

/// Reads what is complete; `true` if nothing is left in this file.
fn read(
    context: &mut Context<'_>,
    file: &JournalFile,
    lane: &mut Lane,
    budget: &mut u32,
    each: &mut dyn FnMut(&mut Context<'_>, &Entry),
) -> io::Result<bool> {
    let mut place = lane.place();
    let result = loop {
        match file.next(&mut place, budget, &|name| WANTED.contains(&name)) {
            Ok(Some(raw)) => {
                if let Some(entry) = Entry::from_raw(&raw) {
                    each(context, &entry);
                }
            }
            Ok(None) => break Ok(!file.has_more(place)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                // A damaged object ends what can be walked; go on behind it with new entries.
                context.emit_gap("journal file is damaged", Some(lane.read_ms));
                place = file.end()?;
                break Ok(true);
            }
            Err(error) => break Err(error),
        }
    };
    (lane.offset, lane.entries) = (place.offset, place.entries);
    result
}

impl Entry {
    fn from_raw(raw: &RawEntry) -> Option<Self> {
        let field = |name: &str| {
            raw.fields
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        let tag = field("SYSLOG_IDENTIFIER").or_else(|| field("_COMM"))?;
        let has_known_tag =
            TAGS.contains(&tag) || field("MESSAGE").is_some_and(|text| text.starts_with("pam_"));
        if !has_known_tag {
            return None;
        }
        let is_compressed = raw.fields.iter().any(|(name, _)| name.is_empty());
        let text = field("MESSAGE").or(is_compressed.then_some("(long message, not read)"))?;
        Some(Self {
            time_ms: i64::try_from(raw.realtime_us / 1000).ok()?,
            tag: tag.trim_end_matches(']').to_owned(),
            pid: field("_PID")
                .or_else(|| field("SYSLOG_PID"))
                .and_then(|pid| pid.parse().ok()),
            uid: field("_UID").unwrap_or("").to_owned(),
            executable: field("_EXE").unwrap_or("").to_owned(),
            text: text.to_owned(),
        })
    }

    /// The event that this message is; a forged one says so.
    pub(crate) fn parse(&self, parser: &mut AuthParser) -> Option<Event> {
        let message = Message {
            time_ms: self.time_ms,
            tag: &self.tag,
            pid: self.pid,
            text: &self.text,
        };
        let mut event = parser.parse(&message)?;
        if !self.is_genuine() {
            event.severity = Severity::Warning;
            event = event
                .with("forged", "true")
                .with("written_by", self.executable.as_str())
                .with("written_by_uid", self.uid.as_str());
        }
        Some(event)
    }

    /// Written by root, or by the program that it names (sudo logs under the caller's number).
    fn is_genuine(&self) -> bool {
        let program = self.executable.rsplit('/').next().unwrap_or("");
        let is_system_path = ["/usr/", "/bin/", "/sbin/"]
            .iter()
            .any(|dir| self.executable.starts_with(dir));
        let is_itself =
            is_system_path && !self.executable.starts_with("/usr/local/") && program == self.tag;
        // Any user may run `logger`, root's use of it is root's word.
        self.uid == "0" || is_itself
    }
}

fn id_text(file: &JournalFile) -> String {
    format!("{:032x}", file.header.file_id)
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for base in ["var/log/journal", "run/log/journal"] {
        let Ok(entries) = fs::read_dir(root.join(base)) else {
            continue;
        };
        found.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_dir())
                .take(8),
        );
    }
    found
}

/// The files that are being written, and why some cannot be listed.
fn active_files(root: &Path) -> (Vec<PathBuf>, Option<String>) {
    let (mut found, mut refused) = (Vec::new(), None);
    for dir in folders(root) {
        match fs::read_dir(&dir) {
            Ok(entries) => found.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path())
                    .filter(|path| is_active(path)),
            ),
            Err(error) => refused = Some(format!("{}: {error}", dir.display())),
        }
    }
    found.sort();
    (found, refused)
}

fn is_active(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    name == "system.journal"
        || (name.starts_with("user-") && name.ends_with(".journal") && !name.contains('@'))
}

/// Archived files of the same lane from the one with `file_id` on, oldest first; none if that one
/// is gone.
fn archived_since(active: &Path, file_id: &str) -> Vec<JournalFile> {
    let stem = active
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some(entries) = active.parent().and_then(|dir| fs::read_dir(dir).ok()) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{stem}@"))
        })
        .filter_map(|entry| JournalFile::open(&entry.path()).ok())
        .collect();
    files.sort_by_key(|file| file.header.head_realtime_us);
    match files.iter().position(|file| id_text(file) == file_id) {
        Some(index) => files.split_off(index),
        None => Vec::new(),
    }
}
