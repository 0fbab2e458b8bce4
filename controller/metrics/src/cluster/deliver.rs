//! One share of a wave, sent to its end: taken, refused piece by piece, or broken off.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::body::{Piece, compress, probe};
use super::link::{Answered, Link};
use super::search::Search;
use super::sender::now_ms;
use super::status::Status;

/// Requests of one share that are refused in a row at most. What is refused is halved until single
/// reports are left; a cluster that refused this many and took none between them refuses everything, and
/// what it refuses then is dropped as it is. As long as it takes some, the search goes on, within its bound.
const MOST_IN_A_ROW: u32 = 200;

/// How a share ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Settled: taken, or refused for good in part.
    Settled {
        /// Whether something was refused.
        refused: bool,
    },
    /// Not taken; it must come again.
    Broken(Broken),
}

/// Why a share was not taken.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) reason: String,
    /// Whether the cluster may have forgotten what it acknowledged.
    pub(super) forgot: bool,
    /// Whether it answered, and says that the fault is its own.
    pub(super) answered: bool,
    pub(super) retry_after: Option<Duration>,
}

/// How refusals are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// These samples were acknowledged before: a refusal means that the cluster has them.
    pub(super) again: bool,
    /// Answers 5xx are about these samples, for others are taken.
    pub(super) suspect: bool,
}

/// What an answer says about the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    Refused,
    Later,
    /// As `Later`, and it may have forgotten.
    Failing,
}

fn verdict(status: StatusCode, manner: Manner) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Taken,
        // Who we are or where we send is wrong: that is no fault of the samples. 408 and 429 pass.
        401 | 403 | 404 | 405 | 407 | 408 | 429 => Verdict::Later,
        400..=499 => Verdict::Refused,
        500..=599 if manner.suspect => Verdict::Refused,
        500..=599 => Verdict::Failing,
        _ => Verdict::Later,
    }
}

/// Sends `pieces` in order on `link`.
pub(super) async fn deliver(
    link: &mut Link,
    pieces: Arc<[Piece]>,
    manner: Manner,
    status: &Status,
) -> Outcome {
    let mut search = Search::of(pieces.len());
    let mut in_a_row = 0;
    let mut is_told = false;
    let mut refused = false;
    while let Some(range) = search.next() {
        let Some(part) = pieces.get(range.clone()).filter(|part| !part.is_empty()) else {
            continue;
        };
        let samples: usize = part.iter().map(|piece| piece.samples).sum();
        if samples == 0 {
            continue;
        }
        let Ok(body) = compress(part) else {
            // Above four gigabytes, which no wave reaches.
            status.note_dropped(samples, now_ms());
            continue;
        };
        let bytes = body.len();
        in_a_row += 1;
        let answered = match link.post(body).await {
            Ok(answered) => answered,
            Err(error) => return Outcome::Broken(lost(&error)),
        };
        let verdict = verdict(answered.status, manner);
        let is_divided = verdict == Verdict::Refused && search.is_divided(&range);
        match verdict {
            Verdict::Taken => {
                in_a_row = 0;
                status.note_sent(samples, bytes);
            }
            // Hundreds of bad reports may follow each other: as long as a good sample is taken, they are
            // looked for.
            Verdict::Refused
                if is_divided
                    && (in_a_row < MOST_IN_A_ROW
                        || takes_others(link).await && std::mem::take(&mut in_a_row) > 0) =>
            {
                search.divide(range);
            }
            // Nothing is given up while the cluster takes nothing at all.
            Verdict::Refused if answered.status.is_server_error() && !takes_others(link).await => {
                return Outcome::Broken(said(answered, true));
            }
            Verdict::Refused if manner.again => status.note_refused_again(samples),
            Verdict::Refused => {
                refused = true;
                status.note_dropped(samples, now_ms());
                if part.len() > 1 {
                    status.note_unjudged(samples);
                }
                if !std::mem::replace(&mut is_told, true) {
                    let host = part.first().map(|piece| piece.host);
                    tracing::warn!(status = %answered.status, answer = answered.text, host, samples,
                        "the cluster refuses samples; they stay in the local store only");
                }
            }
            kind @ (Verdict::Later | Verdict::Failing) => {
                return Outcome::Broken(said(answered, kind == Verdict::Failing));
            }
        }
    }
    Outcome::Settled { refused }
}

/// Whether the cluster takes a sample that is certainly good.
pub(super) async fn takes_others(link: &mut Link) -> bool {
    let Ok(body) = probe(now_ms()) else {
        return false;
    };
    let taken = link.post(body).await;
    taken.is_ok_and(|answered| answered.status.is_success())
}

fn said(answered: Answered, forgot: bool) -> Broken {
    Broken {
        reason: format!("it answers {}: {}", answered.status, answered.text),
        forgot,
        answered: true,
        retry_after: answered.retry_after,
    }
}

fn lost(error: &super::link::LinkError) -> Broken {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    Broken {
        reason,
        forgot: true,
        answered: false,
        retry_after: None,
    }
}
