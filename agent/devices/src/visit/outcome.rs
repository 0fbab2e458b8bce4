//! What asking a device came to: its poll, its memory, its events.

use std::collections::BTreeMap;
use std::time::Duration;

use xiezhi_profiles::{FACTS, GENERIC, Profile, Reading};
use xiezhi_protocol::poll::{About, DeviceState, Poll, PollColumn, PollTable, PollValue};

use super::{Asked, Profiles, Subject, Visit, answered, changes, object_id};
use crate::measures::measures;
use crate::memory::Memory;
use crate::message::AskError;
use crate::moment::{Clocks, Moment};
use crate::poll::{PollError, Polled};
use crate::tables::{self, Digest};

/// Makes a visit of what was asked at `now`, and remembers it.
pub(super) fn settle(
    profiles: &Profiles,
    subject: &Subject,
    memory: &mut Memory,
    asked: Asked<'_>,
    now: Moment,
) -> Visit {
    match asked {
        Asked::Polled(profile, polled) if answered(&polled) => {
            told(profiles, subject, memory, profile, *polled, now)
        }
        Asked::Polled(profile, polled) => {
            let error = polled.error.unwrap_or(PollError::Ask(AskError::Silent));
            silent(
                subject,
                memory,
                Some(profile),
                &error,
                (polled.elapsed, now),
            )
        }
        Asked::Failed(error, elapsed) => silent(subject, memory, None, &error, (elapsed, now)),
    }
}

/// The device told something.
fn told(
    profiles: &Profiles,
    subject: &Subject,
    memory: &mut Memory,
    profile: &Profile,
    polled: Polled,
    now: Moment,
) -> Visit {
    let before = changes::Before::of(memory);
    let identity = &polled.identity;
    let clocks = Clocks {
        uptime_ticks: identity.uptime_ticks,
        wraps: 0,
        engine_time_s: identity.engine_time_s,
    };
    let since = memory.advance(now, clocks);
    let reading = profile.read(&polled.answers);
    let digest = tables::digest(profile, &reading, memory, since);
    if identity.object_id.is_some() || identity.description.is_some() {
        if identity.object_id.is_some() {
            memory.object_id = object_id(identity);
        }
        if let Some(description) = &identity.description {
            memory.description.clone_from(description);
        }
        profile.name.clone_into(&mut memory.profile);
        memory.profiles = profiles.digest;
    }
    let events = changes::answered(subject, memory, &before, since, &digest.changes, now);
    memory.tidy();
    let problem = polled.error.as_ref().map(word);
    let is_whole = problem.is_none() && polled.faults.is_empty();
    let state = if is_whole {
        DeviceState::Answered
    } else {
        DeviceState::Partial
    };
    let about = About {
        state,
        problem: problem
            .unwrap_or(if is_whole { "" } else { "incomplete" })
            .to_owned(),
        name: identity.name.clone().unwrap_or_default(),
        description: memory.description.clone(),
        object_id: memory.object_id.clone(),
        facts: facts(&reading),
        measures: measures(profile, &reading),
        uptime_s: memory.clocks.uptime_s(),
        needs_profile: profile.name == GENERIC && subject.profile.is_none(),
        ..about(subject, Some(profile))
    };
    let mut visit = content(subject, about, digest, polled.elapsed, now);
    visit.answered = true;
    visit.events = events;
    visit.pace = Some(polled.pace);
    visit.profile = Some(profile.name.clone());
    visit
}

/// The device told nothing.
fn silent(
    subject: &Subject,
    memory: &mut Memory,
    profile: Option<&Profile>,
    error: &PollError,
    (elapsed, now): (Duration, Moment),
) -> Visit {
    // Its time was up before it was given up: that too is no answer.
    let no_answer = PollError::Ask(AskError::Silent);
    let error = match error {
        PollError::Deadline(_) => &no_answer,
        PollError::Ask(_) => error,
    };
    let events = changes::silent(subject, memory, word(error), now);
    let about = About {
        state: state(error),
        problem: word(error).to_owned(),
        description: memory.description.clone(),
        object_id: memory.object_id.clone(),
        ..about(subject, profile)
    };
    let mut visit = content(subject, about, Digest::default(), elapsed, now);
    visit.events = events;
    visit.pace = subject.pace;
    visit
}

/// What is known of a device before it tells anything.
fn about(subject: &Subject, profile: Option<&Profile>) -> About {
    let mut about = About {
        address: subject.address.to_string(),
        every_s: u32::try_from(subject.every.as_secs()).unwrap_or(u32::MAX),
        ..About::default()
    };
    if let Some(profile) = profile {
        profile.name.clone_into(&mut about.profile);
        about.profile_version = profile.version;
        about.kind = profile
            .kind
            .map(|kind| kind.word().to_owned())
            .unwrap_or_default();
        profile.label.zh.clone_into(&mut about.label_zh);
        profile.label.en.clone_into(&mut about.label_en);
    }
    about
}

fn facts(reading: &Reading<'_>) -> BTreeMap<String, String> {
    let named = FACTS.iter().filter_map(|(word, fact)| {
        let text = reading.facts.get(fact)?;
        Some(((*word).to_owned(), text.clone()))
    });
    named.collect()
}

/// The poll in as many contents as it needs; if its tables cannot be told, at least how it answered.
fn content(
    subject: &Subject,
    mut about: About,
    digest: Digest,
    elapsed: Duration,
    now: Moment,
) -> Visit {
    let mut visit = Visit {
        time_ms: now.unix_ms,
        left_out: digest.left_out.clone(),
        ..Visit::default()
    };
    about.left_out = digest.left_out;
    about.ports = digest.ports;
    let mut tables = vec![own(&about, elapsed)];
    tables.extend(digest.tables);
    let mut poll = Poll {
        device: subject.name.clone(),
        time_ms: now.unix_ms,
        part: (0, 1),
        about: Some(about),
        tables,
    };
    visit.samples = poll.samples();
    match poll.encode_parts() {
        Ok(contents) => visit.contents = contents,
        Err(error) => {
            visit
                .faults
                .push(format!("its samples cannot be told: {error}"));
            poll.tables.truncate(1);
            visit.samples = poll.samples();
            visit.contents = poll.encode_parts().unwrap_or_default();
        }
    }
    visit
}

/// What is measured of every device.
fn own(about: &About, elapsed: Duration) -> PollTable {
    let is_up = matches!(about.state, DeviceState::Answered | DeviceState::Partial);
    let column = |name: &str, value| PollColumn {
        name: name.to_owned(),
        counter: false,
        values: vec![Some(value)],
    };
    let mut columns = vec![
        column("up", PollValue::Integer(i64::from(is_up))),
        column(
            "snmp_scrape_duration_seconds",
            PollValue::Real(elapsed.as_secs_f64()),
        ),
    ];
    let uptime = about.uptime_s.map(PollValue::Unsigned);
    columns.extend(uptime.map(|value| column("snmp_device_uptime_seconds", value)));
    PollTable {
        labels: Vec::new(),
        rows: vec![Vec::new()],
        columns,
    }
}

fn state(error: &PollError) -> DeviceState {
    match error {
        PollError::Ask(AskError::Login(_)) => DeviceState::Refused,
        PollError::Ask(AskError::Unreachable(_) | AskError::Setting(_)) => DeviceState::Unreachable,
        PollError::Ask(_) | PollError::Deadline(_) => DeviceState::Silent,
    }
}

/// The word of a problem; the list is closed.
pub(super) fn word(error: &PollError) -> &'static str {
    match error {
        PollError::Deadline(_) => "deadline",
        PollError::Ask(error) => match error {
            AskError::Silent => "no_answer",
            AskError::Login(why) if why.contains("password") => "wrong_password",
            AskError::Login(why) if why.contains("user's name") => "unknown_user",
            AskError::Login(_) => "login_refused",
            AskError::Unreachable(_) => "unreachable",
            AskError::Setting(_) => "cannot_ask",
            AskError::Garbled => "not_understood",
            AskError::TooBig | AskError::NoSuchName { .. } | AskError::Refused { .. } => "refused",
        },
    }
}
