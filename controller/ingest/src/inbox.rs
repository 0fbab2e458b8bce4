//! Bytes of a stream on their way to become records.

use xiezhi_protocol::record::{self, RecordError};

/// Room that is kept between records; a larger buffer is given back.
const KEPT_BYTES: usize = 8 * 1024;

/// Holds the part of a record that has come so far, and whatever waits behind it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
}

/// What a reader of records says after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Read,
    /// Keep the rest: there is no room for more now.
    Wait,
}

impl Inbox {
    /// Takes `chunk` in and hands each whole record to `read`, until it wants to wait.
    ///
    /// # Errors
    /// The stream is no stream of records, or what `read` returns.
    pub(crate) fn take<E: From<RecordError>>(
        &mut self,
        chunk: &[u8],
        mut read: impl FnMut(u8, &[u8]) -> Result<Next, E>,
    ) -> Result<(), E> {
        // Nearly always a chunk is one whole record and nothing is copied.
        if self.bytes.is_empty() {
            let used = consume(chunk, &mut read)?;
            self.bytes
                .extend_from_slice(chunk.get(used..).unwrap_or_default());
            return Ok(());
        }
        self.bytes.extend_from_slice(chunk);
        let used = consume(&self.bytes, &mut read)?;
        self.bytes.drain(..used);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}

fn consume<E: From<RecordError>>(
    bytes: &[u8],
    read: &mut impl FnMut(u8, &[u8]) -> Result<Next, E>,
) -> Result<usize, E> {
    let mut used = 0;
    while let Some((kind, payload, length)) = record::read(bytes.get(used..).unwrap_or_default())? {
        used += length;
        if read(kind, payload)? == Next::Wait {
            break;
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_protocol::record::Kind;

    #[test]
    fn records_come_out_whole_and_wait_when_told_to() {
        let mut wire = Vec::new();
        for payload in [b"one".as_slice(), b"two", b"three"] {
            record::write(&mut wire, Kind::Events, payload);
        }
        let mut inbox = Inbox::default();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        let (front, back) = wire.split_at(6);
        let read = |next| {
            move |seen: &mut Vec<Vec<u8>>, payload: &[u8]| {
                seen.push(payload.to_vec());
                Ok::<_, RecordError>(next)
            }
        };
        let (go, stop) = (read(Next::Read), read(Next::Wait));
        inbox
            .take(front, |_, payload| go(&mut seen, payload))
            .unwrap();
        assert_eq!(seen, [b"one".to_vec()]);
        inbox
            .take(back, |_, payload| stop(&mut seen, payload))
            .unwrap();
        assert_eq!(seen.len(), 2);
        inbox
            .take(&[], |_, payload| go(&mut seen, payload))
            .unwrap();
        assert_eq!(seen, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert!(inbox.bytes.is_empty());
    }
}
