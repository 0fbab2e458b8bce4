//! Some columns of the frames that come next, without taking those frames in.
//!
//! Who keeps the newest frames as they came, to decode many at once, can answer a question about a
//! few series in between at the price of walking over the changes.

use super::decoder::Decoder;
use super::value::Scale;
use super::{FrameError, split, varint};

/// No wanted column.
const UNWANTED: u32 = u32::MAX;

/// One column on the way.
#[derive(Debug, Clone, Copy)]
struct Seen {
    integer: i64,
    scale: Scale,
    present: bool,
    well_named: bool,
}

impl Seen {
    fn value(&self) -> Option<f64> {
        let value = self.scale.value(self.integer);
        (self.present && self.well_named && value.is_finite()).then_some(value)
    }
}

impl Decoder {
    /// Hands over time and values of some columns in the delta frames that follow the last decoded
    /// one. `wanted` are places in [`Decoder::columns`], ascending. The decoder stays as it is, and
    /// checksums are not checked, for that takes all columns: decode frames from strangers instead.
    ///
    /// # Errors
    /// At the first frame that is malformed, starts a chain, names columns or does not follow; those
    /// before it were handed over.
    pub fn glance<'f>(
        &self,
        frames: impl Iterator<Item = &'f [u8]>,
        wanted: &[usize],
        each: &mut dyn FnMut(i64, &[Option<f64>]),
    ) -> Result<(), FrameError> {
        let last = self.last().ok_or(FrameError::Malformed)?;
        let seen = wanted.iter().map(|&place| self.seen(place));
        let mut seen: Vec<Seen> = seen.collect::<Option<_>>().ok_or(FrameError::Malformed)?;
        // A table: a search for each change would cost more than reading it.
        let mut places = vec![UNWANTED; self.columns().len()];
        for (&place, index) in wanted.iter().zip(0u32..) {
            *places.get_mut(place).ok_or(FrameError::Malformed)? = index;
        }
        let (mut seq, mut time_ms) = (last.seq, last.time_ms);
        let mut values = Vec::with_capacity(seen.len());
        for frame in frames {
            let (head, mut body) = split(frame)?;
            if head.key || seq.checked_add(1) != Some(head.seq) {
                return Err(FrameError::ChainBroken { seq: head.seq });
            }
            let step = self
                .walk(&mut body, &places, &mut seen)
                .ok_or(FrameError::Malformed)?;
            time_ms = time_ms.checked_add(step).ok_or(FrameError::Malformed)?;
            seq = head.seq;
            values.clear();
            values.extend(seen.iter().map(Seen::value));
            each(time_ms, &values);
        }
        Ok(())
    }

    fn seen(&self, place: usize) -> Option<Seen> {
        let column = self.columns().get(place)?;
        let (integer, scale, present, well_named) = column.state();
        Some(Seen {
            integer,
            scale,
            present,
            well_named,
        })
    }

    /// Walks over a delta frame; returns the step from the one before.
    fn walk(&self, body: &mut &[u8], places: &[u32], seen: &mut [Seen]) -> Option<i64> {
        let step = match varint::read(body)? {
            0 => i64::try_from(self.interval_ms()).ok()?,
            coded => varint::unzigzag(coded - 1),
        };
        if varint::read(body)? != 0 {
            return None;
        }
        let mut place = 0usize;
        for _ in 0..varint::read(body)? {
            place = place.checked_add(usize::try_from(varint::read(body)?).ok()?)?;
            if let Some(column) = find(places, seen, place) {
                column.present = !column.present;
            }
            place += 1;
        }
        let (bitmap, changes) = body.split_at_checked(self.columns().len().div_ceil(8))?;
        *body = changes;
        for (eight, &byte) in bitmap.iter().enumerate() {
            let mut left = byte;
            while left != 0 {
                let place = eight * 8 + left.trailing_zeros() as usize;
                left &= left - 1;
                read_change(body, find(places, seen, place))?;
            }
        }
        body.is_empty().then_some(step)
    }
}

fn find<'s>(places: &[u32], seen: &'s mut [Seen], place: usize) -> Option<&'s mut Seen> {
    let index = *places.get(place)?;
    seen.get_mut(index as usize)
}

fn read_change(body: &mut &[u8], column: Option<&mut Seen>) -> Option<()> {
    match varint::read(body)? {
        0 => {
            let (&head, rest) = body.split_first()?;
            *body = rest;
            let scale = Scale::from_number(head & 0x7f)?;
            let integer = if scale == Scale::RAW {
                let (bits, rest) = body.split_first_chunk::<8>()?;
                *body = rest;
                i64::from_le_bytes(*bits)
            } else {
                varint::read_signed(body)?
            };
            if let Some(column) = column {
                (column.scale, column.integer) = (scale, integer);
            }
        }
        coded => {
            if let Some(column) = column {
                column.integer = column.integer.wrapping_add(varint::unzigzag(coded - 1));
            }
        }
    }
    Some(())
}
