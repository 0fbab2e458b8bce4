//! One device at a time, many at once.
//!
//! A poll begins with the device's identity, so that a device that was replaced is noticed before its
//! values are taken for the old one's. Devices are independent: each has its own time, and one that
//! does not answer waits alone, without a place among those that do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use xiezhi_profiles::{Answers, Hints, Library, Oid, Probe, Value, Walk};

use crate::ask::{Ask, Fault, Limits, Problem};
use crate::client::{Counts, Session, Snmp, Socket};
use crate::credentials::Login;
use crate::message::AskError;
use crate::planner::{Pace, Planned, Planner};

/// `sysDescr`, `sysObjectID`, `sysUpTime`, `sysName` (RFC 3418) and `snmpEngineTime` (RFC 3411).
const IDENTITY: [&[u32]; 5] = [
    &[1, 3, 6, 1, 2, 1, 1, 1, 0],
    &[1, 3, 6, 1, 2, 1, 1, 2, 0],
    &[1, 3, 6, 1, 2, 1, 1, 3, 0],
    &[1, 3, 6, 1, 2, 1, 1, 5, 0],
    &[1, 3, 6, 1, 6, 3, 10, 2, 1, 3, 0],
];

/// How long a device may take to tell what decides between profiles.
const PROBE_PATIENCE: Duration = Duration::from_secs(60);

/// A device, and how to ask it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its address and port; 161 on almost all.
    pub address: SocketAddr,
    /// What it accepts.
    pub login: Login,
    /// How its profile says that it likes to be asked.
    pub hints: Hints,
    /// What its last poll taught; `None` before the first.
    pub pace: Option<Pace>,
}

/// Who a device says it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// `sysDescr`: maker, model and firmware, as its maker likes to write them.
    pub description: Option<String>,
    /// `sysObjectID`: the model; profiles are found by it.
    pub object_id: Option<Oid>,
    /// `sysUpTime`, hundredths of a second; wraps after 497 days.
    pub uptime_ticks: Option<u32>,
    /// `sysName`.
    pub name: Option<String>,
    /// `snmpEngineTime`, seconds since the SNMP engine's start; a check on `sysUpTime`, where it is.
    pub engine_time_s: Option<u32>,
}

impl Identity {
    /// Reads the identity that every poll asks for.
    fn of(answers: &Answers) -> Self {
        let [description, object_id, uptime, name, engine_time] =
            IDENTITY.map(|arcs| answers.scalar(&Oid::new(arcs)));
        Self {
            description: description.and_then(Value::text),
            object_id: match object_id {
                Some(Value::Oid(oid)) => Some(oid.clone()),
                _ => None,
            },
            uptime_ticks: match uptime {
                Some(Value::Ticks(ticks)) => Some(*ticks),
                _ => None,
            },
            name: name.and_then(Value::text),
            engine_time_s: match engine_time {
                Some(Value::Integer(seconds)) => u32::try_from(*seconds).ok(),
                _ => None,
            },
        }
    }
}

/// What a poll brought; partial if it says so.
#[derive(Debug)]
pub struct Polled {
    /// Who the device says it is.
    pub identity: Identity,
    /// What it told.
    pub answers: Answers,
    /// Objects whose rows are not all there.
    pub faults: Vec<Fault>,
    /// Why the poll ended early, if it did.
    pub error: Option<PollError>,
    /// How to ask it the next time.
    pub pace: Pace,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// What went over the wire.
    pub counts: Counts,
}

/// Why a poll ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// The device cannot be asked on.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It took longer than it may.
    #[error("the device took longer than {} s to tell everything", .0.as_secs())]
    Deadline(Duration),
}

/// What a device told of a subtree.
#[derive(Debug)]
pub struct Walked {
    /// What it told.
    pub walk: Walk,
    /// Why it is not all, if it is not.
    pub fault: Option<Problem>,
    /// Why the walk ended early, if it did.
    pub error: Option<PollError>,
    /// What went over the wire.
    pub counts: Counts,
}

/// Asks devices from one socket, so many at once.
pub struct Poller {
    socket: Socket,
    places: Semaphore,
}

impl Poller {
    /// A poller that reads the tables of `at_once` devices at the same time; the memory that it needs
    /// is theirs. Devices that have not answered yet do not count.
    #[must_use]
    pub fn new(socket: Socket, at_once: usize) -> Self {
        Self {
            socket,
            places: Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)),
        }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Asks a device who it is.
    ///
    /// # Errors
    /// If it does not say, with the reason.
    pub async fn identify(&self, target: &Target) -> Result<Identity, PollError> {
        let deadline = target.hints.timeout * (target.hints.retries + 1) * 2;
        let polled = self
            .poll(target, &Ask::default(), Limits::default(), deadline)
            .await;
        match polled.error {
            Some(error) => Err(error),
            None => Ok(polled.identity),
        }
    }

    /// What profiles are told apart by: who the device says it is, and which of the objects that decide
    /// between profiles of `library` it has.
    pub async fn probe(&self, target: &Target, library: &Library, identity: &Identity) -> Probe {
        let sys_object_id = identity.object_id.clone().unwrap_or_default();
        let questions = library.questions(&sys_object_id);
        let is_scalar = |oid: &&Oid| oid.arcs().ends_with(&[0]);
        let ask = Ask {
            scalars: questions.iter().filter(is_scalar).cloned().collect(),
            columns: questions.iter().map(|oid| vec![oid.clone()]).collect(),
        };
        // One row is enough to know that there is one.
        let limits = Limits {
            rows: 1,
            ..Limits::default()
        };
        let answers = if questions.is_empty() {
            Answers::new()
        } else {
            self.poll(target, &ask, limits, PROBE_PATIENCE)
                .await
                .answers
        };
        Probe {
            sys_object_id,
            sys_descr: identity.description.clone().unwrap_or_default(),
            has: questions
                .into_iter()
                .filter(|oid| !answers.rows(oid).is_empty())
                .collect(),
        }
    }

    /// Asks a device who it is and for everything in `ask`, within `deadline`, to which waiting for a
    /// place does not count.
    pub async fn poll(
        &self,
        target: &Target,
        ask: &Ask,
        limits: Limits,
        deadline: Duration,
    ) -> Polled {
        let mut whole = ask.clone();
        let identity = IDENTITY.iter().map(|arcs| Oid::new(arcs));
        whole.scalars.splice(0..0, identity);
        let (planned, error, elapsed, counts) = self.run(target, &whole, limits, deadline).await;
        let identity = Identity::of(&planned.answers);
        let asked = |fault: &Fault| {
            ask.scalars.contains(&fault.object)
                || ask
                    .columns
                    .iter()
                    .flatten()
                    .any(|column| *column == fault.object)
        };
        Polled {
            identity,
            faults: planned.faults.into_iter().filter(asked).collect(),
            answers: planned.answers,
            error,
            pace: planned.pace,
            elapsed,
            counts,
        }
    }

    /// Reads everything below `root`, within `limits` and `deadline`.
    pub async fn walk(
        &self,
        target: &Target,
        root: &Oid,
        limits: Limits,
        deadline: Duration,
    ) -> Walked {
        let ask = Ask {
            scalars: Vec::new(),
            columns: vec![vec![root.clone()]],
        };
        let (planned, error, _, counts) = self.run(target, &ask, limits, deadline).await;
        let mut walk = Walk::default();
        for (index, value) in planned.answers.rows(root) {
            walk.add(root.at(index), value.clone());
        }
        Walked {
            walk,
            fault: planned.faults.first().map(|fault| fault.problem),
            error,
            counts,
        }
    }

    async fn run(
        &self,
        target: &Target,
        ask: &Ask,
        limits: Limits,
        deadline: Duration,
    ) -> (Planned, Option<PollError>, Duration, Counts) {
        let pace = target.pace.unwrap_or_else(|| Pace::new(&target.hints));
        let bulk = target.login.has_bulk();
        let mut planner = Planner::new(ask, &target.hints, limits, bulk, pace);
        let start = Instant::now();
        let session = self
            .socket
            .session(target.address, &target.login, target.hints.timeout);
        let mut session = match session {
            Ok(session) => session,
            Err(error) => {
                let none = (Duration::ZERO, Counts::default());
                return (planner.finish(), Some(error.into()), none.0, none.1);
            }
        };
        let outcome = self.converse(&mut planner, &mut session, deadline).await;
        (
            planner.finish(),
            outcome.err(),
            start.elapsed(),
            session.counts(),
        )
    }

    /// Asks until everything was asked. The device gets a place once it has answered: one that is
    /// dead must not keep others waiting.
    async fn converse(
        &self,
        planner: &mut Planner,
        session: &mut Snmp,
        deadline: Duration,
    ) -> Result<(), PollError> {
        let too_long = |_| PollError::Deadline(deadline);
        let until = tokio::time::Instant::now() + deadline;
        let first = ask_until(planner, session, |planner| planner.has_answered());
        tokio::time::timeout_at(until, first)
            .await
            .map_err(too_long)??;
        let waiting = tokio::time::Instant::now();
        // Never closed, so this cannot fail; a poll without a place would do no harm either.
        let _place = self.places.acquire().await.ok();
        let until = until + waiting.elapsed();
        let rest = ask_until(planner, session, |_| false);
        Ok(tokio::time::timeout_at(until, rest)
            .await
            .map_err(too_long)??)
    }
}

/// Asks until everything was asked or `enough`.
async fn ask_until(
    planner: &mut Planner,
    session: &mut impl Session,
    enough: impl Fn(&Planner) -> bool,
) -> Result<(), AskError> {
    while !enough(planner) {
        let Some(request) = planner.next_request() else {
            break;
        };
        let outcome = session.request(&request).await;
        planner.take(outcome)?;
    }
    Ok(())
}
