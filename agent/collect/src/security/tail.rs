//! Reads a log file from a saved position, across rotation, truncation and a missing reader.
//!
//! The position is an inode, an offset and a checksum of the file's first bytes. Together they
//! find the file again whether logrotate renamed it (`auth.log.1`, `secure-20261115`) or copied
//! and truncated it; only a file that was rotated away twice, compressed or deleted before it was
//! read is a gap, and that is said. Only whole lines are consumed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::privileged::Position;

/// Bytes that one call reads at most; also the longest line.
pub(crate) const MAX_READ: usize = 128 * 1024;
/// Bytes of a file's head that identify it.
const HEAD: u64 = 256;
/// Rotated files that are considered.
const MAX_SIBLINGS: usize = 32;

/// What one read gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    /// Where the next read goes on.
    pub(crate) position: Position,
    /// Whether there is more to read at once.
    pub(crate) more: bool,
    /// Why something between the last position and these bytes was lost.
    pub(crate) gap: Option<String>,
    /// Whole lines.
    #[serde(skip)]
    pub(crate) bytes: Vec<u8>,
}

/// Reads on from `from`; `None` gives the position of the end, without bytes.
///
/// # Errors
/// `NotFound` if there is no such log, `PermissionDenied` if it needs a helper.
pub(crate) fn read(path: &Path, from: Option<Position>) -> io::Result<Tail> {
    let current = LogFile::open(path)?;
    let Some(from) = from else {
        return current.end();
    };
    if current.is_at(from)? {
        return current.read(from, true);
    }
    // Not the file that was read: it was rotated, or truncated in place.
    let mut files = siblings(path);
    files.push(current);
    let found = files
        .iter()
        .position(|file| file.is_at(from).unwrap_or(false));
    let Some(index) = found else {
        return restart(&files, from);
    };
    let (Some(old), Some(next)) = (files.get(index), files.get(index + 1)) else {
        return restart(&files, from);
    };
    let tail = old.read(from, false)?;
    // The writer holds the renamed file open until it is told; while the new one is empty it may
    // still write to the old one.
    let is_left = tail.position.offset >= old.size && next.size > 0;
    if is_left {
        return Ok(Tail {
            position: next.start(),
            more: true,
            ..tail
        });
    }
    Ok(tail)
}

/// The position is in no file any more: goes on at the start of the current one.
fn restart(files: &[LogFile], from: Position) -> io::Result<Tail> {
    let current = files.last().ok_or(io::ErrorKind::NotFound)?;
    let was_truncated = current.inode == from.inode;
    let gap = if was_truncated {
        "truncated before it was read"
    } else {
        "rotated away before it was read"
    };
    let mut tail = current.read(current.start(), true)?;
    tail.gap = Some(gap.to_owned());
    Ok(tail)
}

struct LogFile {
    file: File,
    inode: u64,
    size: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        // Never waits at a pipe that somebody put in the place of a log.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        Ok(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            file,
        })
    }

    fn start(&self) -> Position {
        Position {
            inode: self.inode,
            ..Position::default()
        }
    }

    /// Whether `position` was taken in this file.
    fn is_at(&self, position: Position) -> io::Result<bool> {
        if self.size < position.offset {
            return Ok(false);
        }
        if position.head_len == 0 {
            return Ok(self.inode == position.inode);
        }
        Ok(self.head_crc(u64::from(position.head_len))? == position.head_crc)
    }

    fn head_crc(&self, length: u64) -> io::Result<u32> {
        let mut head = vec![0; usize::try_from(length.min(HEAD)).unwrap_or(0)];
        self.file.read_exact_at(&mut head, 0)?;
        Ok(crc32fast::hash(&head))
    }

    fn position(&self, offset: u64) -> io::Result<Position> {
        let head_len = offset.min(HEAD);
        Ok(Position {
            inode: self.inode,
            offset,
            head_crc: if head_len == 0 {
                0
            } else {
                self.head_crc(head_len)?
            },
            head_len: u32::try_from(head_len).unwrap_or(0),
        })
    }

    /// The end of the last whole line.
    fn end(&self) -> io::Result<Tail> {
        let look = self.size.min(MAX_READ as u64);
        let mut bytes = vec![0; usize::try_from(look).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, self.size - look)?;
        let partial = bytes
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count() as u64;
        let offset = if partial == look && look < self.size {
            self.size
        } else {
            self.size - partial
        };
        Ok(Tail {
            position: self.position(offset)?,
            more: false,
            gap: None,
            bytes: Vec::new(),
        })
    }

    /// Whole lines from a position on; of a file that nobody writes to any more, the last line
    /// counts as whole.
    fn read(&self, from: Position, is_current: bool) -> io::Result<Tail> {
        let mut bytes =
            vec![0; MAX_READ.min(usize::try_from(self.size - from.offset).unwrap_or(MAX_READ))];
        let length = read_up_to(&self.file, &mut bytes, from.offset)?;
        bytes.truncate(length);
        let end = from.offset + length as u64;
        let mut gap = None;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        let consumed = match whole {
            0 if length == MAX_READ => {
                gap = Some(format!("a line longer than {MAX_READ} bytes was skipped"));
                bytes.clear();
                length
            }
            _ if !is_current && end >= self.size => length,
            whole => {
                bytes.truncate(whole);
                whole
            }
        };
        let offset = from.offset + consumed as u64;
        let more = consumed > 0 && offset < self.size;
        Ok(Tail {
            position: self.position(offset)?,
            more,
            gap,
            bytes,
        })
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Rotated files of a log that can be read as they are, oldest first.
fn siblings(path: &Path) -> Vec<LogFile> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found: Vec<(i64, i64, PathBuf)> = entries
        .flatten()
        .filter(|entry| is_rotated(&entry.file_name(), name))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.mtime(), metadata.mtime_nsec(), entry.path()))
        })
        .collect();
    found.sort();
    let surplus = found.len().saturating_sub(MAX_SIBLINGS);
    found
        .into_iter()
        .skip(surplus)
        .filter_map(|(_, _, path)| LogFile::open(&path).ok())
        .collect()
}

/// `auth.log.1`, `secure-20261115`, `audit.log.3`; not compressed ones.
fn is_rotated(candidate: &OsStr, name: &OsStr) -> bool {
    let Some(suffix) = candidate.as_bytes().strip_prefix(name.as_bytes()) else {
        return false;
    };
    let is_plain = suffix
        .iter()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_'));
    is_plain && matches!(suffix.first(), Some(b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn append(path: &Path, text: &str) {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    fn drain(path: &Path, position: &mut Position) -> (String, Vec<String>) {
        let (mut text, mut gaps) = (String::new(), Vec::new());
        loop {
            let tail = read(path, Some(*position)).unwrap();
            text.push_str(std::str::from_utf8(&tail.bytes).unwrap());
            *position = tail.position;
            gaps.extend(tail.gap);
            if !tail.more {
                return (text, gaps);
            }
        }
    }

    #[test]
    fn baseline_starts_after_the_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.log");
        append(&path, "old\npart");
        let mut position = read(&path, None).unwrap().position;
        append(&path, "ial\nnew\n");
        assert_eq!(
            drain(&path, &mut position),
            ("partial\nnew\n".into(), vec![])
        );
        assert_eq!(drain(&path, &mut position), (String::new(), vec![]));
    }

    #[test]
    fn renamed_log_is_read_to_its_end_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.log");
        append(&path, "one\n");
        let mut position = read(&path, None).unwrap().position;
        append(&path, "two\n");
        fs::rename(&path, dir.path().join("auth.log.1")).unwrap();
        append(&path, "");
        append(&dir.path().join("auth.log.1"), "three\nfour");
        assert_eq!(drain(&path, &mut position).0, "two\nthree\nfour");
        append(&path, "five\n");
        assert_eq!(drain(&path, &mut position), ("five\n".into(), vec![]));
    }

    #[test]
    fn copytruncate_is_followed_through_the_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.log");
        append(&path, "first line\nsecond line\n");
        let mut position = read(&path, None).unwrap().position;
        append(&path, "third line\n");
        fs::copy(&path, dir.path().join("auth.log.1")).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        append(
            &path,
            "fourth line that makes the new file longer than the old position was\n",
        );
        let (text, gaps) = drain(&path, &mut position);
        assert!(text.starts_with("third line\nfourth line"), "{text}");
        assert!(gaps.is_empty());
    }

    #[test]
    fn rotated_twice_and_truncated_are_gaps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secure");
        append(&path, "one\n");
        let mut position = read(&path, None).unwrap().position;
        fs::remove_file(&path).unwrap();
        append(&path, "other\n");
        let (text, gaps) = drain(&path, &mut position);
        assert_eq!((text.as_str(), gaps.len()), ("other\n", 1));
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        append(&path, "x\n");
        let (text, gaps) = drain(&path, &mut position);
        assert_eq!((text.as_str(), gaps.len()), ("x\n", 1));
    }

    #[test]
    fn endless_line_is_skipped_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.log");
        append(&path, "a\n");
        let mut position = read(&path, None).unwrap().position;
        append(&path, &"x".repeat(3 * MAX_READ));
        append(&path, "\nafter\n");
        let (text, gaps) = drain(&path, &mut position);
        assert!(text.ends_with("after\n"));
        assert!(!gaps.is_empty());
    }

    proptest! {
        /// Every line is read exactly once whatever the order of writing, renaming and reading.
        #[test]
        fn lines_are_read_exactly_once(steps in prop::collection::vec(0u8..4, 1..60)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("auth.log");
            append(&path, "start\n");
            let mut position = read(&path, None).unwrap().position;
            let (mut written, mut seen, mut rotations) = (String::new(), String::new(), 0);
            for (count, step) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        let line = format!("line {count}\n");
                        append(&path, &line);
                        written.push_str(&line);
                    }
                    2 => {
                        rotations += 1;
                        fs::rename(&path, dir.path().join(format!("auth.log-{rotations:04}"))).unwrap();
                        // What logrotate's postrotate and the next message do.
                        let line = format!("first {count}\n");
                        append(&path, &line);
                        written.push_str(&line);
                    }
                    _ => seen.push_str(&drain(&path, &mut position).0),
                }
            }
            seen.push_str(&drain(&path, &mut position).0);
            prop_assert_eq!(seen, written);
        }
    }
}
