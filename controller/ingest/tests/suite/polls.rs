//! Polls of devices: their samples are durable before they are acknowledged, once, and their devices are
//! known.

use xiezhi_model::{DeviceId, DeviceState, HostId, Scope};
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::Hello;
use xiezhi_protocol::poll::{
    self, About, Poll, PollColumn, PollTable, PollValue, encode_poll, peek_poll,
};
use xiezhi_protocol::record::Kind;
use xiezhi_series::device_key;

use crate::agent::{Agent, Identity};
use crate::port::Port;

fn column(name: &str, value: u64) -> PollColumn {
    PollColumn {
        name: name.to_owned(),
        counter: true,
        values: vec![Some(PollValue::Unsigned(value))],
    }
}

fn poll(device: &str, time_ms: i64, octets: u64) -> Poll {
    Poll {
        device: device.to_owned(),
        time_ms,
        part: (0, 1),
        about: Some(About {
            state: poll::DeviceState::Answered,
            kind: "switch".to_owned(),
            every_s: 60,
            facts: [("model".to_owned(), "S5560".to_owned())].into(),
            ..About::default()
        }),
        tables: vec![PollTable {
            labels: vec!["ifName".to_owned(), "site".to_owned()],
            rows: vec![vec!["eth0".to_owned(), "elsewhere".to_owned()]],
            columns: vec![column("ifHCInOctets", octets)],
        }],
    }
}

fn batch(seq: u64, poll: &Poll) -> Vec<u8> {
    let (mut content, mut bytes) = (Vec::new(), Vec::new());
    poll.encode_content(&mut content).unwrap();
    encode_poll(seq, poll.time_ms, &content, &mut bytes).unwrap();
    bytes
}

async fn acked(agent: &mut Agent) -> Vec<(u64, u64)> {
    agent.flush();
    let ack = agent.down.next().await.ack();
    assert_eq!(ack.stream, Stream::Polls);
    ack.ranges.ranges().to_vec()
}

fn points(port: &Port, device: DeviceId) -> Vec<(i64, f64)> {
    let name = |series: &str| series == "ifHCInOctets{ifName=\"eth0\"}";
    let found = port
        .series
        .range(device_key(device.0), 0, i64::MAX, &name)
        .unwrap();
    found.into_iter().flat_map(|series| series.points).collect()
}

async fn device(port: &Port, host: HostId, name: &str) -> DeviceId {
    let names = port.store.device_names().await.unwrap();
    let mut known = names.iter();
    known
        .find(|known| known.1 == host && known.2 == name)
        .unwrap()
        .0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_is_stored_before_it_is_acknowledged_and_a_second_time_changes_nothing() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    assert_eq!(agent.welcome.protocol, 3);
    let now_ms = port.now_ms();
    let polls: Vec<Vec<u8>> = (0..3)
        .map(|step| batch(step + 1, &poll("core-1", now_ms + step as i64, step * 100)))
        .collect();
    for poll in &polls {
        agent.send(Kind::Polls, poll);
    }
    assert_eq!(acked(&mut agent).await, [(1, 3)]);
    let id = device(&port, identity.host, "core-1").await;
    let expected = [(now_ms, 0.0), (now_ms + 1, 100.0), (now_ms + 2, 200.0)];
    assert_eq!(points(&port, id), expected);
    // The acknowledgement was lost: they come again, in another session.
    drop(agent);
    let mut agent = port.session(&identity).await;
    for poll in polls.iter().rev() {
        agent.send(Kind::Polls, poll);
    }
    assert_eq!(acked(&mut agent).await, [(1, 3)]);
    assert_eq!(points(&port, id), expected);
    let (known, about) = port.store.device(id).await.unwrap().unwrap();
    assert_eq!((known.state, known.every_s), (DeviceState::Answered, 60));
    assert_eq!(
        (known.kind.as_str(), known.model.as_str()),
        ("switch", "S5560")
    );
    assert_eq!((known.site, known.last_poll_ms), (port.site, now_ms + 2));
    assert!(about.contains("S5560"), "{about}");
    assert_eq!(port.store.devices(&Scope::Province).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_do_not_share_devices_and_a_silent_one_keeps_what_it_said() {
    let port = Port::start().await;
    let (one, two) = (port.enrol("one").await, port.enrol("two").await);
    let now_ms = port.now_ms();
    for (identity, octets) in [(&one, 1), (&two, 2)] {
        let mut agent = port.session(identity).await;
        agent.send(Kind::Polls, &batch(1, &poll("core-1", now_ms, octets)));
        assert_eq!(acked(&mut agent).await, [(1, 1)]);
    }
    let of = async |identity: &Identity| device(&port, identity.host, "core-1").await;
    let (first, second) = (of(&one).await, of(&two).await);
    assert_eq!(points(&port, first), [(now_ms, 1.0)]);
    assert_eq!(points(&port, second), [(now_ms, 2.0)]);
    let mut agent = port.session(&one).await;
    let silent = Poll {
        about: Some(About {
            state: poll::DeviceState::Silent,
            problem: "no_answer".to_owned(),
            every_s: 60,
            ..About::default()
        }),
        tables: Vec::new(),
        ..poll("core-1", now_ms + 5, 0)
    };
    agent.send(Kind::Polls, &batch(2, &silent));
    assert_eq!(acked(&mut agent).await, [(2, 2)]);
    let (known, about) = port.store.device(first).await.unwrap().unwrap();
    assert_eq!(known.state, DeviceState::Silent);
    assert_eq!(
        (known.state_since_ms, known.last_answer_ms),
        (now_ms + 5, Some(now_ms))
    );
    assert_eq!(
        (known.problem.as_str(), known.model.as_str()),
        ("no_answer", "S5560")
    );
    assert!(about.contains("S5560"), "{about}");
    let (other, _) = port.store.device(second).await.unwrap().unwrap();
    assert_eq!(other.state, DeviceState::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_poll_costs_itself_and_says_why() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let now_ms = port.now_ms();
    let mut damaged = batch(1, &poll("core-1", now_ms, 1));
    let middle = damaged.len() / 2;
    damaged[middle] ^= 4;
    let year_ms = 365 * 86_400_000;
    let ahead = batch(2, &poll("core-1", now_ms + year_ms, 1));
    let old = batch(3, &poll("core-1", now_ms - year_ms, 1));
    for (bytes, word) in [(&damaged, "checksum"), (&ahead, "clock"), (&old, "too_old")] {
        agent.send(Kind::Polls, bytes);
        let refused = agent.down.next().await.refused();
        let seq = peek_poll(bytes).unwrap().seq;
        assert_eq!(
            (refused.stream, refused.seq, refused.resend),
            (Stream::Polls, Some(seq), false)
        );
        assert!(refused.reason.starts_with(word), "{}", refused.reason);
    }
    agent.send(Kind::Polls, &batch(4, &poll("core-1", now_ms, 7)));
    assert_eq!(acked(&mut agent).await, [(4, 4)]);
    let id = device(&port, identity.host, "core-1").await;
    assert_eq!(points(&port, id), [(now_ms, 7.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_the_version_before_is_served_in_its_protocol() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let hello = Hello {
        protocol: 2,
        ..port.hello()
    };
    let mut agent = port.session_with(&identity, hello).await.unwrap();
    assert_eq!(agent.welcome.protocol, 2);
    agent.live(1, port.now_ms(), 1.0);
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 1)]));
}
