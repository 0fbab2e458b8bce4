//! Reads one systemd journal file, object by object, without the library of systemd.
//!
//! Format: <https://systemd.io/JOURNAL_FILE_FORMAT/>, regular and compact. New objects are always
//! appended, so a file can be followed by walking its objects from a saved offset. An entry counts
//! once the header counts it (`n_entries`), which journald does last; so a half-written entry is
//! never read. Compressed fields (journald compresses values of 512 bytes and more) are not
//! decompressed: they are reported as such.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes of a file header that are used.
const HEADER: usize = 208;
/// Bytes of one field that are read.
const MAX_FIELD: u64 = 4096;
/// Fields of one entry that are looked at; journald itself allows 1024.
const MAX_ITEMS: u64 = 128;

const OBJECT_DATA: u8 = 1;
const OBJECT_ENTRY: u8 = 3;
const COMPRESSED: u8 = 1 | 2 | 4;
const INCOMPATIBLE_COMPACT: u32 = 16;
const INCOMPATIBLE_KNOWN: u32 = 1 | 2 | 4 | 8 | 16;

/// A journal file that is open.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    pub(crate) header: Header,
}

/// The header's fields that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) file_id: u128,
    pub(crate) entries: u64,
    pub(crate) head_realtime_us: u64,
    tail_realtime_us: u64,
    header_size: u64,
    tail_object: u64,
    is_compact: bool,
}

/// A place in a journal file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The next object.
    pub(crate) offset: u64,
    /// Entries before it.
    pub(crate) entries: u64,
}

/// One entry: the fields that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RawEntry {
    pub(crate) realtime_us: u64,
    pub(crate) fields: Vec<(String, String)>,
}

impl JournalFile {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut bytes = [0; HEADER];
        file.read_exact_at(&mut bytes, 0)?;
        let header =
            Header::parse(&bytes).ok_or_else(|| damaged("not a journal file of a known form"))?;
        Ok(Self { file, header })
    }

    /// The first object.
    pub(crate) fn start(&self) -> Place {
        Place {
            offset: self.header.header_size,
            entries: 0,
        }
    }

    /// Behind the last entry that is complete.
    pub(crate) fn end(&self) -> io::Result<Place> {
        let tail = self.object(self.header.tail_object)?;
        let is_unfinished = tail.kind == OBJECT_ENTRY
            && self.u64_at(tail.offset + 24)? != self.header.tail_realtime_us;
        let offset = if is_unfinished {
            tail.offset
        } else {
            tail.next()
        };
        Ok(Place {
            offset,
            entries: self.header.entries,
        })
    }

    /// Whether something complete follows `place`.
    pub(crate) fn has_more(&self, place: Place) -> bool {
        place.entries < self.header.entries && place.offset <= self.header.tail_object
    }

    /// The next entry after `place`, which moves behind it. Objects that are no entries are passed,
    /// at most `budget` of them.
    pub(crate) fn next(
        &self,
        place: &mut Place,
        budget: &mut u32,
        wanted: &dyn Fn(&str) -> bool,
    ) -> io::Result<Option<RawEntry>> {
        while self.has_more(*place) && *budget > 0 {
            *budget -= 1;
            let object = self.object(place.offset)?;
            if object.kind == OBJECT_ENTRY {
                let entry = self.entry(&object, wanted)?;
                place.offset = object.next();
                place.entries += 1;
                return Ok(Some(entry));
            }
            place.offset = object.next();
        }
        Ok(None)
    }

    fn entry(&self, object: &Object, wanted: &dyn Fn(&str) -> bool) -> io::Result<RawEntry> {
        let item_size = if self.header.is_compact { 4 } else { 16 };
        let count = object.size.saturating_sub(64) / item_size;
        let mut entry = RawEntry {
            realtime_us: self.u64_at(object.offset + 24)?,
            fields: Vec::new(),
        };
        for index in 0..count.min(MAX_ITEMS) {
            let at = object.offset + 64 + index * item_size;
            let data = if self.header.is_compact {
                u64::from(self.u32_at(at)?)
            } else {
                self.u64_at(at)?
            };
            if let Some(field) = self.data(data, wanted)? {
                entry.fields.push(field);
            }
        }
        Ok(entry)
    }

    /// A field `NAME=value`; of a compressed one only the fact is known, so it has no name.
    fn data(
        &self,
        offset: u64,
        wanted: &dyn Fn(&str) -> bool,
    ) -> io::Result<Option<(String, String)>> {
        let object = self.object(offset)?;
        if object.kind != OBJECT_DATA {
            return Err(damaged("an entry points to what is not data"));
        }
        if object.flags & COMPRESSED != 0 {
            return Ok(Some((String::new(), "compressed".to_owned())));
        }
        let payload = if self.header.is_compact { 72 } else { 64 };
        let length = object.size.saturating_sub(payload).min(MAX_FIELD);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file
            .read_exact_at(&mut bytes, object.offset + payload)?;
        let text = String::from_utf8_lossy(&bytes);
        let field = text.split_once('=').filter(|(name, _)| wanted(name));
        Ok(field.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    fn object(&self, offset: u64) -> io::Result<Object> {
        let mut bytes = [0; 16];
        self.file.read_exact_at(&mut bytes, offset)?;
        let [kind, flags, ..] = bytes;
        let size = bytes
            .last_chunk::<8>()
            .map_or(0, |word| u64::from_le_bytes(*word));
        let is_sane = (16..1 << 32).contains(&size) && offset.is_multiple_of(8);
        if !is_sane {
            return Err(damaged("an object has an impossible size"));
        }
        Ok(Object {
            kind,
            flags,
            offset,
            size,
        })
    }

    fn u64_at(&self, offset: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn u32_at(&self, offset: u64) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

struct Object {
    kind: u8,
    flags: u8,
    offset: u64,
    size: u64,
}

impl Object {
    /// Objects are aligned to eight bytes.
    fn next(&self) -> u64 {
        self.offset + self.size.next_multiple_of(8)
    }
}

impl Header {
    fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        if bytes.get(..8)? != b"LPKSHHRH" {
            return None;
        }
        let word = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk::<8>()?));
        let flags = u32::from_le_bytes(*bytes.get(12..)?.first_chunk::<4>()?);
        if flags & !INCOMPATIBLE_KNOWN != 0 {
            return None;
        }
        Some(Self {
            file_id: u128::from_le_bytes(*bytes.get(24..)?.first_chunk::<16>()?),
            header_size: word(88)?,
            tail_object: word(136)?,
            entries: word(152)?,
            head_realtime_us: word(184)?,
            tail_realtime_us: word(192)?,
            is_compact: flags & INCOMPATIBLE_COMPACT != 0,
        })
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
