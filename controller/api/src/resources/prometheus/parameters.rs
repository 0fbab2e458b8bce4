//! Parameters of a request: after the question mark, and in the form that a POST carries.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, header};
use xiezhi_metrics::{Wish, wire};

use super::Refused;
use crate::answer::accepts_gzip;
use crate::query_desk::Asked;

/// Longest form, in bytes: a panel's query that lists some thousand hosts. What it costs to evaluate has
/// bounds of its own.
pub(crate) const MAX_FORM_BYTES: usize = 1 << 20;

/// Most parameters of one request.
const MAX_PAIRS: usize = 10_000;

/// Names and values, those of the body first, as Prometheus reads them.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    /// Whether the caller takes a compressed answer.
    gzip: bool,
}

impl<S: Send + Sync> FromRequest<S> for Parameters {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let asked = request.extensions().get::<Asked>().cloned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let has_form = request.method() == Method::POST
            && request
                .headers()
                .get(header::CONTENT_TYPE)
                .and_then(|kind| kind.to_str().ok())
                .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let gzip = accepts_gzip(request.headers());
        let mut pairs = Vec::new();
        if has_form {
            let body = Bytes::from_request(request, state).await;
            let body = body.map_err(|error| unread(&error))?;
            add(&mut pairs, &body)?;
        }
        add(&mut pairs, query.as_bytes())?;
        if let Some(asked) = asked {
            asked.note(&pairs);
        }
        Ok(Self { pairs, gzip })
    }
}

/// Reads pairs; a megabyte of `&` would take fifty as pairs.
fn add(pairs: &mut Vec<(String, String)>, form: &[u8]) -> Result<(), Refused> {
    for pair in form_urlencoded::parse(form) {
        if pairs.len() >= MAX_PAIRS {
            let why = format!("more than {MAX_PAIRS} parameters: ask in several requests");
            return Err(Refused::bad_data(why));
        }
        pairs.push((pair.0.into_owned(), pair.1.into_owned()));
    }
    Ok(())
}

fn unread(error: &BytesRejection) -> Refused {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let why = format!(
            "the form is longer than {MAX_FORM_BYTES} bytes: ask in several requests, or select by \
             a pattern instead of a list of names"
        );
        return Refused::bad_data(why);
    }
    Refused::bad_data(error.body_text())
}

impl Parameters {
    /// The first value of a parameter; an empty one counts as none.
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let wanted = self.pairs.iter().filter(move |(found, _)| found == name);
        wanted.map(|(_, value)| value.as_str())
    }

    /// A time, or `otherwise`. Unix milliseconds.
    pub(super) fn time_ms(&self, name: &str, otherwise: Option<i64>) -> Result<i64, Refused> {
        match (self.get(name), otherwise) {
            // In Prometheus's words, which are others where a time may be left out.
            (Some(text), Some(_)) => wire::time_ms(text).map_err(|error| {
                Refused::parameter(name, format!("Invalid time value for '{name}': {error}"))
            }),
            (Some(text), None) => {
                wire::time_ms(text).map_err(|error| Refused::parameter(name, error))
            }
            (None, Some(otherwise)) => Ok(otherwise),
            (None, None) => Err(Refused::parameter(
                name,
                "cannot parse \"\" to a valid timestamp",
            )),
        }
    }

    /// How the answer is wished for.
    pub(super) fn wish(&self) -> Result<Wish, Refused> {
        Ok(Wish {
            timeout: self.timeout()?,
            limit: self.limit()?,
            gzip: self.gzip,
        })
    }

    /// How long a query may take, if the caller says so.
    fn timeout(&self) -> Result<Option<Duration>, Refused> {
        let Some(text) = self.get("timeout") else {
            return Ok(None);
        };
        let ms = wire::duration_ms(text).map_err(|error| Refused::parameter("timeout", error))?;
        // Less than no time is over at once, as nothing is.
        let ms = u64::try_from(ms).unwrap_or_default();
        Ok(Some(Duration::from_millis(ms)))
    }

    /// How far back a selector looks for a sample, if the caller says so: `lookback_delta`,
    /// milliseconds.
    pub(super) fn lookback_ms(&self) -> Result<Option<i64>, Refused> {
        let Some(text) = self.get("lookback_delta") else {
            return Ok(None);
        };
        let refused = |error: &dyn std::fmt::Display| Refused::parameter("lookback_delta", error);
        match wire::duration_ms(text) {
            Ok(0) => Ok(None),
            Ok(ms) if ms > 0 => Ok(Some(ms)),
            Ok(_) => Err(refused(&"a negative duration is not accepted")),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Most entries that a list may have; nothing or 0 is no limit.
    pub(super) fn limit(&self) -> Result<usize, Refused> {
        self.limit_of("limit")
    }

    /// The same by another name.
    pub(super) fn limit_of(&self, name: &str) -> Result<usize, Refused> {
        match self.get(name).map(str::parse::<usize>) {
            None | Some(Ok(0)) => Ok(usize::MAX),
            Some(Ok(limit)) => Ok(limit),
            Some(Err(_)) => {
                let why = format!("{name} must be a positive number");
                Err(Refused::parameter(name, why))
            }
        }
    }
}
