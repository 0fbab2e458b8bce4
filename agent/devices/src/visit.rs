//! One device asked, read, remembered and told: from its memory to the contents that go to the worker.
//!
//! A device is recognised once, and again when it says that it is another: its ports keep their names
//! then, and an event says so. Whatever goes wrong, the visit ends with a poll that says how the device
//! answered, because that it was asked and is silent is a sample too.

mod changes;
mod outcome;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use xiezhi_profiles::{GENERIC, Hints, Library, Profile};
use xiezhi_protocol::event::Event;

use crate::ask::{Ask, Limits};
use crate::credentials::Login;
use crate::memory::{Memory, Row, Unreadable};
use crate::moment::Moment;
use crate::planner::Pace;
use crate::poll::{Identity, PollError, Polled, Poller, Target};

/// How long a device may take at most, and at least, to tell everything; between them its interval.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What is asked, and how.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The device's name.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// How often it is asked.
    pub every: Duration,
    /// What it accepts.
    pub login: Login,
    /// The profile that somebody chose for it.
    pub profile: Option<String>,
    /// What the last visit taught.
    pub pace: Option<Pace>,
}

/// The profiles with a digest of which they are.
#[derive(Debug, Default)]
pub struct Profiles {
    library: Library,
    digest: u64,
}

impl Profiles {
    /// Profiles that are known by `texts` of those that do not come with the program.
    #[must_use]
    pub fn new(library: Library, texts: &[&str]) -> Self {
        let known: Vec<String> = library
            .iter()
            .map(|profile| format!("{} {}", profile.name, profile.version))
            .collect();
        let parts = known.iter().map(String::as_str);
        let parts = parts.chain(texts.iter().copied());
        let digest = Row::of("profiles", parts).0;
        Self { library, digest }
    }

    /// The profiles.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }
}

/// What a visit came to.
#[derive(Debug, Default)]
pub struct Visit {
    /// When it began, Unix milliseconds: the time of its samples.
    pub time_ms: i64,
    /// The poll, in as many contents as it needs.
    pub contents: Vec<Vec<u8>>,
    /// What happened to the device.
    pub events: Vec<Event>,
    /// Whether it answered.
    pub answered: bool,
    /// Samples in the poll.
    pub samples: usize,
    /// Values without a sample, by reason.
    pub left_out: std::collections::BTreeMap<String, u64>,
    /// How to ask it the next time.
    pub pace: Option<Pace>,
    /// The profile that it was read with, if it told anything.
    pub profile: Option<String>,
    /// What could not be remembered, or made a content, in English.
    pub faults: Vec<String>,
}

/// Visits a device. `memories` is the folder of memories, `clock` tells the time.
pub async fn visit(
    poller: &Poller,
    profiles: &Profiles,
    memories: &Path,
    subject: &Subject,
    clock: fn() -> Moment,
) -> Visit {
    let now = clock();
    let path = Memory::path(memories, &subject.name);
    let (mut memory, unreadable) = blocking({
        let path = path.clone();
        move || Memory::load(&path)
    })
    .await
    .unwrap_or_default();
    let asked = ask(poller, profiles, subject, &memory).await;
    let before = memory.presence;
    let mut visit = outcome::settle(profiles, subject, &mut memory, asked, now);
    visit
        .faults
        .extend(unreadable.map(|error| told(&path, &error)));
    if visit.answered || memory.presence != before {
        let saved = blocking(move || memory.save(&path).map_err(|error| (path, error))).await;
        if let Some(Err((path, error))) = saved {
            visit
                .faults
                .push(format!("cannot write {}: {error}", path.display()));
        }
    }
    visit
}

fn told(path: &Path, error: &Unreadable) -> String {
    format!("what was remembered in {} is lost: {error}", path.display())
}

/// Runs what may wait for a disk where it keeps no device waiting.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// What asking brought.
pub(crate) enum Asked<'p> {
    /// It was read with this profile; perhaps not to its end.
    Polled(&'p Profile, Box<Polled>),
    /// It did not even say who it is.
    Failed(PollError, Duration),
}

async fn ask<'p>(
    poller: &Poller,
    profiles: &'p Profiles,
    subject: &Subject,
    memory: &Memory,
) -> Asked<'p> {
    let chosen = subject.profile.as_deref();
    let is_current = memory.profiles == profiles.digest && !memory.profile.is_empty();
    let known = chosen.or_else(|| is_current.then_some(memory.profile.as_str()));
    let mut polled = None;
    if let Some(profile) = known.and_then(|name| profiles.library.get(name)) {
        let told = poll(poller, subject, profile).await;
        let is_same = chosen.is_some() || !answered(&told) || is_same(&told.identity, memory);
        if is_same {
            return Asked::Polled(profile, Box::new(told));
        }
        polled = Some((profile, told));
    }
    let identity = match &polled {
        Some((_, told)) => told.identity.clone(),
        None => {
            let start = tokio::time::Instant::now();
            match poller.identify(&target(subject, &Hints::default())).await {
                Ok(identity) => identity,
                Err(error) => return Asked::Failed(error, start.elapsed()),
            }
        }
    };
    let target = target(subject, &Hints::default());
    let probe = poller.probe(&target, &profiles.library, &identity).await;
    let found = profiles.library.recognise(&probe);
    let Some(profile) = found.or_else(|| profiles.library.get(GENERIC)) else {
        // The profiles that come with the program always have it.
        let error = crate::message::AskError::Setting("there is no generic profile".to_owned());
        return Asked::Failed(error.into(), Duration::ZERO);
    };
    match polled {
        Some((before, told)) if before.name == profile.name => {
            Asked::Polled(profile, Box::new(told))
        }
        _ => Asked::Polled(profile, Box::new(poll(poller, subject, profile).await)),
    }
}

/// Whether a device is the one that is remembered, as far as it says who it is.
fn is_same(identity: &Identity, memory: &Memory) -> bool {
    let description = identity.description.as_deref();
    (identity.object_id.is_none() || object_id(identity) == memory.object_id)
        && description.is_none_or(|description| description == memory.description)
}

pub(crate) fn object_id(identity: &Identity) -> String {
    let oid = identity.object_id.as_ref();
    oid.map(ToString::to_string).unwrap_or_default()
}

/// Whether a device told anything at all.
pub(crate) fn answered(polled: &Polled) -> bool {
    polled.identity != Identity::default() || polled.answers.values() > 0
}

fn target(subject: &Subject, hints: &Hints) -> Target {
    Target {
        address: subject.address,
        login: subject.login.clone(),
        hints: hints.clone(),
        pace: subject.pace,
    }
}

async fn poll(poller: &Poller, subject: &Subject, profile: &Profile) -> Polled {
    let (scalars, columns) = profile.objects();
    let patience = subject.every.clamp(PATIENCE.0, PATIENCE.1);
    let ask = Ask { scalars, columns };
    let target = target(subject, &profile.hints);
    poller
        .poll(&target, &ask, Limits::default(), patience)
        .await
}
