//! `/api/v1/live`: server-sent events for open pages.
//!
//! A page first gets `snapshot` (counts; it reads its resources anew) or, if it comes back soon
//! enough with `Last-Event-ID`, what it missed; then `delta` with the counts of the sites and the rows
//! of the hosts that changed, at most one a second, `heartbeat` in between, so that it can tell silence from a dead line, and `health`
//! whenever a part of the controller falls ill or is well again. `ended` means that the session is
//! over. The last two come within two seconds. All of it is within what its owner may see, and when that
//! changes the page gets a snapshot of what it is then.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};
use xiezhi_model::{HostId, Permission, Scope, SiteId};

use crate::extract::Query;
use crate::guard::Held;
use crate::health::{self, Ailment, Ailments};
use crate::live::{Changes, LiveRow, Subscription};
use crate::problem::Problem;
use crate::rows::Counts;
use crate::state::AppState;
use crate::view::View;

const HEARTBEAT: Duration = Duration::from_secs(5);
const HEALTH_CHECK: Duration = Duration::from_secs(2);
/// How often it is looked whether a session was left unused too long. What ends it otherwise is
/// noticed at once.
const SESSION_CHECK: Duration = Duration::from_secs(15);

#[derive(Deserialize, Default, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Asked {
    /// A host whose every report is told, not only changes of its presence.
    watch: Option<i64>,
    /// Whether hosts are told one by one, or their sites' counts alone.
    rows: Option<bool>,
}

#[derive(Serialize)]
struct Message<'a> {
    now_ms: i64,
    counts: Counts,
    /// Number of a site and its own hosts: up, stale, down, unknown.
    sites: Vec<[i64; 5]>,
    hosts: &'a [&'a LiveRow],
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
    view: View,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last_id = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let subscription = view.state.inner.hub.subscribe(last_id, &view.scope);
    let page = Page::new(view, &asked, subscription);
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
    held: Held,
    authority: watch::Receiver<i64>,
    /// Whose sites are counted for it.
    scope: Scope,
    /// Whose hosts it is told one by one.
    row_scope: Option<Scope>,
    wants_rows: bool,
    /// Whether it is told what unwell parts themselves say.
    sees_reasons: bool,
    watch: Option<HostId>,
    subscription: Subscription,
    counts: Counts,
    /// Texts to be sent before anything else.
    first: Vec<String>,
    /// What was last told to be wrong; `None` before anything was told.
    ailments: Option<Ailments>,
    heartbeat: Interval,
    health_check: Interval,
    session_check: Interval,
    ended: bool,
}

impl Page {
    fn new(view: View, asked: &Asked, mut subscription: Subscription) -> Self {
        let counts = subscription.counts;
        let missed = subscription.missed.take();
        let mut page = Self {
            held: Held::of(&view, Permission::SeeOverview),
            authority: view.state.inner.authority.changes(),
            row_scope: view.scope_of(Permission::SeeHosts),
            wants_rows: asked.rows.unwrap_or(true),
            sees_reasons: health::sees_reasons(&view),
            watch: asked.watch.map(HostId),
            scope: view.scope,
            state: view.state,
            subscription,
            counts,
            first: Vec::new(),
            ailments: None,
            heartbeat: ticking(interval_at(Instant::now() + HEARTBEAT, HEARTBEAT)),
            health_check: ticking(interval(HEALTH_CHECK)),
            session_check: ticking(interval_at(Instant::now() + SESSION_CHECK, SESSION_CHECK)),
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
                _ = self.session_check.tick() => if let Some(text) = self.look_again().await {
                    return Some(text);
                },
                Ok(()) = self.authority.changed() => if let Some(text) = self.look_again().await {
                    return Some(text);
                },
                _ = self.health_check.tick() => if let Some(text) = self.health().await {
                    return Some(text);
                },
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

    /// Whether its owner may still see it. A text if not, or if it is another part now.
    async fn look_again(&mut self) -> Option<String> {
        match self.held.still().await {
            Ok(()) => return None,
            Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {}
            Err(_) => {
                if let Some(view) = self.held.view_again().await {
                    self.held = Held::of(&view, Permission::SeeOverview);
                    self.row_scope = view.scope_of(Permission::SeeHosts);
                    self.sees_reasons = health::sees_reasons(&view);
                    self.ailments = None;
                    self.scope = view.scope;
                    return Some(self.resync());
                }
            }
        }
        self.ended = true;
        Some("event: ended\ndata: {}\n\n".to_owned())
    }

    /// The page was too slow: it starts from now.
    fn resync(&mut self) -> String {
        self.subscription = self.state.inner.hub.subscribe(None, &self.scope);
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
                sites: Vec::new(),
                hosts: &[],
            },
        )
    }

    /// A set for this page, or `None` if nothing in it concerns the page.
    fn delta(&mut self, set: &Arc<Changes>) -> Option<String> {
        let watched = self
            .watch
            .is_some_and(|host| set.touched.binary_search(&host).is_ok());
        let rows = set.rows.as_ref().is_none_or(|rows| {
            let seen = |row: &LiveRow| self.is_told(row);
            rows.iter().any(seen)
        });
        let sites = set.sites.iter().any(|(site, _)| self.scope.sees(*site));
        if !watched && !rows && !sites {
            return None;
        }
        self.count(set);
        Some(self.always(set))
    }

    /// Takes over the counts of a set.
    fn count(&mut self, set: &Changes) {
        if self.scope == Scope::Province {
            self.counts = set.counts;
            return;
        }
        let by_site = &mut self.subscription.by_site;
        for (site, counts) in &set.sites {
            if self.scope.sees(*site) {
                by_site.insert(*site, *counts);
            }
        }
        self.counts = Counts::default();
        let counts = &mut self.counts;
        by_site.values().for_each(|of_site| counts.add_all(of_site));
    }

    /// Whether the page is told of this host by itself.
    fn is_told(&self, row: &LiveRow) -> bool {
        let sees = |scope: &Scope| scope.sees(SiteId(row.site));
        self.wants_rows && self.row_scope.as_ref().is_some_and(sees)
    }

    fn always(&self, set: &Arc<Changes>) -> String {
        let now_ms = self.state.now_ms();
        let counts = self.counts;
        let Some(rows) = &set.rows else {
            return self.snapshot(set.number);
        };
        let touched = self
            .watch
            .filter(|host| set.touched.binary_search(host).is_ok());
        let watched = touched.filter(|host| rows.iter().all(|row| row.id != host.0));
        let view = watched.and_then(|host| self.state.inner.fleet.get(host));
        let watched = view.as_ref().map(LiveRow::from);
        let told = rows.iter().chain(&watched).filter(|row| self.is_told(row));
        let hosts: Vec<&LiveRow> = told.collect();
        let seen = set.sites.iter().filter(|(site, _)| self.scope.sees(*site));
        let row = |(site, of): &(SiteId, Counts)| {
            let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            let [up, stale, down, unknown] = [of.up, of.stale, of.down, of.unknown].map(number);
            [site.0, up, stale, down, unknown]
        };
        self.text(
            "delta",
            set.number,
            &Message {
                now_ms,
                counts,
                sites: seen.map(row).collect(),
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
            ailments: &health::told(&ailments, self.sees_reasons),
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
