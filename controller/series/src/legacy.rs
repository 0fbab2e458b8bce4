//! Segments of the first format: frames grouped by host, hour by hour. Frames in, points out.
//!
//! They are no longer written; they are read until retention removes them.
//!
//! Only the chains that reach into the range are decoded, each up to its last wanted frame. What
//! cannot be decoded is counted and left out; the rest is served.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use xiezhi_protocol::codec::{Decoder, SeriesName};

use crate::engine::{Engine, count};
use crate::error::SeriesError;
use crate::frame::{HostKey, RangeAnswer, SeriesPoints, StoredFrame};
use crate::gather::{Gathering, Held, chains};
use crate::options::QueryLimits;

/// What segments hold of a host's wanted series.
pub(crate) fn range(
    engine: &Engine,
    host: HostKey,
    from_ms: i64,
    to_ms: i64,
    want: &dyn Fn(&str) -> bool,
) -> Result<RangeAnswer, SeriesError> {
    let limits = engine.options.limits;
    let wanted = |held: &Held| (from_ms..=to_ms).contains(&held.batch.time_ms);
    let mut gathering = Gathering::new(engine, host, limits);
    gathering.read_range(from_ms, to_ms)?;
    gathering.read_beginnings(&wanted)?;
    let mut points = Points::new(want, limits.max_points, gathering.frames(), &wanted);
    let undecodable = decode(&gathering, &wanted, &mut |held, decoder| {
        points.add(held, decoder)
    })?;
    count(&engine.counters.undecodable, undecodable);
    Ok(RangeAnswer {
        series: points.finish(),
        frames: gathering.frames().len() as u64,
        undecodable,
        damaged: gathering.damaged,
        lacking: Vec::new(),
    })
}

/// The state after a frame, as a key frame: what a log of the first format needs before its first
/// frames, whose chains began in a segment.
pub(crate) fn state_after(
    engine: &Engine,
    host: HostKey,
    epoch: u64,
    seq: u64,
) -> Result<Option<Vec<u8>>, SeriesError> {
    let wanted = |held: &Held| (held.epoch, held.batch.seq) == (epoch, seq);
    let mut gathering = Gathering::new(engine, host, engine.options.limits);
    gathering.read_frame(epoch, seq)?;
    gathering.read_beginnings(&wanted)?;
    let mut state = None;
    decode(&gathering, &wanted, &mut |_, decoder| {
        let mut bytes = Vec::new();
        state = decoder.encode_key(&mut bytes).map(|_| bytes);
        Ok(())
    })?;
    Ok(state)
}

/// Every frame of a host in segments of the first format.
pub(crate) fn frames(engine: &Engine, host: HostKey) -> Result<Vec<StoredFrame>, SeriesError> {
    let limits = QueryLimits {
        max_frames: u64::MAX,
        ..engine.options.limits
    };
    let mut gathering = Gathering::new(engine, host, limits);
    gathering.read_range(i64::MIN, i64::MAX)?;
    let stored = |held: &Held| StoredFrame {
        epoch: held.epoch,
        batch: held.batch,
        key: held.key,
        received_ms: held.received_ms,
    };
    Ok(gathering.frames().iter().map(stored).collect())
}

/// Decodes what is wanted and hands it over; returns how many wanted frames were not decodable.
fn decode(
    gathering: &Gathering<'_>,
    wanted: &dyn Fn(&Held) -> bool,
    take: &mut dyn FnMut(&Held, &Decoder) -> Result<(), SeriesError>,
) -> Result<u64, SeriesError> {
    let mut names = Names::default();
    let mut undecodable = 0;
    for range in chains(gathering.frames()) {
        let chain = gathering.frames().get(range).unwrap_or_default();
        let Some(last) = chain.iter().rposition(wanted) else {
            continue;
        };
        let mut decoder = Decoder::new();
        let mut whole = true;
        for held in chain.iter().take(last + 1) {
            whole = whole
                && decoder
                    .decode(gathering.bytes(held), &mut |name| names.intern(name))
                    .is_ok_and(|info| info.batch.time_ms == held.batch.time_ms);
            names.check(gathering.limits().max_bytes)?;
            if !wanted(held) {
                continue;
            }
            if whole {
                take(held, &decoder)?;
            } else {
                undecodable += 1;
            }
        }
    }
    Ok(undecodable)
}

/// One text per name, however many chains repeat it.
#[derive(Default)]
struct Names {
    known: HashSet<SeriesName>,
    bytes: u64,
}

impl Names {
    fn intern(&mut self, name: &str) -> SeriesName {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let name = SeriesName::new(name);
        self.bytes += name.len() as u64 + 64;
        self.known.insert(name.clone());
        name
    }

    /// A host that names new series in every frame must not fill the memory of who looks at it.
    fn check(&self, limit: u64) -> Result<(), SeriesError> {
        let what = "bytes of series names";
        if self.bytes > limit {
            Err(SeriesError::TooMuch { what, limit })
        } else {
            Ok(())
        }
    }
}

/// Points by series, as they come out of the chains.
struct Points<'q> {
    want: &'q dyn Fn(&str) -> bool,
    left: u64,
    limit: u64,
    /// Order of arrival by (epoch, seq); empty if time order already decides.
    arrival: HashMap<(u64, u64), u32>,
    series: Vec<(Arc<str>, Vec<Point>)>,
    by_name: HashMap<Arc<str>, Option<usize>>,
    /// The series of each column of the chain being decoded.
    columns: Vec<Option<usize>>,
}

#[derive(Clone, Copy)]
struct Point {
    time_ms: i64,
    arrival: u32,
    value: f64,
}

impl<'q> Points<'q> {
    fn new(
        want: &'q dyn Fn(&str) -> bool,
        limit: u64,
        frames: &[Held],
        wanted: &dyn Fn(&Held) -> bool,
    ) -> Self {
        let mut frames: Vec<&Held> = frames.iter().filter(|held| wanted(held)).collect();
        let mut arrival = HashMap::new();
        let is_before = |pair: &[&Held]| match pair {
            [first, second] => first.batch.time_ms < second.batch.time_ms,
            _ => true,
        };
        if !frames.windows(2).all(is_before) {
            frames.sort_by_key(|held| (held.received_ms, held.epoch, held.batch.seq));
            let keys = frames.iter().map(|held| (held.epoch, held.batch.seq));
            arrival = keys.zip(0u32..).collect();
        }
        Self {
            want,
            left: limit,
            limit,
            arrival,
            series: Vec::new(),
            by_name: HashMap::new(),
            columns: Vec::new(),
        }
    }

    fn add(&mut self, held: &Held, decoder: &Decoder) -> Result<(), SeriesError> {
        self.map_columns(decoder);
        let arrival = self
            .arrival
            .get(&(held.epoch, held.batch.seq))
            .copied()
            .unwrap_or(0);
        for (column, &index) in decoder.columns().iter().zip(&self.columns) {
            let (Some(index), Some(value)) = (index, column.value()) else {
                continue;
            };
            let Some((_, points)) = self.series.get_mut(index) else {
                continue;
            };
            self.left = self.left.checked_sub(1).ok_or(SeriesError::TooMuch {
                what: "points",
                limit: self.limit,
            })?;
            points.push(Point {
                time_ms: held.batch.time_ms,
                arrival,
                value,
            });
        }
        Ok(())
    }

    /// Within a chain columns keep their place and new ones come at the end, so usually this
    /// compares one pointer per column.
    fn map_columns(&mut self, decoder: &Decoder) {
        let columns = decoder.columns();
        let is_same = |(index, name): (&Option<usize>, &Arc<str>)| match index {
            Some(index) => self
                .series
                .get(*index)
                .is_some_and(|(known, _)| Arc::ptr_eq(known, name)),
            None => matches!(self.by_name.get(name), Some(None)),
        };
        let names = columns.iter().map(|column| column.name.text());
        if self.columns.len() == columns.len() && self.columns.iter().zip(names).all(is_same) {
            return;
        }
        self.columns = columns
            .iter()
            .map(|column| self.slot(column.name.text()))
            .collect();
    }

    fn slot(&mut self, name: &Arc<str>) -> Option<usize> {
        if let Some(&known) = self.by_name.get(name) {
            return known;
        }
        let slot = (self.want)(name).then(|| {
            self.series.push((Arc::clone(name), Vec::new()));
            self.series.len() - 1
        });
        self.by_name.insert(Arc::clone(name), slot);
        slot
    }

    fn finish(self) -> Vec<SeriesPoints> {
        let by_arrival = !self.arrival.is_empty();
        let mut answer: Vec<SeriesPoints> = self
            .series
            .into_iter()
            .filter(|(_, points)| !points.is_empty())
            .map(|(series, mut points)| {
                if by_arrival {
                    points.sort_by_key(|point| (point.time_ms, point.arrival));
                }
                points.dedup_by_key(|point| point.time_ms);
                let points = points
                    .iter()
                    .map(|point| (point.time_ms, point.value))
                    .collect();
                SeriesPoints { series, points }
            })
            .collect();
        answer.sort_by(|left, right| left.series.cmp(&right.series));
        answer
    }
}
