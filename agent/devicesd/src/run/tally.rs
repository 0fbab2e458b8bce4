//! What this program tells of itself, for the agent's own metrics.

use std::collections::BTreeMap;

use serde::Serialize;
use xiezhi_devices::Strays;
use xiezhi_devices::visit::Visit;

use super::links::Links;
use super::traps::HeardReport;

/// Problems of the configuration that are told; the log has all.
const MOST_PROBLEMS: usize = 20;

/// Counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    polls: u64,
    answered: u64,
    samples: u64,
    left_out: BTreeMap<String, u64>,
    faults: u64,
    /// What is wrong with the configuration now.
    pub(crate) problems: Vec<String>,
}

/// A report; counters are since the start of the program.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Devices that are polled.
    devices: usize,
    /// Those that did not answer last.
    silent: usize,
    /// Polls.
    polls: u64,
    /// Those that were answered.
    answered: u64,
    /// Samples in them.
    samples: u64,
    /// Values without a sample, by reason.
    left_out: BTreeMap<String, u64>,
    /// Memories that were lost or could not be written, polls that could not be told.
    faults: u64,
    /// Datagrams that were answers to nothing.
    discarded: u64,
    /// Datagrams that were no SNMP.
    malformed: u64,
    /// Traps and informs.
    traps: HeardReport,
    /// Links that are measured.
    links: usize,
    /// Packets of others that the reflector answered, and that it refused.
    reflected: u64,
    reflect_refused: u64,
    /// What is wrong with the configuration, with file and line.
    problems: Vec<String>,
}

impl Report {
    /// How the links do.
    pub(crate) fn add_links(&mut self, links: &Links) {
        self.links = links.count;
        (self.reflected, self.reflect_refused) = links.reflected();
        let room = MOST_PROBLEMS.saturating_sub(self.problems.len());
        self.problems.extend(links.troubles().take(room).cloned());
    }
}

impl Tally {
    pub(crate) fn add(&mut self, visit: &Visit) {
        self.polls += 1;
        self.answered += u64::from(visit.answered);
        self.samples += visit.samples as u64;
        self.faults += visit.faults.len() as u64;
        for (reason, count) in &visit.left_out {
            *self.left_out.entry(reason.clone()).or_default() += count;
        }
    }

    pub(crate) fn report(
        &self,
        (devices, silent): (usize, usize),
        strays: Strays,
        traps: HeardReport,
    ) -> Report {
        Report {
            devices,
            silent,
            polls: self.polls,
            answered: self.answered,
            samples: self.samples,
            left_out: self.left_out.clone(),
            faults: self.faults,
            discarded: strays.discarded,
            malformed: strays.malformed,
            traps,
            links: 0,
            reflected: 0,
            reflect_refused: 0,
            problems: self.problems.iter().take(MOST_PROBLEMS).cloned().collect(),
        }
    }
}
