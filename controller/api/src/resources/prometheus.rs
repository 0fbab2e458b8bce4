//! Prometheus's own interface, so that Grafana, promtool and scripts use the controller as a data
//! source, and other agents send to it: the same paths, parameters and answers.
//!
//! Source: "HTTP API" of the Prometheus documentation. Rules and alerts are empty until there are
//! rules.

mod metadata;
mod parameters;
mod query;
mod select;
mod statistics;
mod status;
mod write;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use xiezhi_metrics::{Failure, Json, wire};
use xiezhi_promql::{Exhausted, QueryError};
use xiezhi_store::StoreError;

use crate::problem::chain;

pub(crate) use metadata::metadata;
pub(crate) use parameters::{MAX_FORM_BYTES, Parameters};
pub(crate) use query::{format, instant, range};
pub(crate) use select::{label_names, label_values, series};
pub(crate) use statistics::statistics;
pub(crate) use status::{
    absent, alertmanagers, alerts, build_info, config, exemplars, flags, rules, runtime_info,
    targets,
};
pub(crate) use write::{WriteDesk, write};

/// An answer in Prometheus's envelope.
pub(crate) struct Success<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        axum::Json(wire::data(self.0)).into_response()
    }
}

/// Why a request was refused; its answer carries it for whoever counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub(crate) &'static str);

/// An answer that a query thread has made.
pub(crate) struct Made(pub(crate) Json);

impl IntoResponse for Made {
    fn into_response(self) -> Response {
        let Json { bytes, is_gzip } = self.0;
        let mut response = bytes.into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if is_gzip {
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::CONTENT_ENCODING, gzip);
            let vary = HeaderValue::from_static("accept-encoding");
            headers.append(header::VARY, vary);
        }
        response
    }
}

/// Says that an answer took too long.
pub(crate) fn late(limit: Duration) -> Response {
    let seconds = limit.as_secs();
    let message = format!("no answer within {seconds} s: ask for less, or again later");
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", message).into_response()
}

/// A refusal in Prometheus's shape: a kind and a message.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    kind: &'static str,
    message: Cow<'static, str>,
    /// Why, as it is counted: a word of a closed set.
    reason: &'static str,
    /// When to ask again.
    retry_after_s: Option<u64>,
}

impl Refused {
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            reason: kind,
            retry_after_s: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(2),
        }
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// "Too many requests" as "not now", for callers that come again after the one and not the other.
    pub(crate) fn later_if_too_many(self) -> Self {
        let status = match self.status {
            StatusCode::TOO_MANY_REQUESTS => StatusCode::SERVICE_UNAVAILABLE,
            other => other,
        };
        Self { status, ..self }
    }

    pub(crate) fn bad_data(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", message)
    }

    /// Counted under `reason`, a word of a closed set, instead of the kind that the answer names.
    fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = axum::Json(wire::error(self.kind, &self.message));
        let mut response = (self.status, body).into_response();
        Self::challenge(&mut response);
        response.extensions_mut().insert(Reason(self.reason));
        if let Some(seconds) = self.retry_after_s {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Away(_)) {
            return away(&error);
        }
        tracing::error!(error = %chain(&error), "request failed");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(
            status,
            "internal",
            format!("{error}; the controller's log says more"),
        )
    }
}

/// Whether the database was away when it was last needed here: an outage is one line of the log, not one
/// for each panel of each dashboard.
static IS_AWAY: AtomicBool = AtomicBool::new(false);

fn away(error: &StoreError) -> Refused {
    warn_once(error);
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let message = format!("{error}: ask again in a few seconds");
    Refused::new(status, "unavailable", message).because("away")
}

/// Tells of an outage of the database if nobody has.
pub(crate) fn warn_once(error: &StoreError) {
    if !IS_AWAY.swap(true, Ordering::Relaxed) {
        tracing::warn!(error = %chain(error), "Prometheus's interface needs the database, which is away");
    }
}

/// The database has answered.
pub(crate) fn is_back() {
    if IS_AWAY.swap(false, Ordering::Relaxed) {
        tracing::info!("the database answers Prometheus's interface again");
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let (status, kind) = match &failure {
            Failure::Query(error) => (status_of(error), error.kind()),
            Failure::Selector(error) => return Self::parameter("match[]", error),
            Failure::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Failure::Remote(remote) => (
                StatusCode::from_u16(remote.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                remote.kind,
            ),
            Failure::Lost => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        if let Failure::Query(QueryError::Storage(error)) = &failure {
            tracing::error!(error = %chain(error), "samples could not be read");
        }
        if let Failure::Query(QueryError::Parse(error)) = &failure {
            return Self::parameter("query", error).because("parse");
        }
        let refused = Self::new(status, kind, failure.to_string());
        match &failure {
            Failure::Query(QueryError::Stopped(Exhausted::Canceled | Exhausted::TimedOut)) => {
                refused
            }
            Failure::Query(QueryError::Stopped(_)) => refused.because("budget"),
            Failure::Busy(_) => refused.because("busy"),
            Failure::Remote(_) => refused.because("cluster"),
            _ => refused,
        }
    }
}

fn status_of(error: &QueryError) -> StatusCode {
    match error {
        QueryError::Parse(_) | QueryError::BadData(_) => StatusCode::BAD_REQUEST,
        QueryError::Stopped(Exhausted::Canceled | Exhausted::TimedOut) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        QueryError::Execution(_) | QueryError::Stopped(_) => StatusCode::UNPROCESSABLE_ENTITY,
        QueryError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
