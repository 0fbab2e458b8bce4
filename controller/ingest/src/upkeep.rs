//! What happens each second and each minute, whatever agents do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{info, warn};
use xiezhi_model::{Gap, Revocation};
use xiezhi_store::{LastSeen, StoreError};

use crate::context::Context;
use crate::mail::CloseReason;

/// Once a second: presence, revocations, small writes. A revocation must end a session within five.
const SECOND: Duration = Duration::from_secs(1);

/// Seconds between writes of last-seen times and reads of what other processes changed.
const MINUTE: u32 = 60;

/// Judges presence and acts on revocations until `stop` changes. It writes nothing, so that no
/// write that waits for its turn can hold a revocation up.
pub(crate) async fn watch(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let mut timer = each_second();
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = stop.changed() => return,
        }
        context.fleet.tick(context.now_ms());
        gauges(&context);
        note("revocations cannot be read", revocations(&context).await);
    }
}

/// Writes what sessions left to be written until `stop` changes; then writes the rest.
pub(crate) async fn write(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let mut timer = each_second();
    let mut second = 0u32;
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = stop.changed() => break,
        }
        note("sessions cannot be confirmed", confirm(&context).await);
        note("gaps cannot be written", gaps(&context).await);
        second = (second + 1) % MINUTE;
        if second == 0 {
            minute(&context).await;
        }
    }
    note("sessions cannot be confirmed", confirm(&context).await);
    note("gaps cannot be written", gaps(&context).await);
    note(
        "last-seen times cannot be written",
        last_seen(&context).await,
    );
}

fn each_second() -> Interval {
    let mut timer = interval(SECOND);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

async fn minute(context: &Context) {
    note(
        "last-seen times cannot be written",
        last_seen(context).await,
    );
    note("hosts cannot be read", refresh(context).await);
    let closed = context.store.close_audit_windows(context.now_ms());
    note("repeated acts cannot be audited", closed.await);
    let anchored = context.store.anchor_evidence(context.now_ms());
    note("the evidence's head cannot be audited", anchored.await);
}

/// Ends the sessions of whoever was revoked, by this process or another.
async fn revocations(context: &Context) -> Result<(), StoreError> {
    for revocation in context
        .store
        .revocations_since(context.last_revocation())
        .await?
    {
        // First, so that a session that is being opened looks again.
        context
            .revocation
            .fetch_max(revocation.change, Ordering::AcqRel);
        revoke(context, &revocation);
    }
    Ok(())
}

fn revoke(context: &Context, revocation: &Revocation) {
    let Revocation {
        host,
        serial,
        time_ms,
        ..
    } = revocation;
    let Some(entry) = context.fleet.entry(*host) else {
        return;
    };
    match serial {
        Some(serial) => entry.close_serial(serial, CloseReason::Revoked),
        None => {
            entry.revoked(*time_ms);
            context.fleet.close(*host, CloseReason::Revoked);
        }
    }
    info!(%host, serial, "revoked");
}

async fn confirm(context: &Context) -> Result<(), StoreError> {
    let sessions = context.confirmed.take();
    if sessions.is_empty() {
        return Ok(());
    }
    let outcome = context.store.confirm_sessions(&sessions).await;
    if outcome.is_err() {
        context.confirmed.put_back(sessions);
    }
    outcome
}

async fn gaps(context: &Context) -> Result<(), StoreError> {
    let notes = context.gaps.take();
    if notes.is_empty() {
        return Ok(());
    }
    let gaps: Vec<Gap> = notes.iter().map(|(gap, _)| gap.clone()).collect();
    let outcome = context.store.insert_gaps(&gaps, context.now_ms()).await;
    if outcome.is_err() {
        context.gaps.put_back(notes);
        return outcome;
    }
    for (_, session) in notes {
        session.gap_written();
    }
    Ok(())
}

async fn last_seen(context: &Context) -> Result<(), StoreError> {
    let unsaved = context.fleet.unsaved_last_seen();
    if unsaved.is_empty() {
        return Ok(());
    }
    let seen: Vec<_> = unsaved
        .iter()
        .map(|&(host, time_ms)| LastSeen { host, time_ms })
        .collect();
    context.store.set_last_seen(&seen).await?;
    context.fleet.saved_last_seen(&unsaved);
    Ok(())
}

async fn refresh(context: &Context) -> Result<(), StoreError> {
    for host in context.store.hosts().await? {
        context.fleet.refresh(&host);
    }
    Ok(())
}

fn gauges(context: &Context) {
    let (budget, free) = (
        context.options.queued_bytes,
        context.budget.available_permits(),
    );
    let queued = i64::try_from(budget.saturating_sub(free)).unwrap_or(i64::MAX);
    context.metrics.queued_bytes.set(queued);
    let texts = i64::try_from(context.interner.len()).unwrap_or(i64::MAX);
    context.metrics.series_texts.set(texts);
}

fn note(what: &str, outcome: Result<(), StoreError>) {
    if let Err(failure) = outcome {
        let error: &dyn std::error::Error = &failure;
        warn!(error, "{what}, trying again");
    }
}
