//! Devices of the network: numbers, states and whose they are.

use xiezhi_model::*;
use xiezhi_store::{DeviceAnswer, DevicePoll, DeviceSaid, StoreError};

use crate::support::*;

fn poll(host: HostId, name: &str, time_ms: i64, state: DeviceState) -> DevicePoll {
    let said = state.answers().then(|| DeviceSaid {
        kind: "switch".to_owned(),
        profile: "h3c-switch".to_owned(),
        model: format!("S5560 of {name}"),
        serial: "000000".to_owned(),
        needs_profile: false,
        about: "{\"name\":\"甘\"}".to_owned(),
    });
    DevicePoll {
        id: None,
        host,
        name: name.to_owned(),
        time_ms,
        answer: Some(DeviceAnswer {
            state,
            problem: String::new(),
            every_s: 60,
            said,
        }),
    }
}

#[tokio::test]
async fn a_device_keeps_its_number_and_hosts_do_not_share_names() {
    let fresh = fresh().await;
    let [root, court, ..] = province(&fresh).await;
    let (here, there) = (enrolled(&fresh, court).await, enrolled(&fresh, root).await);
    let answered = DeviceState::Answered;
    let polls = [
        poll(here, "core-1", NOW, answered),
        poll(there, "core-1", NOW, answered),
        poll(here, "ups-1", NOW, DeviceState::Silent),
        poll(here, "core-1", NOW + 1, answered),
    ];
    let ids = fresh.note_polls(&polls).await.unwrap();
    assert_eq!(ids[0], ids[3]);
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    let again = fresh.note_polls(&polls).await.unwrap();
    assert_eq!(again, ids);
    let names = fresh.device_names().await.unwrap();
    assert_eq!(
        names,
        [
            (ids[0], here, "core-1".to_owned()),
            (ids[1], there, "core-1".to_owned()),
            (ids[2], here, "ups-1".to_owned()),
        ]
    );
    let nobody = poll(HostId(999), "core-1", NOW, answered);
    let refused = fresh.note_polls(&[polls[0].clone(), nobody]).await;
    assert!(
        matches!(refused, Err(StoreError::NotFound(_))),
        "{refused:?}"
    );
    assert_eq!(fresh.device_names().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_state_has_its_begin_and_an_older_poll_changes_nothing() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let host = enrolled(&fresh, root).await;
    let mut id = None;
    for (time_ms, state) in [
        (10, DeviceState::Answered),
        (20, DeviceState::Partial),
        (30, DeviceState::Silent),
        (40, DeviceState::Silent),
        // A backlog comes late.
        (25, DeviceState::Answered),
    ] {
        let poll = DevicePoll {
            id,
            ..poll(host, "core-1", time_ms, state)
        };
        id = fresh.note_polls(&[poll]).await.unwrap().pop();
    }
    let id = id.unwrap();
    let (device, about) = fresh.device(id).await.unwrap().unwrap();
    assert_eq!(device.state, DeviceState::Silent);
    assert_eq!((device.state_since_ms, device.last_poll_ms), (30, 40));
    assert_eq!(
        (device.first_poll_ms, device.last_answer_ms),
        (10, Some(20))
    );
    assert_eq!(
        device.model, "S5560 of core-1",
        "silence takes nothing away"
    );
    assert_eq!(about, "{\"name\":\"甘\"}");
    let part = DevicePoll {
        id: Some(id),
        answer: None,
        ..poll(host, "core-1", 50, DeviceState::Answered)
    };
    fresh.note_polls(&[part]).await.unwrap();
    assert_eq!(fresh.device(id).await.unwrap().unwrap().0, device);
    assert_eq!(fresh.device(DeviceId(999)).await.unwrap(), None);
}

#[tokio::test]
async fn a_device_is_where_its_host_is_until_somebody_puts_it_elsewhere() {
    let fresh = fresh().await;
    let [root, court, other, _] = province(&fresh).await;
    let host = enrolled(&fresh, court).await;
    let polls = [
        poll(host, "core-1", NOW, DeviceState::Answered),
        poll(host, "ups-1", NOW, DeviceState::Answered),
    ];
    let ids = fresh.note_polls(&polls).await.unwrap();
    let seen = async |site: SiteId| -> Vec<DeviceId> {
        let scope = Scope::Sites(std::sync::Arc::new([site].into()));
        let found = fresh.devices(&scope).await.unwrap();
        assert!(found.iter().all(|device| device.site == site));
        found.iter().map(|device| device.id).collect()
    };
    assert_eq!(seen(court).await, ids);
    assert!(seen(root).await.is_empty());
    let moved = format!("UPDATE devices SET site_id = {other} WHERE id = {}", ids[1]);
    fresh.tamper(&moved).await;
    assert_eq!(seen(court).await, ids[..1]);
    assert_eq!(seen(other).await, ids[1..]);
    assert_eq!(fresh.devices(&Scope::Province).await.unwrap().len(), 2);
}
