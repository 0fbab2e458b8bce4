//! The planner against devices made of a walk, honest and otherwise.

use proptest::prelude::*;
use xiezhi_profiles::{Value, Walk};

use super::*;

/// A device as the planner sees it.
#[derive(Debug, Clone, Default)]
struct Device {
    walk: Walk,
    /// Rows that it tells at once, at most.
    most_rows: Option<usize>,
    /// Names that it tells at once, at most; the rest of the answer is cut off.
    most_names: Option<usize>,
    /// Names above which it says tooBig.
    too_big_over: Option<usize>,
    /// It says noSuchInstance where others say endOfMibView.
    says_missing_at_end: bool,
    /// It does not answer when asked for anything in here.
    deaf_in: Option<Oid>,
    /// It answers genErr when it would have to tell this.
    breaks_at: Option<Oid>,
    /// Every request with this number in the sequence gets no answer.
    drops_every: Option<usize>,
    /// SNMPv1.
    is_old: bool,
    /// It tells its objects in this order, and GETNEXT of the last is the first.
    ring: Vec<Oid>,
    asked: usize,
}

impl Device {
    fn of(walk: Walk) -> Self {
        Self {
            walk,
            ..Self::default()
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Response, AskError> {
        self.asked += 1;
        if self
            .drops_every
            .is_some_and(|every| self.asked.is_multiple_of(every))
        {
            return Err(AskError::Silent);
        }
        if let Some(deaf) = &self.deaf_in
            && request.oids.iter().any(|oid| oid.is_in(deaf))
        {
            return Err(AskError::Silent);
        }
        let mut response = Response::default();
        let rows = match request.kind {
            Kind::Bulk { repetitions } => repetitions as usize,
            _ => 1,
        };
        if self
            .too_big_over
            .is_some_and(|most| request.oids.len() * rows > most)
        {
            return Err(AskError::TooBig);
        }
        let mut at = request.oids.clone();
        for _ in 0..rows.min(self.most_rows.unwrap_or(usize::MAX)) {
            for (place, oid) in at.iter_mut().enumerate() {
                if self.most_names.is_some_and(|most| response.len() >= most) {
                    return Ok(response);
                }
                self.tell(request.kind, place, oid, &mut response)?;
            }
        }
        Ok(response)
    }

    fn tell(
        &self,
        kind: Kind,
        place: usize,
        oid: &mut Oid,
        response: &mut Response,
    ) -> Result<(), AskError> {
        let found = match kind {
            Kind::Get => self.walk.get(oid).map(|value| (oid.clone(), value.clone())),
            _ => self.after(oid),
        };
        let Some((name, value)) = found else {
            if self.is_old {
                return Err(AskError::NoSuchName { place: Some(place) });
            }
            let cell = match kind {
                Kind::Get => Cell::Missing,
                _ if self.says_missing_at_end => Cell::Missing,
                _ => Cell::End,
            };
            response.push(oid.arcs(), cell);
            return Ok(());
        };
        if self.breaks_at.as_ref() == Some(&name) {
            return Err(AskError::Refused {
                status: "genErr",
                place: Some(place),
            });
        }
        response.push(name.arcs(), Cell::Value(value));
        *oid = name;
        Ok(())
    }

    fn after(&self, oid: &Oid) -> Option<(Oid, Value)> {
        if self.ring.is_empty() {
            return self
                .walk
                .next(oid)
                .map(|(name, value)| (name.clone(), value.clone()));
        }
        let at = self.ring.iter().position(|name| name == oid);
        let next = at.map_or(0, |at| (at + 1) % self.ring.len());
        let name = self.ring[next].clone();
        Some((name.clone(), self.walk.get(&name)?.clone()))
    }
}

/// Polls to the end; the requests are counted by the device.
fn poll(
    device: &mut Device,
    ask: &Ask,
    hints: &Hints,
    limits: Limits,
) -> (Planned, Option<AskError>) {
    let mut planner = Planner::new(ask, hints, limits, !device.is_old, Pace::new(hints));
    while let Some(request) = planner.next_request() {
        assert!(request.oids.len() <= hints.max_oids);
        if let Kind::Bulk { repetitions } = request.kind {
            assert!((1..=hints.max_repetitions).contains(&repetitions));
        }
        assert!(device.asked < 20_000, "the planner never ends");
        if let Err(error) = planner.take(device.answer(&request)) {
            return (planner.finish(), Some(error));
        }
    }
    (planner.finish(), None)
}

fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

/// A table under 1.3.6.1.2.1.2.2.1 with so many columns and rows, and some scalars.
fn table(columns: u32, rows: u32) -> (Walk, Ask) {
    let mut walk = Walk::default();
    let entry = oid("1.3.6.1.2.1.2.2.1");
    let mut group = Vec::new();
    for column in 1..=columns {
        let object = entry.at(&Oid::new(&[column]));
        for row in 1..=rows {
            walk.add(
                object.at(&Oid::new(&[row])),
                Value::Counter64(u64::from(column * 1000 + row)),
            );
        }
        group.push(object);
    }
    let scalars: Vec<Oid> = (1..=5)
        .map(|last| oid("1.3.6.1.2.1.1").at(&Oid::new(&[last, 0])))
        .collect();
    for scalar in &scalars {
        walk.add(scalar.clone(), Value::Integer(7));
    }
    let ask = Ask {
        scalars,
        columns: vec![group],
    };
    (walk, ask)
}

fn expected(walk: &Walk, ask: &Ask) -> Answers {
    walk.answers(&ask.scalars, ask.columns.iter().flatten())
}

#[test]
fn a_table_takes_a_request_for_many_rows_of_many_columns() {
    let (walk, ask) = table(41, 100);
    let mut device = Device::of(walk.clone());
    let (planned, error) = poll(&mut device, &ask, &Hints::default(), Limits::default());
    assert_eq!(error, None);
    assert_eq!(planned.faults, []);
    assert_eq!(planned.answers, expected(&walk, &ask));
    // One for the scalars; six bands of columns, each with two for its rows and its end.
    assert_eq!(device.asked, 1 + 6 * 2);
}

#[test]
fn an_object_that_is_missing_costs_the_others_nothing() {
    let (walk, mut ask) = table(3, 4);
    ask.scalars.push(oid("1.3.6.1.4.1.9.0"));
    ask.columns[0].insert(0, oid("1.3.6.1.4.1.9.9"));
    for is_old in [false, true] {
        let mut device = Device {
            is_old,
            ..Device::of(walk.clone())
        };
        let (planned, error) = poll(&mut device, &ask, &Hints::default(), Limits::default());
        assert_eq!((planned.faults, error), (vec![], None));
        assert_eq!(planned.answers, expected(&walk, &ask));
    }
}

#[test]
fn a_device_in_circles_ends_that_column_and_says_so() {
    let (walk, mut ask) = table(2, 3);
    ask.scalars.clear();
    let column = ask.columns[0][0].clone();
    let ring: Vec<Oid> = (1..=3).map(|row| column.at(&Oid::new(&[row]))).collect();
    for no_getbulk in [false, true] {
        let mut device = Device {
            ring: ring.clone(),
            ..Device::of(walk.clone())
        };
        let hints = Hints {
            no_getbulk,
            ..Hints::default()
        };
        let ask = Ask {
            scalars: vec![],
            columns: vec![vec![column.clone()]],
        };
        let (planned, error) = poll(&mut device, &ask, &hints, Limits::default());
        assert_eq!(error, None);
        let problem = Problem::Loop;
        assert_eq!(
            planned.faults,
            [Fault {
                object: column.clone(),
                problem
            }]
        );
        assert_eq!(planned.answers.rows(&column).len(), 3);
    }
}

#[test]
fn a_device_without_order_is_walked_until_it_repeats_itself() {
    let (walk, ask) = table(1, 6);
    let column = ask.columns[0][0].clone();
    let order = [4, 2, 6, 1, 5, 3];
    let mut ring: Vec<Oid> = order
        .iter()
        .map(|row| column.at(&Oid::new(&[*row])))
        .collect();
    ring.push(oid("1.3.6.1.2.1.1.1.0"));
    let ask = Ask {
        scalars: vec![],
        columns: vec![vec![column.clone()]],
    };
    for unordered in [false, true] {
        let hints = Hints {
            unordered,
            max_repetitions: 2,
            ..Hints::default()
        };
        let mut device = Device {
            ring: ring.clone(),
            ..Device::of(walk.clone())
        };
        let (planned, _) = poll(&mut device, &ask, &hints, Limits::default());
        assert_eq!(planned.answers == expected(&walk, &ask), unordered);
        assert_eq!(planned.faults.is_empty(), unordered);
    }
    // And it ends if it never leaves the column.
    ring.pop();
    let hints = Hints {
        unordered: true,
        max_repetitions: 4,
        ..Hints::default()
    };
    let mut device = Device {
        ring,
        ..Device::of(walk.clone())
    };
    let (planned, _) = poll(&mut device, &ask, &hints, Limits::default());
    assert_eq!(planned.faults[0].problem, Problem::Loop);
    assert_eq!(planned.answers, expected(&walk, &ask));
}

#[test]
fn an_endless_table_is_stopped_and_the_others_are_asked() {
    let (mut walk, mut ask) = table(1, 300);
    let (other, more) = (oid("1.3.6.1.2.1.31.1"), oid("1.3.6.1.2.1.31.1.7"));
    walk.add(more, Value::Integer(1));
    ask.columns.push(vec![other.clone()]);
    let limits = Limits {
        rows: 100,
        values: 1000,
    };
    let (planned, _) = poll(
        &mut Device::of(walk.clone()),
        &ask,
        &Hints::default(),
        limits,
    );
    let endless = ask.columns[0][0].clone();
    assert_eq!(planned.answers.rows(&endless).len(), 100);
    assert_eq!(planned.answers.rows(&other).len(), 1);
    let problem = Problem::Endless;
    assert_eq!(
        planned.faults,
        [Fault {
            object: endless,
            problem
        }]
    );
    // All values of a poll count together.
    let limits = Limits {
        rows: 1000,
        values: 200,
    };
    let (planned, _) = poll(&mut Device::of(walk), &ask, &Hints::default(), limits);
    let one_answer = Hints::default().max_repetitions as usize;
    assert!(planned.answers.values() <= 200 + one_answer);
    assert_eq!(planned.faults.len(), 2);
}

#[test]
fn a_column_that_is_not_answered_costs_itself_alone() {
    let (walk, ask) = table(20, 30);
    let deaf = ask.columns[0][11].clone();
    let mut device = Device {
        deaf_in: Some(deaf.clone()),
        ..Device::of(walk.clone())
    };
    let (planned, error) = poll(&mut device, &ask, &Hints::default(), Limits::default());
    assert_eq!(error, None);
    let problem = Problem::Silent;
    assert_eq!(
        planned.faults,
        [Fault {
            object: deaf.clone(),
            problem
        }]
    );
    for column in ask.columns[0].iter().filter(|column| **column != deaf) {
        assert_eq!(planned.answers.rows(column).len(), 30, "{column}");
    }
}

#[test]
fn a_row_that_breaks_the_device_costs_the_rest_of_its_column_alone() {
    let (walk, ask) = table(10, 40);
    let column = ask.columns[0][3].clone();
    let mut device = Device {
        breaks_at: Some(column.at(&Oid::new(&[30]))),
        ..Device::of(walk.clone())
    };
    let (planned, error) = poll(&mut device, &ask, &Hints::default(), Limits::default());
    assert_eq!(error, None);
    assert_eq!(planned.answers.rows(&column).len(), 29);
    let problem = Problem::Refused("genErr");
    assert_eq!(
        planned.faults,
        [Fault {
            object: column,
            problem
        }]
    );
    assert_eq!(planned.answers.values(), 5 + 10 * 40 - 11);
}

#[test]
fn a_dead_device_costs_its_retries_and_no_more() {
    let (walk, ask) = table(3, 3);
    let mut device = Device {
        deaf_in: Some(oid("1.3")),
        ..Device::of(walk)
    };
    let (planned, error) = poll(&mut device, &ask, &Hints::default(), Limits::default());
    assert_eq!(error, Some(AskError::Silent));
    assert_eq!(device.asked, 3);
    assert_eq!(planned.faults.len(), 8);
    assert!(
        planned
            .faults
            .iter()
            .all(|fault| fault.problem == Problem::Unfinished)
    );
}

#[test]
fn what_was_too_big_is_never_asked_for_again() {
    let (walk, ask) = table(16, 200);
    let mut device = Device {
        too_big_over: Some(60),
        ..Device::of(walk.clone())
    };
    let hints = Hints::default();
    let (planned, _) = poll(&mut device, &ask, &hints, Limits::default());
    assert_eq!(planned.answers, expected(&walk, &ask));
    let first = device.asked;
    device.asked = 0;
    let mut planner = Planner::new(&ask, &hints, Limits::default(), true, planned.pace);
    while let Some(request) = planner.next_request() {
        let answer = device.answer(&request);
        assert_ne!(answer, Err(AskError::TooBig), "the next poll knows better");
        planner.take(answer).unwrap();
    }
    assert!(device.asked < first);
}

prop_compose! {
    fn devices()(
        objects in prop::collection::btree_map((0u32..14, prop::collection::vec(0u32..40, 1..3)), 0i32..9, 0..300),
        scalars in prop::collection::btree_set(0u32..12, 0..8),
        most_rows in prop::option::of(1usize..20),
        most_names in prop::option::of(1usize..40),
        too_big_over in prop::option::of(1usize..60),
        says_missing_at_end in any::<bool>(),
        drops_every in prop::option::of(2usize..9),
        is_old in any::<bool>(),
    ) -> Device {
        let mut walk = Walk::default();
        for ((column, index), value) in objects {
            walk.add(oid("1.3.6.1.9").at(&Oid::new(&[column])).at(&Oid::new(&index)), Value::Integer(value));
        }
        for scalar in scalars {
            walk.add(oid("1.3.6.1.8").at(&Oid::new(&[scalar, 0])), Value::Gauge32(scalar));
        }
        Device { walk, most_rows, most_names, too_big_over, says_missing_at_end, drops_every, is_old, ..Device::default() }
    }
}

proptest! {
    /// Sparse tables, rows missing here and there, and a device that does what it likes within the
    /// protocol: always what GETNEXT would have brought.
    #[test]
    fn any_honest_device_yields_what_getnext_would(
        mut device in devices(),
        columns in prop::collection::vec(prop::collection::vec(0u32..14, 0..14), 0..3),
        scalars in prop::collection::vec(0u32..12, 0..12),
        max_repetitions in 1u32..40,
        max_oids in 1usize..12,
        no_getbulk in any::<bool>(),
        unordered in any::<bool>(),
    ) {
        let column = |last: u32| oid("1.3.6.1.9").at(&Oid::new(&[last]));
        let ask = Ask {
            scalars: scalars.into_iter().map(|last| oid("1.3.6.1.8").at(&Oid::new(&[last, 0]))).collect(),
            columns: columns.into_iter().map(|group| group.into_iter().map(column).collect()).collect(),
        };
        let hints = Hints { max_repetitions, max_oids, no_getbulk, unordered, retries: 3, ..Hints::default() };
        let walk = device.walk.clone();
        let (planned, error) = poll(&mut device, &ask, &hints, Limits::default());
        prop_assert_eq!(error, None);
        prop_assert_eq!(planned.faults, vec![]);
        prop_assert_eq!(planned.answers, expected(&walk, &ask));
    }
}
