//! Reads points of many series and hosts: the head first, then the blocks.
//!
//! In this order because samples move from the head into blocks meanwhile: what moves is then seen
//! twice, and of two points of one time one stays. Directory and pages are read per block in the
//! order in which they lie there.

mod ends;
mod foreign;
mod orphans;
mod steps;

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use xiezhi_promql::Exhausted;

use crate::block::Block;
use crate::block::envelope::Place;
use crate::block::page::Page;
use crate::chunk::{self, Points};
use crate::column;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::head::texts::{Schema, TextId, metric_of};
use crate::head::{self, Chain, Head, Run};
use crate::lacking::Lacking;
use crate::legacy;
use crate::rollup::AGGREGATES;

pub(crate) use steps::{Coarse, Rolled};

pub(crate) use ends::ends;

/// What is said of a page whose sum is right and whose content is not what it must be.
pub(crate) const NOT_READABLE: &str = "a page of samples is not readable";

/// Why reading ended early.
#[derive(Debug)]
pub(crate) enum ReadError {
    Series(SeriesError),
    Stopped(Exhausted),
    Io(std::io::Error),
}

impl From<SeriesError> for ReadError {
    fn from(error: SeriesError) -> Self {
        Self::Series(error)
    }
}

impl From<Exhausted> for ReadError {
    fn from(error: Exhausted) -> Self {
        Self::Stopped(error)
    }
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl ReadError {
    /// The error of a caller that has no budget to exhaust.
    pub(crate) fn of_series(self, engine: &Engine) -> SeriesError {
        match self {
            Self::Series(error) => error,
            Self::Io(error) => engine.error("read", "")(error),
            Self::Stopped(why) => engine.error("read", "")(std::io::Error::other(why)),
        }
    }
}

/// What is wanted.
pub(crate) struct Wanted<'w> {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// The hosts, ascending; every host without it.
    pub(crate) hosts: Option<Vec<HostKey>>,
    /// Names of metrics; every one without it.
    pub(crate) metrics: Option<Vec<String>>,
    /// Whether a series may be wanted, by its text.
    pub(crate) text: &'w dyn Fn(&str) -> bool,
    /// Whether a series of a host is wanted, by the number of its text in [`Found::texts`].
    pub(crate) pair: &'w dyn Fn(usize, &str, HostKey) -> bool,
    /// What is wanted of rollups; nothing if they are not.
    pub(crate) rollups: Option<Rolled>,
    /// Whether segments of the first format are read too.
    pub(crate) segments: bool,
    /// Only which series there are; points stay empty.
    pub(crate) index_only: bool,
    /// Called with the number of points that were just read.
    pub(crate) charge: &'w dyn Fn(u64) -> Result<(), ReadError>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The texts of the wanted series; their place is their number.
    pub(crate) texts: Vec<Arc<str>>,
    /// Points of each number of a text and host; not settled yet.
    pub(crate) series: HashMap<(u32, HostKey), Points>,
    /// Of those in which steps of rollups are, what the values stand for.
    pub(crate) coarse: HashMap<(u32, HostKey), Coarse>,
    /// What of it may be missing.
    pub(crate) lacking: Lacking,
}

/// Rows that the head holds of a series, usually.
const HEAD_ROWS: usize = 128;

/// Columns, each with the number of its text.
type Columns = Arc<[(u32, u32)]>;

/// A reading under way.
pub(crate) struct Reading<'e, 'w> {
    engine: &'e Engine,
    wanted: &'w Wanted<'w>,
    found: Found,
    /// Number of each text, none if it is not wanted.
    numbers: HashMap<Arc<str>, Option<u32>>,
    /// Aggregates of steps, to be put before the points of the blocks, by their length too.
    rolled: HashMap<(u32, HostKey, u64), [Points; AGGREGATES]>,
    /// Points of the head, to be put behind those of the blocks.
    heads: HashMap<(u32, HostKey), Points>,
    /// Wanted columns of each list of columns: column and number.
    columns: HashMap<*const Schema, (Arc<Schema>, Columns)>,
    ids: HashMap<TextId, u32>,
    /// Points of which only a part is wanted.
    scratch: Points,
    /// How many points a series will have, about.
    rows: usize,
}

/// Reads what is wanted.
pub(crate) fn read(engine: &Engine, wanted: &Wanted<'_>) -> Result<Found, ReadError> {
    let mut reading = Reading::new(engine, wanted);
    reading.read_heads()?;
    let files = engine.files();
    let asked = (wanted.from_ms, wanted.to_ms);
    reading
        .found
        .lacking
        .join(Lacking::of(engine, &files, asked));
    reading.note_orphans(&files);
    if wanted.segments && !files.sealed.is_empty() {
        reading.read_segments()?;
    }
    for block in steps::planned(&files, wanted) {
        // A row of a rollup stands for the step before it.
        let to_ms = wanted.to_ms.saturating_add_unsigned(block.resolution_ms());
        if block.span().overlaps(wanted.from_ms, to_ms) {
            reading.note_undecoded(&block);
            reading.read_block(&block)?;
        }
    }
    Ok(reading.finish())
}

/// Rows of a series that reports every 15 s.
fn expected_rows(wanted: &Wanted<'_>) -> usize {
    let span_ms = wanted
        .to_ms
        .saturating_sub(wanted.from_ms)
        .clamp(0, 86_400_000);
    span_ms as usize / 15_000 + 4
}

impl<'e, 'w> Reading<'e, 'w> {
    fn new(engine: &'e Engine, wanted: &'w Wanted<'w>) -> Self {
        Self {
            engine,
            wanted,
            found: Found::default(),
            numbers: HashMap::new(),
            rolled: HashMap::new(),
            heads: HashMap::new(),
            columns: HashMap::new(),
            ids: HashMap::new(),
            scratch: Points::default(),
            rows: expected_rows(wanted),
        }
    }
}

impl Reading<'_, '_> {
    fn number(&mut self, text: &str) -> Option<u32> {
        if let Some(&known) = self.numbers.get(text) {
            return known;
        }
        let shared = self.engine.heads.texts.shared(text);
        let text: Arc<str> = shared.map_or_else(|| text.into(), |name| Arc::clone(name.text()));
        let number = (self.wanted.text)(&text).then(|| {
            self.found.texts.push(Arc::clone(&text));
            self.found.texts.len() as u32 - 1
        });
        self.numbers.insert(text, number);
        number
    }

    fn read_heads(&mut self) -> Result<(), ReadError> {
        let texts = &self.engine.heads.texts;
        let listed = match &self.wanted.metrics {
            Some(metrics) => metrics
                .iter()
                .flat_map(|name| texts.list(Some(name)))
                .collect(),
            None => texts.list(None),
        };
        for (id, text) in listed {
            if let Some(number) = self.number(&text) {
                self.ids.insert(id, number);
            }
        }
        if self.ids.is_empty() {
            return Ok(());
        }
        let hosts = match &self.wanted.hosts {
            Some(hosts) => {
                let heads = hosts
                    .iter()
                    .filter_map(|&host| Some((host, self.engine.heads.find(host)?)));
                heads.collect()
            }
            None => self.engine.heads.hosts(),
        };
        hosts
            .iter()
            .try_for_each(|(host, head)| self.read_head(*host, head))
    }

    fn read_head(&mut self, host: HostKey, head: &Mutex<Head>) -> Result<(), ReadError> {
        let points = {
            let head = head::lock(head);
            let runs = head.made().iter().map(|run| self.read_run(host, run));
            let runs: u64 = runs.sum();
            let pending = head.pending().map(|chain| self.read_pending(host, chain));
            let pending: u64 = pending.sum();
            let foreign = head.foreign();
            runs + pending + foreign.map_or(0, |foreign| self.read_foreign(host, foreign))
        };
        (self.wanted.charge)(points)
    }

    fn read_pending(&mut self, host: HostKey, chain: &Chain) -> u64 {
        let in_range = |time_ms: i64| (self.wanted.from_ms..=self.wanted.to_ms).contains(&time_ms);
        let (Some(schema), true) = (chain.schema(), chain.pending_times().any(in_range)) else {
            return 0;
        };
        let columns = self.columns_of(schema);
        let mut wanted: Vec<(usize, u32)> = columns
            .iter()
            .filter(|(_, number)| self.is_pair(*number, host))
            .map(|&(column, number)| (column as usize, number))
            .collect();
        wanted.sort_unstable();
        let places: Vec<usize> = wanted.iter().map(|one| one.0).collect();
        let mut found = vec![Points::default(); wanted.len()];
        chain.glance(&places, &mut |time_ms, row| {
            for (points, &value) in found.iter_mut().zip(row) {
                if !column::is_absent(value) {
                    points.push(time_ms, value);
                }
            }
        });
        let mut read = 0;
        for (mut points, (_, number)) in found.into_iter().zip(wanted) {
            read += points.len() as u64;
            if points.is_empty() {
                continue;
            }
            let series = self.heads.entry((number, host)).or_default();
            if !self.wanted.index_only {
                series.times.append(&mut points.times);
                series.values.append(&mut points.values);
            }
        }
        read
    }

    fn read_run(&mut self, host: HostKey, run: &Run) -> u64 {
        let (first, last) = run.span();
        if first > self.wanted.to_ms || last < self.wanted.from_ms {
            return 0;
        }
        let is_within = first >= self.wanted.from_ms && last <= self.wanted.to_ms;
        let columns = self.columns_of(&run.schema);
        let mut read = 0;
        for &(column, number) in columns.iter() {
            if !self.is_pair(number, host) {
                continue;
            }
            let rows = self.rows.min(HEAD_ROWS);
            let new = || Points::with_capacity(rows);
            let points = self.heads.entry((number, host)).or_insert_with(new);
            if self.wanted.index_only {
                read += 1;
                continue;
            }
            let before = points.len();
            if is_within {
                run.column(column as usize, points);
            } else {
                self.scratch.clear();
                run.column(column as usize, &mut self.scratch);
                points.extend_within(&self.scratch, self.wanted.from_ms, self.wanted.to_ms);
            }
            read += points.len() - before;
        }
        read as u64
    }

    fn is_pair(&self, number: u32, host: HostKey) -> bool {
        let text = self.found.texts.get(number as usize);
        text.is_some_and(|text| (self.wanted.pair)(number as usize, text, host))
    }

    fn columns_of(&mut self, schema: &Arc<Schema>) -> Columns {
        if let Some((_, columns)) = self.columns.get(&Arc::as_ptr(schema)) {
            return Arc::clone(columns);
        }
        let number = |&(id, column): &(TextId, u32)| Some((column, *self.ids.get(&id)?));
        let columns: Columns = if self.ids.len() * 8 < schema.order().len() {
            let column =
                |(&id, &number): (&TextId, &u32)| Some((schema.column(id)? as u32, number));
            self.ids.iter().filter_map(column).collect()
        } else {
            schema.order().iter().filter_map(number).collect()
        };
        let entry = (Arc::clone(schema), Arc::clone(&columns));
        self.columns.insert(Arc::as_ptr(schema), entry);
        columns
    }

    /// Slow, for each host is decoded whole; they go with time.
    fn read_segments(&mut self) -> Result<(), ReadError> {
        let hosts = match &self.wanted.hosts {
            Some(hosts) => hosts.clone(),
            None => self.engine.hosts(),
        };
        let (from_ms, to_ms) = (self.wanted.from_ms, self.wanted.to_ms);
        for host in hosts {
            let engine = self.engine;
            let known = RefCell::new(&mut *self);
            let want = |series: &str| known.borrow_mut().number(series).is_some();
            let answer = legacy::range(engine, host, from_ms, to_ms, &want)?;
            self.found.lacking.pages += answer.damaged;
            for one in answer.series {
                let Some(number) = self.number(&one.series) else {
                    continue;
                };
                if !self.is_pair(number, host) {
                    continue;
                }
                (self.wanted.charge)(one.points.len() as u64)?;
                let points = self.found.series.entry((number, host)).or_default();
                if !self.wanted.index_only {
                    one.points
                        .iter()
                        .for_each(|&(time_ms, value)| points.push(time_ms, value));
                }
            }
        }
        Ok(())
    }

    fn read_block(&mut self, block: &Block) -> Result<(), ReadError> {
        // Whether it may go on at all: a year has many blocks in which nothing is found.
        (self.wanted.charge)(0)?;
        let pages = self.find_pages(block)?;
        let places: Vec<Place> = pages.iter().map(|page| page.1).collect();
        block.pages(&places, &mut |index, body| {
            let page = body.and_then(Page::parse);
            match (page, pages.get(index)) {
                (Some(page), Some(&(number, place))) if self.is_text(number, page.text) => {
                    self.read_page(number, page, block, place)
                }
                (_, found) => {
                    if let Some((_, place)) = found {
                        block.note_damage(place.offset, NOT_READABLE);
                    }
                    self.found.lacking.pages += 1;
                    Ok(())
                }
            }
        })
    }

    /// Number of the text and place of each page that may hold what is wanted.
    fn find_pages(&mut self, block: &Block) -> Result<Vec<(u32, Place)>, ReadError> {
        let wanted = self.wanted;
        let hosts = match &wanted.hosts {
            Some(hosts) => match (hosts.first(), hosts.last()) {
                (Some(&first), Some(&last)) => (first, last),
                _ => return Ok(Vec::new()),
            },
            None => (HostKey::MIN, HostKey::MAX),
        };
        let mut pages = Vec::new();
        let mut damaged = 0;
        let mut walk = |from: &str, goes_on: &dyn Fn(&str) -> bool| {
            block.directory(from, &mut |text, found| {
                if !goes_on(text) {
                    return ControlFlow::Break(());
                }
                if found.extent.may_hold(hosts, wanted.from_ms, wanted.to_ms)
                    && let Some(number) = self.number(text)
                {
                    pages.push((number, found.place));
                }
                ControlFlow::Continue(())
            })
        };
        match &wanted.metrics {
            None => damaged += walk("", &|_| true)?,
            Some(metrics) => {
                for metric in metrics {
                    // Bare, and then with labels: other names may lie between the two.
                    damaged += walk(metric, &|text| text == metric)?;
                    let labelled = format!("{metric}{{");
                    damaged += walk(&labelled, &|text| metric_of(text) == metric)?;
                }
            }
        }
        self.found.lacking.pages += damaged;
        Ok(pages)
    }

    fn read_page(
        &mut self,
        number: u32,
        page: Page<'_>,
        block: &Block,
        place: Place,
    ) -> Result<(), ReadError> {
        let resolution_ms = block.resolution_ms();
        let (from_ms, to_ms) = (self.wanted.from_ms, self.wanted.to_ms);
        let mut read = 0;
        for (host, bytes) in page {
            let is_wanted = match &self.wanted.hosts {
                Some(hosts) => hosts.binary_search(&host).is_ok(),
                None => true,
            };
            if !is_wanted {
                continue;
            }
            let (aggregate, bytes) = match (resolution_ms, bytes.split_first()) {
                (0, _) | (_, None) => (0, bytes),
                (_, Some((&aggregate, rest))) => (usize::from(aggregate), rest),
            };
            let Some(extent) = chunk::extent(page.grid, bytes) else {
                block.note_damage(place.offset, NOT_READABLE);
                self.found.lacking.pages += 1;
                continue;
            };
            if extent.start_ms > to_ms.saturating_add_unsigned(resolution_ms)
                || extent.end_ms < from_ms
                || !self.is_pair(number, host)
            {
                continue;
            }
            // What is there and no more: it is charged only when it was read.
            let rows = if self.wanted.index_only {
                0
            } else {
                self.rows.min(extent.rows)
            };
            let new = || Points::with_capacity(rows);
            let series = self.found.series.entry((number, host)).or_insert_with(new);
            if self.wanted.index_only {
                read += 1;
                continue;
            }
            let is_needed = |rolled: Rolled| rolled.answer.needs(aggregate);
            if resolution_ms > 0 && !self.wanted.rollups.is_some_and(is_needed) {
                continue;
            }
            let points = if resolution_ms == 0 {
                series
            } else {
                let lanes = self
                    .rolled
                    .entry((number, host, resolution_ms))
                    .or_default();
                match lanes.get_mut(aggregate) {
                    Some(lane) => lane,
                    None => continue,
                }
            };
            let before = points.len();
            let is_within = extent.start_ms >= from_ms && extent.end_ms <= to_ms;
            let decoded = if is_within || resolution_ms > 0 {
                chunk::decode(page.grid, bytes, points)
            } else {
                self.scratch.clear();
                let decoded = chunk::decode(page.grid, bytes, &mut self.scratch);
                points.extend_within(&self.scratch, from_ms, to_ms);
                decoded
            };
            if decoded.is_none() {
                block.note_damage(place.offset, NOT_READABLE);
                self.found.lacking.pages += 1;
                continue;
            }
            read += points.len() - before;
        }
        (self.wanted.charge)(read as u64)
    }

    fn is_text(&self, number: u32, text: &str) -> bool {
        self.found
            .texts
            .get(number as usize)
            .is_some_and(|known| **known == *text)
    }

    fn finish(mut self) -> Found {
        for (key, mut newer) in self.heads.drain() {
            match self.found.series.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(newer);
                }
                Entry::Occupied(mut place) => {
                    place.get_mut().times.append(&mut newer.times);
                    place.get_mut().values.append(&mut newer.values);
                }
            }
        }
        if self.wanted.index_only {
            return self.found;
        }
        self.put_rolled_first();
        let (from_ms, to_ms) = (self.wanted.from_ms, self.wanted.to_ms);
        self.found.series.retain(|_, points| {
            points.settle();
            points.trim(from_ms, to_ms);
            !points.is_empty()
        });
        self.weigh();
        self.found
    }
}
