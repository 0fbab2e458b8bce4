//! Ends that begin again, and clocks that are set.

use std::net::SocketAddr;

use xiezhi_links::reflector::Running;

use crate::keys::{Between, Deed};
use crate::support::{Measuring, anywhere, is_settled, link, reflector};

#[test]
fn a_reflector_that_begins_again_is_noticed_and_loses_what_it_missed() {
    let first = Running::start(&reflector(anywhere(), None)).unwrap();
    let there: SocketAddr = first.addresses()[0];
    let measuring = Measuring::here(link(there, None));
    measuring.until(|totals| totals.counts.answered > 100);
    drop(first);
    let away = measuring.until(|totals| totals.counts.lost > 20);
    assert!(
        away.totals.closed > 0,
        "the kernel says that nobody listens"
    );
    let _again = Running::start(&reflector(there, None)).unwrap();
    let answered = away.totals.counts.answered;
    let back =
        measuring.until(|totals| totals.counts.answered > answered + 100 && is_settled(totals));
    let counts = back.totals.counts;
    assert_eq!(counts.restarts, 1);
    assert_eq!(
        (
            counts.lost_somewhere,
            counts.lost_forward,
            counts.lost_backward
        ),
        (counts.lost, 0, 0)
    );
    assert_eq!(
        (counts.reordered_forward, counts.reordered_backward),
        (0, 0)
    );
}

#[test]
fn a_sender_that_begins_again_is_another_session() {
    let reflector = Running::start(&reflector(anywhere(), None)).unwrap();
    let there = reflector.addresses()[0];
    for sessions in 1..=2 {
        let measuring = Measuring::here(link(there, None));
        let counts = measuring
            .until(|totals| totals.counts.answered > 50)
            .totals
            .counts;
        assert_eq!((counts.lost, counts.restarts), (0, 0));
        assert_eq!(reflector.tally().sessions, sessions);
    }
}

#[test]
fn the_other_ends_clock_may_be_set_in_the_middle() {
    let reflector = Running::start(&reflector(anywhere(), None)).unwrap();
    let between = Between::start(reflector.addresses()[0], |way, number| {
        if way.is_answer() && number >= 150 {
            Deed::LaterBySeconds(3600)
        } else {
            Deed::Pass
        }
    });
    let measuring = Measuring::here(link(between.address(), None));
    // The interval in which it was set.
    let measured = measuring.until(|totals| totals.counts.clock_steps > 0);
    let round_trip = measured.summary.round_trip.unwrap();
    assert!(round_trip.max < 3_600_000_000_000, "{round_trip:?}");
    for way in measured.summary.ways {
        assert!(way.ipdv_mean.unwrap() < 3_600_000_000_000 / 100, "{way:?}");
        assert_eq!(way.delay, None);
    }
    let later = measuring.until(|totals| totals.counts.sent > 300);
    let counts = later.totals.counts;
    assert_eq!((counts.clock_steps, counts.lost), (1, 0));
}
