//! Which request comes next, until everything was asked. Pure: no socket, no clock.
//!
//! Scalars come first, several a GET. Then the columns of a table side by side: one GETBULK brings
//! so many rows of so many columns, which costs a tenth of walking them one by one. Every column has
//! its own place, so a device may answer with fewer rows than it was asked for, cut an answer in the
//! middle of a row, or have holes in its columns; what comes out is what GETNEXT alone would bring.
//!
//! What a device cannot do costs it as little as possible: an answer that is too big or does not come
//! halves the next request, and an object that goes wrong ends alone, with a [`Fault`].

mod column;
mod pace;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use xiezhi_profiles::{Answers, Hints, Oid};

use crate::ask::{Ask, Fault, Limits, Problem};
use crate::message::{AskError, Cell, Kind, Request, Response};
use column::Column;
pub use pace::Pace;

/// Objects in a row that a device does not answer, after which it is taken for dead.
const SILENT_OBJECTS: u32 = 2;

/// Asks one device for everything in an [`Ask`], request by request.
#[derive(Debug)]
pub struct Planner {
    hints: Hints,
    limits: Limits,
    bulk: bool,
    pace: Pace,
    scalars: VecDeque<Oid>,
    /// Tables that were not begun.
    tables: VecDeque<Vec<Oid>>,
    /// The open columns of the table that is being asked.
    open: Vec<Column>,
    /// Rows of this table's first column that ended.
    table_rows: Option<usize>,
    /// Objects in the request that is out, and its rows.
    out: (usize, u32),
    /// Requests without an answer since the last answer.
    silent: u32,
    /// Objects given up for silence since the last answer.
    silent_objects: u32,
    has_answered: bool,
    values: usize,
    answers: Answers,
    faults: Vec<Fault>,
}

/// What a poll brought.
#[derive(Debug)]
pub struct Planned {
    /// The rows of every object that was asked for.
    pub answers: Answers,
    /// The objects whose rows are not all there.
    pub faults: Vec<Fault>,
    /// How to ask this device the next time.
    pub pace: Pace,
}

impl Planner {
    /// Plans `ask`. `bulk` says whether the protocol has GETBULK (SNMPv1 has not); `pace` is that of
    /// this device's last poll, or [`Pace::new`].
    #[must_use]
    pub fn new(ask: &Ask, hints: &Hints, limits: Limits, bulk: bool, pace: Pace) -> Self {
        let mut known = BTreeSet::new();
        let mut once = |oids: &[Oid]| -> Vec<Oid> {
            let new = oids.iter().filter(|oid| known.insert((*oid).clone()));
            new.cloned().collect()
        };
        let scalars = once(&ask.scalars).into();
        let tables = ask.columns.iter().map(|group| once(group)).collect();
        Self {
            bulk: bulk && !hints.no_getbulk,
            hints: hints.clone(),
            limits,
            pace,
            scalars,
            tables,
            open: Vec::new(),
            table_rows: None,
            out: (0, 1),
            silent: 0,
            silent_objects: 0,
            has_answered: false,
            values: 0,
            answers: Answers::new(),
            faults: Vec::new(),
        }
    }

    /// Whether the device has answered at all.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// The next request; `None` once everything was asked. Its outcome goes to [`Planner::take`].
    pub fn next_request(&mut self) -> Option<Request> {
        if !self.scalars.is_empty() {
            let count = self.pace.columns_of(self.scalars.len());
            self.out = (count, 1);
            return Some(Request {
                kind: Kind::Get,
                oids: self.scalars.iter().take(count).cloned().collect(),
            });
        }
        while self.open.is_empty() {
            let table = self.tables.pop_front()?;
            let unordered = self.hints.unordered;
            self.open = table
                .into_iter()
                .map(|object| Column::new(object, unordered))
                .collect();
            self.table_rows = None;
        }
        let count = self.pace.columns_of(self.open.len());
        let asked = self.open.iter().take(count);
        let oids = asked.map(Column::cursor).collect();
        let kind = if self.bulk {
            let repetitions = self.pace.repetitions_of(count, self.rows_expected(count));
            self.out = (count, repetitions);
            Kind::Bulk { repetitions }
        } else {
            self.out = (count, 1);
            Kind::Next
        };
        Some(Request { kind, oids })
    }

    /// Takes the outcome of the last request.
    ///
    /// # Errors
    /// If asking on is no use: the device is silent, does not know the user, or cannot be reached.
    pub fn take(&mut self, outcome: Result<Response, AskError>) -> Result<(), AskError> {
        match outcome {
            Err(error @ (AskError::Silent | AskError::Garbled)) => return self.unanswered(error),
            Err(error @ (AskError::Login(_) | AskError::Unreachable(_) | AskError::Setting(_))) => {
                return Err(error);
            }
            _ => {}
        }
        self.has_answered = true;
        self.silent = 0;
        self.silent_objects = 0;
        match outcome {
            Ok(response) if self.scalars.is_empty() => self.take_rows(response),
            Ok(response) => self.take_scalars(response),
            Err(AskError::TooBig) => self.too_big(Problem::TooBig),
            Err(AskError::NoSuchName { place }) => self.refused(place, Ok(())),
            Err(AskError::Refused { status, place }) => {
                self.refused(place, Err(Problem::Refused(status)));
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Ends the poll, finished or not.
    #[must_use]
    pub fn finish(mut self) -> Planned {
        let waiting: Vec<Oid> = self.scalars.drain(..).collect();
        let waiting = waiting.into_iter().chain(self.tables.drain(..).flatten());
        let waiting: Vec<Oid> = waiting.collect();
        for object in waiting {
            self.fault(object, Problem::Unfinished);
        }
        for column in &mut self.open {
            column.finish(Err(Problem::Unfinished));
        }
        self.close_columns();
        Planned {
            answers: self.answers,
            faults: self.faults,
            pace: self.pace,
        }
    }

    /// Rows that the asked columns will still have, if they are as long as the one that ended; one
    /// more, which shows the end.
    fn rows_expected(&self, count: usize) -> Option<usize> {
        let rows = self.table_rows?;
        let left = self
            .open
            .iter()
            .take(count)
            .map(|column| rows.checked_sub(column.told()));
        Some(left.collect::<Option<Vec<_>>>()?.into_iter().max()? + 1)
    }

    fn take_scalars(&mut self, response: Response) {
        let (count, _) = self.out;
        let count = count.min(self.scalars.len());
        let asked: Vec<Oid> = self.scalars.drain(..count).collect();
        let mut told: Vec<Option<Cell>> = vec![None; asked.len()];
        let mut place = 0;
        response.for_each(|name, cell| {
            let is = |oid: &Oid| name == oid.arcs();
            // In order, as every honest device answers; found by name if one does not.
            let at = if asked.get(place).is_some_and(is) {
                Some(place)
            } else {
                asked.iter().position(is)
            };
            place += 1;
            if let Some(slot) = at.and_then(|at| told.get_mut(at)) {
                slot.get_or_insert(cell);
            }
        });
        if told.iter().all(Option::is_none) {
            asked
                .into_iter()
                .rev()
                .for_each(|oid| self.scalars.push_front(oid));
            return self.too_big(Problem::Empty);
        }
        for (object, cell) in asked.into_iter().zip(told) {
            let row = match cell {
                // The answer was cut: this one is asked for again.
                None => {
                    self.scalars.push_back(object);
                    continue;
                }
                Some(Cell::Value(value)) => vec![(Oid::default(), value)],
                Some(_) => Vec::new(),
            };
            self.values += row.len();
            self.answers.add(object, row);
        }
        self.pace.answered(&self.hints);
    }

    fn take_rows(&mut self, response: Response) {
        let (count, repetitions) = self.out;
        let most = self.limits.rows;
        let before = self.told();
        let mut place = 0;
        let open = &mut self.open;
        response.for_each(|name, cell| {
            let (row, at) = (place / count.max(1), place % count.max(1));
            place += 1;
            if row >= repetitions as usize {
                return;
            }
            if let Some(column) = open.get_mut(at) {
                column.take(name, cell, most);
            }
        });
        let told = self.told() - before;
        let has_ended = self.open.iter().any(|column| column.ended().is_some());
        if told == 0 && !has_ended {
            return self.too_big(Problem::Empty);
        }
        self.values += told;
        for column in self.open.iter_mut().take(count) {
            column.answered();
        }
        if self.values > self.limits.values {
            self.stop();
        }
        self.pace.answered(&self.hints);
        self.close_columns();
    }

    /// The device has told all that it may: nothing more is asked.
    fn stop(&mut self) {
        for column in &mut self.open {
            column.finish(Err(Problem::Endless));
        }
        let waiting: Vec<Oid> = self.tables.drain(..).flatten().collect();
        for object in waiting {
            self.fault(object, Problem::Endless);
        }
    }

    fn told(&self) -> usize {
        self.open.iter().map(Column::told).sum()
    }

    /// The answer would not fit, or was empty.
    fn too_big(&mut self, problem: Problem) {
        let (count, repetitions) = self.out;
        let is_smaller = if self.scalars.is_empty() {
            self.pace.too_big(count, repetitions)
        } else {
            // How long a text is says nothing about rows of counters.
            self.pace.shrink(count, 1)
        };
        if !is_smaller {
            self.give_up(0, Err(problem));
            self.pace.resume(&self.hints);
        }
    }

    /// The device answered with an error, because of the object at `place` if it says so.
    fn refused(&mut self, place: Option<usize>, how: Result<(), Problem>) {
        let (count, repetitions) = self.out;
        let place = place.filter(|place| *place < count);
        if repetitions > 1 && how.is_err() {
            // It may be a later row: all those before it are worth having.
            self.pace.repetitions = 1;
        } else if let Some(place) = place {
            self.give_up(place, how);
        } else if count > 1 {
            self.pace.columns = count / 2;
        } else {
            self.give_up(0, how);
            self.pace.resume(&self.hints);
        }
    }

    /// No answer came: ask again, then for less, at last for one object alone, which is then given up.
    fn unanswered(&mut self, error: AskError) -> Result<(), AskError> {
        let (count, repetitions) = self.out;
        self.silent += 1;
        if self.silent <= self.hints.retries {
            // The first may have been lost on its way, and a GET was hardly too much.
            if self.silent > 1 && self.scalars.is_empty() {
                self.pace.shrink(count, repetitions);
            }
            return Ok(());
        }
        if !self.has_answered {
            return Err(error);
        }
        if count > 1 || repetitions > 1 {
            self.pace.single();
            return Ok(());
        }
        self.give_up(0, Err(Problem::Silent));
        self.silent_objects += 1;
        if self.silent_objects >= SILENT_OBJECTS {
            return Err(error);
        }
        self.silent = 0;
        self.pace.resume(&self.hints);
        Ok(())
    }

    /// Ends the object at `place` of the last request.
    fn give_up(&mut self, place: usize, how: Result<(), Problem>) {
        if let Some(object) = self.scalars.remove(place) {
            return match how {
                Ok(()) => self.answers.add(object, Vec::new()),
                Err(problem) => self.fault(object, problem),
            };
        }
        if let Some(column) = self.open.get_mut(place) {
            column.finish(how);
        }
        self.close_columns();
    }

    /// Moves the columns that have ended to the answers.
    fn close_columns(&mut self) {
        let ended = self.open.extract_if(.., |column| column.ended().is_some());
        for column in ended {
            match column.ended() {
                Some(Err(problem)) => self.faults.push(Fault {
                    object: column.object.clone(),
                    problem,
                }),
                _ => self.table_rows = self.table_rows.max(Some(column.told())),
            }
            self.answers.add(column.object, column.rows);
        }
    }

    fn fault(&mut self, object: Oid, problem: Problem) {
        self.answers.add(object.clone(), Vec::new());
        self.faults.push(Fault { object, problem });
    }
}
