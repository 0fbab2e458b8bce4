//! Which samples of a source are new.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Accepted, ForeignReport, ForeignSeries, kept};
use crate::chunk::Points;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::head::foreign::Foreign;
use crate::head::texts::{TextId, metric_of};
use crate::reading::{self, Wanted};

/// Samples that memory cannot judge are looked up together if they lie within so much time, which is
/// the length of a chunk.
const WINDOW_MS: i64 = 3_600_000;

/// A request under judgement.
struct Judging {
    accepted: Vec<Accepted>,
    /// The place of each series in the request.
    places: Vec<usize>,
    /// The place in `accepted` of each series.
    known: HashMap<TextId, usize>,
    /// Samples that memory cannot judge, by window: place in `accepted`, time and value.
    doubtful: BTreeMap<i64, Vec<(usize, i64, f64)>>,
    /// Series, by place in `accepted`, of which blocks may hold newer samples than memory knows.
    unsure: HashSet<usize>,
    report: ForeignReport,
}

/// Judges the samples of a request: what is new, and what is not.
pub(super) fn judge(
    engine: &Engine,
    source: HostKey,
    series: &[ForeignSeries<'_>],
) -> Result<(Vec<Accepted>, ForeignReport), SeriesError> {
    let mut judging = Judging {
        accepted: Vec::with_capacity(series.len()),
        places: Vec::with_capacity(series.len()),
        known: HashMap::with_capacity(series.len()),
        doubtful: BTreeMap::new(),
        unsure: HashSet::new(),
        report: ForeignReport::default(),
    };
    let now_ms = engine.options.clock.now_ms();
    engine.heads.with_foreign(source, now_ms, |foreign, keep| {
        for (place, one) in series.iter().enumerate() {
            match foreign.admit(one.text, now_ms, keep) {
                Ok((id, text)) => judging.gather(place, id, text, one.points),
                Err(refusal) => judging.report.refused.push((place, refusal)),
            }
        }
        judging.sift(foreign);
    });
    engine
        .heads
        .count_refused(judging.report.refused.len() as u64);
    judging.look_up(engine, source)?;
    judging.accepted.retain(|one| !one.points.is_empty());
    Ok((judging.accepted, judging.report))
}

impl Judging {
    fn gather(&mut self, place: usize, id: TextId, text: Arc<str>, points: &[(i64, f64)]) {
        let index = *self.known.entry(id).or_insert_with(|| {
            self.accepted.push(Accepted {
                id,
                text,
                points: Vec::with_capacity(points.len()),
            });
            self.places.push(place);
            self.accepted.len() - 1
        });
        if let Some(one) = self.accepted.get_mut(index) {
            let points = points
                .iter()
                .map(|&(time_ms, value)| (time_ms, kept(value)));
            one.points.extend(points);
        }
    }

    /// Leaves what is newer than all of its series, and notes what memory cannot judge.
    fn sift(&mut self, foreign: &Foreign) {
        let Self {
            accepted,
            places,
            doubtful,
            unsure,
            report,
            ..
        } = self;
        for (index, one) in accepted.iter_mut().enumerate() {
            let (last, sure) = foreign.last(one.id);
            if !sure {
                unsure.insert(index);
            }
            // Stable: of two values of one time the first stays.
            one.points.sort_by_key(|point| point.0);
            let mut before: Option<(i64, f64)> = None;
            one.points.retain(|&(time_ms, value)| {
                let is_new = sure && last.is_none_or(|last| time_ms > last.0);
                let known = before.filter(|_| is_new).or(last);
                if let Some((_, stored)) = known.filter(|known| known.0 == time_ms) {
                    let place = places.get(index).copied();
                    judge_same_time(report, place, stored, value);
                    return false;
                }
                before = Some((time_ms, value));
                if !is_new {
                    let window = doubtful.entry(time_ms.div_euclid(WINDOW_MS)).or_default();
                    window.push((index, time_ms, value));
                }
                is_new
            });
        }
    }

    /// Asks the head and the blocks about the samples in doubt; those that are new are put back.
    fn look_up(&mut self, engine: &Engine, source: HostKey) -> Result<(), SeriesError> {
        for window in std::mem::take(&mut self.doubtful).into_values() {
            let stored = self.stored(engine, source, &window)?;
            self.note_newest(engine, source, &window, &stored);
            for (index, time_ms, value) in window {
                let Some(one) = self.accepted.get_mut(index) else {
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
                        judge_same_time(&mut self.report, place, stored, value);
                    }
                    None => one.points.push((time_ms, value)),
                }
            }
        }
        for one in &mut self.accepted {
            if !one.points.is_sorted_by_key(|point| point.0) {
                one.points.sort_by_key(|point| point.0);
            }
        }
        Ok(())
    }

    /// Memory knows from now on how far the series of a window go.
    fn note_newest(
        &self,
        engine: &Engine,
        source: HostKey,
        window: &[(usize, i64, f64)],
        stored: &HashMap<Arc<str>, Points>,
    ) {
        let now_ms = engine.options.clock.now_ms();
        engine.heads.with_foreign(source, now_ms, |foreign, _| {
            let unsure = window.iter().filter(|one| self.unsure.contains(&one.0));
            for one in unsure.filter_map(|one| self.accepted.get(one.0)) {
                let newest = stored
                    .get(&*one.text)
                    .and_then(|points| points.iter().last());
                foreign.set_last(one.id, newest);
            }
        });
    }

    fn stored(
        &self,
        engine: &Engine,
        source: HostKey,
        window: &[(usize, i64, f64)],
    ) -> Result<HashMap<Arc<str>, Points>, SeriesError> {
        let of = |&(index, ..): &(usize, i64, f64)| Some(&*self.accepted.get(index)?.text);
        let texts: HashSet<&str> = window.iter().filter_map(of).collect();
        let mut metrics: Vec<String> = texts.iter().map(|text| metric_of(text).into()).collect();
        metrics.sort_unstable();
        metrics.dedup();
        let times = || window.iter().map(|one| one.1);
        let wanted = Wanted {
            from_ms: times().min().unwrap_or(0),
            to_ms: if window.iter().any(|one| self.unsure.contains(&one.0)) {
                i64::MAX
            } else {
                times().max().unwrap_or(0)
            },
            hosts: Some(vec![source]),
            metrics: Some(metrics),
            text: &|text| texts.contains(text),
            pair: &|_, _, _| true,
            rollups: None,
            segments: false,
            index_only: false,
            // A window has an hour, what is after it is read once, and a request has few series.
            charge: &|_| Ok(()),
        };
        let found = reading::read(engine, &wanted).map_err(|error| error.of_series(engine))?;
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

/// Counts a sample at a time that has a value already.
fn judge_same_time(report: &mut ForeignReport, place: Option<usize>, stored: f64, value: f64) {
    if stored.to_bits() == value.to_bits() {
        report.repeated += 1;
    } else {
        report.contradicted += 1;
        report.first_contradicted = report.first_contradicted.or(place);
    }
}
