//! A page: chunks of one series, host after host.
//!
//! ```text
//! page  = text-length:varint text base:signed step:varint entry*
//! entry = host − host before:varint length:varint chunk      several of one host follow in time
//! ```
//!
//! One host's chunk costs one read of a page; a series of all hosts is pages that lie one after
//! another.

use xiezhi_protocol::codec::varint;

use crate::chunk::{self, Encoder, Grid, Points};
use crate::frame::HostKey;

/// A page is full when it holds so many bytes.
const PAGE_BYTES: usize = 16 << 10;
/// Or so many hosts.
const PAGE_HOSTS: u32 = 256;

/// A page being filled.
#[derive(Debug, Default)]
pub(crate) struct PageWriter {
    encoder: Encoder,
    body: Vec<u8>,
    chunk: Vec<u8>,
    grid: Option<Grid>,
    hosts: u32,
    last_host: HostKey,
    pub(crate) extent: PageExtent,
    pub(crate) points: u64,
}

/// What the directory says of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PageExtent {
    pub(crate) first_host: HostKey,
    pub(crate) last_host: HostKey,
    pub(crate) oldest_ms: i64,
    pub(crate) newest_ms: i64,
}

impl PageExtent {
    /// Whether the page may hold points of a host in `from..=to`.
    pub(crate) fn may_hold(&self, hosts: (HostKey, HostKey), from_ms: i64, to_ms: i64) -> bool {
        self.first_host <= hosts.1
            && self.last_host >= hosts.0
            && self.oldest_ms <= to_ms
            && self.newest_ms >= from_ms
    }
}

impl PageWriter {
    /// Adds a host's points; hosts come ascending, points settled.
    pub(crate) fn add(&mut self, text: &str, host: HostKey, points: &Points) {
        self.add_prefixed(text, host, None, points);
    }

    /// Adds a host's points, with a byte before each chunk.
    pub(crate) fn add_prefixed(
        &mut self,
        text: &str,
        host: HostKey,
        prefix: Option<u8>,
        points: &Points,
    ) {
        let (Some(&oldest_ms), Some(&newest_ms)) = (points.times.first(), points.times.last())
        else {
            return;
        };
        let grid = self.begin(text, host, points);
        if self.hosts == 0 {
            self.extent = PageExtent {
                first_host: host,
                last_host: host,
                oldest_ms,
                newest_ms,
            };
        }
        self.extent.last_host = host;
        self.extent.oldest_ms = self.extent.oldest_ms.min(oldest_ms);
        self.extent.newest_ms = self.extent.newest_ms.max(newest_ms);
        self.hosts += 1;
        self.points += points.len() as u64;
        let Self {
            encoder,
            body,
            chunk,
            last_host,
            ..
        } = self;
        chunk::split(&points.times, grid.step_ms, &mut |range| {
            let (Some(times), Some(values)) =
                (points.times.get(range.clone()), points.values.get(range))
            else {
                return;
            };
            chunk.clear();
            chunk.extend(prefix);
            encoder.encode(grid, times, values, chunk);
            varint::write(body, host.wrapping_sub(*last_host) as u64);
            varint::write(body, chunk.len() as u64);
            body.extend_from_slice(chunk);
            *last_host = host;
        });
    }

    fn begin(&mut self, text: &str, host: HostKey, points: &Points) -> Grid {
        if let Some(grid) = self.grid {
            return grid;
        }
        let grid = Grid::of(&points.times);
        self.grid = Some(grid);
        varint::write(&mut self.body, text.len() as u64);
        self.body.extend_from_slice(text.as_bytes());
        varint::write_signed(&mut self.body, grid.base_ms);
        varint::write(&mut self.body, grid.step_ms as u64);
        varint::write_signed(&mut self.body, host);
        self.last_host = host;
        grid
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hosts == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.body.len() >= PAGE_BYTES || self.hosts >= PAGE_HOSTS
    }

    /// The body; call [`Self::clear`] when it is written.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Makes room for the next page.
    pub(crate) fn clear(&mut self) {
        self.body.clear();
        self.grid = None;
        self.hosts = 0;
        self.points = 0;
    }
}

/// A page being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'b> {
    pub(crate) text: &'b str,
    pub(crate) grid: Grid,
    host: HostKey,
    rest: &'b [u8],
}

impl<'b> Page<'b> {
    /// Reads a page's beginning; `None` if the bytes are none.
    pub(crate) fn parse(mut bytes: &'b [u8]) -> Option<Self> {
        let length = usize::try_from(varint::read(&mut bytes)?).ok()?;
        let (text, mut rest) = bytes.split_at_checked(length)?;
        let base_ms = varint::read_signed(&mut rest)?;
        let step_ms = i64::try_from(varint::read(&mut rest)?).ok()?;
        let host = varint::read_signed(&mut rest)?;
        Some(Self {
            text: std::str::from_utf8(text).ok()?,
            grid: Grid {
                base_ms,
                step_ms: step_ms.max(1),
            },
            host,
            rest,
        })
    }
}

/// Host and chunk of each entry; ends early at bytes that are none.
impl<'b> Iterator for Page<'b> {
    type Item = (HostKey, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let gap = varint::read(&mut self.rest)?;
        let length = usize::try_from(varint::read(&mut self.rest)?).ok()?;
        let (chunk, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        self.host = self.host.wrapping_add(gap as i64);
        Some((self.host, chunk))
    }
}
