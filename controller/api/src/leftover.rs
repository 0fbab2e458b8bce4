//! What is left of a body that was refused.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

/// Bytes that are waited for.
const MOST_BYTES: usize = 64 << 20;

/// How long.
const MOST_TIME: Duration = Duration::from_secs(5);

/// Takes what is left of a refused body and throws it away, within bounds: to most senders an answer
/// that comes while they still send is a broken line, and they never read why.
pub(crate) async fn discard(pieces: &mut BodyDataStream) {
    let until = Instant::now() + MOST_TIME;
    let mut left = MOST_BYTES;
    while let Ok(Some(Ok(piece))) = timeout_at(until, pieces.next()).await
        && let Some(rest) = left.checked_sub(piece.len())
    {
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::tests::bodies::{body, piece};

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_a_refused_body_is_taken_within_bounds() {
        let mut rest = body(stream::iter([piece(9 << 20), piece(1)]));
        discard(&mut rest).await;
        assert!(rest.next().await.is_none());
        let mut endless = body(stream::repeat_with(|| piece(1 << 20)));
        discard(&mut endless).await;
        let mut stuck = body(stream::iter([piece(1)]).chain(stream::pending()));
        discard(&mut stuck).await;
    }
}
