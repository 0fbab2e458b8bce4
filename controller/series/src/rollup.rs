//! Rollups: a day of samples in steps of five minutes and of an hour.
//!
//! A counter keeps its last value, how long before the step's end that was, and how much it grew within
//! the step, resets taken out; anything else keeps least, greatest and sum. Both keep the number of samples.
//! What a series is, its name tells (`_total`, `_count`, `_sum`, `_bucket`); where its samples of the day
//! tell otherwise, all of it is kept. A row carries the time at which its step ends. Sums and growths are
//! rounded to a millionth, so that they stay short decimals.
//!
//! They are made when a block has grown to a day, and at the latest before retention removes the
//! samples. A rollup is a block whose chunks begin with the number of their aggregate.

mod answer;
mod kept;

use std::iter;
use std::sync::Arc;

pub(crate) use answer::{Answer, Rows};
use kept::Kept;

use crate::block::{self, Block, BlockWriter};
use crate::chunk::Points;
use crate::column::is_stale;
use crate::cut::open_own;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::head::texts::metric_of;
use crate::merge;
use crate::output;
use crate::refused;

/// Milliseconds of a step of the fine rollup.
pub(crate) const FINE_MS: u64 = 300_000;
/// Milliseconds of a step of the coarse one.
pub(crate) const COARSE_MS: u64 = 3_600_000;
/// Both.
pub(crate) const RESOLUTIONS: [u64; 2] = [FINE_MS, COARSE_MS];

/// Aggregates by number: last value and growth of a counter; least, greatest and sum of anything else;
/// number of samples; milliseconds from a counter's last sample to the step's end. Rollups of earlier
/// releases have no number of a counter's samples and no such distance, and go by names alone.
pub(crate) const AGGREGATES: usize = 7;

/// Makes the rollups of every block that is a day wide, but for those that wait to be read. Blocks that the
/// disk refuses to read are left to the next pass.
pub(crate) fn roll_up(engine: &Engine) -> Result<(), SeriesError> {
    let files = engine.files();
    let is_due =
        |block: &&Arc<Block>| merge::is_grown(block) && !files.unread.contains_key(&block.name);
    let mut outcome = Ok(());
    for block in files.blocks.values().filter(is_due) {
        match roll_up_block(engine, block) {
            Err(error) if refused::is_told_by(&error) => outcome = outcome.and(Err(error)),
            made => made?,
        }
    }
    outcome
}

/// Makes the rollups of a block that has none.
pub(crate) fn roll_up_block(engine: &Engine, block: &Arc<Block>) -> Result<(), SeriesError> {
    if block.samples() == 0 {
        return Ok(());
    }
    for resolution_ms in RESOLUTIONS {
        let files = engine.files();
        let before = files
            .rollups
            .range(..=(resolution_ms, block.first()))
            .next_back();
        let has_one = before.is_some_and(|(&(resolution, _), rollup)| {
            resolution == resolution_ms && rollup.last() >= block.last()
        });
        if !has_one {
            make(engine, block, resolution_ms)?;
        }
    }
    Ok(())
}

fn make(engine: &Engine, block: &Arc<Block>, resolution_ms: u64) -> Result<(), SeriesError> {
    let name = block::name(block.first(), block.last(), resolution_ms);
    let watch = engine.watch(iter::once(&*block.name))?;
    let written = write(engine, block, resolution_ms, &name);
    if let Err(error) = written.and_then(|()| engine.end_watch(watch)) {
        output::give_up(engine, &name);
        return Err(error);
    }
    output::put_in_place(engine, &name)?;
    engine
        .disk
        .sync()
        .map_err(engine.error("sync the folder of", &name))?;
    let rollup = open_own(engine, &name)?;
    tracing::info!(file = %name, bytes = rollup.bytes, "samples rolled up");
    engine.change_files(|files| {
        files.unread.remove(&name);
        files
            .rollups
            .insert((resolution_ms, block.first()), Arc::new(rollup))
    });
    Ok(())
}

fn write(
    engine: &Engine,
    block: &Arc<Block>,
    resolution_ms: u64,
    name: &str,
) -> Result<(), SeriesError> {
    let salt = crate::writer::random_salt().map_err(engine.error("create", name))?;
    let ids = (block.first(), block.last());
    let mut writer = BlockWriter::create(engine, name, ids, resolution_ms, salt)?;
    let mut lanes = Lanes::default();
    merge::each_series(
        engine,
        std::slice::from_ref(block),
        &mut |text, host, points| {
            points.settle();
            let kept = Kept::of(is_counter(text), points);
            lanes.fill(kept, points, resolution_ms as i64);
            for (number, lane) in lanes
                .0
                .iter()
                .enumerate()
                .filter(|(_, lane)| !lane.is_empty())
            {
                writer.add_aggregate(text, host, number as u8, lane)?;
            }
            Ok(())
        },
    )?;
    writer.widen(block.span());
    writer.finish()
}

/// Whether a series only grows, but for resets, by its metric's name.
pub(crate) fn is_counter(text: &str) -> bool {
    let name = metric_of(text);
    ["_total", "_count", "_sum", "_bucket"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Puts the samples of a counter behind its steps, as steps of the same length, so that a window in which
/// both lie has one distance between its values. The last step ends with its last sample.
pub(crate) fn add_counter(lanes: &mut [Points; AGGREGATES], samples: &Points, resolution_ms: u64) {
    let mut made = Lanes::default();
    made.fill(Kept::COUNTER, samples, resolution_ms as i64);
    let newest_ms = samples.times.last().copied().unwrap_or(i64::MIN);
    for (lane, made) in lanes.iter_mut().zip(&mut made.0) {
        if let Some(end_ms) = made.times.last_mut() {
            *end_ms = newest_ms.min(*end_ms);
        }
        lane.times.append(&mut made.times);
        lane.values.append(&mut made.values);
    }
}

/// The aggregates of one series, by number.
#[derive(Debug, Default)]
struct Lanes([Points; AGGREGATES]);

impl Lanes {
    fn fill(&mut self, kept: Kept, points: &Points, step_ms: i64) {
        self.0.iter_mut().for_each(Points::clear);
        let mut before: Option<(i64, f64)> = None;
        let mut step: Option<Step> = None;
        for (time_ms, value) in points.iter().filter(|&(_, value)| !is_stale(value)) {
            let end_ms = end_of(time_ms, step_ms);
            if let Some(done) = step.take_if(|step| step.end_ms != end_ms) {
                self.put(kept, &done);
            }
            step.get_or_insert_with(|| Step::new(end_ms)).add(
                time_ms,
                value,
                near_before(before, time_ms, step_ms),
            );
            before = Some((time_ms, value));
        }
        if let Some(done) = step {
            self.put(kept, &done);
        }
    }

    fn put(&mut self, kept: Kept, step: &Step) {
        let Kept { counter, gauge } = kept;
        let all = [
            (counter, step.last),
            (counter, rounded(step.increase)),
            (gauge, step.least),
            (gauge, step.greatest),
            (gauge, rounded(step.sum)),
            (true, f64::from(step.count)),
            (counter, (step.end_ms - step.last_ms) as f64),
        ];
        for (lane, (is_kept, value)) in self.0.iter_mut().zip(all) {
            if is_kept {
                lane.push(step.end_ms, value);
            }
        }
    }
}

/// The value before, if it is no more than a step older. What lies in a longer gap may be a backlog in
/// the block of another day: growth over the gap is the difference of two rows, and would be counted
/// twice if it were in the growth of this one as well.
fn near_before(before: Option<(i64, f64)>, time_ms: i64, step_ms: i64) -> Option<f64> {
    before
        .filter(|&(before_ms, _)| time_ms.saturating_sub(before_ms) <= step_ms)
        .map(|(_, value)| value)
}

/// When the step of a time ends: a sample at the very end belongs to it.
fn end_of(time_ms: i64, step_ms: i64) -> i64 {
    let steps = time_ms.div_euclid(step_ms) + i64::from(time_ms.rem_euclid(step_ms) != 0);
    steps.saturating_mul(step_ms)
}

fn rounded(value: f64) -> f64 {
    let scaled = value * 1e6;
    if scaled.abs() < 9e15 {
        scaled.round() / 1e6
    } else {
        value
    }
}

/// One step being summed up.
#[derive(Debug)]
struct Step {
    end_ms: i64,
    last_ms: i64,
    last: f64,
    increase: f64,
    least: f64,
    greatest: f64,
    sum: f64,
    count: u32,
}

impl Step {
    fn new(end_ms: i64) -> Self {
        Self {
            end_ms,
            last_ms: end_ms,
            last: 0.0,
            increase: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            sum: 0.0,
            count: 0,
        }
    }

    fn add(&mut self, time_ms: i64, value: f64, before: Option<f64>) {
        if let Some(before) = before {
            // A counter that went down began anew at zero.
            self.increase += if value < before {
                value
            } else {
                value - before
            };
        }
        self.last = value;
        self.last_ms = time_ms;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        self.sum += value;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rows: &[(i64, f64)]) -> Points {
        let mut points = Points::default();
        rows.iter()
            .for_each(|&(time_ms, value)| points.push(time_ms, value));
        points
    }

    #[test]
    fn counters_keep_growth_over_resets_and_gauges_their_extremes() {
        let rows = points(&[
            (60_000, 10.0),
            (300_000, 30.0),
            (300_001, 5.0),
            (600_000, 8.5),
        ]);
        let mut lanes = Lanes::default();
        lanes.fill(Kept::COUNTER, &rows, 300_000);
        assert_eq!(lanes.0[0], points(&[(300_000, 30.0), (600_000, 8.5)]));
        assert_eq!(lanes.0[1], points(&[(300_000, 20.0), (600_000, 8.5)]));
        assert!(lanes.0[2].is_empty());
        let grown = Answer::Growth.rows(&mut lanes.0, 300_000).points;
        assert_eq!(grown, points(&[(300_000, 0.0), (600_000, 8.5)]));
        lanes.fill(Kept::GAUGE, &rows, 300_000);
        assert_eq!(lanes.0[2], points(&[(300_000, 10.0), (600_000, 5.0)]));
        assert_eq!(lanes.0[5], points(&[(300_000, 2.0), (600_000, 2.0)]));
        let mean = Answer::to("avg_over_time", true)
            .rows(&mut lanes.0, 300_000)
            .points;
        assert_eq!(mean, points(&[(300_000, 20.0), (600_000, 6.75)]));
    }

    #[test]
    fn a_backlog_of_another_day_does_not_double_the_growth() {
        const MINUTE: i64 = 60_000;
        let minutes = |range: std::ops::Range<i64>| {
            let rows: Vec<_> = range.map(|at| (at * MINUTE, at as f64)).collect();
            points(&rows)
        };
        // Five hours behind a cut line came a day later, into another block.
        let mut live = minutes(1..60);
        for (time_ms, value) in minutes(360..421).iter() {
            live.push(time_ms, value);
        }
        for step_ms in [300_000, 3_600_000] {
            let mut all: [Points; AGGREGATES] = Default::default();
            for part in [&live, &minutes(60..360)] {
                let mut lanes = Lanes::default();
                lanes.fill(Kept::COUNTER, part, step_ms);
                for (all, lane) in all.iter_mut().zip(&lanes.0) {
                    lane.iter()
                        .for_each(|(time_ms, value)| all.push(time_ms, value));
                }
            }
            let grown = Answer::Growth.rows(&mut all, step_ms).points;
            // Within the first row of an hour nothing is known of where it began.
            let rows = grown.iter().filter(|&(time_ms, _)| time_ms >= 3_600_000);
            let rows: Vec<_> = rows.collect();
            let (first, last) = (rows[0], rows[rows.len() - 1]);
            let minutes = (last.0 - first.0) as f64 / MINUTE as f64;
            assert_eq!(last.1 - first.1, minutes, "{rows:?}");
        }
    }
}
