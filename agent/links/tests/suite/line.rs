//! A sender and a reflector in namespaces, with a relay between them that notes what it does to each packet.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use xiezhi_links::reflector::Running;
use xiezhi_links::sender::Totals;
use xiezhi_test_support::{Carriage, Conditions, LossyLine, NEAR, Namespace, Way};

use crate::support::{Measuring, is_settled, link, reflector};

/// A relay, with the two ends at work on it.
struct Stage {
    line: LossyLine,
    reflector: Running,
    measuring: Measuring,
}

impl Stage {
    /// `None` where this machine has no namespaces or no TUN.
    fn set(conditions: Conditions, key: Option<&str>) -> Option<Self> {
        let ends = Namespace::new().and_then(|near| Ok((near, Namespace::new()?)));
        let laid = ends.and_then(|(near, far)| {
            let line = LossyLine::lay(&near, &far, conditions)?;
            Ok((near, far, line))
        });
        let (near, far, line) = match laid {
            Ok(laid) => laid,
            Err(error) => {
                xiezhi_test_skip::skip(format!("{error:#}"));
                return None;
            }
        };
        // The near end is where others listen.
        let there: SocketAddr = format!("{NEAR}:20862").parse().unwrap();
        let reflector = near
            .inside(|| Running::start(&reflector(there, key)))
            .unwrap()
            .unwrap();
        let far = Arc::new(far);
        let measuring = Measuring::start(link(there, key), move |work| far.inside(work).unwrap());
        Some(Self {
            line,
            reflector,
            measuring,
        })
    }
}

/// Numbers of the probes, below `judged`, whose packets of one way ended so: as the relay noted.
fn numbers(carriages: &[Carriage], at: usize, judged: u64, lost: bool) -> Vec<u32> {
    let udp = carriages
        .iter()
        .filter(|one| one.head.get(9) == Some(&17) && one.head[0] == 0x45);
    let ended = udp.filter(|one| one.took.is_none() == lost);
    // Behind the headers of IP and UDP.
    let number =
        |one: &Carriage| u32::from_be_bytes(one.head[28 + at..32 + at].try_into().unwrap());
    ended
        .map(number)
        .filter(|number| u64::from(*number) < judged)
        .collect()
}

/// What the relay did to the packets of a sender that judged these totals.
struct Truth {
    lost_there: u64,
    lost_back: u64,
    answered: u64,
}

impl Truth {
    fn of(line: &LossyLine, totals: &Totals, signed: bool) -> Self {
        let judged = totals.counts.sent;
        let (there, back) = (line.carriages(Way::ToNear), line.carriages(Way::ToFar));
        let echoed = if signed { 48 } else { 24 };
        let arrived: BTreeSet<u32> = numbers(&back, echoed, judged, false).into_iter().collect();
        Self {
            lost_there: numbers(&there, 0, judged, true).len() as u64,
            lost_back: numbers(&back, echoed, judged, true).len() as u64,
            answered: arrived.len() as u64,
        }
    }
}

#[test]
fn loss_is_counted_on_each_way_exactly_as_the_relay_did_it() {
    for key in [None, Some("a key of both ends")] {
        let conditions = Conditions {
            delay: Duration::from_millis(5),
            loss_percent: 8,
            noted: true,
            ..Conditions::default()
        };
        let Some(stage) = Stage::set(conditions, key) else {
            return;
        };
        let measured = stage
            .measuring
            .until(|totals| totals.counts.sent >= 600 && is_settled(totals));
        let (counts, truth) = (
            measured.totals.counts,
            Truth::of(&stage.line, &measured.totals, key.is_some()),
        );
        assert!(
            truth.lost_there > 10 && truth.lost_back > 10,
            "the relay lost nothing to count"
        );
        assert_eq!(
            (counts.lost_forward, counts.lost_backward, counts.answered),
            (truth.lost_there, truth.lost_back, truth.answered)
        );
        assert_eq!(
            (counts.lost_somewhere, counts.late, counts.duplicates),
            (0, 0, 0)
        );
        assert_eq!(measured.totals.refused.iter().sum::<u64>(), 0);
        assert!(stage.reflector.tally().answered >= counts.sent - counts.lost_forward);
    }
}

#[test]
fn packets_that_come_twice_or_late_are_neither_lost_nor_counted_twice() {
    let conditions = Conditions {
        delay: Duration::from_millis(5),
        loss_percent: 3,
        twice_percent: 10,
        dawdle: (10, Duration::from_millis(25)),
        noted: true,
        ..Conditions::default()
    };
    let Some(stage) = Stage::set(conditions, None) else {
        return;
    };
    let measured = stage
        .measuring
        .until(|totals| totals.counts.sent >= 600 && is_settled(totals));
    let (counts, truth) = (
        measured.totals.counts,
        Truth::of(&stage.line, &measured.totals, false),
    );
    assert_eq!(counts.answered, truth.answered);
    assert_eq!(counts.lost, truth.lost_there + truth.lost_back);
    assert_eq!(counts.lost_forward + counts.lost_backward, counts.lost);
    assert!(counts.duplicates > 10 && counts.late == 0, "{counts:?}");
    assert!(
        counts.reordered_forward > 10 && counts.reordered_backward > 10,
        "{counts:?}"
    );
    let again = crate::support::refused(
        &stage.reflector.tally().refused,
        xiezhi_links::packet::Refusal::Replayed,
    );
    assert!(again > 10, "copies are answered once: {again}");
}

#[test]
fn a_line_that_is_cut_on_one_way_tells_which() {
    let conditions = Conditions {
        noted: true,
        ..Conditions::default()
    };
    let Some(stage) = Stage::set(conditions, None) else {
        return;
    };
    stage.measuring.until(|totals| totals.counts.answered > 50);
    stage.line.set_open(Way::ToFar, false);
    stage.measuring.until(|totals| totals.counts.lost > 100);
    stage.line.set_open(Way::ToFar, true);
    let measured = stage
        .measuring
        .until(|totals| totals.counts.lost > 100 && is_settled(totals));
    let (counts, truth) = (
        measured.totals.counts,
        Truth::of(&stage.line, &measured.totals, false),
    );
    assert_eq!(
        (counts.lost_forward, counts.lost_backward),
        (0, truth.lost_back)
    );
    assert_eq!(counts.lost_somewhere, 0);
}
