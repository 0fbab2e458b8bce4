//! `/metrics`: the controller's own numbers, in Prometheus's text format.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder as _, TextEncoder};

use crate::problem::Problem;
use crate::state::AppState;

pub(crate) async fn read(State(state): State<AppState>) -> Result<Response, Problem> {
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&state.inner.registry.gather(), &mut text)
        .map_err(|error| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(
                status,
                "metrics_failed",
                format!("the metrics cannot be written: {error}"),
            )
        })?;
    let mut response = text.into_response();
    let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
