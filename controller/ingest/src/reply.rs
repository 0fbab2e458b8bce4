//! HTTP/2 answers and bodies of one request.

use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Response, StatusCode, header};
use serde::Serialize;

use crate::problem::Refusal;

/// Most bytes of a request body that is not a session.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a refused caller may go on writing.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends a refusal. A caller that has gone does not need it.
pub(crate) fn refuse(respond: SendResponse<Bytes>, refusal: &Refusal) {
    let mut head = Response::builder()
        .status(refusal.status)
        .header(header::CONTENT_TYPE, "application/problem+json");
    if let Some(seconds) = refusal.retry_after_s {
        head = head.header(header::RETRY_AFTER, seconds);
    }
    send(respond, head, refusal.body());
}

/// Sends `body` as JSON.
pub(crate) fn json(respond: SendResponse<Bytes>, status: StatusCode, body: &impl Serialize) {
    let head = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json");
    send(respond, head, serde_json::to_vec(body).unwrap_or_default());
}

/// Sends the head of a session's stream and gives its body.
///
/// # Errors
/// The connection is gone.
pub(crate) fn stream(respond: &mut SendResponse<Bytes>) -> Result<SendStream<Bytes>, h2::Error> {
    respond.send_response(Response::new(()), false)
}

/// Reads a whole request body.
///
/// # Errors
/// It is too long, or the connection failed.
pub(crate) async fn read_body(body: &mut RecvStream) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| Refusal::malformed(error.to_string()))?;
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the body exceeds {MAX_BODY_BYTES} bytes"),
            ));
        }
        bytes.extend_from_slice(&chunk);
        // Fails only on a stream that is over; the next read says so.
        drop(body.flow_control().release_capacity(chunk.len()));
    }
    Ok(bytes)
}

/// Reads on for a moment after a refusal and throws away what comes: a stream that is reset while
/// the caller still writes could cost it the answer.
pub(crate) async fn drain(mut body: RecvStream) {
    let draining = async {
        let mut left = MAX_BODY_BYTES;
        while let Some(Ok(chunk)) = body.data().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 || body.flow_control().release_capacity(chunk.len()).is_err() {
                break;
            }
        }
    };
    // Whether or not the caller ends its side, this side has said all.
    drop(tokio::time::timeout(DRAIN_TIMEOUT, draining).await);
}

fn send(mut respond: SendResponse<Bytes>, head: http::response::Builder, body: Vec<u8>) {
    let Ok(head) = head.body(()) else { return };
    if let Ok(mut stream) = respond.send_response(head, false) {
        // As above: who has gone does not need it.
        drop(stream.send_data(Bytes::from(body), true));
    }
}
