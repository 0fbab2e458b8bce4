//! Which samples of a source are new.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::{Accepted, ForeignReport, ForeignSeries, kept};
use crate::chunk::Points;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::head::foreign::Foreign;
use crate::head::texts::{TextId, metric_of};
use crate::reading::{self, ReadError, Wanted};

/// Samples that memory cannot judge are looked up together if they lie within so much time, which is
/// the length of a chunk.
const WINDOW_MS: i64 = 3_600_000;

/// Series that are looked up together at most: each has room for an hour of points.
const SLICE: usize = 4_000;

/// A request that was judged.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// What is new.
    pub(super) accepted: Vec<Accepted>,
    pub(super) report: ForeignReport,
    /// What blocks were asked about, with the value that is stored once `accepted` is.
    pub(super) looked_up: Vec<(TextId, i64, f64)>,
}

/// A sample in doubt.
#[derive(Debug, Clone, Copy)]
struct Doubtful {
    /// The place of its series in [`Judged::accepted`].
    index: usize,
    time_ms: i64,
    value: f64,
}

/// A request under judgement.
#[derive(Debug, Default)]
struct Judging {
    judged: Judged,
    /// The place of each series in the request.
    places: Vec<usize>,
    /// The place in `accepted` of each series.
    known: HashMap<TextId, usize>,
    /// Samples that memory cannot judge, by window, series after series.
    doubtful: BTreeMap<i64, Vec<Doubtful>>,
}

/// Judges the samples of a request: what is new, and what is not.
pub(super) fn judge(
    engine: &Engine,
    source: HostKey,
    series: &[ForeignSeries<'_>],
) -> Result<Judged, SeriesError> {
    let mut judging = Judging::default();
    let now_ms = engine.options.clock.now_ms();
    engine.heads.with_foreign(source, now_ms, |foreign, keep| {
        let most = keep.limits.of_source(source);
        for (place, one) in series.iter().enumerate() {
            match foreign.admit(one.text, now_ms, most, keep) {
                Ok((id, text)) => judging.gather(place, id, text, one.points),
                Err(refusal) => judging.judged.report.refused.push((place, refusal)),
            }
        }
    });
    let refused = judging.judged.report.refused.len();
    engine.heads.count_refused(refused as u64);
    judging.find_ends(engine, source, now_ms)?;
    engine
        .heads
        .with_foreign(source, now_ms, |foreign, _| judging.sift(foreign));
    judging.look_up(engine, source)?;
    let mut judged = judging.judged;
    judged.accepted.retain(|one| !one.points.is_empty());
    Ok(judged)
}

/// Keeps what was looked up for a request that goes on when it comes again.
pub(super) fn keep_looked_up(
    engine: &Engine,
    source: HostKey,
    samples: &[(TextId, i64, f64)],
    goes_on: bool,
) {
    let now_ms = engine.options.clock.now_ms();
    engine.heads.with_foreign(source, now_ms, |foreign, _| {
        foreign.keep_looked_up(samples, goes_on);
    });
}

impl Judging {
    fn gather(&mut self, place: usize, id: TextId, text: Arc<str>, points: &[(i64, f64)]) {
        let accepted = &mut self.judged.accepted;
        let index = *self.known.entry(id).or_insert_with(|| {
            accepted.push(Accepted {
                id,
                text,
                points: Vec::with_capacity(points.len()),
            });
            self.places.push(place);
            accepted.len() - 1
        });
        if let Some(one) = accepted.get_mut(index) {
            let points = points
                .iter()
                .map(|&(time_ms, value)| (time_ms, kept(value)));
            one.points.extend(points);
        }
    }

    /// Asks the blocks when the series end that are new to this process. What lies before the oldest
    /// sample of the request stays in doubt: it is not looked at.
    fn find_ends(&self, engine: &Engine, source: HostKey, now_ms: i64) -> Result<(), SeriesError> {
        let accepted = &self.judged.accepted;
        let unsure: Vec<&Accepted> = engine.heads.with_foreign(source, now_ms, |foreign, _| {
            let is_unsure = |one: &&Accepted| foreign.last(one.id).1.is_none();
            accepted.iter().filter(is_unsure).collect()
        });
        let times = unsure.iter().flat_map(|one| &one.points);
        let Some(oldest_ms) = times.map(|point| point.0).min() else {
            return Ok(());
        };
        let texts: HashSet<&str> = unsure.iter().map(|one| &*one.text).collect();
        let is_wanted = |text: &str| texts.contains(text);
        let wanted = wanted(source, &texts, &is_wanted, (oldest_ms, i64::MAX), &|_| {
            Ok(())
        });
        let ends = reading::ends(engine, &wanted).map_err(|error| error.of_series(engine))?;
        engine.heads.with_foreign(source, now_ms, |foreign, _| {
            for one in unsure {
                let end_ms = ends.get(&one.text).copied();
                foreign.set_horizon(one.id, end_ms.unwrap_or(oldest_ms.saturating_sub(1)));
            }
        });
        Ok(())
    }

    /// Leaves what is newer than all of its series, and notes what memory cannot judge.
    fn sift(&mut self, foreign: &Foreign) {
        let Self {
            judged,
            places,
            doubtful,
            ..
        } = self;
        let report = &mut judged.report;
        for (index, one) in judged.accepted.iter_mut().enumerate() {
            let (last, horizon_ms) = foreign.last(one.id);
            let place = places.get(index).copied();
            // Stable: of two values of one time the first stays.
            one.points.sort_by_key(|point| point.0);
            let mut before: Option<(i64, f64)> = None;
            one.points.retain(|&(time_ms, value)| {
                let is_new = horizon_ms.is_some_and(|horizon_ms| time_ms > horizon_ms)
                    && last.is_none_or(|last| time_ms > last.0);
                let known = before.filter(|_| is_new).or(last);
                let known = known.filter(|known| known.0 == time_ms);
                let looked_up = || foreign.looked_up(one.id, time_ms);
                if let Some(stored) = known.map(|known| known.1).or_else(looked_up) {
                    judge_same_time(report, place, stored, value);
                    return false;
                }
                before = Some((time_ms, value));
                if !is_new {
                    let window = doubtful.entry(time_ms.div_euclid(WINDOW_MS)).or_default();
                    window.push(Doubtful {
                        index,
                        time_ms,
                        value,
                    });
                }
                is_new
            });
        }
    }

    /// Asks the head and the blocks about the samples in doubt; those that are new are put back. What
    /// would read more than one request may is left for when it comes again.
    fn look_up(&mut self, engine: &Engine, source: HostKey) -> Result<(), SeriesError> {
        let limit = engine.options.lookup_points;
        let left = Cell::new(limit);
        let mut windows: VecDeque<Vec<Doubtful>> =
            std::mem::take(&mut self.doubtful).into_values().collect();
        while let Some(window) = windows.pop_front() {
            let series = series_of(&window);
            if series > SLICE {
                halve(window, &mut windows);
                continue;
            }
            let is_first = left.get() == limit;
            // The first series is always looked up, so that a request comes further each time.
            let may_pass = series == 1 && is_first;
            match self.stored(engine, source, &window, (&left, may_pass)) {
                Ok(stored) => self.settle(window, &stored),
                Err(ReadError::Series(SeriesError::TooMuch { .. })) if is_first => {
                    left.set(limit);
                    halve(window, &mut windows);
                }
                Err(ReadError::Series(SeriesError::TooMuch { .. })) => {
                    let rest = windows.iter().map(Vec::len).sum::<usize>();
                    self.judged.report.postponed = (window.len() + rest) as u64;
                    break;
                }
                Err(error) => return Err(error.of_series(engine)),
            }
        }
        for one in &mut self.judged.accepted {
            if !one.points.is_sorted_by_key(|point| point.0) {
                one.points.sort_by_key(|point| point.0);
            }
        }
        Ok(())
    }

    /// Judges samples in doubt by what is stored.
    fn settle(&mut self, window: Vec<Doubtful>, stored: &HashMap<Arc<str>, Points>) {
        let judged = &mut self.judged;
        for Doubtful {
            index,
            time_ms,
            value,
        } in window
        {
            let Some(one) = judged.accepted.get_mut(index) else {
                continue;
            };
            let found = stored.get(&*one.text).and_then(|points| {
                let place = points.times.binary_search(&time_ms).ok()?;
                points.values.get(place).copied()
            });
            // Or it is in this request for the second time.
            let before = one.points.last().filter(|before| before.0 == time_ms);
            let found = found.or(before.map(|before| before.1));
            match found {
                Some(stored) => {
                    let place = self.places.get(index).copied();
                    judge_same_time(&mut judged.report, place, stored, value);
                }
                None => one.points.push((time_ms, value)),
            }
            let stays = (one.id, time_ms, found.unwrap_or(value));
            judged.looked_up.push(stays);
        }
    }

    /// What is stored of the series of a window, within its time. `left` is charged; what is more is an
    /// error unless it may pass.
    fn stored(
        &self,
        engine: &Engine,
        source: HostKey,
        window: &[Doubtful],
        (left, may_pass): (&Cell<u64>, bool),
    ) -> Result<HashMap<Arc<str>, Points>, ReadError> {
        let text = |one: &Doubtful| Some(&*self.judged.accepted.get(one.index)?.text);
        let texts: HashSet<&str> = window.iter().filter_map(text).collect();
        let is_wanted = |text: &str| texts.contains(text);
        let times = || window.iter().map(|one| one.time_ms);
        let range = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let charge = |points: u64| {
            let rest = left.get().checked_sub(points);
            left.set(rest.unwrap_or(0));
            if may_pass || rest.is_some() {
                return Ok(());
            }
            let (what, limit) = ("points looked up", engine.options.lookup_points);
            Err(ReadError::Series(SeriesError::TooMuch { what, limit }))
        };
        let wanted = wanted(source, &texts, &is_wanted, range, &charge);
        let found = reading::read(engine, &wanted)?;
        let points = found
            .series
            .into_iter()
            .filter_map(|((number, _), points)| {
                let text = found.texts.get(number as usize)?;
                Some((Arc::clone(text), points))
            });
        Ok(points.collect())
    }
}

/// How many series a window has, whose samples lie series after series.
fn series_of(window: &[Doubtful]) -> usize {
    window
        .chunk_by(|left, right| left.index == right.index)
        .count()
}

/// Puts a window back in two halves, each with whole series.
fn halve(mut window: Vec<Doubtful>, windows: &mut VecDeque<Vec<Doubtful>>) {
    let half = series_of(&window) / 2;
    let series = window.chunk_by(|left, right| left.index == right.index);
    let middle = series.take(half).map(<[_]>::len).sum();
    let second = window.split_off(middle);
    windows.push_front(second);
    windows.push_front(window);
}

/// What is wanted of some series of a source.
fn wanted<'w>(
    source: HostKey,
    texts: &HashSet<&str>,
    text: &'w dyn Fn(&str) -> bool,
    (from_ms, to_ms): (i64, i64),
    charge: &'w dyn Fn(u64) -> Result<(), ReadError>,
) -> Wanted<'w> {
    let mut metrics: Vec<String> = texts.iter().map(|text| metric_of(text).into()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    Wanted {
        from_ms,
        to_ms,
        hosts: Some(vec![source]),
        metrics: Some(metrics),
        text,
        pair: &|_, _, _| true,
        rollups: None,
        segments: false,
        index_only: false,
        charge,
    }
}

/// Counts a sample at a time that has a value already.
fn judge_same_time(report: &mut ForeignReport, place: Option<usize>, stored: f64, value: f64) {
    if stored.to_bits() == value.to_bits() {
        report.repeated += 1;
    } else {
        report.contradicted += 1;
        report.first_contradicted = report.first_contradicted.or(place);
    }
}
