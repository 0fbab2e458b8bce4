//! One device that does something wrong: what is right all the same arrives, and nothing else.

use std::time::Duration;

use xiezhi_devices::{Ask, AskError, Limits, PollError, Problem};
use xiezhi_profiles::Hints;
use xiezhi_test_device::{Behaviour, FakeDevice, STRAYS, Stray};

use crate::support::{
    DEADLINE, community, expected, oid, old, poll, poller, switch, target, until,
};

#[tokio::test]
async fn an_honest_device_tells_everything_in_few_requests() {
    let (walk, ask) = switch(48, 7);
    let device = FakeDevice::start(walk.clone(), Behaviour::default())
        .await
        .unwrap();
    let polled = poll(&poller().await, &target(device.address()), &ask).await;
    assert_eq!(
        (&polled.error, polled.faults.as_slice()),
        (&None, [].as_slice())
    );
    assert_eq!(polled.answers, expected(&walk, &ask));
    assert_eq!(polled.identity.description.as_deref(), Some("switch 7"));
    assert_eq!(
        polled.identity.object_id,
        Some(oid("1.3.6.1.4.1.2011.2.23.7"))
    );
    assert_eq!(polled.identity.uptime_ticks, Some(107));
    assert_eq!(polled.identity.name.as_deref(), Some("sw7"));
    assert_eq!(polled.identity.engine_time_s, None);
    // Two bands of columns, each with its end in one answer.
    assert_eq!(polled.counts.requests, 1 + 1 + 1);
    assert!(polled.counts.bytes_in > 48 * 12 * 10);
}

#[tokio::test]
async fn a_device_of_the_first_version_is_asked_row_by_row() {
    let (walk, mut ask) = switch(5, 1);
    // Neither exists; the first version names one missing object at a time.
    ask.columns[0].push(oid("1.3.6.1.9.9"));
    ask.scalars.push(oid("1.3.6.1.9.8.0"));
    let device = FakeDevice::start(walk.clone(), Behaviour::default())
        .await
        .unwrap();
    let mut old_target = target(device.address());
    old_target.login = old();
    let polled = poll(&poller().await, &old_target, &ask).await;
    assert_eq!(polled.error, None);
    assert_eq!(polled.faults, []);
    assert_eq!(polled.answers, expected(&walk, &ask));
}

#[tokio::test]
async fn what_comes_from_strangers_is_never_believed() {
    let (walk, ask) = switch(10, 3);
    for stray in STRAYS {
        let strays = vec![stray];
        let behaviour = Behaviour {
            strays,
            ..Behaviour::default()
        };
        let device = FakeDevice::start(walk.clone(), behaviour.clone())
            .await
            .unwrap();
        let poller = poller().await;
        let polled = poll(&poller, &target(device.address()), &ask).await;
        assert_eq!(polled.error, None, "{stray:?}");
        assert_eq!(polled.answers, expected(&walk, &ask), "{stray:?}");
        let strays = poller.socket().strays();
        match stray {
            Stray::Noise => assert!(strays.malformed > 0),
            // These reach the one who waits, who refuses them.
            Stray::Cut | Stray::BadLength => {}
            _ => assert!(strays.discarded > 0, "{stray:?}"),
        }
        // And they alone are as good as nothing.
        device.behave(Behaviour {
            answers: false,
            ..behaviour
        });
        let mut target = target(device.address());
        target.hints.timeout = Duration::from_millis(100);
        target.hints.retries = 1;
        let polled = poll(&poller, &target, &ask).await;
        assert_eq!(
            polled.error,
            Some(PollError::Ask(AskError::Silent)),
            "{stray:?}"
        );
        assert_eq!(polled.answers.values(), 0, "{stray:?}");
    }
}

#[tokio::test]
async fn late_and_double_answers_are_counted_and_harm_nobody() {
    let (walk, ask) = switch(40, 5);
    let behaviour = Behaviour {
        late_every: Some((3, Duration::from_millis(250))),
        twice: true,
        ..Behaviour::default()
    };
    let device = FakeDevice::start(walk.clone(), behaviour).await.unwrap();
    let poller = poller().await;
    let mut target = target(device.address());
    target.hints.timeout = Duration::from_millis(200);
    let polled = poll(&poller, &target, &ask).await;
    assert_eq!(polled.error, None);
    assert_eq!(polled.answers, expected(&walk, &ask));
    until("a discarded answer", || {
        poller.socket().strays().discarded > 1
    })
    .await;
}

#[tokio::test]
async fn lost_answers_are_asked_for_again() {
    let (walk, ask) = switch(60, 2);
    let behaviour = Behaviour {
        drops_every: Some(3),
        ..Behaviour::default()
    };
    let device = FakeDevice::start(walk.clone(), behaviour).await.unwrap();
    let mut target = target(device.address());
    target.hints.timeout = Duration::from_millis(200);
    let polled = poll(&poller().await, &target, &ask).await;
    assert_eq!((polled.error, polled.faults), (None, vec![]));
    assert_eq!(polled.answers, expected(&walk, &ask));
}

#[tokio::test]
async fn a_device_with_small_answers_tells_everything() {
    let (walk, ask) = switch(60, 2);
    for (too_big_over, most_names) in [
        (Some(484), None),
        (Some(1400), None),
        (None, Some(3)),
        (None, Some(61)),
    ] {
        let behaviour = Behaviour {
            too_big_over,
            most_names,
            ..Behaviour::default()
        };
        for login in [community("public"), old()] {
            let device = FakeDevice::start(walk.clone(), behaviour.clone())
                .await
                .unwrap();
            let mut target = target(device.address());
            target.login = login;
            let polled = poll(&poller().await, &target, &ask).await;
            assert_eq!((polled.error, polled.faults), (None, vec![]));
            assert_eq!(polled.answers, expected(&walk, &ask));
        }
    }
}

#[tokio::test]
async fn circles_and_endless_tables_end_alone() {
    let (walk, ask) = switch(30, 4);
    let (ring, endless) = (ask.columns[0][3].clone(), ask.columns[0][8].clone());
    let behaviour = Behaviour {
        ring: Some(ring.clone()),
        endless: Some(endless.clone()),
        ..Behaviour::default()
    };
    let device = FakeDevice::start(walk.clone(), behaviour).await.unwrap();
    let limits = Limits {
        rows: 500,
        values: 10_000,
    };
    let polled = poller()
        .await
        .poll(&target(device.address()), &ask, limits, DEADLINE)
        .await;
    assert_eq!(polled.error, None);
    let mut problems: Vec<_> = polled
        .faults
        .into_iter()
        .map(|fault| (fault.object, fault.problem))
        .collect();
    problems.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(
        problems,
        [
            (ring.clone(), Problem::Loop),
            (endless.clone(), Problem::Endless)
        ]
    );
    let right = expected(&walk, &ask);
    for column in ask.columns[0].iter().filter(|column| **column != endless) {
        assert_eq!(polled.answers.rows(column), right.rows(column), "{column}");
    }
    assert_eq!(polled.answers.rows(&endless).len(), 500);
}

#[tokio::test]
async fn a_column_that_a_device_does_not_answer_costs_itself_alone() {
    let (walk, ask) = switch(10, 6);
    let deaf = ask.columns[0][4].clone();
    let behaviour = Behaviour {
        deaf_in: Some(deaf.clone()),
        ..Behaviour::default()
    };
    let device = FakeDevice::start(walk.clone(), behaviour).await.unwrap();
    let mut target = target(device.address());
    target.hints = Hints {
        timeout: Duration::from_millis(200),
        ..Hints::default()
    };
    let polled = poll(&poller().await, &target, &ask).await;
    assert_eq!(polled.error, None);
    assert_eq!(polled.faults.len(), 1);
    assert_eq!(
        (&polled.faults[0].object, polled.faults[0].problem),
        (&deaf, Problem::Silent)
    );
    assert_eq!(polled.answers.values(), expected(&walk, &ask).values() - 10);
}

#[tokio::test]
async fn a_wrong_community_is_silence_and_is_never_told() {
    let (walk, ask) = switch(3, 1);
    let device = FakeDevice::start(walk, Behaviour::default()).await.unwrap();
    let mut target = target(device.address());
    target.login = community("hidden-word");
    target.hints.timeout = Duration::from_millis(50);
    let polled = poll(&poller().await, &target, &ask).await;
    assert_eq!(polled.error, Some(PollError::Ask(AskError::Silent)));
    assert!(!format!("{polled:?} {target:?}").contains("hidden-word"));
    // No table is asked of a device that says nothing.
    assert_eq!(polled.counts.requests, 1 + u64::from(target.hints.retries));
}

#[tokio::test]
async fn a_poll_ends_in_time_and_keeps_what_it_has() {
    let (walk, ask) = switch(3, 1);
    let endless = oid("1.3.6.1.2.1.99");
    let behaviour = Behaviour {
        endless: Some(endless.clone()),
        ..Behaviour::default()
    };
    let device = FakeDevice::start(walk, behaviour).await.unwrap();
    let ask = Ask {
        columns: vec![ask.columns[0].clone(), vec![endless.clone()]],
        ..ask
    };
    let limits = Limits {
        rows: usize::MAX,
        values: usize::MAX,
    };
    let deadline = Duration::from_millis(500);
    let polled = poller()
        .await
        .poll(&target(device.address()), &ask, limits, deadline)
        .await;
    assert_eq!(polled.error, Some(PollError::Deadline(deadline)));
    assert_eq!(polled.identity.name.as_deref(), Some("sw1"));
    assert_eq!(polled.faults.last().unwrap().problem, Problem::Unfinished);
    assert!(!polled.answers.rows(&endless).is_empty());
    let whole: usize = ask.columns[0]
        .iter()
        .map(|column| polled.answers.rows(column).len())
        .sum();
    assert_eq!(whole, 36);
}

#[tokio::test]
async fn a_walk_brings_everything_or_says_where_it_stopped() {
    let (walk, _) = switch(20, 9);
    let device = FakeDevice::start(walk.clone(), Behaviour::default())
        .await
        .unwrap();
    let poller = poller().await;
    let target = target(device.address());
    let root = oid("1.3.6.1");
    let walked = poller
        .walk(&target, &root, Limits::default(), DEADLINE)
        .await;
    assert_eq!((walked.fault, walked.error), (None, None));
    assert_eq!(walked.walk, walk);
    let limits = Limits {
        rows: 100,
        values: 100,
    };
    let walked = poller.walk(&target, &root, limits, DEADLINE).await;
    assert_eq!(walked.fault, Some(Problem::Endless));
    assert_eq!(walked.walk.iter().count(), 100);
}
