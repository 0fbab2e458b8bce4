//! Report in, frame out.

use super::checksum::{Content, name_hash};
use super::value::Scale;
use super::{FLAG_KEY, FRAME_VERSION, MAX_CHAIN, schema, varint};
use crate::batch::BatchInfo;
use crate::report::{MAX_SERIES_PER_REPORT, Report};

/// A gap between two reports that ends the chain: about 12 days.
const MAX_STEP_MS: u64 = 1 << 30;

/// What happened to a column since the frame before.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    None,
    /// Difference of the integers, zigzagged.
    Delta(u64),
    /// Scale and integer anew; also every change of a raw column.
    Whole,
}

struct Column {
    name: Box<str>,
    hash: u64,
    scale: Scale,
    integer: i64,
    bits: u64,
    /// Whether the frame before held it.
    was_present: bool,
    /// Whether this report holds it.
    present: bool,
    change: Change,
}

/// Turns the reports of one host into chains of frames.
///
/// Keeps one row per series and nothing of the reports themselves.
pub struct Encoder {
    interval_ms: u32,
    columns: Vec<Column>,
    /// Indexes of `columns`, sorted by name.
    order: Vec<u32>,
    /// How many columns the chain knew before this report.
    known: usize,
    last: Option<(u64, i64)>,
    chain_length: u32,
}

impl Encoder {
    /// An encoder whose first frame will be a key frame. `interval_ms` is the usual time between
    /// two reports; others are possible but cost some bytes.
    #[must_use]
    pub fn new(interval_ms: u32) -> Self {
        Self {
            interval_ms,
            columns: Vec::new(),
            order: Vec::new(),
            known: 0,
            last: None,
            chain_length: 0,
        }
    }

    /// Makes the next frame a key frame.
    pub fn restart(&mut self) {
        self.last = None;
    }

    /// Appends the frame of `report` to `out`.
    ///
    /// It is a key frame if the chain was restarted, is full or does not end at `seq − 1`. A
    /// series that stands twice in the report keeps its first value.
    pub fn encode(&mut self, seq: u64, report: &Report, out: &mut Vec<u8>) -> BatchInfo {
        let time_ms = report.time_ms();
        self.take_in(report);
        let step = self.last.and_then(|(last_seq, last_time)| {
            let step = time_ms.wrapping_sub(last_time);
            let follows = last_seq.checked_add(1) == Some(seq) && step.unsigned_abs() < MAX_STEP_MS;
            (follows && self.chain_length < MAX_CHAIN && !self.is_sparse()).then_some(step)
        });
        if step.is_none() {
            self.forget_absent();
            self.chain_length = 0;
        }
        let checksum = self.checksum(seq, time_ms);
        out.push(FRAME_VERSION);
        out.push(if step.is_none() { FLAG_KEY } else { 0 });
        varint::write(out, seq);
        match step {
            None => self.write_key(time_ms, out),
            Some(step) => self.write_delta(step, out),
        }
        out.extend_from_slice(&checksum.to_le_bytes());
        self.last = Some((seq, time_ms));
        self.chain_length += 1;
        BatchInfo {
            seq,
            time_ms,
            checksum,
        }
    }

    /// Brings the columns up to the report and notes what changed.
    fn take_in(&mut self, report: &Report) {
        self.known = self.columns.len();
        for column in &mut self.columns {
            column.was_present = column.present;
            column.present = false;
            column.change = Change::None;
        }
        // Reports list their series in the same order nearly always, so the next one is nearly
        // always the next column.
        let mut expected = 0;
        for (series, value) in report.iter() {
            let index = match self.columns.get(expected) {
                Some(column) if &*column.name == series => expected,
                _ => match self.find(series) {
                    Ok(index) => index,
                    Err(place) => self.add(place, series, value),
                },
            };
            expected = index + 1;
            if let Some(column) = self.columns.get_mut(index) {
                column.update(value, index >= self.known);
            }
        }
    }

    fn find(&self, series: &str) -> Result<usize, usize> {
        self.order
            .binary_search_by(|&index| {
                self.columns
                    .get(index as usize)
                    .map_or("", |column| &*column.name)
                    .cmp(series)
            })
            .map(|place| self.order.get(place).map_or(0, |&index| index as usize))
    }

    fn add(&mut self, place: usize, series: &str, value: f64) -> usize {
        let index = self.columns.len();
        let in_bytes = series
            .split('{')
            .next()
            .is_some_and(|name| name.ends_with("_bytes"));
        let scale = Scale::choose(value, in_bytes);
        self.columns.push(Column {
            name: series.into(),
            hash: name_hash(series),
            scale,
            integer: scale.integer(value).unwrap_or_default(),
            bits: value.to_bits(),
            was_present: false,
            present: false,
            change: Change::None,
        });
        self.order.insert(place, index as u32);
        index
    }

    /// Whether most columns are dead weight, or too many: then a new chain is cheaper.
    fn is_sparse(&self) -> bool {
        let present = self.columns.iter().filter(|column| column.present).count();
        self.columns.len() > MAX_SERIES_PER_REPORT || self.columns.len() > 2 * present + 64
    }

    fn forget_absent(&mut self) {
        if self.columns.iter().all(|column| column.present) {
            return;
        }
        self.columns.retain(|column| column.present);
        self.order = (0..self.columns.len() as u32).collect();
        let columns = &self.columns;
        self.order
            .sort_by_key(|&index| columns.get(index as usize).map(|column| &column.name));
    }

    fn checksum(&self, seq: u64, time_ms: i64) -> u32 {
        let mut content = Content::default();
        for column in self.columns.iter().filter(|column| column.present) {
            content.add(column.hash, column.bits);
        }
        content.finish(seq, time_ms)
    }

    fn write_key(&self, time_ms: i64, out: &mut Vec<u8>) {
        varint::write_signed(out, time_ms);
        varint::write(out, u64::from(self.interval_ms));
        write_columns(out, &self.columns);
    }

    fn write_delta(&self, step: i64, out: &mut Vec<u8>) {
        if step == i64::from(self.interval_ms) {
            varint::write(out, 0);
        } else {
            varint::write(out, varint::zigzag(step) + 1);
        }
        let (known, added) = self.columns.split_at(self.known.min(self.columns.len()));
        write_columns(out, added);
        write_toggles(out, known);
        write_bitmap(out, known);
        for column in known {
            match column.change {
                Change::None => {}
                Change::Delta(delta) => varint::write(out, delta + 1),
                Change::Whole => {
                    out.push(0);
                    column.write_value(out);
                }
            }
        }
    }
}

impl Column {
    fn update(&mut self, value: f64, new: bool) {
        if self.present {
            return;
        }
        self.present = true;
        let bits = value.to_bits();
        if new || bits == self.bits {
            return;
        }
        self.bits = bits;
        let before = self.integer;
        let same_scale = if self.scale == Scale::RAW {
            None
        } else {
            self.scale.integer(value)
        };
        if let Some(integer) = same_scale {
            self.integer = integer;
            // Both are within 2^53, so neither the difference nor the one added later overflows.
            self.change = Change::Delta(varint::zigzag(integer - before));
        } else {
            self.scale = Scale::choose(value, false);
            self.integer = self.scale.integer(value).unwrap_or_default();
            self.change = Change::Whole;
        }
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        write_value(out, self.scale, self.present, self.integer);
    }
}

/// Appends a column's head and integer.
pub(super) fn write_value(out: &mut Vec<u8>, scale: Scale, present: bool, integer: i64) {
    out.push(scale.number() | if present { 0x80 } else { 0 });
    if scale == Scale::RAW {
        out.extend_from_slice(&integer.to_le_bytes());
    } else {
        varint::write_signed(out, integer);
    }
}

fn write_columns(out: &mut Vec<u8>, columns: &[Column]) {
    schema::write(
        out,
        columns.len(),
        columns.iter().map(|column| &*column.name),
    );
    for column in columns {
        column.write_value(out);
    }
}

fn write_toggles(out: &mut Vec<u8>, known: &[Column]) {
    let toggled = || {
        let both = known.iter().enumerate();
        both.filter(|(_, column)| column.present != column.was_present)
            .map(|(index, _)| index)
    };
    varint::write(out, toggled().count() as u64);
    let mut next = 0;
    for index in toggled() {
        varint::write(out, (index - next) as u64);
        next = index + 1;
    }
}

fn write_bitmap(out: &mut Vec<u8>, known: &[Column]) {
    for eight in known.chunks(8) {
        let byte = eight.iter().enumerate().fold(0u8, |byte, (bit, column)| {
            byte | (u8::from(column.change != Change::None) << bit)
        });
        out.push(byte);
    }
}
