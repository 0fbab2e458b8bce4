//! Every answer that is not a success: problem+json (RFC 9457) with a stable `code`.

use std::error::Error;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_identity::IdentityError;
use xiezhi_ingest::DirectiveError;
use xiezhi_series::SeriesError;
use xiezhi_store::StoreError;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after_s: Option<u64>,
    fields: Vec<FieldTold>,
}

/// The code of a problem, beside its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusedBy(pub(crate) &'static str);

/// What is wrong with one field of a form.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FieldTold {
    /// Which.
    pub(crate) field: &'static str,
    /// Stable word, for pages that say it in their own language.
    pub(crate) word: &'static str,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// Why a request was not done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    /// Stable word.
    code: &'static str,
    /// What to do about it.
    detail: &'a str,
    /// What is wrong with the fields of a form; absent if it is about none.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: &'a [FieldTold],
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after_s: None,
            fields: Vec::new(),
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}"),
        )
    }

    pub(crate) fn signed_out() -> Self {
        let detail = "sign in first: there is no session, or it has ended";
        Self::new(StatusCode::UNAUTHORIZED, "signed_out", detail)
    }

    /// The password of the account is one for one use.
    pub(crate) fn password_must_change() -> Self {
        let detail = "somebody else gave this account its password: set one of your own first";
        Self::new(StatusCode::FORBIDDEN, "password_must_change", detail)
    }

    /// A program with a token asked for what only a person does.
    pub(crate) fn not_for_programs() -> Self {
        let detail = "a token cannot do that: accounts, passwords, sessions, tokens, acts of two and the \
                      audit log are for people who sign in";
        Self::new(StatusCode::FORBIDDEN, "not_for_programs", detail)
    }

    pub(crate) fn busy() -> Self {
        let detail = "the controller is busy with the same for others: try again in a few seconds";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(2)
    }

    /// The answer took longer than this, or the request did.
    pub(crate) fn timed_out(limit: std::time::Duration) -> Self {
        let detail = format!("no answer within {} s", limit.as_secs());
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timed_out", detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..self
        }
    }

    /// Says which fields of a form are wrong.
    pub(crate) fn about(self, fields: Vec<FieldTold>) -> Self {
        Self { fields, ..self }
    }

    fn failed(error: &dyn Error, code: &'static str) -> Self {
        tracing::error!(error = %chain(error), "request failed");
        let detail = format!("{error}; the controller's log says more");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail)
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("problem"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            fields: &self.fields,
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, text).into_response();
        response.extensions_mut().insert(RefusedBy(self.code));
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NotFound(_) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string())
            }
            StoreError::PasswordChanged => Self::signed_out(),
            StoreError::Exists(_) => Self::new(StatusCode::CONFLICT, "exists", error.to_string()),
            StoreError::Retired(_) => Self::new(StatusCode::CONFLICT, "retired", error.to_string()),
            StoreError::Full(_) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk_full",
                error.to_string(),
            ),
            StoreError::Away(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "database_away",
                error.to_string(),
            )
            .retry_after(2),
            _ => Self::failed(&error, "store_failed"),
        }
    }
}

impl From<SeriesError> for Problem {
    fn from(error: SeriesError) -> Self {
        match &error {
            SeriesError::TooMuch { .. } => Self::bad_request(error.to_string()),
            _ => Self::failed(&error, "series_failed"),
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        Self::failed(&error, "identity_failed")
    }
}

impl From<DirectiveError> for Problem {
    fn from(error: DirectiveError) -> Self {
        let (status, code) = match error {
            DirectiveError::UnknownHost => (StatusCode::NOT_FOUND, "not_found"),
            DirectiveError::NotConnected => (StatusCode::CONFLICT, "not_connected"),
            DirectiveError::SessionEnded => (StatusCode::CONFLICT, "session_ended"),
            DirectiveError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "no_answer"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "not_json",
            _ => "bad_request",
        };
        Self::new(rejection.status(), code, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", rejection.body_text())
    }
}
