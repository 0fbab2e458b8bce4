//! Refusals on the agent's paths: one JSON body, one HTTP status, one short code.

use http::StatusCode;
use xiezhi_protocol::enrol::Problem;

/// A refusal on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    /// Seconds after which asking again makes sense.
    pub(crate) retry_after_s: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(crate) fn rate_limited(wait: std::time::Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        Self {
            retry_after_s: Some(seconds),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                format!("too many requests: try again in {seconds} s"),
            )
        }
    }

    /// The state behind a request cannot be read or written now; nothing was changed.
    pub(crate) fn unavailable() -> Self {
        Self {
            retry_after_s: Some(30),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the controller cannot do this now, its log says why: try again later",
            )
        }
    }

    /// JSON of [`Problem`].
    pub(crate) fn body(&self) -> Vec<u8> {
        let problem = Problem {
            code: self.code.to_owned(),
            detail: self.detail.clone(),
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }
}
