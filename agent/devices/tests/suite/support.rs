//! A poller, targets, and the walk of a small switch.

use std::net::SocketAddr;
use std::time::Duration;

use xiezhi_devices::{Ask, Credentials, Limits, Login, Polled, Poller, Secret, Socket, Target};
use xiezhi_profiles::{Answers, Hints, Oid, Value, Walk};

/// Long enough for a busy machine; nothing waits for it unless something is wrong.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

pub(crate) async fn poller() -> Poller {
    Poller::new(Socket::open().await.unwrap(), 64)
}

pub(crate) fn community(text: &str) -> Login {
    Login::new(&Credentials::V2c {
        community: Secret::new(text.to_owned()),
    })
    .unwrap()
}

pub(crate) fn old() -> Login {
    Login::new(&Credentials::V1 {
        community: Secret::new("public".to_owned()),
    })
    .unwrap()
}

/// A device that is asked with `public` and half a second of patience.
pub(crate) fn target(address: SocketAddr) -> Target {
    Target {
        address,
        login: community("public"),
        hints: Hints {
            timeout: Duration::from_millis(500),
            retries: 3,
            ..Hints::default()
        },
        pace: None,
    }
}

/// A switch with so many ports, 12 columns each; `seed` is in all of its values.
pub(crate) fn switch(ports: u32, seed: u32) -> (Walk, Ask) {
    let mut walk = Walk::default();
    let system = oid("1.3.6.1.2.1.1");
    let scalar = |last| system.at(&Oid::new(&[last, 0]));
    let text = |text: String| Value::Octets(text.into_bytes().into());
    walk.add(scalar(1), text(format!("switch {seed}")));
    walk.add(
        scalar(2),
        Value::Oid(oid("1.3.6.1.4.1.2011.2.23").at(&Oid::new(&[seed]))),
    );
    walk.add(scalar(3), Value::Ticks(100 + seed));
    walk.add(scalar(5), text(format!("sw{seed}")));
    let entry = oid("1.3.6.1.2.1.2.2.1");
    let mut group = Vec::new();
    for column in 1..=12 {
        let object = entry.at(&Oid::new(&[column]));
        for port in 1..=ports {
            let value = match column {
                2 => text(format!("GigabitEthernet{seed}/{port}")),
                _ => Value::Counter64(u64::from(seed) << 40 | u64::from(column * 1000 + port)),
            };
            walk.add(object.at(&Oid::new(&[port])), value);
        }
        group.push(object);
    }
    let ask = Ask {
        scalars: vec![scalar(5), scalar(9)],
        columns: vec![group],
    };
    (walk, ask)
}

/// What an honest device with `walk` answers to `ask`, the identity included.
pub(crate) fn expected(walk: &Walk, ask: &Ask) -> Answers {
    let identity = [1, 2, 3, 5].map(|last| oid("1.3.6.1.2.1.1").at(&Oid::new(&[last, 0])));
    let engine = oid("1.3.6.1.6.3.10.2.1.3.0");
    let instances = identity.iter().chain([&engine]).chain(&ask.scalars);
    walk.answers(instances, ask.columns.iter().flatten())
}

pub(crate) async fn poll(poller: &Poller, target: &Target, ask: &Ask) -> Polled {
    poller.poll(target, ask, Limits::default(), DEADLINE).await
}

/// Waits until `is_so`, with a deadline.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
