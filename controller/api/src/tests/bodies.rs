//! Bodies that come in pieces.

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::Stream;

/// What a sender's line brings at once.
pub(crate) type Piece = Result<Bytes, std::io::Error>;

/// A body of these pieces, as they come.
pub(crate) fn body(pieces: impl Stream<Item = Piece> + Send + 'static) -> BodyDataStream {
    Body::from_stream(pieces).into_data_stream()
}

/// So many bytes.
pub(crate) fn piece(bytes: usize) -> Piece {
    Ok(Bytes::from(vec![0; bytes]))
}
