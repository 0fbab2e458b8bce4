//! Which part of the controller is unwell, told in words that screens and probes can rely on.
//!
//! The parts know their own trouble; this asks them, at most once a second however many pages are
//! open, and remembers since when. It mends nothing.

mod stored;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, timeout};
use xiezhi_ingest::{Cause, Trouble};
use xiezhi_metrics::cluster::{Refusals, Standing};
use xiezhi_model::Permission;

use crate::certificates::Certificate;
use crate::state::AppState;
use crate::view::View;

/// How long a verdict is kept.
const KEPT: Duration = Duration::from_secs(1);

/// How long the cluster may refuse samples before that is an ailment: restarts pass.
const CLUSTER_PATIENCE_MS: i64 = 10_000;

/// Longest wait for the database's answer; a healthy one takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(3);

/// A part that can be unwell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Samples are taken from agents.
    Samples,
    /// Events are taken from agents.
    Events,
    /// Samples are taken from other programs.
    RemoteWrite,
    /// The state database answers.
    Database,
    /// Full logs of samples are sealed.
    Sealing,
    /// Every series that is reported is kept.
    Series,
    /// What was stored can be read.
    Stored,
    /// The controller's clock goes on without jumps.
    Clock,
    /// The authority's certificate, which signs hosts.
    IntermediateCertificate,
    /// The browsers' port's certificate.
    WebCertificate,
    /// Samples are sent on to the cluster, if there is one.
    Cluster,
    /// What takes two people takes two people.
    TwoPeople,
}

impl Part {
    /// Those that every controller is listed with.
    pub(crate) const ALL: [Self; 11] = [
        Self::Samples,
        Self::Events,
        Self::RemoteWrite,
        Self::Database,
        Self::Sealing,
        Self::Series,
        Self::Stored,
        Self::Clock,
        Self::IntermediateCertificate,
        Self::WebCertificate,
        Self::Cluster,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Events => "events",
            Self::Database => "database",
            Self::Sealing => "sealing",
            Self::Series => "series",
            Self::Stored => "stored",
            Self::Clock => "clock",
            Self::RemoteWrite => "remote_write",
            Self::IntermediateCertificate => "intermediate_certificate",
            Self::WebCertificate => "web_certificate",
            Self::Cluster => "cluster",
            Self::TwoPeople => "two_people",
        }
    }

    /// Whether the controller still takes what agents send while this part is unwell.
    const fn accepts(self) -> bool {
        !matches!(self, Self::Samples | Self::Events | Self::Database)
    }
}

/// What is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Ailment {
    pub(crate) part: Part,
    /// `disk_full`, `away` or `failed`; of two people `glass_broken`; of series `left_out`; of what is sealed `without_steps`; of what is stored `damaged`, `refused` or `stray`; of the clock `jumped`; of a cluster `failed` or `refused`; of a certificate `certificate_ends`, `certificate_ended` or
    /// `certificate_unusable`.
    pub(crate) code: &'static str,
    pub(crate) since_ms: i64,
    /// Whole days until a certificate ends, negative after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) days_left: Option<i64>,
    /// What the part itself says; empty for those who may not see the settings.
    pub(crate) reason: String,
}

/// Everything that is wrong now; empty while all is well.
pub(crate) type Ailments = Arc<[Ailment]>;

/// The parts that this controller has.
pub(crate) fn present(state: &AppState) -> impl Iterator<Item = Part> {
    let has_cluster = state.inner.cluster.is_some();
    let all = Part::ALL.into_iter();
    all.filter(move |part| *part != Part::Cluster || has_cluster)
}

/// Whether agents' reports are taken although `ailments` hold.
pub(crate) fn accepting(ailments: &[Ailment]) -> bool {
    ailments.iter().all(|ailment| ailment.part.accepts())
}

/// The last verdict and when it was given.
#[derive(Debug, Default)]
pub(crate) struct Verdict(Option<(Instant, Ailments)>);

/// What is wrong now, at most a second old.
pub(crate) async fn ailments(state: &AppState) -> Ailments {
    // Held while asking: a thousand pages ask once.
    let mut verdict = state.inner.health.lock().await;
    if let Some((at, known)) = &verdict.0
        && at.elapsed() < KEPT
    {
        return Arc::clone(known);
    }
    let before = verdict.0.take().map(|(_, known)| known);
    let found: Ailments = examine(state, before.as_deref().unwrap_or_default())
        .await
        .into();
    tell(before.as_deref().unwrap_or_default(), &found);
    verdict.0 = Some((Instant::now(), Arc::clone(&found)));
    found
}

/// What a caller is told: what the parts themselves say names hosts, files and addresses, and is for
/// those who run the province. That the rule of two people was broken is for them alone; who sees the
/// settings sees the audit too.
pub(crate) fn told(ailments: &[Ailment], sees_reasons: bool) -> Vec<Ailment> {
    let mut told = ailments.to_vec();
    if !sees_reasons {
        told.retain(|ailment| ailment.part != Part::TwoPeople);
        told.iter_mut().for_each(|ailment| ailment.reason.clear());
    }
    told
}

/// What probes are told, of which anybody may ask.
pub(crate) fn probed(ailments: &[Ailment]) -> impl Iterator<Item = &Ailment> {
    let own = |ailment: &&Ailment| ailment.part != Part::TwoPeople;
    ailments.iter().filter(own)
}

/// Whether a caller is told what the parts themselves say.
pub(crate) fn sees_reasons(view: &View) -> bool {
    view.scope_of(Permission::SeeSettings).is_some()
}

async fn examine(state: &AppState, before: &[Ailment]) -> Vec<Ailment> {
    let now_ms = state.now_ms();
    let since = |part: Part| {
        let known = before.iter().find(|ailment| ailment.part == part);
        known.map_or(now_ms, |ailment| ailment.since_ms)
    };
    let intake = state.inner.intake.get();
    let taken = |part: Part, trouble: Option<Trouble>| {
        trouble.map(|trouble| Ailment {
            part,
            code: trouble.cause.word(),
            since_ms: trouble.since_ms,
            days_left: None,
            reason: trouble.reason,
        })
    };
    let sealing = state.inner.series.sealing_trouble().map(|trouble| Ailment {
        part: Part::Sealing,
        code: Cause::of_disk(trouble.full).word(),
        since_ms: since(Part::Sealing),
        days_left: None,
        reason: trouble.reason,
    });
    let lost = state.inner.series.without_steps();
    let sealing = sealing.or_else(|| stored::without_steps(lost?, now_ms));
    // What cannot be read is worse than what cannot be written.
    let unread = database(state).await.err().map(|(cause, reason)| Ailment {
        part: Part::Database,
        code: cause.word(),
        since_ms: since(Part::Database),
        days_left: None,
        reason,
    });
    let database = unread.or_else(|| taken(Part::Database, intake.sessions));
    let samples = taken(Part::Samples, intake.samples);
    let events = taken(Part::Events, intake.events);
    let certificates = [
        (Part::IntermediateCertificate, Certificate::Intermediate),
        (Part::WebCertificate, Certificate::Web),
    ];
    let certificates = certificates.map(|(part, which)| certificate(state, part, which, now_ms));
    let stored = stored::damaged(state, since(Part::Stored));
    let stored = stored.or_else(|| stored::strays(state, since(Part::Stored)));
    let written = state.inner.write_desk.trouble(now_ms);
    let series = [
        taken(Part::RemoteWrite, written),
        sealing,
        stored::left_out(state),
        stored,
        stored::jumped(state, since(Part::Clock)),
        cluster(state, before, now_ms),
        glass(state, now_ms).await,
    ];
    [samples, events, database]
        .into_iter()
        .chain(series)
        .chain(certificates)
        .flatten()
        .collect()
}

fn cluster(state: &AppState, before: &[Ailment], now_ms: i64) -> Option<Ailment> {
    let standing = state.inner.cluster.as_ref()?.now();
    let mut before = before.iter();
    let is_told = before.any(|known| known.part == Part::Cluster && known.code == "failed");
    cluster_of(&standing, is_told, now_ms)
}

/// A cluster that fails is told of after some seconds, and until it has been well for a while: one that
/// takes something now and then is not well.
fn cluster_of(standing: &Standing, is_told: bool, now_ms: i64) -> Option<Ailment> {
    let lasts = |since_ms: i64| now_ms.saturating_sub(since_ms) >= CLUSTER_PATIENCE_MS;
    let now = standing
        .trouble
        .as_ref()
        .map(|(since_ms, reason)| (*since_ms, reason));
    let lately = standing
        .ended
        .as_ref()
        .filter(|ended| ended.is_near(now_ms));
    let lately = lately.map(|ended| (ended.since_ms, &ended.reason));
    let told = now
        .filter(|(since_ms, _)| is_told || lasts(*since_ms))
        .or(lately.filter(|_| is_told));
    let Some((since_ms, reason)) = told else {
        return refused(standing.refusals?, now_ms);
    };
    Some(Ailment {
        part: Part::Cluster,
        code: "failed",
        since_ms,
        days_left: None,
        reason: format!(
            "{reason}; samples wait on disk since {} s",
            standing.lag_ms / 1000
        ),
    })
}

/// For how long those of security and audit are shown that the rule of two people was broken.
const GLASS_MS: i64 = 30 * 86_400_000;

async fn glass(state: &AppState, now_ms: i64) -> Option<Ailment> {
    let store = &state.inner.store;
    let broken = timeout(
        PATIENCE,
        store.broken_glass(now_ms.saturating_sub(GLASS_MS)),
    );
    // A database that does not answer is an ailment of its own.
    let broken = broken.await.ok()?.ok()?;
    let since_ms = broken.first()?.time_ms;
    let told = broken
        .iter()
        .map(|one| format!("{}: {} ({})", one.user, one.change, one.reason));
    Some(Ailment {
        part: Part::TwoPeople,
        code: "glass_broken",
        since_ms,
        days_left: None,
        reason: told.collect::<Vec<_>>().join("; "),
    })
}

/// The cluster takes samples, but refused some of late, which are here only.
fn refused(refusals: Refusals, now_ms: i64) -> Option<Ailment> {
    let is_new = now_ms.saturating_sub(refusals.last_ms) < Refusals::TOGETHER_MS;
    is_new.then(|| Ailment {
        part: Part::Cluster,
        code: "refused",
        since_ms: refusals.since_ms,
        days_left: None,
        reason: format!(
            "the cluster refused {} samples for good; the controller's log has its answers",
            refusals.samples
        ),
    })
}

fn certificate(state: &AppState, part: Part, which: Certificate, now_ms: i64) -> Option<Ailment> {
    let concern = state.inner.certificates.concern(which, now_ms)?;
    Some(Ailment {
        part,
        code: concern.code,
        since_ms: concern.since_ms,
        days_left: concern.days_left,
        reason: concern.reason,
    })
}

/// Whether the database answers a read.
async fn database(state: &AppState) -> Result<(), (Cause, String)> {
    match timeout(PATIENCE, state.inner.store.latest_revocation()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err((Cause::of(&error), crate::problem::chain(&error))),
        Err(_) => Err((
            Cause::Away,
            format!("no answer within {} s", PATIENCE.as_secs()),
        )),
    }
}

/// The log says once when a part falls ill and once when it is well again. What intake has to say
/// it says itself.
fn tell(before: &[Ailment], now: &[Ailment]) {
    let has = |list: &[Ailment], part| list.iter().any(|ailment| ailment.part == part);
    for ailment in now.iter().filter(|ailment| !has(before, ailment.part)) {
        let (part, code, reason) = (ailment.part.word(), ailment.code, &ailment.reason);
        tracing::warn!(part, code, reason, "a part of the controller is unwell");
    }
    for ailment in before.iter().filter(|ailment| !has(now, ailment.part)) {
        tracing::info!(part = ailment.part.word(), "well again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_metrics::cluster::Ended;

    const NOW: i64 = 1_700_000_000_000;

    fn code(standing: &Standing, is_told: bool) -> Option<&'static str> {
        cluster_of(standing, is_told, NOW).map(|ailment| ailment.code)
    }

    #[test]
    fn a_cluster_that_fails_now_and_then_is_told_of_once() {
        let failing = |since_ms: i64| Standing {
            trouble: Some((since_ms, "it answers 503".to_owned())),
            ..Standing::default()
        };
        assert_eq!(code(&failing(NOW - 5_000), false), None);
        assert_eq!(code(&failing(NOW - 15_000), false), Some("failed"));
        // Told of, it stays so while it comes back, and for a while after the last time.
        assert_eq!(code(&failing(NOW - 5_000), true), Some("failed"));
        let over = |ended_ms: i64| Standing {
            ended: Some(Ended {
                since_ms: NOW - 60_000,
                ended_ms,
                reason: "it answers 503".to_owned(),
            }),
            ..Standing::default()
        };
        assert_eq!(code(&over(NOW - 5_000), true), Some("failed"));
        assert_eq!(code(&over(NOW - 5_000), false), None);
        assert_eq!(code(&over(NOW - 31_000), true), None);
    }

    #[test]
    fn a_moment_of_trouble_hides_no_refusals() {
        let standing = Standing {
            trouble: Some((NOW - 1_000, "it answers 503".to_owned())),
            refusals: Some(Refusals {
                since_ms: NOW - 70_000,
                last_ms: NOW - 60_000,
                samples: 5,
            }),
            ..Standing::default()
        };
        assert_eq!(code(&standing, false), Some("refused"));
    }
}
