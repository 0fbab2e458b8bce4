//! Sessions over real TLS and HTTP/2 against a small controller with faults.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::let_underscore_must_use,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a peer that has gone is part of the play"
)]

mod agent;
mod controller;
mod polls;
mod told;

use std::sync::atomic::Ordering;
use std::time::Duration;

use agent::{Agent, quick, until};
use controller::Controller;
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::{Bandwidth, DirectiveOutcome, GoodbyeReason};
use xiezhi_protocol::record::Kind;
use xiezhi_uplink::Config;

fn stored(controller: &Controller, stream: Stream) -> Vec<u64> {
    let seen = controller.seen.lock().unwrap();
    seen.stored
        .keys()
        .filter(|key| key.0 == stream)
        .map(|key| key.1)
        .collect()
}

fn through(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[tokio::test]
async fn live_batches_arrive_as_they_come_and_are_acknowledged() {
    let controller = Controller::start().await;
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    for _ in 0..10 {
        agent.report();
        agent.event(Stream::Security);
        agent.event(Stream::Events);
        agent.delivered().await;
    }
    for stream in [Stream::Samples, Stream::Events, Stream::Security] {
        assert_eq!(stored(&controller, stream), through(10));
    }
    let seen = controller.seen.lock().unwrap();
    assert_eq!(seen.keys.len(), 1, "one chain");
    assert!(
        seen.order
            .iter()
            .all(|(kind, _)| *kind != Kind::BacklogSamples)
    );
    let state = agent.uplink.state();
    assert_eq!(
        (state.sent_live, state.sent_backlog, state.sessions),
        (30, 0, 1)
    );
    assert_eq!(state.skew_ms, Some(0));
}

#[tokio::test]
async fn signed_batches_go_whole_and_to_an_older_controller_without_their_signatures() {
    for (protocol, version) in [(None, 2), (Some(1), 1)] {
        let controller = Controller::start().await;
        controller.faults.lock().unwrap().protocol = protocol;
        // Backlog and live.
        let mut agent = Agent::start_with(&controller, quick(), |spool| {
            for _ in 0..3 {
                spool.event(Stream::Security);
            }
        });
        agent.connected().await;
        agent.event(Stream::Security);
        agent.delivered().await;
        assert_eq!(stored(&controller, Stream::Security), through(4));
        assert_eq!(controller.seen.lock().unwrap().versions, [version; 4]);
    }
}

#[tokio::test]
async fn a_live_report_is_one_frame_in_one_tls_record_and_nothing_else_goes_up() {
    let controller = Controller::start().await;
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    for _ in 0..3 {
        agent.report();
        agent.delivered().await;
    }
    let before = (
        controller.received.load(Ordering::Relaxed),
        agent.uplink.state().bytes_up,
    );
    for _ in 0..20 {
        agent.report();
        agent.delivered().await;
    }
    let wire = controller.received.load(Ordering::Relaxed) - before.0;
    let records = (agent.uplink.state().bytes_up - before.1) as usize;
    // HTTP/2 frame head 9, TLS record 5 + 1 + 16; acknowledged settings and the like add nothing.
    assert_eq!(wire, records + 20 * (9 + 22), "{records} record bytes");
}

#[tokio::test]
async fn what_an_outage_left_is_sent_again_as_a_chain_of_its_own_with_the_same_checksums() {
    let controller = Controller::start().await;
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    for _ in 0..4 {
        agent.report();
    }
    agent.delivered().await;
    controller.faults.lock().unwrap().silent = true;
    for _ in 0..4 {
        agent.report();
        agent.event(Stream::Events);
    }
    until("stored", || stored(&controller, Stream::Samples).len() == 8).await;
    {
        let mut faults = controller.faults.lock().unwrap();
        faults.silent = false;
        faults.dies_after = Some(0);
    }
    agent.report();
    agent.delivered().await;
    assert_eq!(stored(&controller, Stream::Samples), through(9));
    assert_eq!(stored(&controller, Stream::Events), through(4));
    let seen = controller.seen.lock().unwrap();
    let again: Vec<u64> = seen
        .order
        .iter()
        .filter(|(kind, _)| *kind == Kind::BacklogSamples)
        .map(|(_, seq)| *seq)
        .collect();
    assert_eq!(
        again.first(),
        Some(&5),
        "from the first that was not acknowledged"
    );
    assert!(seen.keys.contains(&5), "encoded again as a key frame");
    assert_eq!(seen.hellos[1].previous_session, "session-1");
}

#[tokio::test]
async fn connections_that_die_at_random_lose_and_double_nothing() {
    let controller = Controller::start().await;
    let mut agent = Agent::start(&controller, quick());
    let mut random = 1u64;
    let mut last = 0;
    for round in 0..40u64 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(round | 1);
        {
            let mut faults = controller.faults.lock().unwrap();
            faults.dies_after = Some((random >> 40) as usize % 12);
            faults.silent = (random >> 33).is_multiple_of(3);
        }
        for step in 0..(random >> 50) % 9 + 1 {
            last = agent.report();
            if step % 3 == 0 {
                agent.event(Stream::Security);
            }
            tokio::task::yield_now().await;
        }
        if round % 4 == 0 {
            agent.connected().await;
        }
    }
    {
        let mut faults = controller.faults.lock().unwrap();
        faults.dies_after = None;
        faults.silent = false;
    }
    // Whatever is stored and was not acknowledged when the controller fell silent is sent again
    // with the next session.
    agent.uplink.reconnect();
    agent.delivered().await;
    assert_eq!(stored(&controller, Stream::Samples), through(last));
    let security = agent.spool.lock().unwrap().next_seq(Stream::Security) - 1;
    assert_eq!(stored(&controller, Stream::Security), through(security));
    assert!(agent.uplink.state().sessions > 5);
    assert_eq!(agent.spool.lock().unwrap().counters().dropped, 0);
}

#[tokio::test]
async fn a_refused_batch_is_given_up_and_counted_and_the_rest_goes_on() {
    let controller = Controller::start().await;
    {
        let mut faults = controller.faults.lock().unwrap();
        faults.refuse.insert((Stream::Events, 2), vec![false]);
        faults.refuse.insert((Stream::Samples, 3), vec![false]);
    }
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    for _ in 0..5 {
        agent.report();
        agent.event(Stream::Events);
    }
    agent.delivered().await;
    assert_eq!(stored(&controller, Stream::Events), [1, 3, 4, 5]);
    assert_eq!(stored(&controller, Stream::Samples), [1, 2, 4, 5]);
    assert_eq!(agent.spool.lock().unwrap().counters().dropped, 2);
    assert_eq!(agent.uplink.state().refused, 2);
    // The next batches go up with a report of the drops, which their acknowledgement confirms.
    agent.report();
    let dropped = || agent.spool.lock().unwrap().status().dropped;
    until("the drops are confirmed", || dropped().is_empty()).await;
    let seen = controller.seen.lock().unwrap();
    assert!(
        seen.statuses
            .iter()
            .any(|status| status.spool.dropped.len() == 2)
    );
}

#[tokio::test]
async fn a_batch_wanted_again_comes_as_a_fresh_chain_and_is_given_up_in_the_end() {
    let controller = Controller::start().await;
    {
        let mut faults = controller.faults.lock().unwrap();
        faults.forgets = Some(4);
        faults.refuse.insert((Stream::Samples, 9), vec![true]);
        faults.refuse.insert((Stream::Events, 1), vec![true; 100]);
    }
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    agent.event(Stream::Events);
    for _ in 0..12 {
        agent.report();
    }
    agent.delivered().await;
    agent.report();
    agent.delivered().await;
    assert_eq!(stored(&controller, Stream::Samples), through(13));
    assert!(stored(&controller, Stream::Events).is_empty());
    let dropped = agent.spool.lock().unwrap().status().dropped;
    assert!(
        dropped
            .iter()
            .all(|drop| (drop.stream, drop.first) == (Stream::Events, 1))
    );
    assert_eq!(
        agent.uplink.state().sessions,
        1,
        "no session was lost over it"
    );
}

#[tokio::test]
async fn live_reports_overtake_a_backlog_under_a_budget() {
    let controller = Controller::start().await;
    controller.faults.lock().unwrap().bandwidth = Some(Bandwidth {
        bytes_per_second: 30_000,
        windows: Vec::new(),
    });
    let mut agent = Agent::start_with(&controller, quick(), |filler| {
        for _ in 0..900 {
            filler.report();
        }
    });
    agent.connected().await;
    let live = agent.report();
    until("the live report", || {
        stored(&controller, Stream::Samples).contains(&live)
    })
    .await;
    assert!(
        agent.pending() > 300,
        "the budget lets no 900 reports through at once"
    );
    agent.uplink.set_bandwidth(Bandwidth::default());
    agent.uplink.flush();
    agent.delivered().await;
    assert_eq!(stored(&controller, Stream::Samples), through(live));
    let seen = controller.seen.lock().unwrap();
    let at = |seq| seen.order.iter().position(|entry| entry.1 == seq).unwrap();
    assert!(at(live) < at(900));
    assert!(
        seen.flushes > 0,
        "the end of the backlog is acknowledged without waiting"
    );
}

#[tokio::test]
async fn unreadable_records_are_counted_and_a_broken_stream_ends_only_the_session() {
    let controller = Controller::start().await;
    let mut nonsense = Vec::new();
    xiezhi_protocol::record::write(&mut nonsense, Kind::Ack, &[9, 9, 9]);
    xiezhi_protocol::record::write(&mut nonsense, Kind::Refused, b"{");
    nonsense.extend_from_slice(&[3, 200, 1, 2]);
    controller.faults.lock().unwrap().nonsense = nonsense;
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    agent.report();
    agent.delivered().await;
    assert_eq!(
        (
            agent.uplink.state().malformed,
            agent.uplink.state().sessions
        ),
        (2, 1)
    );
    controller.faults.lock().unwrap().nonsense = vec![0];
    agent.uplink.reconnect();
    until("a further session", || agent.uplink.state().sessions >= 3).await;
    agent.report();
    agent.delivered().await;
    assert_eq!(stored(&controller, Stream::Samples), [1, 2]);
}

#[tokio::test]
async fn a_higher_epoch_is_adopted_and_told_at_the_next_hello() {
    let controller = Controller::start().await;
    controller.faults.lock().unwrap().epoch = 7;
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    agent.report();
    agent.delivered().await;
    assert_eq!(agent.spool.lock().unwrap().epoch(), 7);
    agent.uplink.reconnect();
    until("a second hello", || {
        controller.seen.lock().unwrap().hellos.len() == 2
    })
    .await;
    let seen = controller.seen.lock().unwrap();
    assert_eq!(
        (
            seen.hellos[0].epoch,
            seen.hellos[0].previous_session.as_str()
        ),
        (0, "")
    );
    assert_eq!(
        (
            seen.hellos[1].epoch,
            seen.hellos[1].previous_session.as_str()
        ),
        (7, "session-1")
    );
    assert_eq!(seen.goodbyes[0].reason, GoodbyeReason::Reconnect);
}

#[tokio::test]
async fn a_controller_that_is_busy_is_asked_again_and_its_word_is_passed_on() {
    let controller = Controller::start().await;
    controller.faults.lock().unwrap().status = Some((503, Some(0)));
    let mut agent = Agent::start(&controller, quick());
    until("two refusals", || agent.uplink.state().failures >= 2).await;
    assert!(agent.uplink.state().trouble.contains("come back later"));
    assert_eq!(agent.link.refusals.lock().unwrap()[0], "busy");
    controller.faults.lock().unwrap().status = None;
    agent.report();
    agent.delivered().await;
    assert_eq!(agent.uplink.state().trouble, "");
}

#[tokio::test]
async fn directives_reach_the_agent_and_their_outcomes_the_controller() {
    let controller = Controller::start().await;
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    for _ in 0..3 {
        agent.report();
    }
    agent.delivered().await;
    until("the directive stream", || controller.has_directive_stream()).await;
    controller.direct(r#"{"id":1,"directive":{"kind":"collect_now"}}"#);
    let message = agent.directives.recv().await.unwrap();
    let outcome = DirectiveOutcome {
        id: message.id,
        outcome: "done".into(),
        detail: "".into(),
    };
    agent.uplink.outcome(outcome);
    controller
        .direct(r#"{"id":2,"directive":{"kind":"resend","stream":"samples","first":2,"last":9}}"#);
    controller.direct(
        r#"{"id":3,"directive":{"kind":"set_bandwidth","bandwidth":{"bytes_per_second":9}}}"#,
    );
    controller.direct(r#"{"id":4,"directive":{"kind":"format_disk"}}"#);
    let outcomes = || controller.seen.lock().unwrap().outcomes.clone();
    until("four outcomes", || outcomes().len() == 4).await;
    let mut words: Vec<(u64, String)> = outcomes()
        .into_iter()
        .map(|outcome| (outcome.id, outcome.outcome))
        .collect();
    words.sort();
    let expected = [(1, "done"), (2, "done"), (3, "done"), (4, "unsupported")];
    assert_eq!(words, expected.map(|(id, word)| (id, word.to_owned())));
    agent.uplink.set_bandwidth(Bandwidth::default());
    agent.delivered().await;
    let seen = controller.seen.lock().unwrap();
    let again = seen
        .order
        .iter()
        .filter(|entry| entry.0 == Kind::BacklogSamples);
    assert_eq!(again.map(|entry| entry.1).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn events_that_were_acknowledged_go_again_when_the_controller_lost_them() {
    let controller = Controller::start().await;
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    for _ in 0..4 {
        agent.event(Stream::Security);
    }
    agent.delivered().await;
    until("the directive stream", || controller.has_directive_stream()).await;
    // Its database was restored from a copy.
    let lost = |seq: u64| seq == 2 || seq == 3;
    let forget = |seen: &mut controller::Seen| seen.stored.retain(|key, _| !lost(key.1));
    forget(&mut controller.seen.lock().unwrap());
    controller
        .direct(r#"{"id":1,"directive":{"kind":"resend","stream":"security","first":2,"last":3}}"#);
    until("all four again", || {
        stored(&controller, Stream::Security) == through(4)
    })
    .await;
    agent.event(Stream::Security);
    agent.delivered().await;
    let order = controller.seen.lock().unwrap().order.clone();
    let order: Vec<u64> = order.into_iter().map(|entry| entry.1).collect();
    assert_eq!(order, [1, 2, 3, 4, 2, 3, 5], "these two and no others");
}

#[tokio::test]
async fn a_goodbye_sends_what_is_live_and_says_why() {
    let controller = Controller::start().await;
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    agent.report();
    agent
        .uplink
        .goodbye(GoodbyeReason::HostShutdown, Duration::from_secs(20))
        .await;
    until("the goodbye", || {
        !controller.seen.lock().unwrap().goodbyes.is_empty()
    })
    .await;
    let seen = controller.seen.lock().unwrap();
    assert_eq!(seen.goodbyes[0].reason, GoodbyeReason::HostShutdown);
    assert!(seen.flushes > 0);
    assert_eq!(agent.pending(), 0, "waited for the acknowledgement");
    assert_eq!(agent.uplink.state().trouble, "stopped");
}

#[tokio::test]
async fn a_controller_that_never_acknowledges_loses_the_session_and_gets_all_again() {
    let controller = Controller::start().await;
    controller.faults.lock().unwrap().silent = true;
    let config = Config {
        ack_timeout: Duration::from_millis(60),
        ..quick()
    };
    let mut agent = Agent::start(&controller, config);
    agent.connected().await;
    agent.report();
    until("another session", || agent.uplink.state().sessions >= 3).await;
    assert!(
        controller.seen.lock().unwrap().flushes > 0,
        "asked before it gave up"
    );
    controller.faults.lock().unwrap().silent = false;
    agent.delivered().await;
}

#[tokio::test]
async fn a_silent_line_is_pinged_and_an_idle_session_lives_on() {
    let controller = Controller::start().await;
    let config = Config {
        ping_after: Duration::from_millis(10),
        ping_timeout: Duration::from_secs(30),
        ..quick()
    };
    let mut agent = Agent::start(&controller, config);
    agent.connected().await;
    let before = controller.received.load(Ordering::Relaxed);
    until("pings", || {
        controller.received.load(Ordering::Relaxed) > before + 200
    })
    .await;
    agent.report();
    agent.delivered().await;
    assert_eq!(agent.uplink.state().sessions, 1);
}
