//! A run: a few dozen reports of one chain in memory, turned into columns.

use std::sync::Arc;

use super::texts::{Schema, TextId};
use crate::chunk::Points;
use crate::column::{self, Scratch};

/// Reports of one run at most.
pub(crate) const RUN_ROWS: usize = 32;

/// Reports of one host, by column.
#[derive(Debug)]
pub(crate) struct Run {
    /// The log that holds the frames.
    pub(crate) log: u64,
    pub(crate) schema: Arc<Schema>,
    times: Times,
    offsets: Offsets,
    bytes: Box<[u8]>,
}

#[derive(Debug)]
enum Times {
    Even {
        start_ms: i64,
        step_ms: i64,
        rows: u32,
    },
    Listed(Box<[i64]>),
}

/// Where the columns begin; two bytes each will nearly always do.
#[derive(Debug)]
enum Offsets {
    Short(Box<[u16]>),
    Long(Box<[u32]>),
}

impl Run {
    /// First and last time.
    pub(crate) fn span(&self) -> (i64, i64) {
        match &self.times {
            Times::Even {
                start_ms,
                step_ms,
                rows,
            } => (*start_ms, start_ms + step_ms * (i64::from(*rows) - 1)),
            Times::Listed(times) => (
                times.iter().copied().min().unwrap_or(0),
                times.iter().copied().max().unwrap_or(0),
            ),
        }
    }

    /// How many reports it holds.
    pub(crate) fn rows(&self) -> usize {
        match &self.times {
            Times::Even { rows, .. } => *rows as usize,
            Times::Listed(times) => times.len(),
        }
    }

    /// The times of the reports, in order of arrival.
    pub(crate) fn each_time(&self, visit: &mut dyn FnMut(i64)) {
        match &self.times {
            Times::Even {
                start_ms,
                step_ms,
                rows,
            } => (0..i64::from(*rows)).for_each(|row| visit(start_ms + step_ms * row)),
            Times::Listed(times) => times.iter().copied().for_each(visit),
        }
    }

    /// Appends the points of a series, if the run has it.
    pub(crate) fn points(&self, id: TextId, out: &mut Points) {
        if let Some(column) = self.schema.column(id) {
            self.column(column, out);
        }
    }

    /// Appends the points of a column.
    pub(crate) fn column(&self, column: usize, out: &mut Points) {
        let (Some(start), Some(end)) = (self.offsets.get(column), self.offsets.get(column + 1))
        else {
            return;
        };
        let bytes = self.bytes.get(start..end).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        let first = out.values.len();
        // Written by this process into its own memory; nothing else can be wrong with it.
        let Some(has_gaps) = column::decode(bytes, self.rows(), &mut out.values) else {
            out.values.truncate(first);
            return;
        };
        match &self.times {
            Times::Even {
                start_ms,
                step_ms,
                rows,
            } => {
                let times = (0..i64::from(*rows)).map(|row| start_ms + step_ms * row);
                out.times.extend(times);
            }
            Times::Listed(times) => out.times.extend_from_slice(times),
        }
        if !has_gaps {
            return;
        }
        let times = out.times.split_off(first);
        let values = out.values.split_off(first);
        for (time_ms, value) in times.into_iter().zip(values) {
            if !column::is_absent(value) {
                out.push(time_ms, value);
            }
        }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let times = match &self.times {
            Times::Even { .. } => 0,
            Times::Listed(times) => times.len() * 8,
        };
        times + self.bytes.len() + self.offsets.heap_bytes() + size_of::<Self>()
    }
}

impl Offsets {
    fn new(offsets: &[u32]) -> Self {
        let short: Option<Box<[u16]>> = offsets
            .iter()
            .map(|&offset| u16::try_from(offset).ok())
            .collect();
        short.map_or_else(|| Self::Long(offsets.into()), Self::Short)
    }

    fn get(&self, column: usize) -> Option<usize> {
        match self {
            Self::Short(offsets) => offsets.get(column).map(|&offset| usize::from(offset)),
            Self::Long(offsets) => offsets.get(column).map(|&offset| offset as usize),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Short(offsets) => offsets.len() * 2,
            Self::Long(offsets) => offsets.len() * 4,
        }
    }
}

/// Rows on their way into a run: a matrix by column.
#[derive(Debug, Default)]
pub(crate) struct RunBuilder {
    times: Vec<i64>,
    /// [`RUN_ROWS`] cells per column.
    cells: Vec<f64>,
    columns: usize,
    scratch: Scratch,
    bytes: Vec<u8>,
    offsets: Vec<u32>,
}

impl RunBuilder {
    /// Begins a run of so many columns; what was not taken is forgotten.
    pub(crate) fn begin(&mut self, columns: usize) {
        self.times.clear();
        self.columns = columns;
        self.cells.clear();
        self.cells.resize(columns * RUN_ROWS, column::ABSENT);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.times.len() >= RUN_ROWS
    }

    /// Adds a report: a value per column.
    pub(crate) fn push(&mut self, time_ms: i64, values: impl Iterator<Item = f64>) {
        let row = self.times.len();
        for (cells, value) in self.cells.chunks_exact_mut(RUN_ROWS).zip(values) {
            if let Some(cell) = cells.get_mut(row) {
                *cell = value;
            }
        }
        self.times.push(time_ms);
    }

    /// The run of what was added; nothing if that was nothing.
    pub(crate) fn take(&mut self, log: u64, schema: &Arc<Schema>) -> Option<Run> {
        if self.times.is_empty() {
            return None;
        }
        self.bytes.clear();
        self.offsets.clear();
        let rows = self.times.len();
        for (cells, &id) in self.cells.chunks_exact(RUN_ROWS).zip(schema.ids()) {
            self.offsets.push(self.bytes.len() as u32);
            let cells = cells.get(..rows).unwrap_or_default();
            let is_kept = id != super::texts::REFUSED;
            if is_kept && !cells.iter().all(|&cell| column::is_absent(cell)) {
                column::encode(cells, &mut self.scratch, &mut self.bytes);
            }
        }
        self.offsets.push(self.bytes.len() as u32);
        let run = Run {
            log,
            schema: Arc::clone(schema),
            times: even(&self.times).unwrap_or_else(|| Times::Listed(self.times.as_slice().into())),
            offsets: Offsets::new(&self.offsets),
            bytes: self.bytes.as_slice().into(),
        };
        self.begin(self.columns);
        Some(run)
    }
}

fn even(times: &[i64]) -> Option<Times> {
    let (&start_ms, rest) = times.split_first()?;
    let step_ms = rest
        .first()
        .map_or(0, |&second| second.wrapping_sub(start_ms));
    let is_even = times
        .iter()
        .zip(0i64..)
        .all(|(&time_ms, row)| start_ms.checked_add(step_ms.saturating_mul(row)) == Some(time_ms));
    (is_even && step_ms >= 0).then_some(Times::Even {
        start_ms,
        step_ms,
        rows: times.len() as u32,
    })
}
