//! CSV as it leaves: as it is, or compressed piece by piece.

use std::io::{self, Write as _};
use std::pin::Pin;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt as _, stream};
use xiezhi_inventory::export::{csv_lines, csv_start};

use super::Rows;
use crate::problem::Problem;

/// Text on its way out.
struct Lines(Option<GzEncoder<Vec<u8>>>);

impl Lines {
    fn new(gzip: bool) -> Self {
        // Level 1: lists shrink to a tenth for some milliseconds a megabyte.
        Self(gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())))
    }

    /// What can leave of it now.
    fn piece(&mut self, text: Vec<u8>) -> io::Result<Vec<u8>> {
        let Some(encoder) = &mut self.0 else {
            return Ok(text);
        };
        encoder.write_all(&text)?;
        // So that a reader has what was written, and a cut file is seen to be one.
        encoder.flush()?;
        Ok(std::mem::take(encoder.get_mut()))
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        let Some(mut encoder) = self.0.take() else {
            return Ok(Vec::new());
        };
        encoder.try_finish()?;
        Ok(std::mem::take(encoder.get_mut()))
    }
}

/// All of a list.
pub(super) fn whole(header: &[String], rows: &Rows, gzip: bool) -> io::Result<Vec<u8>> {
    let mut lines = Lines::new(gzip);
    let mut text = csv_start(header);
    text.extend(csv_lines(rows));
    let mut out = lines.piece(text)?;
    out.extend(lines.end()?);
    Ok(out)
}

type Pages = Pin<Box<dyn Stream<Item = Result<Rows, Problem>> + Send>>;

/// A list as its pages come.
pub(super) fn stream(
    header: Vec<String>,
    pages: impl Stream<Item = Result<Rows, Problem>> + Send + 'static,
    gzip: bool,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let pages: Pages = Box::pin(pages);
    let start = Some(csv_start(&header));
    let walk = Some((pages, Lines::new(gzip), start));
    stream::try_unfold(walk, async |walk| {
        let Some((mut pages, mut lines, start)) = walk else {
            return Ok(None);
        };
        let text = match start {
            Some(start) => start,
            None => match pages.next().await {
                // What is cut off is seen to be cut off.
                Some(Err(problem)) => return Err(io::Error::other(problem.detail().to_owned())),
                Some(Ok(rows)) => csv_lines(&rows),
                None => return Ok(Some((lines.end()?.into(), None))),
            },
        };
        let piece = lines.piece(text)?;
        Ok(Some((piece.into(), Some((pages, lines, None)))))
    })
}
