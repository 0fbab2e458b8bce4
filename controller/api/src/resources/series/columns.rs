//! From points to columns: a common grid of times, rates of counters, sums over labels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_protocol::report::parse_series;
use xiezhi_series::SeriesPoints;

/// Two points of a counter further apart than this have a gap between them: its mean rate would
/// hide what happened, so nothing is shown.
const GAP_MS: i64 = 300_000;

/// What becomes of the points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Counters (`…_total`) become rates per second; everything else stays.
    pub(super) rate: bool,
    /// Series that differ only in these labels are added up.
    pub(super) without: Vec<String>,
}

/// A metric's name and the labels that are left.
type Identity = (String, BTreeMap<String, String>);

/// One series of the answer.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Column {
    name: String,
    labels: BTreeMap<String, String>,
    values: Vec<Option<f64>>,
}

/// Intervals of equal length; a point at time t is in the interval that ends at or after it.
#[derive(Debug)]
pub(super) struct Grid {
    from_ms: i64,
    step_ms: i64,
    cells: usize,
}

impl Grid {
    /// `step_ms` must be positive and `from_ms < to_ms`.
    pub(super) fn new(from_ms: i64, to_ms: i64, step_ms: i64) -> Self {
        // Aligned to the step, so that a window that moves on keeps the cells of the last answer.
        let step_ms = step_ms.max(1);
        let from_ms = from_ms.div_euclid(step_ms) * step_ms;
        let cells = usize::try_from((to_ms - from_ms).div_euclid(step_ms)).unwrap_or(0);
        Self {
            from_ms,
            step_ms,
            cells,
        }
    }

    pub(super) fn times_s(&self) -> Vec<i64> {
        let end = |cell: usize| self.from_ms + (cell as i64 + 1) * self.step_ms;
        (0..self.cells)
            .map(|cell| end(cell).div_euclid(1000))
            .collect()
    }

    fn cell(&self, time_ms: i64) -> Option<usize> {
        let behind = time_ms - self.from_ms - 1;
        let cell = usize::try_from(behind.div_euclid(self.step_ms)).ok()?;
        (cell < self.cells).then_some(cell)
    }
}

/// Columns of all series, in the order of their names.
pub(super) fn columns(grid: &Grid, shape: &Shape, series: &[SeriesPoints]) -> Vec<Column> {
    let mut sums: BTreeMap<Identity, Vec<Option<f64>>> = BTreeMap::new();
    for one in series {
        let Some((name, labels)) = parse_series(&one.series) else {
            continue;
        };
        let labels = labels
            .into_iter()
            .filter(|(label, _)| !shape.without.iter().any(|without| without == label))
            .map(|(label, value)| (label.to_owned(), value))
            .collect();
        let values = if shape.rate && name.ends_with("_total") {
            rates(grid, &one.points)
        } else {
            means(grid, &one.points)
        };
        let empty = || vec![None; grid.cells];
        let sum = sums.entry((name.to_owned(), labels)).or_insert_with(empty);
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum = sum.map_or(value, |sum| Some(sum + value.unwrap_or(0.0)));
        }
    }
    let column = |((name, labels), values): (_, Vec<Option<f64>>)| Column {
        name,
        labels,
        values: values.into_iter().map(|value| value.map(short)).collect(),
    };
    sums.into_iter().map(column).collect()
}

/// Mean of the points in each cell.
fn means(grid: &Grid, points: &[(i64, f64)]) -> Vec<Option<f64>> {
    let mut cells = vec![(0.0, 0_u32); grid.cells];
    for &(time_ms, value) in points {
        if let Some((sum, number)) = grid.cell(time_ms).and_then(|cell| cells.get_mut(cell)) {
            *sum += value;
            *number += 1;
        }
    }
    let mean = |(sum, number): (f64, u32)| (number > 0).then(|| sum / f64::from(number));
    cells.into_iter().map(mean).collect()
}

/// Increase per second in each cell. A counter that went down began anew at zero.
fn rates(grid: &Grid, points: &[(i64, f64)]) -> Vec<Option<f64>> {
    let mut cells = vec![(0.0, 0_i64); grid.cells];
    for pair in points.windows(2) {
        let &[(before_ms, before), (time_ms, value)] = pair else {
            continue;
        };
        let passed_ms = time_ms - before_ms;
        if passed_ms <= 0 || passed_ms > GAP_MS {
            continue;
        }
        let increase = if value >= before {
            value - before
        } else {
            value
        };
        if let Some((sum, covered_ms)) = grid.cell(time_ms).and_then(|cell| cells.get_mut(cell)) {
            *sum += increase;
            *covered_ms += passed_ms;
        }
    }
    let rate =
        |(sum, covered_ms): (f64, i64)| (covered_ms > 0).then(|| sum * 1000.0 / covered_ms as f64);
    cells.into_iter().map(rate).collect()
}

/// Six digits: more than a chart can show, and the rest would be most of the answer.
fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    if digits >= 0 {
        let scale = 10_f64.powi(digits.min(300));
        (value * scale).round() / scale
    } else {
        let scale = 10_f64.powi(-digits);
        (value / scale).round() * scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(series: &str, points: &[(i64, f64)]) -> SeriesPoints {
        SeriesPoints {
            series: series.into(),
            points: points.to_vec(),
        }
    }

    fn rated() -> Shape {
        Shape {
            rate: true,
            without: vec!["cpu".to_owned()],
        }
    }

    #[test]
    fn counters_become_rates_and_survive_a_reboot() {
        let grid = Grid::new(0, 60_000, 15_000);
        let counter = points(
            "c_total",
            &[(0, 100.0), (15_000, 130.0), (30_000, 6.0), (60_000, 66.0)],
        );
        let found = columns(&grid, &rated(), &[counter]);
        assert_eq!(found[0].values, [Some(2.0), Some(0.4), None, Some(2.0)]);
        assert_eq!(grid.times_s(), [15, 30, 45, 60]);
    }

    #[test]
    fn a_long_silence_shows_nothing_instead_of_a_mean() {
        let grid = Grid::new(0, 600_000, 300_000);
        let counter = points(
            "c_total",
            &[(0, 0.0), (500_000, 1e9), (515_000, 1e9 + 30.0)],
        );
        assert_eq!(
            columns(&grid, &rated(), &[counter])[0].values,
            [None, Some(2.0)]
        );
    }

    #[test]
    fn gauges_are_averaged_and_holes_stay_holes() {
        let grid = Grid::new(0, 90_000, 30_000);
        let gauge = points("g", &[(15_000, 1.0), (30_000, 3.0), (90_000, 5.0)]);
        assert_eq!(
            columns(&grid, &rated(), &[gauge])[0].values,
            [Some(2.0), None, Some(5.0)]
        );
    }

    #[test]
    fn series_that_differ_in_a_summed_label_are_added() {
        let grid = Grid::new(0, 15_000, 15_000);
        let one = points(
            "c_total{cpu=\"0\",mode=\"user\"}",
            &[(0, 0.0), (15_000, 15.0)],
        );
        let two = points(
            "c_total{cpu=\"1\",mode=\"user\"}",
            &[(0, 0.0), (15_000, 30.0)],
        );
        let found = columns(&grid, &rated(), &[one, two]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].values, [Some(3.0)]);
        assert_eq!(
            found[0].labels,
            [("mode".to_owned(), "user".to_owned())].into()
        );
    }

    #[test]
    fn values_keep_six_digits() {
        assert_eq!(short(1_234_567.891), 1_234_570.0);
        assert_eq!(short(0.001_234_567), 0.001_234_57);
        assert_eq!(short(-2.0), -2.0);
    }
}
