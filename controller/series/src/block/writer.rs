//! Writes a block: pages, records that could not be decoded, ledger, directory, footer.

use std::sync::Arc;

use super::directory::{self, Entry};
use super::envelope::{self, Kind, Place};
use super::footer::{self, Footer, TAIL_BYTES};
use super::ledger::{self, Noted};
use super::page::PageWriter;
use crate::chunk::Points;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::log::Span;
use crate::output::Output;
use crate::record::{self, FileKind, HEADER_BYTES};
use crate::refused::SECTOR;

/// A piece of the ledger is full when it holds so many bytes.
const LEDGER_BYTES: usize = 16 << 10;

/// A block being written. First all pages, by series and host; then, by host, the ledger.
#[derive(Debug)]
pub(crate) struct BlockWriter<'e> {
    output: Output<'e>,
    header: Vec<u8>,
    seed: u32,
    page: PageWriter,
    text: Arc<str>,
    entries: Vec<Entry>,
    /// Finished pieces of the ledger; few bytes a frame, so they wait in memory.
    ledger: Vec<u8>,
    group: Vec<u8>,
    group_host: HostKey,
    footer: Footer,
}

impl<'e> BlockWriter<'e> {
    /// Begins the block that will be `name` and holds the logs `first..=last`.
    pub(crate) fn create(
        engine: &'e Engine,
        name: &str,
        (first, last): (u64, u64),
        resolution_ms: u64,
        salt: u64,
    ) -> Result<Self, SeriesError> {
        let mut output = Output::create(engine, name)?;
        let header = record::write_header(FileKind::Block, first, salt);
        let buffer = output.buffer();
        buffer.extend_from_slice(&header);
        buffer.resize(HEADER_BYTES + TAIL_BYTES, 0);
        Ok(Self {
            output,
            header,
            seed: record::seed(salt),
            page: PageWriter::default(),
            text: Arc::from(""),
            entries: Vec::new(),
            ledger: Vec::new(),
            group: Vec::new(),
            group_host: 0,
            footer: Footer {
                first,
                last,
                resolution_ms,
                ..Footer::default()
            },
        })
    }

    /// Adds points of a series of a host; series come in order of their texts, hosts ascend.
    pub(crate) fn add(
        &mut self,
        text: &Arc<str>,
        host: HostKey,
        points: &Points,
    ) -> Result<(), SeriesError> {
        if self.text != *text || self.page.is_full() {
            self.end_page()?;
            self.text = Arc::clone(text);
        }
        self.page.add(text, host, points);
        Ok(())
    }

    /// Adds one aggregate of a series of a host, to a rollup; aggregates ascend.
    pub(crate) fn add_aggregate(
        &mut self,
        text: &Arc<str>,
        host: HostKey,
        number: u8,
        points: &Points,
    ) -> Result<(), SeriesError> {
        if self.text != *text || self.page.is_full() {
            self.end_page()?;
            self.text = Arc::clone(text);
        }
        self.page.add_prefixed(text, host, Some(number), points);
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), SeriesError> {
        if self.page.is_empty() {
            return Ok(());
        }
        let extent = self.page.extent;
        self.footer.samples += self.page.points;
        let span = &mut self.footer.span;
        span.oldest_ms = span.oldest_ms.min(extent.oldest_ms);
        span.newest_ms = span.newest_ms.max(extent.newest_ms);
        let place = put(&mut self.output, self.seed, Kind::Page, self.page.body());
        self.entries.push(Entry {
            text: Arc::clone(&self.text),
            extent,
            place,
        });
        self.page.clear();
        self.output.flush()
    }

    /// Adds a record that could not be decoded, after the last page.
    pub(crate) fn add_orphan(&mut self, one: &record::Record<'_>) -> Result<(), SeriesError> {
        self.end_page()?;
        if self.footer.orphans == (0, 0) {
            self.footer.orphans.0 = self.output.position();
        }
        record::write(self.output.buffer(), self.seed, one);
        self.footer.orphans.1 = self.output.position();
        self.output.flush()
    }

    /// Notes frames of one host and epoch, ascending in number; hosts and epochs ascend.
    pub(crate) fn note(&mut self, host: HostKey, frames: &[Noted]) {
        if self.group.len() >= LEDGER_BYTES && self.group_host != host {
            self.end_group();
        }
        if self.group.is_empty() {
            self.group_host = host;
            self.footer.ledger.push(ledger::Line {
                host,
                place: Place {
                    offset: self.ledger.len() as u64,
                    length: 0,
                },
            });
        }
        self.group_host = host;
        ledger::write(&mut self.group, host, frames);
        self.footer.frames += frames.len() as u64;
        for noted in frames {
            let frame = &noted.frame;
            self.footer.span.add(frame.batch.time_ms, frame.received_ms);
        }
    }

    /// Widens the block's extent of arrival, for a block that is made of others.
    pub(crate) fn widen(&mut self, span: &Span) {
        let own = &mut self.footer.span;
        own.oldest_ms = own.oldest_ms.min(span.oldest_ms);
        own.newest_ms = own.newest_ms.max(span.newest_ms);
        own.first_received_ms = own.first_received_ms.min(span.first_received_ms);
        own.last_received_ms = own.last_received_ms.max(span.last_received_ms);
    }

    fn end_group(&mut self) {
        if let Some(line) = self.footer.ledger.last_mut() {
            line.place.length = (self.group.len() + envelope::HEAD_BYTES) as u32;
        }
        envelope::write(&mut self.ledger, self.seed, Kind::Ledger, &self.group);
        self.group.clear();
    }

    /// Writes what is left and makes the file durable, still under its temporary name.
    pub(crate) fn finish(mut self) -> Result<(), SeriesError> {
        self.end_page()?;
        if !self.group.is_empty() {
            self.end_group();
        }
        let base = self.output.position();
        for line in &mut self.footer.ledger {
            line.place.offset += base;
        }
        self.output.buffer().append(&mut self.ledger);
        let start = self.output.position();
        let pieces: Vec<_> = directory::pieces(&self.entries).collect();
        for (line, body) in &pieces {
            let place = put(&mut self.output, self.seed, Kind::Directory, body);
            let line = line.clone();
            self.footer
                .directory
                .push(directory::Line { place, ..line });
            self.output.flush()?;
        }
        // The copies begin a sector of their own, behind a footer of which only this number is not known.
        self.footer.copy = u64::MAX;
        let most = (self.footer.write().len() + envelope::HEAD_BYTES) as u64;
        let copies = (self.output.position() + most).next_multiple_of(SECTOR);
        self.footer.copy = copies - start;
        let body = self.footer.write();
        let first = put(&mut self.output, self.seed, Kind::Footer, &body);
        let gap = copies - self.output.position();
        let buffer = self.output.buffer();
        buffer.resize(buffer.len() + gap as usize, 0);
        for (_, body) in &pieces {
            put(&mut self.output, self.seed, Kind::Directory, body);
            self.output.flush()?;
        }
        let second = put(&mut self.output, self.seed, Kind::Footer, &body);
        let tail = footer::write_tail(first, second);
        let buffer = self.output.buffer();
        buffer.extend_from_slice(&self.header);
        buffer.extend_from_slice(&tail);
        self.output.finish_with(&tail, HEADER_BYTES as u64)
    }
}

fn put(output: &mut Output<'_>, seed: u32, kind: Kind, body: &[u8]) -> Place {
    let offset = output.position();
    envelope::write(output.buffer(), seed, kind, body);
    Place {
        offset,
        length: (body.len() + envelope::HEAD_BYTES) as u32,
    }
}
