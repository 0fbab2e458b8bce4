//! Reading series, and finding the samples that a step sees.

use std::sync::Arc;

use super::{Evaluator, Result, Row, Steps, Table};
use crate::ast::{At, Moment, Selector};
use crate::number::{STALE, is_stale};
use crate::storage::{Select, SelectHint, Series};

/// No sample: no series is that long.
const NONE: u32 = u32::MAX;

impl<'a> Evaluator<'a> {
    /// The times that a selector looks at: one per step, or a single one under `@`.
    pub(super) fn look(&self, moment: Moment, steps: Steps) -> Steps {
        let base = match moment.at {
            None => return steps.earlier(moment.offset_ms),
            Some(At::Time(time_ms)) => time_ms,
            Some(At::Start) => self.whole.start_ms,
            Some(At::End) => self.whole.end_ms,
        };
        Steps {
            start_ms: base.saturating_sub(moment.offset_ms),
            step_ms: 1,
            count: 1,
        }
    }

    /// Series with the samples of `look` and of `back_ms` before it, that moment excluded.
    pub(super) fn fetch(
        &self,
        selector: &Selector,
        look: Steps,
        back_ms: i64,
        hint: SelectHint,
    ) -> Result<Vec<Series>> {
        let request = Select {
            matchers: selector.matchers.clone(),
            start_ms: look.start_ms.saturating_sub(back_ms).saturating_add(1),
            end_ms: look.end_ms(),
            hint,
        };
        let series = self.storage.select(&request, self.budget)?;
        self.budget.check()?;
        for left_out in self.storage.left_out() {
            self.warn(selector.span, left_out);
        }
        let steps = series
            .iter()
            .filter_map(|one| Some(one.coarse.as_ref()?.step_ms));
        if let Some(step_ms) = steps.max() {
            let step = crate::format::Duration(step_ms);
            self.inform(
                selector.span,
                format!(
                    "steps of {step} answered instead of samples; a window that begins or ends \
                     within one is not exact"
                ),
            );
        }
        Ok(series)
    }

    /// An instant vector: the latest sample within the look-back at each step.
    pub(super) fn vector(
        &self,
        selector: &Selector,
        steps: Steps,
        function: &'static str,
    ) -> Result<Table<'a>> {
        self.vector_with(selector, steps, function, |series, index| {
            series.values.get(index).copied().unwrap_or(STALE)
        })
    }

    /// As [`Self::vector`], with the time of each sample in seconds instead of its value.
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds are far below 2^53"
    )]
    pub(super) fn vector_of_times(&self, selector: &Selector, steps: Steps) -> Result<Table<'a>> {
        self.vector_with(selector, steps, "timestamp", |series, index| {
            match (series.values.get(index), series.times.get(index)) {
                (Some(value), Some(time)) if !is_stale(*value) => *time as f64 / 1000.0,
                _ => STALE,
            }
        })
    }

    fn vector_with(
        &self,
        selector: &Selector,
        steps: Steps,
        function: &'static str,
        read: impl Fn(&Series, usize) -> f64,
    ) -> Result<Table<'a>> {
        let look = self.look(selector.moment, steps);
        let lookback_ms = self.options.lookback_ms;
        let hint = SelectHint {
            step_ms: step_of(look),
            range_ms: 0,
            function: function.to_owned(),
        };
        let series = self.fetch(selector, look, lookback_ms, hint)?;
        let mut table = Table::empty(self.budget, steps.count);
        let mut picker = Aligned::default();
        for one in series {
            self.budget.check()?;
            let picks = picker.of(&one.times, |times| latest(times, look, lookback_ms));
            let mut values: Vec<f64> = Vec::with_capacity(steps.count);
            values.extend(picks.iter().map(|&pick| match pick {
                NONE => STALE,
                pick => read(&one, pick as usize),
            }));
            if look.count != steps.count {
                values = values.repeat(steps.count);
            }
            table.push(Row {
                labels: one.labels,
                values,
            })?;
        }
        Ok(table)
    }
}

/// The distance of steps as a storage is told: none for a single step.
pub(super) fn step_of(look: Steps) -> i64 {
    if look.count > 1 { look.step_ms } else { 0 }
}

/// Something computed from a column of times, kept while series share that column.
pub(super) struct Aligned<T> {
    times: Option<Arc<[i64]>>,
    kept: Vec<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self {
            times: None,
            kept: Vec::new(),
        }
    }
}

impl<T> Aligned<T> {
    pub(super) fn of(
        &mut self,
        times: &Arc<[i64]>,
        compute: impl FnOnce(&[i64]) -> Vec<T>,
    ) -> &[T] {
        let kept = self.times.as_ref();
        if !kept.is_some_and(|kept| Arc::ptr_eq(kept, times) || kept == times) {
            self.kept = compute(times);
        }
        // Remembering the latest column makes the next comparison one of pointers.
        self.times = Some(Arc::clone(times));
        &self.kept
    }
}

/// For each step the index of the latest sample that is younger than the look-back.
fn latest(times: &[i64], look: Steps, lookback_ms: i64) -> Vec<u32> {
    let mut next = 0;
    look.times()
        .map(|time| {
            next += count_until(times, next, time);
            let index = next.checked_sub(1)?;
            let sample = times.get(index)?;
            let is_young = *sample > time.saturating_sub(lookback_ms);
            is_young.then(|| u32::try_from(index).unwrap_or(NONE))
        })
        .map(|pick| pick.unwrap_or(NONE))
        .collect()
}

/// For each step the samples in the window that ends there, its beginning excluded.
pub(super) fn windows(times: &[i64], look: Steps, range_ms: i64) -> Vec<(u32, u32)> {
    let (mut low, mut high) = (0, 0);
    look.times()
        .map(|time| {
            low += count_until(times, low, time.saturating_sub(range_ms));
            high += count_until(times, high, time);
            (
                u32::try_from(low).unwrap_or(NONE),
                u32::try_from(high).unwrap_or(NONE),
            )
        })
        .collect()
}

/// How many samples from `from` on are not later than `time`.
fn count_until(times: &[i64], from: usize, time: i64) -> usize {
    times
        .get(from..)
        .unwrap_or_default()
        .iter()
        .take_while(|sample| **sample <= time)
        .count()
}
