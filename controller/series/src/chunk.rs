//! Rows of one series with their times: a column, and where its rows lie on the clock.
//!
//! ```text
//! chunk = flags:u8 rows:varint start:signed step:varint? gap:varint* column
//! ```
//!
//! Agents align their reports, so rows lie on a grid: a start and a step tell all times, and a report
//! that is missing is an absent row. Start and step are told against those of the page. Times that
//! fit no grid are listed as differences (flag 1).

use xiezhi_protocol::codec::varint;

use crate::column::{self, MAX_ROWS, Scratch};

/// Most points of a chunk that is written: an hour at 15 s.
pub(crate) const CHUNK_POINTS: usize = 240;
/// A silence of more rows than this ends a chunk.
const MAX_SILENCE: i64 = 64;

const FLAG_LISTED: u8 = 1;
const FLAG_STEP: u8 = 2;
const FLAG_UNALIGNED: u8 = 4;

/// What the chunks of a page have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Unix milliseconds that starts count from.
    pub(crate) base_ms: i64,
    /// Usual distance of two rows, milliseconds; at least 1.
    pub(crate) step_ms: i64,
}

impl Grid {
    /// The grid that suits these times, which ascend strictly.
    pub(crate) fn of(times: &[i64]) -> Self {
        Self {
            base_ms: times.first().copied().unwrap_or(0),
            step_ms: smallest_step(times).unwrap_or(15_000),
        }
    }
}

/// Points of one series: strictly ascending times and their values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Points {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

impl Points {
    pub(crate) fn with_capacity(points: usize) -> Self {
        Self {
            times: Vec::with_capacity(points),
            values: Vec::with_capacity(points),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }

    pub(crate) fn push(&mut self, time_ms: i64, value: f64) {
        self.times.push(time_ms);
        self.values.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, f64)> {
        self.times.iter().copied().zip(self.values.iter().copied())
    }

    /// Appends those of `others` that lie in `from..=to`.
    pub(crate) fn extend_within(&mut self, others: &Self, from_ms: i64, to_ms: i64) {
        for (time_ms, value) in others.iter() {
            if (from_ms..=to_ms).contains(&time_ms) {
                self.push(time_ms, value);
            }
        }
    }

    /// Leaves only the points of some times.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(i64) -> bool) {
        if self.times.iter().all(|&time_ms| is_kept(time_ms)) {
            return;
        }
        let rows: Vec<(i64, f64)> = self.iter().filter(|row| is_kept(row.0)).collect();
        self.clear();
        rows.into_iter()
            .for_each(|(time_ms, value)| self.push(time_ms, value));
    }

    /// Leaves only what lies in `from..=to`; the times must ascend.
    pub(crate) fn trim(&mut self, from_ms: i64, to_ms: i64) {
        let end = self.times.partition_point(|&time_ms| time_ms <= to_ms);
        self.times.truncate(end);
        self.values.truncate(end);
        let start = self.times.partition_point(|&time_ms| time_ms < from_ms);
        self.times.drain(..start);
        self.values.drain(..start);
    }

    /// Makes the times ascend. Of several values at one time the first stays, and a value drives
    /// out a stale marker.
    pub(crate) fn settle(&mut self) {
        let ascend = |pair: &[i64]| matches!(pair, [left, right] if left < right);
        if self.times.windows(2).all(ascend) {
            return;
        }
        let mut rows: Vec<(i64, f64)> = self.iter().collect();
        rows.sort_by_key(|&(time_ms, value)| (time_ms, column::is_stale(value)));
        rows.dedup_by_key(|row| row.0);
        self.clear();
        for (time_ms, value) in rows {
            self.push(time_ms, value);
        }
    }
}

/// What was told at a chunk's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Time of the first row.
    pub(crate) start_ms: i64,
    /// Time of the last row; unknown (the end of time) if the times are listed.
    pub(crate) end_ms: i64,
    /// Rows, absent ones included.
    pub(crate) rows: usize,
}

/// Cuts points into chunks and hands each chunk's range to `each`.
pub(crate) fn split(times: &[i64], step_ms: i64, each: &mut dyn FnMut(std::ops::Range<usize>)) {
    let mut start = 0;
    for (index, pair) in times.windows(2).enumerate() {
        let &[before, time_ms] = pair else { continue };
        let is_silence = time_ms.wrapping_sub(before) / step_ms.max(1) > MAX_SILENCE;
        if is_silence || index + 1 - start >= CHUNK_POINTS {
            each(start..index + 1);
            start = index + 1;
        }
    }
    if start < times.len() {
        each(start..times.len());
    }
}

/// Writes chunks; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    scratch: Scratch,
    rows: Vec<f64>,
}

impl Encoder {
    /// Appends the chunk of these points, whose times ascend strictly.
    pub(crate) fn encode(&mut self, grid: Grid, times: &[i64], values: &[f64], out: &mut Vec<u8>) {
        let start_ms = times.first().copied().unwrap_or(grid.base_ms);
        let step_ms = own_step(grid, times);
        let fits = self.lay_out(start_ms, step_ms, times, values);
        let mut flags = if fits { 0 } else { FLAG_LISTED };
        let distance = start_ms.wrapping_sub(grid.base_ms);
        let start = if distance % grid.step_ms == 0 {
            distance / grid.step_ms
        } else {
            flags |= FLAG_UNALIGNED;
            distance
        };
        if fits && step_ms != grid.step_ms {
            flags |= FLAG_STEP;
        }
        out.push(flags);
        varint::write(out, if fits { self.rows.len() } else { times.len() } as u64);
        varint::write_signed(out, start);
        if flags & FLAG_STEP != 0 {
            varint::write(out, step_ms as u64);
        }
        if fits {
            column::encode(&self.rows, &mut self.scratch, out);
            return;
        }
        for pair in times.windows(2) {
            if let &[before, time_ms] = pair {
                varint::write(out, time_ms.wrapping_sub(before) as u64);
            }
        }
        column::encode(values, &mut self.scratch, out);
    }

    /// Puts the values on the grid; false if they do not lie on one, or leave too much of it empty.
    fn lay_out(&mut self, start_ms: i64, step_ms: i64, times: &[i64], values: &[f64]) -> bool {
        self.rows.clear();
        let most = (times.len() * 4 + 64).min(MAX_ROWS);
        for (&time_ms, &value) in times.iter().zip(values) {
            let distance = time_ms.wrapping_sub(start_ms);
            let row = usize::try_from(distance / step_ms).unwrap_or(usize::MAX);
            if distance % step_ms != 0 || row >= most || row < self.rows.len() {
                return false;
            }
            self.rows.resize(row, column::ABSENT);
            self.rows.push(value);
        }
        true
    }
}

/// The grid's step, or a better one for these times.
fn own_step(grid: Grid, times: &[i64]) -> i64 {
    match smallest_step(times) {
        Some(step_ms) if step_ms % grid.step_ms != 0 || step_ms > 2 * grid.step_ms => step_ms,
        _ => grid.step_ms,
    }
}

fn smallest_step(times: &[i64]) -> Option<i64> {
    let step = |pair: &[i64]| match pair {
        &[before, time_ms] => time_ms.checked_sub(before).filter(|&step| step > 0),
        _ => None,
    };
    times.windows(2).filter_map(step).min()
}

/// Where a chunk begins and ends, without its values.
pub(crate) fn extent(grid: Grid, mut bytes: &[u8]) -> Option<Extent> {
    let head = Head::read(grid, &mut bytes)?;
    let end_ms = if head.listed {
        i64::MAX
    } else {
        let rows = i64::try_from(head.rows).ok()?.checked_sub(1)?;
        head.start_ms.checked_add(rows.checked_mul(head.step_ms)?)?
    };
    Some(Extent {
        start_ms: head.start_ms,
        end_ms,
        rows: head.rows,
    })
}

/// Appends the points of a chunk, absent rows left out. `None` if the bytes are none; what was
/// appended then is taken back.
pub(crate) fn decode(grid: Grid, bytes: &[u8], out: &mut Points) -> Option<()> {
    let length = out.len();
    let done = decode_all(grid, bytes, out);
    if done.is_none() {
        out.times.truncate(length);
        out.values.truncate(length);
    }
    done
}

fn decode_all(grid: Grid, mut bytes: &[u8], out: &mut Points) -> Option<()> {
    let head = Head::read(grid, &mut bytes)?;
    let first = out.values.len();
    if head.listed {
        let mut time_ms = head.start_ms;
        for row in 0..head.rows {
            if row > 0 {
                time_ms = time_ms.checked_add_unsigned(varint::read(&mut bytes)?)?;
            }
            out.times.push(time_ms);
        }
    } else {
        let last = i64::try_from(head.rows).ok()?.checked_mul(head.step_ms)?;
        head.start_ms.checked_add(last)?;
        let steps = 0..head.rows as i64;
        out.times
            .extend(steps.map(|row| head.start_ms + row * head.step_ms));
    }
    if column::decode(bytes, head.rows, &mut out.values)? {
        leave_out_absent(out, first);
    }
    Some(())
}

fn leave_out_absent(out: &mut Points, first: usize) {
    let mut kept = first;
    for index in first..out.values.len() {
        let (Some(&value), Some(&time_ms)) = (out.values.get(index), out.times.get(index)) else {
            return;
        };
        if column::is_absent(value) {
            continue;
        }
        if let (Some(to), Some(time)) = (out.values.get_mut(kept), out.times.get_mut(kept)) {
            (*to, *time) = (value, time_ms);
        }
        kept += 1;
    }
    out.values.truncate(kept);
    out.times.truncate(kept);
}

struct Head {
    listed: bool,
    rows: usize,
    start_ms: i64,
    step_ms: i64,
}

impl Head {
    fn read(grid: Grid, bytes: &mut &[u8]) -> Option<Self> {
        let (&flags, rest) = bytes.split_first()?;
        *bytes = rest;
        let rows = usize::try_from(varint::read(bytes)?).ok()?;
        let start = varint::read_signed(bytes)?;
        let distance = if flags & FLAG_UNALIGNED != 0 {
            start
        } else {
            start.checked_mul(grid.step_ms)?
        };
        let step_ms = if flags & FLAG_STEP != 0 {
            i64::try_from(varint::read(bytes)?).ok()?
        } else {
            grid.step_ms
        };
        let is_possible = (1..=MAX_ROWS).contains(&rows) && step_ms > 0;
        is_possible.then_some(Self {
            listed: flags & FLAG_LISTED != 0,
            rows,
            start_ms: grid.base_ms.checked_add(distance)?,
            step_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRID: Grid = Grid {
        base_ms: 1_700_000_000_000,
        step_ms: 15_000,
    };

    fn check(times: &[i64], values: &[f64]) -> usize {
        let mut bytes = Vec::new();
        Encoder::default().encode(GRID, times, values, &mut bytes);
        let mut back = Points::default();
        decode(GRID, &bytes, &mut back).unwrap();
        assert_eq!(back.times, times);
        assert_eq!(back.values, values);
        let extent = extent(GRID, &bytes).unwrap();
        assert_eq!(extent.start_ms, times[0]);
        assert!(extent.end_ms >= *times.last().unwrap());
        bytes.len()
    }

    proptest! {
        #[test]
        fn points_come_back_as_they_went(
            start in -100_000i64..100_000,
            gaps in prop::collection::vec(prop_oneof![8 => Just(15_000i64), 1 => Just(45_000), 1 => 1i64..9], 0..240),
        ) {
            let mut time_ms = GRID.base_ms + start;
            let mut times = vec![time_ms];
            for gap in gaps {
                time_ms += gap;
                times.push(time_ms);
            }
            let values: Vec<f64> = (0..times.len()).map(|index| index as f64 * 0.25).collect();
            check(&times, &values);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let mut points = Points::default();
            if decode(GRID, &bytes, &mut points).is_none() {
                prop_assert!(points.is_empty());
            }
            let _extent = extent(GRID, &bytes);
        }

        #[test]
        fn splitting_loses_nothing(gaps in prop::collection::vec(prop_oneof![9 => Just(15i64), 1 => 1i64..5000], 0..900)) {
            let mut times = vec![0];
            times.extend(gaps.iter().scan(0, |time, gap| { *time += gap; Some(*time) }));
            let mut next = 0;
            split(&times, 15, &mut |range| {
                assert_eq!(range.start, next);
                assert!(range.len() <= CHUNK_POINTS && !range.is_empty());
                next = range.end;
            });
            prop_assert_eq!(next, times.len());
        }
    }

    #[test]
    fn aligned_times_cost_four_bytes() {
        let times: Vec<i64> = (0..240)
            .map(|row| GRID.base_ms + 30_000 + row * 15_000)
            .collect();
        assert_eq!(check(&times, &[1.0; 240]), 1 + 2 + 1 + 2);
    }

    #[test]
    fn the_first_value_of_a_time_stays_and_drives_out_a_stale_marker() {
        let mut points = Points::default();
        for (time_ms, value) in [(3, 1.0), (1, column::STALE), (3, 2.0), (1, 5.0)] {
            points.push(time_ms, value);
        }
        points.settle();
        assert_eq!(points.iter().collect::<Vec<_>>(), [(1, 5.0), (3, 1.0)]);
    }
}
