//! Many devices on one socket: none has another's data, and none waits for another.

use std::sync::Arc;
use std::time::Duration;

use xiezhi_devices::{Poller, Socket};
use xiezhi_test_device::{Behaviour, FakeDevice};

use crate::support::{expected, poll, poller, switch, target};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_on_one_socket_never_mix() {
    let poller = Arc::new(poller().await);
    let mut tasks = Vec::new();
    for seed in 1..=24 {
        let (walk, ask) = switch(20 + seed, seed);
        let behaviour = Behaviour {
            twice: seed % 2 == 0,
            drops_every: (seed % 3 == 0).then_some(5),
            most_names: (seed % 5 == 0).then_some(30),
            late_every: (seed % 4 == 0).then_some((4, Duration::from_millis(130))),
            ..Behaviour::default()
        };
        let poller = Arc::clone(&poller);
        tasks.push(tokio::spawn(async move {
            let device = FakeDevice::start(walk.clone(), behaviour).await.unwrap();
            let mut target = target(device.address());
            target.hints.timeout = Duration::from_millis(100);
            target.hints.retries = 12;
            for _ in 0..3 {
                let polled = poll(&poller, &target, &ask).await;
                assert_eq!(
                    (polled.error, polled.faults),
                    (None, vec![]),
                    "device {seed}"
                );
                assert_eq!(polled.answers, expected(&walk, &ask), "device {seed}");
                target.pace = Some(polled.pace);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_dead_device_keeps_nobody_waiting() {
    // A single place: a dead device must not have it.
    let poller = Arc::new(Poller::new(Socket::open().await.unwrap(), 1));
    let (walk, ask) = switch(10, 1);
    let silent = Behaviour {
        answers: false,
        ..Behaviour::default()
    };
    let dead = FakeDevice::start(walk.clone(), silent).await.unwrap();
    let alive = FakeDevice::start(walk.clone(), Behaviour::default())
        .await
        .unwrap();
    let mut dead_target = target(dead.address());
    dead_target.hints.timeout = Duration::from_secs(600);
    let waiting = tokio::spawn({
        let (poller, ask) = (Arc::clone(&poller), ask.clone());
        async move { poll(&poller, &dead_target, &ask).await }
    });
    crate::support::until("the dead device is asked", || dead.asked() > 0).await;
    for _ in 0..10 {
        let polled = poll(&poller, &target(alive.address()), &ask).await;
        assert_eq!(polled.answers, expected(&walk, &ask));
    }
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn a_device_that_was_replaced_says_so() {
    let (walk, ask) = switch(10, 1);
    let device = FakeDevice::start(walk, Behaviour::default()).await.unwrap();
    let poller = poller().await;
    let target = target(device.address());
    let before = poll(&poller, &target, &ask).await;
    let (walk, ask) = switch(4, 2);
    device.tell(walk.clone());
    let after = poll(&poller, &target, &ask).await;
    assert_ne!(before.identity.object_id, after.identity.object_id);
    assert_eq!(after.answers, expected(&walk, &ask));
}
