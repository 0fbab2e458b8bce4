//! Steps of rollups among the points of a series.
//!
//! Which blocks are read in the place of which others, and what each value then stands for. The steps
//! are put before the samples, and a sample at the very end of a step joins it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Reading, Wanted};
use crate::block::Block;
use crate::chunk::Points;
use crate::column;
use crate::engine::Catalog;
use crate::rollup::{self, Answer, Rows};

/// How rollups answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rolled {
    pub(crate) answer: Answer,
    /// The coarsest steps that will do although the samples are there; 0: none.
    pub(crate) coarse_ms: u64,
    /// Whether rows of an hour are shown every five minutes.
    pub(crate) finer: bool,
}

/// What the points of a series stand for.
#[derive(Debug, Default)]
pub(crate) struct Coarse {
    /// The longest step among them, milliseconds.
    pub(crate) step_ms: i64,
    /// How many samples each point stands for.
    pub(crate) counts: Vec<f64>,
    /// Times of steps, and how many samples each stands for.
    steps: BTreeMap<i64, f64>,
}

impl Coarse {
    /// Puts rows before the points of a series. Of one time, a sample joins the step that ends there,
    /// and so does another step, which other samples made.
    fn put(&mut self, answer: Answer, rows: Rows, series: &mut Points) {
        let Rows {
            mut points,
            counts,
            are_ends,
        } = rows;
        for ((&time_ms, value), count) in points.times.iter().zip(&mut points.values).zip(counts) {
            let place = series.times.binary_search(&time_ms).ok();
            let known = place.and_then(|place| series.values.get(place).copied());
            let mut stands_for = count;
            if let Some(other) = known.filter(|other| !column::is_stale(*other)) {
                let of_other = self.steps.get(&time_ms).copied().unwrap_or(1.0);
                *value = answer.joined(are_ends, (*value, count), (other, of_other));
                stands_for += of_other;
            }
            self.steps.insert(time_ms, stands_for);
        }
        points.times.append(&mut series.times);
        points.values.append(&mut series.values);
        *series = points;
    }
}

/// The blocks to read, oldest first: rollups where the samples are gone or too fine.
pub(super) fn planned(files: &Catalog, wanted: &Wanted<'_>) -> Vec<Arc<Block>> {
    let Some(rolled) = wanted.rollups else {
        return files.blocks.values().cloned().collect();
    };
    let coarse = |block: &Block| rolled.coarse_ms >= block.resolution_ms();
    let mut plan: BTreeMap<u64, Arc<Block>> = BTreeMap::new();
    let mut through = Vec::new();
    // From fine to coarse: the coarse one replaces the fine one only if that is wanted.
    for rollup in files.rollups.values() {
        let mut within = files.blocks.range(rollup.first()..=rollup.last());
        let is_needed = within.next().is_none() && !plan.contains_key(&rollup.first());
        if is_needed || coarse(rollup) {
            plan.insert(rollup.first(), Arc::clone(rollup));
            through.push((rollup.first(), rollup.last()));
        }
    }
    for (&first, block) in &files.blocks {
        let is_replaced = through
            .iter()
            .any(|&(start, end)| start <= first && block.last() <= end);
        if !is_replaced {
            plan.insert(first, Arc::clone(block));
        }
    }
    plan.into_values().collect()
}

impl Reading<'_, '_> {
    /// Rows of rollups become points before the samples that follow them; fine ones first.
    pub(super) fn put_rolled_first(&mut self) {
        let Some(rolled) = self.wanted.rollups else {
            return;
        };
        let mut all: Vec<_> = self.rolled.drain().collect();
        if rolled.answer == Answer::Growth && rolled.coarse_ms > 0 {
            let chosen = all.iter_mut().filter(|rows| rows.0.2 == rolled.coarse_ms);
            for ((number, host, resolution_ms), lanes) in chosen {
                if let Some(samples) = self.found.series.get_mut(&(*number, *host)) {
                    samples.settle();
                    rollup::add_counter(lanes, samples, *resolution_ms);
                    samples.clear();
                }
            }
        }
        // Whoever is put last comes first.
        all.sort_by_key(|((.., resolution_ms), _)| std::cmp::Reverse(*resolution_ms));
        for ((number, host, resolution_ms), mut lanes) in all {
            let step_ms = if rolled.finer {
                resolution_ms as i64
            } else {
                0
            };
            let rows = rolled.answer.rows(&mut lanes, step_ms);
            let coarse = self.found.coarse.entry((number, host)).or_default();
            coarse.step_ms = coarse.step_ms.max(resolution_ms as i64);
            let series = self.found.series.entry((number, host)).or_default();
            series.settle();
            coarse.put(rolled.answer, rows, series);
        }
    }

    /// Tells of each point how many samples it stands for, in series in which steps are left.
    pub(super) fn weigh(&mut self) {
        let series = &self.found.series;
        self.found.coarse.retain(|key, coarse| {
            let Some(points) = series.get(key) else {
                return false;
            };
            let known = |time_ms: &i64| coarse.steps.get(time_ms).copied();
            if !points.times.iter().any(|time_ms| known(time_ms).is_some()) {
                return false;
            }
            let counts = points
                .times
                .iter()
                .map(|time_ms| known(time_ms).unwrap_or(1.0));
            coarse.counts = counts.collect();
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rows: &[(i64, f64)]) -> Points {
        let mut points = Points::default();
        rows.iter().for_each(|row| points.push(row.0, row.1));
        points
    }

    fn put(answer: Answer, is_counter: bool) -> (Points, Coarse) {
        let rows = Rows {
            points: points(&[(300, 4.0), (600, 6.0)]),
            counts: vec![3.0, 3.0],
            are_ends: is_counter,
        };
        let (mut coarse, mut series) = (Coarse::default(), points(&[(600, 2.0), (615, 9.0)]));
        coarse.put(answer, rows, &mut series);
        series.settle();
        (series, coarse)
    }

    #[test]
    fn a_sample_at_the_very_end_of_a_step_joins_it() {
        for (answer, is_counter, value) in [
            (Answer::Usual, false, 5.0),
            (Answer::Least, false, 2.0),
            (Answer::Greatest, false, 6.0),
            (Answer::Growth, true, 2.0),
        ] {
            let (series, coarse) = put(answer, is_counter);
            assert_eq!(series, points(&[(300, 4.0), (600, value), (615, 9.0)]));
            assert_eq!(coarse.steps, BTreeMap::from([(300, 3.0), (600, 4.0)]));
        }
    }
}
