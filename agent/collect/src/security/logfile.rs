//! A log file as a watcher sees it: new lines at each poll, directly or through a helper.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

use super::privileged::{Ask, Position, RootLog};
use super::tail::{self, Tail};
use super::watcher::{Context, Loss, Pending};

/// Reads of one poll at most: a backlog after a long downtime is taken in several polls.
const READS_PER_POLL: usize = 4;
/// A helper is started at most this often per log.
const HELPER_EVERY_MS: i64 = 10_000;
/// If the log cannot even be looked at, a helper is started this often in case it changed.
const BLIND_HELPER_EVERY_MS: i64 = 60_000;

/// What is saved of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogState {
    position: Option<Position>,
    loss: Loss,
    /// The last read that worked, Unix milliseconds: where a gap starts.
    read_ms: Option<i64>,
}

/// Inode, size and modification time: if they are the same, nothing was written.
type Stamp = (u64, u64, i64, i64);

/// One log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: &'static str,
    helper: Option<RootLog>,
    pub(crate) state: LogState,
    stamp: Option<Stamp>,
    pending: Pending,
    pending_stamp: Option<Stamp>,
    asked_boot_ms: Option<i64>,
    is_absent: bool,
}

impl LogFile {
    /// A log that everybody, or the agent's groups, may read.
    pub(crate) fn readable(path: &'static str) -> Self {
        Self {
            path,
            helper: None,
            state: LogState::default(),
            stamp: None,
            pending: Pending::default(),
            pending_stamp: None,
            asked_boot_ms: None,
            is_absent: false,
        }
    }

    /// A log that only root may read on some hosts.
    pub(crate) fn restricted(log: RootLog) -> Self {
        Self {
            helper: Some(log),
            ..Self::readable(log.path())
        }
    }

    /// What is lost at the moment.
    pub(crate) fn loss(&self) -> Option<String> {
        if self.is_absent {
            return Some(format!("/{} does not exist", self.path));
        }
        self.state.loss.current()
    }

    /// Forgets the position: the next poll takes a baseline at the end of the log.
    pub(crate) fn skip_to_end(&mut self) {
        self.state.position = None;
        self.stamp = None;
    }

    /// Hands every new whole line to `each`.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(&mut Context<'_>, &str),
    ) {
        if let Some(answer) = self.pending.take(context) {
            self.answered(context, answer, each);
        }
        if self.pending.waiting() {
            return;
        }
        let path = context.path(self.path);
        let stamp = match fs::metadata(&path) {
            Ok(metadata) => Some((
                metadata.ino(),
                metadata.size(),
                metadata.mtime(),
                metadata.mtime_nsec(),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.absent(),
            Err(_) => None,
        };
        self.is_absent = false;
        if stamp.is_some() && stamp == self.stamp {
            return;
        }
        for _ in 0..READS_PER_POLL {
            match tail::read(&path, self.state.position) {
                Ok(tail) => {
                    if !self.take(context, tail, each) {
                        self.stamp = stamp;
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return self.absent(),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return self.ask(context, stamp);
                }
                Err(error) => return self.state.loss.lost(context, &error.to_string()),
            }
        }
    }

    /// The log is not there: nothing is written, so nothing is lost. A rotation passes by here.
    fn absent(&mut self) {
        self.is_absent = true;
        self.stamp = None;
    }

    fn ask(&mut self, context: &mut Context<'_>, stamp: Option<Stamp>) {
        let Some(log) = self.helper else {
            return self.state.loss.lost(context, "permission denied");
        };
        let every = if stamp.is_some() {
            HELPER_EVERY_MS
        } else {
            BLIND_HELPER_EVERY_MS
        };
        let is_early = self
            .asked_boot_ms
            .is_some_and(|at| context.now.boot_ms - at < every);
        if is_early {
            return;
        }
        self.asked_boot_ms = Some(context.now.boot_ms);
        self.pending_stamp = stamp;
        if let Err(error) = self
            .pending
            .ask(context, Ask::LogTail(log, self.state.position))
        {
            self.state.loss.lost(context, &error.to_string());
        }
    }

    fn answered(
        &mut self,
        context: &mut Context<'_>,
        answer: Result<Vec<u8>, String>,
        each: &mut dyn FnMut(&mut Context<'_>, &str),
    ) {
        match answer.and_then(|bytes| decode(&bytes).ok_or_else(|| "unreadable answer".to_owned()))
        {
            Ok(Answered::Tail(tail)) => {
                if self.take(context, tail, each) {
                    self.asked_boot_ms = None;
                } else {
                    self.stamp = self.pending_stamp;
                }
            }
            Ok(Answered::Absent) => self.absent(),
            Err(reason) => self.state.loss.lost(context, &reason),
        }
    }

    /// Takes what was read; `true` if there is more.
    fn take(
        &mut self,
        context: &mut Context<'_>,
        tail: Tail,
        each: &mut dyn FnMut(&mut Context<'_>, &str),
    ) -> bool {
        let is_baseline = self.state.position.is_none();
        self.state.loss.regained(context);
        if let Some(gap) = &tail.gap {
            context.emit_gap(gap, self.state.read_ms);
        }
        for line in tail
            .bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            each(context, &String::from_utf8_lossy(line));
        }
        self.state.position = Some(tail.position);
        self.state.read_ms = Some(context.now.wall_ms);
        if is_baseline {
            context.mark_urgent();
        }
        tail.more
    }
}

/// What a helper says of a log.
enum Answered {
    Tail(Tail),
    Absent,
}

/// Serves [`Ask::LogTail`]: a line of JSON, then the bytes.
pub(crate) fn serve(
    path: &std::path::Path,
    position: Option<Position>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    match tail::read(path, position) {
        Ok(tail) => {
            serde_json::to_writer(&mut *out, &tail)?;
            out.write_all(b"\n")?;
            out.write_all(&tail.bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => out.write_all(b"absent\n"),
        Err(error) => Err(error),
    }
}

fn decode(answer: &[u8]) -> Option<Answered> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let (header, bytes) = answer.split_at_checked(end)?;
    if header == b"absent" {
        return Some(Answered::Absent);
    }
    let mut tail: Tail = serde_json::from_slice(header).ok()?;
    tail.bytes = bytes.get(1..)?.to_vec();
    Some(Answered::Tail(tail))
}
