//! Devices of the network: numbers, states and whose they are.

use xiezhi_model::*;
use xiezhi_store::{DeviceAnswer, DeviceCursor, DevicePoll, DeviceQuery, DeviceSaid, StoreError};

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

async fn names(store: &xiezhi_store::Store, query: &DeviceQuery, scope: &Scope) -> Vec<String> {
    let (mut all, mut query) = (Vec::new(), query.clone());
    loop {
        let page = store.device_page(&query, scope).await.unwrap();
        assert!(page.devices.len() <= query.limit as usize);
        all.extend(page.devices.into_iter().map(|device| device.name));
        match page.next {
            None => return all,
            after => query.after = after,
        }
    }
}

#[tokio::test]
async fn devices_are_paged_by_name_within_a_scope_and_what_is_asked() {
    let fresh = fresh().await;
    let [root, court, other, _] = province(&fresh).await;
    let (here, there) = (enrolled(&fresh, court).await, enrolled(&fresh, root).await);
    let mut polls = Vec::new();
    for number in 0..7 {
        polls.push(poll(
            here,
            &format!("Core_{number}"),
            NOW,
            DeviceState::Answered,
        ));
        polls.push(poll(
            there,
            &format!("core-{number}"),
            NOW,
            DeviceState::Silent,
        ));
    }
    let ids = fresh.note_polls(&polls).await.unwrap();
    let moved = format!("UPDATE devices SET site_id = {other} WHERE id = {}", ids[0]);
    fresh.tamper(&moved).await;
    let all = DeviceQuery {
        limit: 3,
        now_ms: NOW,
        ..Default::default()
    };
    let only = |site: SiteId| Scope::Sites(std::sync::Arc::new([site].into()));
    let seen = names(&fresh, &all, &Scope::Province).await;
    assert_eq!(seen.len(), 14);
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(names(&fresh, &all, &only(court)).await.len(), 6);
    assert_eq!(names(&fresh, &all, &only(other)).await, ["Core_0"]);
    let nobody = Scope::Sites(std::sync::Arc::default());
    assert!(names(&fresh, &all, &nobody).await.is_empty());
    assert!(fresh.device_kinds(false, &nobody).await.unwrap().is_empty());
    assert_eq!(
        fresh.device_kinds(false, &only(court)).await.unwrap(),
        ["switch"]
    );
    let text = |text: &str| DeviceQuery {
        text: Some(text.to_owned()),
        ..all.clone()
    };
    let sites = |sites: [SiteId; 1]| DeviceQuery {
        sites: Some(sites.into()),
        ..all.clone()
    };
    for (query, expected) in [
        (text("core_"), 7),
        (text(" s5560 OF "), 7),
        (text("nothing"), 0),
        (
            DeviceQuery {
                text_sites: [root].into(),
                ..text("nothing")
            },
            7,
        ),
        (sites([root]), 7),
        (sites([other]), 1),
        (
            DeviceQuery {
                host: Some(here),
                ..all.clone()
            },
            7,
        ),
        (
            DeviceQuery {
                kind: Some("ups".to_owned()),
                ..all.clone()
            },
            0,
        ),
        (
            DeviceQuery {
                needs_profile: true,
                ..all.clone()
            },
            0,
        ),
        (
            DeviceQuery {
                state: Some((DeviceState::Answered, [here, there].into())),
                ..all.clone()
            },
            7,
        ),
        (
            DeviceQuery {
                state: Some((DeviceState::Answered, [there].into())),
                ..all.clone()
            },
            0,
        ),
        (
            DeviceQuery {
                state: Some((DeviceState::Unknown, [there].into())),
                ..all.clone()
            },
            7,
        ),
        (
            DeviceQuery {
                state: Some((DeviceState::Unknown, [].into())),
                ..all.clone()
            },
            14,
        ),
    ] {
        let found = names(&fresh, &query, &Scope::Province).await;
        assert_eq!(found.len(), expected, "{query:?}: {found:?}");
        let stateless = DeviceQuery {
            state: None,
            ..query
        };
        let counted = fresh
            .device_states(&stateless, &Scope::Province)
            .await
            .unwrap();
        let counted: u64 = counted.iter().map(|one| one.devices).sum();
        assert_eq!(
            counted,
            names(&fresh, &stateless, &Scope::Province).await.len() as u64
        );
    }
}

#[tokio::test]
async fn the_database_and_the_model_agree_on_when_a_device_is_unknown() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let host = enrolled(&fresh, root).await;
    let every = [-1, 0, 1, 60, 61, 300, 999_999_999, 1_000_000_000, i64::MAX];
    for every_s in every {
        let mut one = poll(host, &format!("every {every_s}"), NOW, DeviceState::Partial);
        one.answer.as_mut().unwrap().every_s = every_s;
        fresh.note_polls(&[one]).await.unwrap();
    }
    let devices = fresh.devices(&Scope::Province).await.unwrap();
    for later in [
        -1, 0, 180_000, 180_001, 183_000, 183_001, 900_000, 900_001, NOW,
    ] {
        let now_ms = NOW + later;
        let query = DeviceQuery {
            state: Some((DeviceState::Partial, [host].into())),
            now_ms,
            limit: 100,
            ..Default::default()
        };
        let found = names(&fresh, &query, &Scope::Province).await;
        let expected = devices
            .iter()
            .filter(|device| device.state_at(now_ms, true) == DeviceState::Partial);
        assert_eq!(found.len(), expected.clone().count(), "{later}: {found:?}");
        let counted = fresh.device_states(&query, &Scope::Province).await.unwrap();
        let partial: u64 = counted
            .iter()
            .filter(|one| one.state == DeviceState::Partial)
            .map(|one| one.devices)
            .sum();
        assert_eq!(partial, expected.count() as u64);
    }
}

#[test]
fn a_cursor_comes_back_from_its_text() {
    let cursor = DeviceCursor {
        name: "a.b 法院".to_owned(),
        id: DeviceId(7),
    };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    assert!("7".parse::<DeviceCursor>().is_err() && "x.a".parse::<DeviceCursor>().is_err());
}
