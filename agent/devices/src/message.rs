//! One request and its answer, as the planner sees them.

use xiezhi_profiles::{Oid, Value};

/// How a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The values of exactly these objects.
    Get,
    /// For each object the one after it.
    Next,
    /// For each object the following ones, row by row.
    Bulk {
        /// Rows, at most.
        repetitions: u32,
    },
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How it asks.
    pub kind: Kind,
    /// What it asks about.
    pub oids: Vec<Oid>,
}

/// What a device told at one place of its answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A value.
    Value(Value),
    /// It has no such object or instance.
    Missing,
    /// There is nothing after the object.
    End,
    /// Something that is no value: a NULL, a type that nobody knows.
    Unread,
}

/// A device's answer: names and what it told for each, in the order in which it told them.
///
/// The arcs of all names lie in one vector, because an answer has hundreds of names and a vector
/// for each would cost more than everything else.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Response {
    arcs: Vec<u32>,
    /// For each name, where its arcs end, and what was told.
    cells: Vec<(usize, Cell)>,
}

impl Response {
    /// An empty answer with room for `cells` names.
    #[must_use]
    pub fn with_capacity(cells: usize) -> Self {
        Self {
            arcs: Vec::with_capacity(cells * 12),
            cells: Vec::with_capacity(cells),
        }
    }

    /// Adds a name and what was told for it.
    pub fn push(&mut self, name: &[u32], cell: Cell) {
        self.arcs.extend_from_slice(name);
        self.cells.push((self.arcs.len(), cell));
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether nothing was told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Calls `take` with every name's arcs and what was told for it, in order.
    pub fn for_each(self, mut take: impl FnMut(&[u32], Cell)) {
        let mut start = 0;
        for (end, cell) in self.cells {
            take(self.arcs.get(start..end).unwrap_or_default(), cell);
            start = end;
        }
    }
}

/// Why a request has no answer. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nothing came in time: the device is off, the line is cut, or the community is wrong.
    #[error(
        "no answer: the device is off, its address or community is wrong, or it does not let this \
         host ask"
    )]
    Silent,
    /// The request or its answer does not fit.
    #[error("too big for the device")]
    TooBig,
    /// SNMPv1: one of the objects does not exist, or there is nothing after it.
    #[error("no such name")]
    NoSuchName {
        /// Which of the request's objects, from 0, if the device says so.
        place: Option<usize>,
    },
    /// The device answers with another error.
    #[error("the device refuses: {status}")]
    Refused {
        /// SNMP's name of the error.
        status: &'static str,
        /// Which of the request's objects, from 0, if the device says so.
        place: Option<usize>,
    },
    /// An SNMPv3 device does not accept the user, the passwords or the protocols.
    #[error("the device does not accept the user: {0}")]
    Login(&'static str),
    /// Answers came that are none.
    #[error("the device's answers are not understood")]
    Garbled,
    /// This host cannot send to the device.
    #[error("cannot send to the device: {0}")]
    Unreachable(std::io::ErrorKind),
    /// The device cannot be asked like this.
    #[error("cannot ask like this: {0}")]
    Setting(String),
}
