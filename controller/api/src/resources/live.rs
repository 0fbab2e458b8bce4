//! `/api/v1/live`: server-sent events for open pages.
//!
//! A page first gets `snapshot` (counts; it reads its resources anew) or, if it comes back soon
//! enough with `Last-Event-ID`, what it missed; then `delta` with the rows that changed, at most one
//! a second, `heartbeat` in between, so that it can tell silence from a dead line, and `health`
//! whenever a part of the controller falls ill or is well again. `ended` means that the session is
//! over. The last two come within two seconds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};
use xiezhi_model::HostId;

use crate::extract::Query;
use crate::health::{self, Ailment, Ailments};
use crate::live::{Changes, LiveRow, Subscription};
use crate::problem::Problem;
use crate::rows::Counts;
use crate::session::{self, SignedIn};
use crate::state::AppState;

const HEARTBEAT: Duration = Duration::from_secs(5);
const SESSION_CHECK: Duration = Duration::from_secs(2);

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Asked {
    /// A host whose every report is told, not only changes of its presence.
    watch: Option<i64>,
}

#[derive(Serialize)]
struct Message<'a> {
    now_ms: i64,
    counts: Counts,
    hosts: &'a [LiveRow],
}

#[derive(Serialize)]
struct News<'a> {
    now_ms: i64,
    ailments: &'a [Ailment],
}

#[derive(Serialize)]
struct Beat {
    now_ms: i64,
}

pub(crate) async fn stream(
    State(state): State<AppState>,
    who: SignedIn,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last_id = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let subscription = state.inner.hub.subscribe(last_id);
    let watch = asked.watch.map(HostId);
    let page = Page::new(state, who.id_hash, watch, subscription);
    let stream = futures_util::stream::unfold(page, |mut page| async move {
        let text = page.next().await?;
        Some((Ok::<_, Infallible>(text), page))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One open page.
struct Page {
    state: AppState,
    id_hash: String,
    watch: Option<HostId>,
    subscription: Subscription,
    counts: Counts,
    /// Texts to be sent before anything else.
    first: Vec<String>,
    /// What was last told to be wrong; `None` before anything was told.
    ailments: Option<Ailments>,
    heartbeat: Interval,
    session_check: Interval,
    ended: bool,
}

impl Page {
    fn new(
        state: AppState,
        id_hash: String,
        watch: Option<HostId>,
        mut subscription: Subscription,
    ) -> Self {
        let counts = subscription.counts;
        let missed = subscription.missed.take();
        let mut page = Self {
            state,
            id_hash,
            watch,
            subscription,
            counts,
            first: Vec::new(),
            ailments: None,
            heartbeat: ticking(interval_at(Instant::now() + HEARTBEAT, HEARTBEAT)),
            session_check: ticking(interval(SESSION_CHECK)),
            ended: false,
        };
        page.first = match missed {
            None => vec![page.snapshot(page.subscription.number)],
            Some(missed) => {
                let mut texts: Vec<_> = missed.iter().map(|set| page.always(set)).collect();
                texts.insert(0, page.beat());
                texts.reverse();
                texts
            }
        };
        page
    }

    /// The next text; `None` when the page is over.
    async fn next(&mut self) -> Option<String> {
        if let Some(text) = self.first.pop() {
            return Some(text);
        }
        loop {
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                _ = self.session_check.tick() => {
                    // A database that does not answer says nothing about the session.
                    if matches!(session::alive(&self.state, &self.id_hash).await, Ok(None)) {
                        self.ended = true;
                        return Some("event: ended\ndata: {}\n\n".to_owned());
                    }
                    if let Some(text) = self.health().await {
                        return Some(text);
                    }
                }
                received = self.subscription.receiver.recv() => match received {
                    Ok(set) => if let Some(text) = self.delta(&set) {
                        self.heartbeat.reset();
                        return Some(text);
                    },
                    Err(RecvError::Lagged(_)) => return Some(self.resync()),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.heartbeat.tick() => return Some(self.beat()),
            }
        }
    }

    /// The page was too slow: it starts from now.
    fn resync(&mut self) -> String {
        self.subscription = self.state.inner.hub.subscribe(None);
        self.counts = self.subscription.counts;
        self.snapshot(self.subscription.number)
    }

    fn snapshot(&self, number: u64) -> String {
        let now_ms = self.state.now_ms();
        self.text(
            "snapshot",
            number,
            &Message {
                now_ms,
                counts: self.counts,
                hosts: &[],
            },
        )
    }

    /// A set for this page, or `None` if nothing in it concerns the page.
    fn delta(&mut self, set: &Arc<Changes>) -> Option<String> {
        let watched = self
            .watch
            .is_some_and(|host| set.touched.binary_search(&host).is_ok());
        let rows = set.rows.as_ref().is_none_or(|rows| !rows.is_empty());
        if !watched && !rows && set.counts == self.counts {
            return None;
        }
        self.counts = set.counts;
        Some(self.always(set))
    }

    fn always(&self, set: &Arc<Changes>) -> String {
        let now_ms = self.state.now_ms();
        let Some(rows) = &set.rows else {
            let message = Message {
                now_ms,
                counts: set.counts,
                hosts: &[],
            };
            return self.text("snapshot", set.number, &message);
        };
        let touched = self
            .watch
            .filter(|host| set.touched.binary_search(host).is_ok());
        let watched = touched.filter(|host| rows.iter().all(|row| row.id != host.0));
        let mut hosts = rows.clone();
        let view = watched.and_then(|host| self.state.inner.fleet.get(host));
        hosts.extend(view.as_ref().map(LiveRow::from));
        self.text(
            "delta",
            set.number,
            &Message {
                now_ms,
                counts: set.counts,
                hosts: &hosts,
            },
        )
    }

    fn text(&self, event: &str, number: u64, message: &Message<'_>) -> String {
        let data = serde_json::to_string(message).unwrap_or_default();
        format!(
            "event: {event}\nid: {}\ndata: {data}\n\n",
            self.state.inner.hub.id(number)
        )
    }

    /// What is wrong, if that is not what the page knows.
    async fn health(&mut self) -> Option<String> {
        let ailments = health::ailments(&self.state).await;
        if self.ailments.as_ref() == Some(&ailments) {
            return None;
        }
        let news = News {
            now_ms: self.state.now_ms(),
            ailments: &ailments,
        };
        let data = serde_json::to_string(&news).unwrap_or_default();
        self.ailments = Some(ailments);
        Some(format!("event: health\ndata: {data}\n\n"))
    }

    fn beat(&self) -> String {
        let beat = Beat {
            now_ms: self.state.now_ms(),
        };
        format!(
            "event: heartbeat\ndata: {}\n\n",
            serde_json::to_string(&beat).unwrap_or_default()
        )
    }
}

/// After a pause (a suspended machine) an interval goes on from now.
fn ticking(mut interval: Interval) -> Interval {
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
