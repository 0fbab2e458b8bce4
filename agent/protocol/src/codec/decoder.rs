//! Frame in, values out.

use super::checksum::Content;
use super::encoder::write_value;
use super::name::SeriesName;
use super::value::Scale;
use super::{FLAG_KEY, FRAME_VERSION, FrameError, schema, split, varint};
use crate::batch::BatchInfo;
use crate::report::MAX_SERIES_PER_REPORT;

/// One series of a chain.
#[derive(Debug, Clone)]
pub struct Column {
    /// Canonical text of the series; empty if what was sent is not one.
    pub name: SeriesName,
    integer: i64,
    scale: Scale,
    present: bool,
}

impl Column {
    /// The value in the last decoded frame; `None` if the series was absent from it, has no proper
    /// name or is not a finite number.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let value = self.scale.value(self.integer);
        (self.present && self.name.is_well_formed() && value.is_finite()).then_some(value)
    }

    /// Integer, scale, whether it is present, and whether its name is proper.
    pub(super) fn state(&self) -> (i64, Scale, bool, bool) {
        (
            self.integer,
            self.scale,
            self.present,
            self.name.is_well_formed(),
        )
    }

    fn set(&mut self, scale: Scale, integer: i64) {
        self.scale = scale;
        self.integer = integer;
    }
}

/// What a decoded frame was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Its sequence number, time and checksum.
    pub batch: BatchInfo,
    /// Whether it started a chain.
    pub key: bool,
    /// Values that it holds.
    pub samples: usize,
    /// Values that were not accepted: not finite, or under a malformed name. The others stand.
    pub refused: usize,
}

/// Follows one chain of frames.
///
/// After an error the decoder knows nothing until the next key frame.
#[derive(Debug, Default, Clone)]
pub struct Decoder {
    columns: Vec<Column>,
    interval_ms: u64,
    last: Option<BatchInfo>,
}

impl Decoder {
    /// A decoder that waits for a key frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes one frame. `intern` hands out shared names, so that thousands of hosts with the
    /// same series keep one copy; `&mut |name| name.into()` will do for one host.
    ///
    /// # Errors
    /// All or nothing: after an error a key frame must come. A delta frame that does not follow the
    /// last decoded one leaves the decoder as it was, for the right one may still come.
    pub fn decode(
        &mut self,
        frame: &[u8],
        intern: &mut dyn FnMut(&str) -> SeriesName,
    ) -> Result<FrameInfo, FrameError> {
        let (head, body) = split(frame)?;
        if !head.key
            && self
                .last
                .is_none_or(|last| last.seq.checked_add(1) != Some(head.seq))
        {
            return Err(FrameError::ChainBroken { seq: head.seq });
        }
        let before = self.last.take();
        let time_ms = match before {
            Some(last) if !head.key => self.read_delta(last.time_ms, body, intern)?,
            _ => self.read_key(body, intern)?,
        };
        let (batch, samples, refused) = self.sum_up(head.seq, time_ms);
        if batch.checksum != head.checksum {
            return Err(FrameError::Checksum { seq: head.seq });
        }
        self.last = Some(batch);
        Ok(FrameInfo {
            batch,
            key: head.key,
            samples,
            refused,
        })
    }

    /// The series present in the last decoded frame, with their values, in column order.
    pub fn values(&self) -> impl Iterator<Item = (&SeriesName, f64)> {
        self.columns
            .iter()
            .filter_map(|column| Some((&column.name, column.value()?)))
    }

    /// All columns of the chain. Within a chain a column keeps its place; new ones come at the end.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Usual milliseconds between two frames of the chain.
    pub(super) fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// The last decoded frame; `None` before the first and after an error.
    #[must_use]
    pub fn last(&self) -> Option<BatchInfo> {
        self.last
    }

    /// Appends the last decoded frame again, as the key frame of a chain that the frames after it
    /// continue. `None` if there is no such frame.
    pub fn encode_key(&self, out: &mut Vec<u8>) -> Option<BatchInfo> {
        let batch = self.last?;
        out.push(FRAME_VERSION);
        out.push(FLAG_KEY);
        varint::write(out, batch.seq);
        varint::write_signed(out, batch.time_ms);
        varint::write(out, self.interval_ms);
        schema::write(
            out,
            self.columns.len(),
            self.columns.iter().map(|column| &*column.name),
        );
        for column in &self.columns {
            write_value(out, column.scale, column.present, column.integer);
        }
        out.extend_from_slice(&batch.checksum.to_le_bytes());
        Some(batch)
    }

    fn read_key(
        &mut self,
        mut body: &[u8],
        intern: &mut dyn FnMut(&str) -> SeriesName,
    ) -> Result<i64, FrameError> {
        let time_ms = varint::read_signed(&mut body).ok_or(FrameError::Malformed)?;
        self.interval_ms = varint::read(&mut body).ok_or(FrameError::Malformed)?;
        self.columns.clear();
        self.read_columns(&mut body, intern)?;
        if body.is_empty() {
            Ok(time_ms)
        } else {
            Err(FrameError::Malformed)
        }
    }

    fn read_delta(
        &mut self,
        last_ms: i64,
        mut body: &[u8],
        intern: &mut dyn FnMut(&str) -> SeriesName,
    ) -> Result<i64, FrameError> {
        let step = match varint::read(&mut body).ok_or(FrameError::Malformed)? {
            0 => i64::try_from(self.interval_ms).map_err(|_| FrameError::Malformed)?,
            coded => varint::unzigzag(coded - 1),
        };
        let time_ms = last_ms.checked_add(step).ok_or(FrameError::Malformed)?;
        let known = self.columns.len();
        self.read_columns(&mut body, intern)?;
        let known = self.columns.get_mut(..known).ok_or(FrameError::Malformed)?;
        read_toggles(known, &mut body)?;
        read_changes(known, &mut body)?;
        if body.is_empty() {
            Ok(time_ms)
        } else {
            Err(FrameError::Malformed)
        }
    }

    fn read_columns(
        &mut self,
        body: &mut &[u8],
        intern: &mut dyn FnMut(&str) -> SeriesName,
    ) -> Result<(), FrameError> {
        let known = self.columns.len();
        let columns = &mut self.columns;
        schema::read(body, |name| {
            columns.push(Column {
                name: intern(name),
                integer: 0,
                scale: Scale::RAW,
                present: false,
            });
        })?;
        // Growth by doubling would leave a third of it unused, twice for each of many thousand hosts.
        self.columns.shrink_to_fit();
        if self.columns.len() > 2 * MAX_SERIES_PER_REPORT {
            return Err(FrameError::TooManySeries);
        }
        for column in self.columns.get_mut(known..).unwrap_or_default() {
            column.present = read_value(column, body)?;
        }
        Ok(())
    }

    /// Checks sum, samples and refusals of the state as it stands.
    fn sum_up(&self, seq: u64, time_ms: i64) -> (BatchInfo, usize, usize) {
        let mut content = Content::default();
        let (mut samples, mut refused) = (0, 0);
        for column in self.columns.iter().filter(|column| column.present) {
            let value = column.scale.value(column.integer);
            content.add(column.name.hash_of_text(), value.to_bits());
            if value.is_finite() && column.name.is_well_formed() {
                samples += 1;
            } else {
                refused += 1;
            }
        }
        let batch = BatchInfo {
            seq,
            time_ms,
            checksum: content.finish(seq, time_ms),
        };
        (batch, samples, refused)
    }
}

/// Reads head and value of a column; tells whether it is present.
fn read_value(column: &mut Column, body: &mut &[u8]) -> Result<bool, FrameError> {
    let (&head, rest) = body.split_first().ok_or(FrameError::Malformed)?;
    *body = rest;
    let scale = Scale::from_number(head & 0x7f).ok_or(FrameError::Malformed)?;
    let integer = if scale == Scale::RAW {
        let (bits, rest) = body.split_first_chunk::<8>().ok_or(FrameError::Malformed)?;
        *body = rest;
        i64::from_le_bytes(*bits)
    } else {
        varint::read_signed(body).ok_or(FrameError::Malformed)?
    };
    column.set(scale, integer);
    Ok(head & 0x80 != 0)
}

fn read_toggles(known: &mut [Column], body: &mut &[u8]) -> Result<(), FrameError> {
    let count = varint::read(body).ok_or(FrameError::Malformed)?;
    let mut next = 0usize;
    for _ in 0..count {
        let gap = varint::read(body).and_then(|gap| usize::try_from(gap).ok());
        let index = gap
            .and_then(|gap| next.checked_add(gap))
            .ok_or(FrameError::Malformed)?;
        let column = known.get_mut(index).ok_or(FrameError::Malformed)?;
        column.present = !column.present;
        next = index + 1;
    }
    Ok(())
}

fn read_changes(known: &mut [Column], body: &mut &[u8]) -> Result<(), FrameError> {
    let (bitmap, rest) = body
        .split_at_checked(known.len().div_ceil(8))
        .ok_or(FrameError::Malformed)?;
    *body = rest;
    for (eight, &byte) in known.chunks_mut(8).zip(bitmap) {
        if eight.len() < 8 && byte >> eight.len() != 0 {
            return Err(FrameError::Malformed);
        }
        let mut left = byte;
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            let column = eight.get_mut(bit).ok_or(FrameError::Malformed)?;
            read_change(column, body)?;
        }
    }
    Ok(())
}

fn read_change(column: &mut Column, body: &mut &[u8]) -> Result<(), FrameError> {
    if !column.present {
        return Err(FrameError::Malformed);
    }
    match varint::read(body).ok_or(FrameError::Malformed)? {
        0 => read_value(column, body)?
            .then_some(())
            .ok_or(FrameError::Malformed),
        coded if column.scale != Scale::RAW => {
            let integer = column.integer.wrapping_add(varint::unzigzag(coded - 1));
            column.set(column.scale, integer);
            Ok(())
        }
        _ => Err(FrameError::Malformed),
    }
}
