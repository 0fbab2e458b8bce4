//! Polls of devices: behind everything else, and not to a controller that knows none.

use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::record::Kind;

use crate::agent::{Agent, quick, until};
use crate::controller::Controller;
use crate::{stored, through};

#[tokio::test]
async fn polls_go_live_and_come_last_of_the_backlog() {
    let controller = Controller::start().await;
    let mut agent = Agent::start_with(&controller, quick(), |filler| {
        for _ in 0..20 {
            filler.poll();
        }
        for _ in 0..6 {
            filler.report();
            filler.event(Stream::Events);
            filler.event(Stream::Security);
        }
    });
    agent.connected().await;
    agent.delivered().await;
    let order: Vec<Kind> = {
        let seen = controller.seen.lock().unwrap();
        seen.order.iter().map(|(kind, _)| *kind).collect()
    };
    let first_poll = order.iter().position(|kind| *kind == Kind::Polls).unwrap();
    assert_eq!(first_poll, 18, "all others come first: {order:?}");
    assert_eq!(order.len(), 38);
    for _ in 0..5 {
        agent.poll();
        agent.report();
        agent.delivered().await;
    }
    assert_eq!(stored(&controller, Stream::Polls), through(25));
    assert_eq!(agent.uplink.state().sent_backlog, 38);
    assert_eq!(agent.uplink.state().sent_live, 10);
}

#[tokio::test]
async fn a_poll_that_is_refused_for_now_comes_again_and_one_that_is_refused_for_good_does_not() {
    let controller = Controller::start().await;
    {
        let mut faults = controller.faults.lock().unwrap();
        faults.refuse.insert((Stream::Polls, 2), vec![true]);
        // It may come once more with the one before it, before the agent has heard.
        faults.refuse.insert((Stream::Polls, 3), vec![false; 2]);
    }
    let mut agent = Agent::start(&controller, quick());
    agent.connected().await;
    for _ in 0..4 {
        agent.poll();
    }
    agent.delivered().await;
    assert_eq!(stored(&controller, Stream::Polls), [1, 2, 4]);
    until("the loss is told", || {
        agent.report();
        let seen = controller.seen.lock().unwrap();
        seen.statuses.iter().any(|status| {
            let mut dropped = status.spool.dropped.iter();
            dropped.any(|drop| (drop.stream, drop.first) == (Stream::Polls, 3))
        })
    })
    .await;
}

#[tokio::test]
async fn a_controller_of_the_version_before_gets_no_polls_and_hears_of_none() {
    let controller = Controller::start().await;
    controller.faults.lock().unwrap().protocol = Some(2);
    let mut agent = Agent::start_with(&controller, quick(), |filler| {
        for _ in 0..3 {
            filler.poll();
        }
        filler.spool.give_up(Stream::Polls, 1);
        filler.event(Stream::Events);
        filler.spool.give_up(Stream::Events, 1);
    });
    agent.connected().await;
    agent.poll();
    agent.report();
    until("all but polls is acknowledged", || agent.pending() == 3).await;
    until("what was lost of others is told and noted", || {
        agent.report();
        let dropped = agent.spool.lock().unwrap().status().dropped;
        dropped.iter().all(|drop| drop.stream == Stream::Polls)
    })
    .await;
    {
        let seen = controller.seen.lock().unwrap();
        let hellos = seen.hellos.iter().map(|hello| &hello.spool);
        let told: Vec<_> = hellos
            .chain(seen.statuses.iter().map(|status| &status.spool))
            .flat_map(|spool| &spool.dropped)
            .collect();
        assert!(!told.is_empty());
        assert!(
            told.iter().all(|drop| drop.stream == Stream::Events),
            "{told:?}"
        );
    }
    // It learns: what waited comes, and so does what was lost.
    {
        let mut faults = controller.faults.lock().unwrap();
        faults.protocol = None;
        faults.dies_after = Some(0);
    }
    agent.report();
    agent.delivered().await;
    assert_eq!(stored(&controller, Stream::Polls), [2, 3, 4]);
    until("the loss of polls is told", || {
        agent.report();
        agent.spool.lock().unwrap().status().dropped.is_empty()
    })
    .await;
}
