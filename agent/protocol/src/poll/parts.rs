//! A poll that is too large for one content becomes several, split between rows.

use super::body::{self, Deflated};
use super::{About, MAX_PARTS, MAX_POLL_BYTES, Poll, PollError, PollTable};

/// Room for the numbers that stand before a body.
const HEAD_BYTES: usize = 16;

/// The contents of a poll.
pub(super) fn encode(poll: &Poll) -> Result<Vec<Vec<u8>>, PollError> {
    let mut bodies = Vec::new();
    let about = poll.about.as_ref();
    split(&poll.device, about, poll.tables.clone(), &mut bodies)?;
    let parts = u16::try_from(bodies.len()).unwrap_or(u16::MAX);
    let with_number = |(part, body): (u16, Deflated)| {
        let mut content = Vec::new();
        body.write((part, parts), &mut content).map(|()| content)
    };
    (0..).zip(bodies).map(with_number).collect()
}

/// Halves until it fits. What is said of the device is in the first.
fn split(
    device: &str,
    about: Option<&About>,
    tables: Vec<PollTable>,
    bodies: &mut Vec<Deflated>,
) -> Result<(), PollError> {
    let refused = match body::encode(device, about, &tables) {
        Ok(body) if body.len() + HEAD_BYTES <= MAX_POLL_BYTES => {
            bodies.push(body);
            return Ok(());
        }
        Ok(_) => PollError::TooLarge("bytes"),
        Err(PollError::TooLarge(what)) => PollError::TooLarge(what),
        Err(error) => return Err(error),
    };
    let rows: usize = tables.iter().map(|table| table.rows.len()).sum();
    if rows < 2 || bodies.len() >= usize::from(MAX_PARTS) {
        return Err(refused);
    }
    let (first, second) = halves(tables, rows / 2);
    split(device, about, first, bodies)?;
    split(device, None, second, bodies)
}

/// The first `rows` rows of the tables, and the others.
fn halves(tables: Vec<PollTable>, mut rows: usize) -> (Vec<PollTable>, Vec<PollTable>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for mut table in tables {
        let at = rows.min(table.rows.len());
        rows -= at;
        if at == table.rows.len() {
            first.push(table);
            continue;
        }
        let mut rest = PollTable {
            labels: table.labels.clone(),
            rows: table.rows.split_off(at),
            columns: table.columns.clone(),
        };
        for (column, other) in table.columns.iter_mut().zip(&mut rest.columns) {
            // A column of another length than its table is refused when it is written.
            other.values = column.values.split_off(at.min(column.values.len()));
        }
        if at > 0 {
            first.push(table);
        }
        second.push(rest);
    }
    (first, second)
}
