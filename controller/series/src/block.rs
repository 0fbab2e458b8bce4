//! A block: the samples of one log or of several that follow each other, by series and then host.
//!
//! ```text
//! block = header tail page* record* ledger* directory* footer
//!         zero* directory* footer header tail            from the beginning of a sector on
//! ```
//!
//! Pages lie in the order of (series text, host): a metric of all hosts is read in one go, a series
//! of one host by one look into the directory and one into a page. Records are frames that could
//! not be decoded; the ledger tells every frame by number and checksum. Only the first lines of
//! directory and ledger are in memory, a few bytes per hundred pages. Every piece has a checksum:
//! a damaged page costs itself, and what finds pages is there twice, in sectors that lie apart: either end
//! of the file leads to either footer. Blocks of version 1 are read for ever: they have both headers at the
//! beginning, side by side, and at the end both footers and both tails.
//!
//! A block never changes; it is replaced by a larger one or removed.

pub(crate) mod directory;
pub(crate) mod envelope;
pub(crate) mod footer;
pub(crate) mod ledger;
pub(crate) mod page;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use self::envelope::{Kind, Place};
use self::footer::{Ends, Footer, TAIL_BYTES};
use self::ledger::Noted;
use self::page::{Page, PageExtent};
pub(crate) use self::writer::BlockWriter;
use crate::chunk::{self, Points};
use crate::damage::Places;
use crate::disk::{self, Disk, DiskFile};
use crate::frame::HostKey;
use crate::log::Span;
use crate::record::{self, FileKind, HEADER_BYTES, Header};
use crate::refused;
use crate::scan::{Scanner, Step};
use crate::stray::HIGHEST;

/// Read at once when pages follow each other.
const READ_BYTES: u64 = 1 << 20;

/// A file name of a block of the logs `first..=last`.
pub(crate) fn name(first: u64, last: u64, resolution_ms: u64) -> String {
    match resolution_ms / 1000 {
        0 => format!("block-{first:010}-{last:010}.xzb"),
        seconds => format!("rollup-{first:010}-{last:010}-{seconds}.xzb"),
    }
}

/// The logs and the resolution in a file name, if it is written as [`name`] writes it.
pub(crate) fn parse_name(name: &str) -> Option<(u64, u64, u64)> {
    let (first, last, resolution_ms) = parse_numbers(name)?;
    let is_ours = first <= last && last <= HIGHEST;
    (is_ours && self::name(first, last, resolution_ms) == name).then_some((
        first,
        last,
        resolution_ms,
    ))
}

fn parse_numbers(name: &str) -> Option<(u64, u64, u64)> {
    let stem = name.strip_suffix(".xzb")?;
    let mut parts = stem.split('-');
    let kind = parts.next()?;
    let (first, last) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let resolution_ms = match (kind, parts.next()) {
        ("block", None) => 0,
        ("rollup", Some(seconds)) => seconds.parse::<u64>().ok()?.checked_mul(1000)?,
        _ => return None,
    };
    parts
        .next()
        .is_none()
        .then_some((first, last, resolution_ms))
}

/// Takes the index and the body of a page; `None` for a damaged one.
pub(crate) type EachPage<'f, E> = &'f mut dyn FnMut(usize, Option<&[u8]>) -> Result<(), E>;

/// A page, found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) extent: PageExtent,
    pub(crate) place: Place,
}

/// A block, open for reading.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    footer: Footer,
    ends: Ends,
    seed: u32,
    disk: Arc<dyn Disk>,
    /// Rollups are many and rarely read: they are opened for each reading.
    file: Option<Arc<dyn DiskFile>>,
    damage: Arc<Places>,
    /// Frames that could not be decoded, by host.
    undecoded: BTreeMap<HostKey, u64>,
}

impl Block {
    /// Opens a block. `None` if neither copy of its footer is intact or it is not what its name
    /// says.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        damage: &Arc<Places>,
        name: &str,
    ) -> io::Result<Option<Self>> {
        let Some((first, last, resolution_ms)) = parse_name(name) else {
            return Ok(None);
        };
        let file = disk.open(name)?;
        let bytes = file.length()?;
        let Some((Header { salt, is_old }, damaged)) = read_headers(&*file, bytes, first)? else {
            return Ok(None);
        };
        let (seed, ends) = (record::seed(salt), Ends::of(bytes, is_old));
        let Some(ends) = ends else { return Ok(None) };
        let Some(footer) = read_footer(&*file, ends, seed)? else {
            return Ok(None);
        };
        if (footer.first, footer.last, footer.resolution_ms) != (first, last, resolution_ms) {
            return Ok(None);
        }
        let keep = resolution_ms == 0;
        let undecoded = count_orphans(&*file, seed, footer.orphans)?;
        let opened = Self {
            damage: Arc::clone(damage),
            undecoded,
            name: name.to_owned(),
            bytes,
            footer,
            ends,
            seed,
            disk: Arc::clone(disk),
            file: keep.then_some(file),
        };
        if let Some(offset) = damaged {
            opened.note_damage(
                offset,
                "a copy of the header is damaged, the other one is read",
            );
        }
        Ok(Some(opened))
    }

    pub(crate) fn first(&self) -> u64 {
        self.footer.first
    }

    pub(crate) fn last(&self) -> u64 {
        self.footer.last
    }

    pub(crate) fn resolution_ms(&self) -> u64 {
        self.footer.resolution_ms
    }

    pub(crate) fn frames(&self) -> u64 {
        self.footer.frames
    }

    pub(crate) fn samples(&self) -> u64 {
        self.footer.samples
    }

    pub(crate) fn span(&self) -> &Span {
        &self.footer.span
    }

    /// Tells of damage, once for each place.
    pub(crate) fn note_damage(&self, offset: u64, what: &str) {
        if self.damage.note(&self.name, offset) {
            tracing::error!(file = %self.name, offset, "{what}");
        }
    }

    /// A page that was damaged before is whole: the disk refused it for a moment.
    fn note_well(&self, offset: u64, body: &[u8]) {
        if !self.damage.has(&self.name) {
            return;
        }
        let is_readable = Page::parse(body).is_some_and(|mut page| {
            let grid = page.grid;
            page.all(|(_, bytes)| {
                // Chunks of steps begin with their aggregate.
                let skipped = usize::from(self.footer.resolution_ms > 0);
                let chunk = bytes.get(skipped..).unwrap_or_default();
                chunk::decode(grid, chunk, &mut Points::default()).is_some()
            })
        });
        if is_readable {
            self.damage.well(&self.name, offset);
        }
    }

    fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        match &self.file {
            Some(file) => Ok(Arc::clone(file)),
            None => match self.disk.open(&self.name) {
                Err(error) if refused::is_refusal(&error) => {
                    self.note_damage(0, "the disk refuses to open it");
                    Ok(Arc::new(refused::Nothing(self.bytes)))
                }
                opened => opened,
            },
        }
    }

    /// Visits the directory from the series `from` on, in order. Returns how many pieces of it are
    /// damaged in both copies.
    pub(crate) fn directory(
        &self,
        from: &str,
        visit: &mut dyn FnMut(&str, Found) -> ControlFlow<()>,
    ) -> io::Result<u64> {
        let file = self.file()?;
        let lines = &self.footer.directory;
        let start = lines
            .partition_point(|line| &*line.text < from)
            .saturating_sub(1);
        let mut damaged = 0;
        for line in lines.get(start..).unwrap_or_default() {
            let Some(body) = self.directory_piece(&*file, line.place)? else {
                damaged += 1;
                continue;
            };
            let walked = directory::each(&body, &mut |text, extent, place| {
                if text < from {
                    return ControlFlow::Continue(());
                }
                visit(text, Found { extent, place })
            });
            match walked {
                Some(ControlFlow::Continue(())) => {}
                Some(ControlFlow::Break(())) => break,
                None => {
                    self.note_damage(
                        line.place.offset,
                        "a piece of the directory is not readable",
                    );
                    damaged += 1;
                }
            }
        }
        Ok(damaged)
    }

    fn directory_piece(&self, file: &dyn DiskFile, place: Place) -> io::Result<Option<Vec<u8>>> {
        if let Some(body) = envelope::read(file, place, self.seed, Kind::Directory)? {
            self.damage.well(&self.name, place.offset);
            return Ok(Some(body));
        }
        self.note_damage(place.offset, "directory is damaged, reading its copy");
        let copy = Place {
            offset: place.offset.saturating_add(self.footer.copy),
            ..place
        };
        let body = envelope::read(file, copy, self.seed, Kind::Directory)?;
        match &body {
            Some(_) => self.damage.well(&self.name, copy.offset),
            None => self.note_damage(copy.offset, "the directory's copy is damaged too"),
        }
        Ok(body)
    }

    /// Reads pages, in the order given; `each` gets the index and the body, or `None` for a
    /// damaged one.
    pub(crate) fn pages<E: From<io::Error>>(
        &self,
        places: &[Place],
        each: EachPage<'_, E>,
    ) -> Result<(), E> {
        let file = self.file()?;
        let mut start = 0;
        while let Some(first) = places.get(start) {
            let mut end = start + 1;
            let mut until = first.end();
            while let Some(next) = places.get(end) {
                if next.offset != until || next.end() - first.offset > READ_BYTES {
                    break;
                }
                until = next.end();
                end += 1;
            }
            let length = usize::try_from(until - first.offset).unwrap_or(0);
            let bytes = disk::read_block(&*file, first.offset, length)?;
            for index in start..end {
                let Some(place) = places.get(index) else {
                    break;
                };
                let at = usize::try_from(place.offset - first.offset).unwrap_or(usize::MAX);
                let piece = bytes.get(at..at.saturating_add(place.length as usize));
                let body = piece.and_then(|piece| envelope::open(piece, self.seed, Kind::Page));
                match body {
                    Some(body) => self.note_well(place.offset, body),
                    None => self.note_damage(place.offset, "a page of samples is damaged"),
                }
                each(index, body)?;
            }
            start = end;
        }
        Ok(())
    }

    /// Visits the frames of each host and epoch, ascending, of the hosts `first..=last`. Returns how
    /// many pieces are damaged.
    pub(crate) fn ledger(
        &self,
        (first, last): (HostKey, HostKey),
        visit: &mut dyn FnMut(HostKey, u64, Vec<Noted>),
    ) -> io::Result<u64> {
        let lines = &self.footer.ledger;
        let start = lines
            .partition_point(|line| line.host <= first)
            .saturating_sub(1);
        let mut damaged = 0;
        if lines.is_empty() {
            return Ok(0);
        }
        let file = self.file()?;
        for line in lines.get(start..).unwrap_or_default() {
            if line.host > last {
                break;
            }
            let Some(body) = envelope::read(&*file, line.place, self.seed, Kind::Ledger)? else {
                self.note_damage(line.place.offset, "a piece of the ledger is damaged");
                damaged += 1;
                continue;
            };
            self.damage.well(&self.name, line.place.offset);
            for group in ledger::groups(&body) {
                if !(first..=last).contains(&group.host) {
                    continue;
                }
                match group.frames() {
                    Some(frames) => visit(group.host, group.epoch, frames),
                    None => {
                        self.note_damage(
                            line.place.offset,
                            "a piece of the ledger is not readable",
                        );
                        damaged += 1;
                    }
                }
            }
        }
        Ok(damaged)
    }

    /// Hosts at which pieces of the ledger begin.
    pub(crate) fn ledger_starts(&self) -> impl Iterator<Item = HostKey> {
        self.footer.ledger.iter().map(|line| line.host)
    }

    /// The records that could not be decoded, with their file.
    pub(crate) fn orphans<T>(
        &self,
        read: impl FnOnce(&mut Scanner<'_, dyn DiskFile>) -> io::Result<T>,
    ) -> io::Result<T> {
        let file = self.file()?;
        let (start, end) = self.footer.orphans;
        read(&mut Scanner::new(&*file, self.seed, start, end))
    }

    /// How many frames of which host could not be decoded.
    pub(crate) fn undecoded(&self) -> &BTreeMap<HostKey, u64> {
        &self.undecoded
    }

    /// Reads all of it; each damaged place is handed over. Returns how many pieces are intact.
    pub(crate) fn verify(&self, damage: &mut dyn FnMut(u64, u64)) -> io::Result<u64> {
        let file = self.file()?;
        let mut intact = 0;
        let mut pieces = Vec::new();
        for line in &self.footer.directory {
            let copy = line.place.offset.saturating_add(self.footer.copy);
            let copy = Place {
                offset: copy,
                ..line.place
            };
            pieces.extend([(line.place, Kind::Directory), (copy, Kind::Directory)]);
        }
        pieces.extend(
            self.footer
                .ledger
                .iter()
                .map(|line| (line.place, Kind::Ledger)),
        );
        for offset in self.ends.headers {
            match read_header(&*file, offset, self.first())? {
                Some(_) => self.damage.well(&self.name, offset),
                None => damage(offset, HEADER_BYTES as u64),
            }
        }
        for offset in self.ends.tails {
            match read_tail(&*file, offset)? {
                Some(places) => {
                    self.damage.well(&self.name, offset);
                    pieces.extend(places.map(|place| (place, Kind::Footer)));
                }
                None => damage(offset, TAIL_BYTES as u64),
            }
        }
        pieces.sort_unstable_by_key(|(place, _)| place.offset);
        pieces.dedup();
        for (place, kind) in pieces {
            match envelope::read(&*file, place, self.seed, kind)? {
                Some(_) => {
                    self.damage.well(&self.name, place.offset);
                    intact += 1;
                }
                None => damage(place.offset, u64::from(place.length)),
            }
        }
        let mut places = Vec::new();
        self.directory("", &mut |_, found| {
            places.push(found.place);
            ControlFlow::Continue(())
        })?;
        self.pages(&places, &mut |index, body| {
            match (body, places.get(index)) {
                (None, Some(place)) => damage(place.offset, u64::from(place.length)),
                _ => intact += 1,
            }
            Ok::<(), io::Error>(())
        })?;
        Ok(intact)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let lines = self.footer.directory.iter();
        let texts: usize = lines.map(|line| line.text.len() + 16).sum();
        texts
            + self.footer.directory.capacity() * size_of::<directory::Line>()
            + self.footer.ledger.capacity() * size_of::<ledger::Line>()
    }
}

/// From when to when the samples of a block are that lies at `path` and is named `name` otherwise; `None` if
/// its ends are not readable.
pub(crate) fn span_of(disk: &dyn Disk, name: &str, path: &str) -> io::Result<Option<Span>> {
    let Some((first, ..)) = parse_name(name) else {
        return Ok(None);
    };
    let file = disk.open(path)?;
    let bytes = file.length()?;
    let Some((header, _)) = read_headers(&*file, bytes, first)? else {
        return Ok(None);
    };
    let Some(ends) = Ends::of(bytes, header.is_old) else {
        return Ok(None);
    };
    let footer = read_footer(&*file, ends, record::seed(header.salt))?;
    Ok(footer.map(|footer| footer.span))
}

/// Records between two places, by host: hardly ever any.
fn count_orphans(
    file: &dyn DiskFile,
    seed: u32,
    (start, end): (u64, u64),
) -> io::Result<BTreeMap<HostKey, u64>> {
    let mut hosts = BTreeMap::new();
    let mut scanner = Scanner::new(file, seed, start, end);
    while let Some(step) = scanner.step()? {
        if let Step::Record { record, .. } = step {
            *hosts.entry(record.host).or_default() += 1;
        }
    }
    Ok(hosts)
}

fn read_tail(file: &dyn DiskFile, offset: u64) -> io::Result<Option<[Place; 2]>> {
    Ok(footer::parse_tail(&disk::read_block(
        file, offset, TAIL_BYTES,
    )?))
}

fn read_header(file: &dyn DiskFile, offset: u64, first: u64) -> io::Result<Option<Header>> {
    let header = disk::read_block(file, offset, HEADER_BYTES)?;
    Ok(record::read_header(&header, FileKind::Block, first))
}

/// What the first readable copy of the header says, and where one is that is not readable.
fn read_headers(
    file: &dyn DiskFile,
    bytes: u64,
    first: u64,
) -> io::Result<Option<(Header, Option<u64>)>> {
    let header = read_header(file, 0, first)?;
    if header.is_some() {
        return Ok(header.map(|header| (header, None)));
    }
    for is_old in [false, true] {
        let Some(Ends {
            headers: [_, other],
            ..
        }) = Ends::of(bytes, is_old)
        else {
            continue;
        };
        let header = read_header(file, other, first)?;
        if let Some(header) = header.filter(|header| header.is_old == is_old) {
            return Ok(Some((header, Some(0))));
        }
    }
    Ok(None)
}

fn read_footer(file: &dyn DiskFile, ends: Ends, seed: u32) -> io::Result<Option<Footer>> {
    for offset in ends.tails {
        for place in read_tail(file, offset)?.into_iter().flatten() {
            let body = envelope::read(file, place, seed, Kind::Footer)?;
            if let Some(footer) = body.as_deref().and_then(Footer::parse) {
                return Ok(Some(footer));
            }
        }
    }
    Ok(None)
}
