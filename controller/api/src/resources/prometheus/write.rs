//! `write`: remote write, versions 1.0 and 2.0.
//!
//! What the status says to a sender: 204, all is durable; 400, something was not taken and to send it
//! again changes nothing (what could be stored is); 415, another encoding or message, so that it falls
//! back; 503, again later (what is durable by then is merged). Senders stop at nothing else, so a body
//! that is too large is a 400 too.
//!
//! Hosts come first: requests are decoded two at a time and written one at a time, and the bodies that
//! are held meanwhile have a bound together, and one of each token. Beyond it a sender hears 503 and
//! waits.

mod body;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::sync::Semaphore;
use xiezhi_ingest::{Cause, Trouble};
use xiezhi_metrics::ASSIGNED;
use xiezhi_metrics::remote_write::{
    BodyError, Described, MAX_BODY_BYTES, Protocol, Receipt, ReceiveError, Rules, decode,
    descriptions, receive,
};
use xiezhi_series::SeriesError;

use super::Refused;
use crate::directory::source_key;
use crate::leftover::discard;
use crate::problem::chain;
use crate::program::Writer;
use crate::refused::Note;
use crate::state::AppState;
use body::{Place, Shelf, Unread};

/// Requests that are decoded and stored at one time.
const TURNS: usize = 2;
/// How far ahead of our clock a sample may be, as Prometheus has it.
const AHEAD_MS: i64 = 10 * 60_000;
/// Seconds after which a sender may come again: when others are served, and when the disk is full.
const BUSY_S: u64 = 2;
const FULL_S: u64 = 30;

/// Whether a failure is over is known only when something is stored again; who failed sends again
/// within this, and who does not sends nothing that could fail.
const FAILURE_KEPT_MS: i64 = 2 * 60_000;
/// A request that succeeds so soon after a failure may only be smaller.
const FAILURE_OVER_MS: i64 = 30_000;

/// The last failure to store.
#[derive(Debug)]
struct Failure {
    trouble: Trouble,
    last_ms: i64,
}

/// What the route shares between requests.
#[derive(Debug)]
pub(crate) struct WriteDesk {
    turns: Arc<Semaphore>,
    /// Bodies that are held.
    shelf: Arc<Shelf>,
    described: Mutex<Described>,
    failure: Mutex<Option<Failure>>,
    requests: IntCounterVec,
    samples: IntCounterVec,
    refused: IntCounterVec,
    bytes: IntCounter,
}

impl WriteDesk {
    /// # Errors
    /// Another interface counts there already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let bytes = IntCounter::new(
            "xiezhi_remote_write_bytes_total",
            "Bytes of bodies of remote write, compressed.",
        )?;
        registry.register(Box::new(bytes.clone()))?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(TURNS)),
            shelf: Arc::default(),
            described: Mutex::default(),
            failure: Mutex::default(),
            requests: counters(
                "xiezhi_remote_write_requests_total",
                "Requests of remote write, by what became of them.",
                "outcome",
            )?,
            samples: counters(
                "xiezhi_remote_write_samples_total",
                "Samples of remote write that were readable, by what became of them.",
                "outcome",
            )?,
            refused: counters(
                "xiezhi_remote_write_refused_total",
                "Samples of remote write that were not taken, by reason.",
                "reason",
            )?,
            bytes,
        })
    }

    /// What senders told of their metrics.
    pub(crate) fn described(&self) -> MutexGuard<'_, Described> {
        self.described
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Why samples of others are not stored, if that is so now.
    pub(crate) fn trouble(&self, now_ms: i64) -> Option<Trouble> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failure.as_ref()?;
        let is_fresh = now_ms.saturating_sub(known.last_ms) < FAILURE_KEPT_MS;
        is_fresh.then(|| known.trouble.clone())
    }

    fn note(&self, now_ms: i64, error: Option<&SeriesError>) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let age_ms = |known: &Failure| now_ms.saturating_sub(known.last_ms);
        match error {
            None => drop(failure.take_if(|known| age_ms(known) >= FAILURE_OVER_MS)),
            Some(error) => {
                let known = failure.take();
                let known = known.filter(|known| age_ms(known) < FAILURE_KEPT_MS);
                let trouble = Trouble {
                    since_ms: known.map_or(now_ms, |known| known.trouble.since_ms),
                    cause: Cause::of_disk(error.is_full()),
                    reason: chain(error),
                };
                *failure = Some(Failure {
                    trouble,
                    last_ms: now_ms,
                });
            }
        }
    }

    /// `outcome` must be a word of a closed set.
    fn count(&self, outcome: &'static str) {
        self.requests.with_label_values(&[outcome]).inc();
    }

    fn count_samples(&self, receipt: &Receipt) {
        let outcomes = [
            ("stored", receipt.stored),
            ("repeated", receipt.repeated),
            ("contradicted", receipt.contradicted),
        ];
        for (outcome, samples) in outcomes {
            self.samples.with_label_values(&[outcome]).inc_by(samples);
        }
        for (reason, samples) in &receipt.refused {
            self.refused.with_label_values(&[reason]).inc_by(*samples);
        }
    }

    /// A place that holds all that one token may.
    #[cfg(test)]
    pub(crate) fn hold_all_of(&self, token: i64) -> impl Sized + use<> {
        let mut place = Place::of(&self.shelf, token);
        let is_held = place.grow(body::HELD_BYTES_OF_ONE).is_ok();
        (place, is_held)
    }

    /// Bytes of bodies that are held now.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.shelf.bytes()
    }
}

pub(crate) async fn write(
    State(state): State<AppState>,
    Extension(writer): Extension<Writer>,
    request: Request,
) -> Response {
    let desk = &state.inner.write_desk;
    let (head, body) = request.into_parts();
    let mut pieces = body.into_data_stream();
    match take(&state, &writer, &head.headers, &mut pieces).await {
        Ok((protocol, receipt)) => {
            desk.count_samples(&receipt);
            desk.count(if receipt.text.is_empty() {
                "stored"
            } else {
                "partial"
            });
            respond(protocol, &receipt)
        }
        Err((outcome, refused)) => {
            desk.count(outcome);
            if outcome != "slow" {
                discard(&mut pieces).await;
            } else if let Some(note) = head.extensions.get::<Note>() {
                note.late();
            }
            refused.into_response()
        }
    }
}

type Failed = (&'static str, Refused);

async fn take(
    state: &AppState,
    writer: &Writer,
    headers: &HeaderMap,
    pieces: &mut BodyDataStream,
) -> Result<(Protocol, Receipt), Failed> {
    let protocol = protocol(headers)?;
    check_length(headers)?;
    let busy = || {
        let detail = "the controller is busy with other senders: try again in a few seconds";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        (
            "busy",
            Refused::new(status, "unavailable", detail).retry_after(BUSY_S),
        )
    };
    let desk = &state.inner.write_desk;
    let mut place = Place::of(&desk.shelf, writer.token);
    let body = body::read(pieces, &mut place).await;
    let body = body.map_err(|error| match error {
        Unread::Busy => busy(),
        Unread::Slow => slow(),
        Unread::TooLarge { found } => too_large(found),
        Unread::Broken(error) => {
            let detail = format!("the body was not read to its end: {error}");
            ("bad", Refused::bad_data(detail))
        }
    })?;
    desk.bytes.inc_by(body.len() as u64);
    let turn = Arc::clone(&desk.turns).acquire_owned().await;
    let turn = turn.map_err(|_| busy())?;
    let (state, token) = (state.clone(), writer.token);
    // The caller may leave; what was begun is finished all the same, and its places with it.
    let done = tokio::task::spawn_blocking(move || {
        let outcome = store(&state, token, protocol, &body);
        drop((place, turn));
        outcome
    });
    let lost = |error: tokio::task::JoinError| {
        tracing::error!(error = %error, "a request of remote write failed");
        later("the request failed; the controller's log says why", BUSY_S)
    };
    Ok((protocol, done.await.map_err(lost)??))
}

fn store(state: &AppState, token: i64, protocol: Protocol, body: &[u8]) -> Result<Receipt, Failed> {
    let request = decode(protocol, body).map_err(|error| unreadable(&error))?;
    let now_ms = state.now_ms();
    let series = &state.inner.series;
    let kept_ms = i64::try_from(series.retention().as_millis()).unwrap_or(i64::MAX);
    let rules = Rules {
        oldest_ms: now_ms
            .saturating_sub(kept_ms)
            .max(series.kept_since_ms().saturating_add(1)),
        newest_ms: now_ms.saturating_add(AHEAD_MS),
        assigned: &ASSIGNED,
    };
    let source = source_key(token);
    let receipt = receive(series, source, &request, &rules).map_err(|error| match error {
        ReceiveError::Body(error) => unreadable(&error),
        ReceiveError::Series(error) => {
            if !matches!(error, SeriesError::TooLarge { .. }) {
                state.inner.write_desk.note(now_ms, Some(&error));
            }
            unstored(&error)
        }
    })?;
    state.inner.write_desk.note(now_ms, None);
    if receipt.postponed > 0 {
        // What was stored is counted now, for it will be merged.
        state.inner.write_desk.count_samples(&receipt);
        let detail = "more late samples than are looked up at once: send the same again, it goes on \
                      where it ended";
        return Err(later(detail, BUSY_S));
    }
    let told = descriptions(&request);
    state.inner.write_desk.described().note(source, told);
    Ok(receipt)
}

/// The message that the headers name.
fn protocol(headers: &HeaderMap) -> Result<Protocol, Failed> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let unsupported = |detail: String| {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        ("unsupported", Refused::new(status, "bad_data", detail))
    };
    let encoding = text(header::CONTENT_ENCODING).unwrap_or("snappy");
    if !encoding.eq_ignore_ascii_case("snappy") {
        let short: String = encoding.chars().take(50).collect();
        let detail = format!("content encoding `{short}` is not understood: send snappy");
        return Err(unsupported(detail));
    }
    let content_type = text(header::CONTENT_TYPE).unwrap_or("application/x-protobuf");
    Protocol::of_content_type(content_type).map_err(|error| unsupported(error.to_string()))
}

/// Refuses what says that it is too long before any of it is read.
fn check_length(headers: &HeaderMap) -> Result<(), Failed> {
    let told = headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    match told {
        Some(found) if found > MAX_BODY_BYTES => Err(too_large(found)),
        _ => Ok(()),
    }
}

fn too_large(found: usize) -> Failed {
    unreadable(&BodyError::TooLarge {
        found,
        limit: MAX_BODY_BYTES,
    })
}

/// Not a 4xx: a Prometheus would throw away what a bad line only delays.
fn slow() -> Failed {
    let detail = format!(
        "the body came slower than {} bytes a second: send smaller requests, or over a better line",
        body::LEAST_BYTES_A_SECOND
    );
    let refused = Refused::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
    ("slow", refused.retry_after(BUSY_S))
}

fn unreadable(error: &BodyError) -> Failed {
    ("bad", Refused::bad_data(chain(error)))
}

fn unstored(error: &SeriesError) -> Failed {
    match error {
        SeriesError::Full { .. } => {
            later("the controller's disk is full: send again later", FULL_S)
        }
        SeriesError::TooLarge { .. } => ("bad", Refused::bad_data(error.to_string())),
        _ => {
            tracing::error!(error = %chain(error), "samples of remote write were not stored");
            later(
                "the samples could not be stored; the controller's log says why",
                FULL_S,
            )
        }
    }
}

fn later(detail: &'static str, seconds: u64) -> Failed {
    let refused = Refused::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
    ("failed", refused.retry_after(seconds))
}

fn respond(protocol: Protocol, receipt: &Receipt) -> Response {
    let mut response = if receipt.text.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        // One line of plain text: senders log the first line of what they get.
        (StatusCode::BAD_REQUEST, receipt.text.clone()).into_response()
    };
    if protocol == Protocol::V2 {
        // The specification of 2.0 has a sender believe only what these say.
        let counts = [
            (
                "x-prometheus-remote-write-samples-written",
                receipt.stored + receipt.repeated,
            ),
            ("x-prometheus-remote-write-histograms-written", 0),
            ("x-prometheus-remote-write-exemplars-written", 0),
        ];
        for (name, count) in counts {
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
        }
    }
    response
}
