//! An answer as it goes over the line: made whole, compressed and paid for on a query thread.
//!
//! The threads that take samples in never serialise or compress an answer; they only hand bytes on.
//! Bytes that wait for their reader are counted together, whoever asked.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xiezhi_promql::{Budget, Exhausted, QueryError};

use super::Failure;
use crate::pool::Busy;

/// Smaller answers gain nothing from compression.
const COMPRESS_FROM_BYTES: usize = 1024;
/// Pieces in which an answer is made; between two the budget is asked.
const PIECE_BYTES: usize = 16 << 10;
/// What a permit stands for.
const UNIT_BYTES: usize = 1024;

/// A JSON answer. Its bytes count until the last clone of them has gone.
#[derive(Debug, Clone)]
pub struct Json {
    /// The body.
    pub bytes: Bytes,
    /// Whether it is compressed.
    pub is_gzip: bool,
}

/// Room for answers that are made and not taken yet.
#[derive(Debug, Clone)]
pub(super) struct Room {
    units: Arc<Semaphore>,
    all: usize,
    /// Of one answer.
    most_bytes: usize,
}

/// The bytes of an answer with their place.
struct Kept {
    bytes: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    pub(super) fn new(all_bytes: usize, most_bytes: usize) -> Self {
        let all = (all_bytes / UNIT_BYTES).clamp(1, u32::MAX as usize);
        Self {
            units: Arc::new(Semaphore::new(all)),
            all,
            most_bytes: most_bytes.min(all_bytes),
        }
    }

    /// Bytes, about, that wait to be taken.
    pub(super) fn taken_bytes(&self) -> usize {
        (self.all - self.units.available_permits()) * UNIT_BYTES
    }

    /// Makes a body as JSON, compressed if `gzip` and worth it.
    pub(super) fn render(
        &self,
        body: &impl Serialize,
        gzip: bool,
        budget: &Budget,
    ) -> Result<Json, Failure> {
        let mut sink = Sink {
            out: Out::Plain(Vec::new()),
            gzip,
            paid: 0,
            budget,
            most_bytes: self.most_bytes,
            refused: None,
        };
        let mut pieces = io::BufWriter::with_capacity(PIECE_BYTES, &mut sink);
        let made = serde_json::to_writer(&mut pieces, body).map_err(io::Error::from);
        let made = made.and_then(|()| pieces.flush());
        drop(pieces);
        let is_gzip = matches!(sink.out, Out::Gzip(_));
        let made = made.and_then(|()| sink.finish());
        let bytes = match (made, sink.refused) {
            (_, Some(refused)) => return Err(refused.into()),
            (Err(error), None) => {
                tracing::error!(error = %error, "an answer could not be made");
                return Err(Failure::Lost);
            }
            (Ok(bytes), None) => bytes,
        };
        let units = u32::try_from(bytes.len() / UNIT_BYTES + 1).map_err(|_| Busy)?;
        let place = Arc::clone(&self.units).try_acquire_many_owned(units);
        let bytes = Bytes::from_owner(Kept {
            bytes,
            _place: place.map_err(|_| Busy)?,
        });
        Ok(Json { bytes, is_gzip })
    }
}

enum Out {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

/// Takes pieces of JSON while the budget allows it.
struct Sink<'b> {
    out: Out,
    gzip: bool,
    /// Bytes that were charged.
    paid: usize,
    budget: &'b Budget,
    most_bytes: usize,
    refused: Option<QueryError>,
}

impl Sink<'_> {
    fn held(&self) -> &Vec<u8> {
        match &self.out {
            Out::Plain(bytes) => bytes,
            Out::Gzip(encoder) => encoder.get_ref(),
        }
    }

    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        if let (Out::Plain(bytes), true) = (&mut self.out, self.gzip)
            && bytes.len() + piece.len() >= COMPRESS_FROM_BYTES
        {
            // Level 1: samples shrink to a fifth for about 10 ms a megabyte.
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes)?;
            self.out = Out::Gzip(Box::new(encoder));
        }
        match &mut self.out {
            Out::Plain(bytes) => bytes.extend_from_slice(piece),
            Out::Gzip(encoder) => encoder.write_all(piece)?,
        }
        Ok(())
    }

    /// Pays for what is held now, and asks whether it may go on.
    fn pay(&mut self) -> Result<(), QueryError> {
        let (length, capacity) = (self.held().len(), self.held().capacity());
        if length > self.most_bytes {
            let most = self.most_bytes >> 20;
            return Err(QueryError::Execution(format!(
                "the answer has more than {most} MiB: ask for fewer series, a shorter range or a \
                 longer step"
            )));
        }
        let more = capacity.saturating_sub(self.paid) as u64;
        self.paid = self.paid.max(capacity);
        let allowed: Result<(), Exhausted> = self.budget.check();
        Ok(allowed.and_then(|()| self.budget.charge_bytes(more))?)
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match std::mem::replace(&mut self.out, Out::Plain(Vec::new())) {
            Out::Plain(bytes) => Ok(bytes),
            Out::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.take(piece)?;
        self.pay().map_err(|refused| {
            self.refused = Some(refused);
            io::Error::other("refused")
        })?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::sync::atomic::Ordering;
    use xiezhi_promql::Limits;

    fn budget() -> Budget {
        Budget::new(Limits::default())
    }

    #[test]
    fn an_answer_is_compressed_if_asked_and_large_and_reads_back() {
        let room = Room::new(1 << 20, 1 << 20);
        let large: Vec<u32> = (0..100_000).collect();
        let json = room.render(&large, true, &budget()).unwrap();
        assert!(json.is_gzip);
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&*json.bytes);
        decoder.read_to_string(&mut text).unwrap();
        // How much smaller is the library's affair.
        assert!(
            json.bytes.len() * 3 < text.len() * 2,
            "{}",
            json.bytes.len()
        );
        assert_eq!(serde_json::from_str::<Vec<u32>>(&text).unwrap(), large);
        let plain = room.render(&large, false, &budget()).unwrap();
        assert_eq!(*plain.bytes, *text.as_bytes());
        let small = room.render(&[1, 2], true, &budget()).unwrap();
        assert!(!small.is_gzip && *small.bytes == *b"[1,2]");
    }

    #[test]
    fn bytes_that_nobody_took_keep_their_room_until_they_go() {
        let room = Room::new(64 << 10, 64 << 10);
        let body = "x".repeat(40 << 10);
        let first = room.render(&body, false, &budget()).unwrap();
        assert!(room.taken_bytes() >= 40 << 10);
        let second = room.render(&body, false, &budget());
        assert!(matches!(second, Err(Failure::Busy(_))));
        let copy = first.bytes.clone();
        drop(first);
        assert!(room.taken_bytes() >= 40 << 10);
        drop(copy);
        assert_eq!(room.taken_bytes(), 0);
        assert!(room.render(&body, false, &budget()).is_ok());
    }

    #[test]
    fn an_answer_beyond_its_bounds_ends_in_the_middle() {
        let body = vec!["0123456789"; 100_000];
        let room = Room::new(64 << 20, 100 << 10);
        let refused = room.render(&body, false, &budget()).unwrap_err();
        assert!(refused.to_string().contains("ask for fewer series"));
        let room = Room::new(64 << 20, 64 << 20);
        let limits = Limits {
            memory_bytes: 500_000,
            ..Limits::default()
        };
        let refused = room.render(&body, false, &Budget::new(limits)).unwrap_err();
        assert!(refused.to_string().contains("more than 500000 bytes"));
        let left = budget();
        left.flag().store(true, Ordering::Relaxed);
        let refused = room.render(&body, true, &left).unwrap_err();
        assert!(refused.to_string().contains("canceled"), "{refused}");
        assert_eq!(room.taken_bytes(), 0);
    }
}
