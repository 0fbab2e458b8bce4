//! The body of a poll: what it says, in bytes, and back.

use std::io::{Read as _, Write as _};

use super::{
    MAX_BODY_BYTES, MAX_LABEL_VALUES, MAX_PARTS, MAX_POLL_BYTES, MAX_SERIES_PER_POLL, MAX_TABLES,
    MAX_TEXT_BYTES, MAX_WIDTH, POLL_VERSION, Poll, PollColumn, PollError, PollTable, PollValue,
    clean, is_label_name, is_metric_name, is_source_name,
};
use crate::codec::varint;

const MIXED: u8 = 3;
const COUNTER: u8 = 4;
const PRESENCE: u8 = 8;

/// A body that was deflated, and how long it was before.
pub(super) struct Deflated {
    length: usize,
    bytes: Vec<u8>,
}

impl Deflated {
    /// Bytes of it.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends it as a content.
    pub(super) fn write(&self, part: (u16, u16), out: &mut Vec<u8>) -> Result<(), PollError> {
        if !is_part(part) {
            return Err(PollError::TooLarge("parts"));
        }
        let start = out.len();
        out.push(POLL_VERSION);
        varint::write(out, part.0.into());
        varint::write(out, part.1.into());
        varint::write(out, self.length as u64);
        out.extend_from_slice(&self.bytes);
        if out.len() - start > MAX_POLL_BYTES {
            out.truncate(start);
            return Err(PollError::TooLarge("bytes"));
        }
        Ok(())
    }
}

/// Whether a part is one of its poll.
fn is_part((part, parts): (u16, u16)) -> bool {
    part < parts && parts <= MAX_PARTS
}

/// Deflates what a poll says.
pub(super) fn encode(
    device: &str,
    about: Option<&super::About>,
    tables: &[PollTable],
) -> Result<Deflated, PollError> {
    check(device, tables)?;
    let mut body = Vec::with_capacity(16 << 10);
    write_text(&mut body, device);
    let about = match about {
        Some(about) => serde_json::to_string(&about.cleaned()).map_err(PollError::About)?,
        None => String::new(),
    };
    write_text(&mut body, &about);
    varint::write(&mut body, tables.len() as u64);
    for table in tables {
        write_table(&mut body, table)?;
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(PollError::TooLarge("bytes"));
    }
    let mut deflate =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    let bytes = deflate
        .write_all(&body)
        .and_then(|()| deflate.finish())
        .map_err(PollError::Compression)?;
    Ok(Deflated {
        length: body.len(),
        bytes,
    })
}

/// Everything that a reader would refuse, so that nothing is sent for nothing.
fn check(device: &str, tables: &[PollTable]) -> Result<(), PollError> {
    if !is_source_name(device) {
        return Err(PollError::Device(clean(device)));
    }
    if tables.len() > MAX_TABLES {
        return Err(PollError::TooLarge("tables"));
    }
    let mut size = Size::default();
    for table in tables {
        size.add(table.labels.len(), table.rows.len(), table.columns.len())?;
        for label in &table.labels {
            require_name(label, is_label_name)?;
        }
        for column in &table.columns {
            require_name(&column.name, is_metric_name)?;
        }
        let is_even = table.rows.iter().all(|row| row.len() == table.labels.len())
            && (table.columns.iter()).all(|column| column.values.len() == table.rows.len());
        if !is_even {
            return Err(PollError::Shape);
        }
    }
    Ok(())
}

fn require_name(name: &str, is_name: fn(&str) -> bool) -> Result<(), PollError> {
    match is_name(name) {
        true => Ok(()),
        false => Err(PollError::Name(clean(name))),
    }
}

/// What the tables of a content hold together.
#[derive(Default)]
struct Size {
    values: usize,
    label_values: usize,
}

impl Size {
    fn add(&mut self, labels: usize, rows: usize, columns: usize) -> Result<(), PollError> {
        if labels.max(columns) > MAX_WIDTH {
            return Err(PollError::TooLarge("labels or columns of a table"));
        }
        // A row costs memory even if it has neither labels nor values.
        let values = rows.saturating_mul(columns.max(1));
        self.values = self.values.saturating_add(values);
        if self.values > MAX_SERIES_PER_POLL {
            return Err(PollError::TooLarge("values"));
        }
        self.label_values = self
            .label_values
            .saturating_add(rows.saturating_mul(labels));
        if self.label_values > MAX_LABEL_VALUES {
            return Err(PollError::TooLarge("label values"));
        }
        Ok(())
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    varint::write(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn write_table(out: &mut Vec<u8>, table: &PollTable) -> Result<(), PollError> {
    varint::write(out, table.labels.len() as u64);
    for label in &table.labels {
        write_text(out, label);
    }
    varint::write(out, table.rows.len() as u64);
    // By label and not by row: what is alike lies together.
    for label in 0..table.labels.len() {
        for value in table.rows.iter().filter_map(|row| row.get(label)) {
            write_text(out, &clean(value));
        }
    }
    varint::write(out, table.columns.len() as u64);
    for column in &table.columns {
        write_column(out, column)?;
    }
    Ok(())
}

fn write_column(out: &mut Vec<u8>, column: &PollColumn) -> Result<(), PollError> {
    let mut present = column.values.iter().flatten();
    let first = present.next().map_or(0, kind_of);
    let is_mixed = present.any(|value| kind_of(value) != first);
    let kind = if is_mixed { MIXED } else { first };
    let is_full = column.values.iter().all(Option::is_some);
    let presence = if is_full { 0 } else { PRESENCE };
    let counter = if column.counter { COUNTER } else { 0 };
    out.push(kind | presence | counter);
    write_text(out, &column.name);
    if !is_full {
        for eight in column.values.chunks(8) {
            let bits = eight.iter().enumerate();
            out.push(bits.fold(0, |all, (bit, value)| {
                all | u8::from(value.is_some()) << bit
            }));
        }
    }
    for value in column.values.iter().flatten() {
        if is_mixed {
            out.push(kind_of(value));
        }
        match *value {
            PollValue::Integer(value) => varint::write_signed(out, value),
            PollValue::Unsigned(value) => varint::write(out, value),
            PollValue::Real(value) if value.is_finite() => {
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            PollValue::Real(_) => return Err(PollError::NotFinite(column.name.clone())),
        }
    }
    Ok(())
}

const fn kind_of(value: &PollValue) -> u8 {
    match value {
        PollValue::Integer(_) => 0,
        PollValue::Unsigned(_) => 1,
        PollValue::Real(_) => 2,
    }
}

/// What a content says.
pub(super) fn decode(content: &[u8], time_ms: i64) -> Result<Poll, PollError> {
    let (&version, mut rest) = content.split_first().ok_or(PollError::Malformed)?;
    if version != POLL_VERSION {
        return Err(PollError::Version(version));
    }
    let rest = &mut rest;
    let part = (read_u16(rest)?, read_u16(rest)?);
    let length = read_count(rest, MAX_BODY_BYTES, "bytes")?;
    if !is_part(part) {
        return Err(PollError::Malformed);
    }
    let body = inflate(rest, length)?;
    let mut rest = body.as_slice();
    let rest = &mut rest;
    let device = read_text(rest, MAX_TEXT_BYTES)?.to_owned();
    let about = match read_text(rest, MAX_BODY_BYTES)? {
        "" => None,
        text => Some(serde_json::from_str::<super::About>(text).map_err(PollError::About)?),
    };
    let count = read_count(rest, MAX_TABLES, "tables")?;
    let mut size = Size::default();
    let tables: Vec<PollTable> = (0..count)
        .map(|_| read_table(rest, &mut size))
        .collect::<Result<_, _>>()?;
    if !rest.is_empty() {
        return Err(PollError::Malformed);
    }
    check(&device, &tables)?;
    Ok(Poll {
        device,
        time_ms,
        part,
        about: about.as_ref().map(super::About::cleaned),
        tables,
    })
}

fn inflate(deflated: &[u8], length: usize) -> Result<Vec<u8>, PollError> {
    let mut body = Vec::with_capacity(length.min(64 << 10));
    flate2::read::DeflateDecoder::new(deflated)
        .take(length as u64 + 1)
        .read_to_end(&mut body)
        .map_err(PollError::Compression)?;
    match body.len() == length {
        true => Ok(body),
        false => Err(PollError::Malformed),
    }
}

fn read_u16(rest: &mut &[u8]) -> Result<u16, PollError> {
    let number = varint::read(rest).ok_or(PollError::Malformed)?;
    u16::try_from(number).map_err(|_| PollError::Malformed)
}

fn read_count(rest: &mut &[u8], most: usize, what: &'static str) -> Result<usize, PollError> {
    let count = varint::read(rest).ok_or(PollError::Malformed)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= most);
    count.ok_or(PollError::TooLarge(what))
}

fn read_byte(rest: &mut &[u8]) -> Result<u8, PollError> {
    let (&byte, after) = rest.split_first().ok_or(PollError::Malformed)?;
    *rest = after;
    Ok(byte)
}

fn read_text<'a>(rest: &mut &'a [u8], most: usize) -> Result<&'a str, PollError> {
    let length = read_count(rest, most, "bytes of a text")?;
    let (text, after) = rest.split_at_checked(length).ok_or(PollError::Malformed)?;
    *rest = after;
    std::str::from_utf8(text).map_err(|_| PollError::Malformed)
}

fn read_table(rest: &mut &[u8], size: &mut Size) -> Result<PollTable, PollError> {
    let width = read_count(rest, MAX_WIDTH, "labels of a table")?;
    let labels: Vec<String> = (0..width)
        .map(|_| read_text(rest, MAX_TEXT_BYTES).map(str::to_owned))
        .collect::<Result<_, _>>()?;
    let height = read_count(rest, MAX_SERIES_PER_POLL, "rows")?;
    // Before they take memory; how many columns there are is not known yet.
    Size {
        values: size.values,
        label_values: size.label_values,
    }
    .add(width, height, 0)?;
    let mut rows = vec![Vec::with_capacity(width); height];
    for _ in 0..width {
        for row in &mut rows {
            row.push(clean(read_text(rest, MAX_TEXT_BYTES)?));
        }
    }
    let count = read_count(rest, MAX_WIDTH, "columns of a table")?;
    size.add(width, height, count)?;
    let columns = (0..count)
        .map(|_| read_column(rest, height))
        .collect::<Result<_, _>>()?;
    Ok(PollTable {
        labels,
        rows,
        columns,
    })
}

fn read_column(rest: &mut &[u8], height: usize) -> Result<PollColumn, PollError> {
    let head = read_byte(rest)?;
    if head & !(MIXED | COUNTER | PRESENCE) != 0 {
        return Err(PollError::Malformed);
    }
    let name = read_text(rest, MAX_TEXT_BYTES)?.to_owned();
    let presence = match head & PRESENCE {
        0 => None,
        _ => {
            let length = height.div_ceil(8);
            let (bits, after) = rest.split_at_checked(length).ok_or(PollError::Malformed)?;
            *rest = after;
            Some(bits)
        }
    };
    let is_present = |row: usize| match presence {
        None => true,
        Some(bits) => (bits.get(row / 8)).is_some_and(|byte| byte >> (row % 8) & 1 == 1),
    };
    let values = (0..height)
        .map(|row| match is_present(row) {
            true => read_value(rest, head & MIXED).map(Some),
            false => Ok(None),
        })
        .collect::<Result<_, _>>()?;
    Ok(PollColumn {
        name,
        counter: head & COUNTER != 0,
        values,
    })
}

fn read_value(rest: &mut &[u8], kind: u8) -> Result<PollValue, PollError> {
    let kind = match kind {
        MIXED => read_byte(rest)?,
        kind => kind,
    };
    let value = match kind {
        0 => PollValue::Integer(varint::read_signed(rest).ok_or(PollError::Malformed)?),
        1 => PollValue::Unsigned(varint::read(rest).ok_or(PollError::Malformed)?),
        2 => {
            let (bits, after) = rest.split_first_chunk().ok_or(PollError::Malformed)?;
            *rest = after;
            PollValue::Real(f64::from_bits(u64::from_le_bytes(*bits)))
        }
        _ => return Err(PollError::Malformed),
    };
    match value {
        PollValue::Real(real) if !real.is_finite() => Err(PollError::Malformed),
        value => Ok(value),
    }
}
