//! JSON answers, compressed where that helps a thin line.

use std::io::Write as _;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Smaller bodies gain nothing.
const COMPRESS_FROM_BYTES: usize = 1024;

/// Compressing more than this would hold up the threads that take samples in.
const ASIDE_FROM_BYTES: usize = 128 * 1024;

/// A JSON body of a successful answer.
pub(crate) struct Answer<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A JSON body of what was just made.
pub(crate) struct Created<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, axum::Json(self.0)).into_response()
    }
}

/// A JSON body of what was made, or of why nothing was, in the same shape.
pub(crate) enum Tried<T> {
    Made(T),
    NotMade(T),
}

impl<T: Serialize> IntoResponse for Tried<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Made(made) => Created(made).into_response(),
            Self::NotMade(seen) => Answer(seen).into_response(),
        }
    }
}

/// It was done, and there is nothing to say about it.
#[derive(Debug)]
pub(crate) struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// Compresses JSON answers that come plain if the caller takes gzip. Level 1: a host's series shrink to a fifth
/// for about 10 ms a megabyte.
pub(crate) async fn compress(request: Request, next: Next) -> Response {
    let accepts = accepts_gzip(request.headers());
    let response = next.run(request).await;
    let json = HeaderValue::from_static("application/json");
    let headers = response.headers();
    let is_ready = headers.contains_key(header::CONTENT_ENCODING);
    if !accepts || is_ready || headers.get(header::CONTENT_TYPE) != Some(&json) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // JSON answers are made whole by handlers that bound them; this reads memory, not a line.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, axum::body::Body::empty());
    };
    parts
        .headers
        .append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let smaller = match bytes.len() {
        ..COMPRESS_FROM_BYTES => None,
        COMPRESS_FROM_BYTES..ASIDE_FROM_BYTES => gzip(&bytes),
        _ => {
            let all = bytes.clone();
            let aside = tokio::task::spawn_blocking(move || gzip(&all));
            aside.await.ok().flatten()
        }
    };
    match smaller {
        Some(smaller) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts
                .headers
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Response::from_parts(parts, smaller.into())
        }
        None => Response::from_parts(parts, bytes.into()),
    }
}

pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    value.is_some_and(|value| xiezhi_web::Encodings::from_header(value).gzip)
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}
