//! Events: exactly once, and searchable.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use xiezhi_model::{EventStream, HostId, Scope, Severity};
use xiezhi_store::{BatchOutcome, EventBatch, EventQuery, Store, StoreError};

use crate::support::*;

#[tokio::test]
async fn a_replay_changes_nothing_and_other_content_is_a_conflict() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let first = batch(
        id,
        1,
        7,
        vec![event(NOW, "login", "张三"), event(NOW, "sudo", "ls")],
    );
    let other = batch(id, 1, 8, vec![event(NOW, "login", "somebody else")]);
    let ordinary = EventBatch {
        stream: EventStream::Events,
        ..other.clone()
    };
    use BatchOutcome::*;
    assert_eq!(
        fresh
            .insert_batches(&[first.clone(), first.clone()], NOW)
            .await
            .unwrap(),
        [Stored, Replay]
    );
    assert_eq!(
        fresh
            .insert_batches(std::slice::from_ref(&first), NOW)
            .await
            .unwrap(),
        [Replay]
    );
    // Streams are numbered apart.
    assert_eq!(
        fresh
            .insert_batches(&[other.clone(), ordinary], NOW)
            .await
            .unwrap(),
        [Conflict, Stored]
    );
    assert_eq!(fresh.count_events().await.unwrap(), 3);
    let epoch = fresh
        .open_epoch(id, 1, entry("host.identity_conflict"))
        .await
        .unwrap();
    let moved = EventBatch { epoch, ..other };
    assert_eq!(fresh.insert_batches(&[moved], NOW).await.unwrap(), [Stored]);
    assert_eq!(fresh.count_events().await.unwrap(), 4);
    // Its acknowledgement was lost, and meanwhile the epoch changed: still the same batch.
    let late = EventBatch {
        epoch,
        seq: 1,
        ..first
    };
    assert_eq!(fresh.insert_batches(&[late], NOW).await.unwrap(), [Replay]);
    assert_eq!(fresh.count_events().await.unwrap(), 4);
}

#[tokio::test]
async fn a_batch_stored_just_before_a_new_epoch_is_not_stored_again_under_it() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let first = batch(id, 1, 7, vec![event(NOW, "login", "once")]);
    fresh
        .insert_batches(std::slice::from_ref(&first), NOW)
        .await
        .unwrap();
    let epoch = fresh
        .open_epoch(id, 1, entry("host.identity_conflict"))
        .await
        .unwrap();
    let again = EventBatch { epoch, ..first };
    for _ in 0..2 {
        let outcome = fresh
            .insert_batches(std::slice::from_ref(&again), NOW)
            .await
            .unwrap();
        assert_eq!(outcome, [BatchOutcome::Replay]);
    }
    assert_eq!(fresh.count_events().await.unwrap(), 1);
}

/// A spool restored from an old copy, or a power cut after a long backlog was sent.
#[tokio::test]
async fn a_long_backlog_that_comes_again_is_not_stored_again_in_any_epoch() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let backlog = |epoch, text: &str| -> Vec<_> {
        let events = |seq: u64| vec![event(NOW, "login", &format!("{text} {seq}"))];
        let numbered = |seq: u64| batch(id, seq, seq as u32 + 1000, events(seq));
        let batches = (1..=600).map(numbered);
        batches.map(|batch| EventBatch { epoch, ..batch }).collect()
    };
    let only = |outcome| vec![outcome; 600];
    let first = backlog(1, "pending");
    for (outcome, turn) in [(BatchOutcome::Stored, 1), (BatchOutcome::Replay, 2)] {
        let outcomes = fresh.insert_batches(&first, NOW).await.unwrap();
        assert_eq!(outcomes, only(outcome), "delivery {turn}");
    }
    // The same again after more epochs than there are range sets of; also by a session that has not
    // heard of them.
    let mut epoch = 1;
    for _ in 0..12 {
        let audit = entry("host.identity_conflict");
        epoch = fresh.open_epoch(id, epoch, audit).await.unwrap();
        if [2, 3, 13].contains(&epoch) {
            for epoch in [epoch, 1] {
                let outcomes = fresh.insert_batches(&backlog(epoch, "pending"), NOW).await;
                assert_eq!(outcomes.unwrap(), only(BatchOutcome::Replay), "{epoch}");
            }
        }
    }
    assert_eq!(fresh.count_events().await.unwrap(), 600);
    // Other content under an old number is still told apart.
    let other = |epoch| EventBatch {
        epoch,
        ..batch(id, 1, 7, vec![event(NOW, "login", "other")])
    };
    let after = |epoch| EventBatch {
        epoch,
        ..batch(id, 1, 8, vec![event(NOW, "login", "after")])
    };
    let outcomes = fresh
        .insert_batches(&[other(epoch), after(epoch)], NOW)
        .await;
    assert_eq!(
        outcomes.unwrap(),
        [BatchOutcome::Stored, BatchOutcome::Conflict]
    );
}

#[tokio::test]
async fn a_batch_is_remembered_as_long_as_its_events_and_no_longer() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let backlog: Vec<_> = (1..=100)
        .map(|seq| batch(id, seq, 1, vec![event(NOW, "login", "x")]))
        .collect();
    fresh.insert_batches(&backlog, NOW).await.unwrap();
    let outcome = async |number: usize, now_ms| {
        let outcomes = fresh
            .insert_batches(&backlog[number..=number], now_ms)
            .await;
        outcomes.unwrap()[0]
    };
    let last = NOW + 180 * DAY;
    assert_eq!(fresh.delete_expired_events(last, 90).await.unwrap(), 0);
    assert_eq!(outcome(0, last).await, BatchOutcome::Replay);
    // Slices end with the events, then with the batches.
    let mut slices = Vec::new();
    while slices.last() != Some(&0) {
        slices.push(fresh.delete_expired_events(last + 1, 90).await.unwrap());
    }
    assert_eq!(slices, [90, 90, 20, 0]);
    assert_eq!(fresh.count_events().await.unwrap(), 0);
    assert_eq!(outcome(0, last + 1).await, BatchOutcome::Conflict);
}

#[tokio::test]
async fn absurd_numbers_are_not_taken_for_each_other() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let batches = [u64::MAX, u64::MAX - 1, i64::MAX as u64, 0]
        .map(|seq| batch(id, seq, 1, vec![event(NOW, "login", "x")]));
    for outcome in [BatchOutcome::Stored, BatchOutcome::Replay] {
        let outcomes = fresh.insert_batches(&batches, NOW).await.unwrap();
        assert_eq!(outcomes, [outcome; 4]);
    }
    assert_eq!(fresh.count_events().await.unwrap(), 4);
}

#[tokio::test]
async fn one_unknown_host_stores_nothing_of_the_call() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let good = batch(id, 1, 1, vec![event(NOW, "login", "a")]);
    let bad = batch(HostId(404), 1, 1, vec![event(NOW, "login", "b")]);
    let error = fresh
        .insert_batches(&[good.clone(), bad], NOW)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::NotFound(_)), "{error:?}");
    assert_eq!(fresh.count_events().await.unwrap(), 0);
    assert_eq!(
        fresh.insert_batches(&[good], NOW).await.unwrap(),
        [BatchOutcome::Stored]
    );
}

#[tokio::test]
async fn hostile_text_and_numbers_are_stored_without_harm() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let mut strange = event(i64::MIN, "a\0b", "'; DROP TABLE events; --\0");
    strange
        .fields
        .insert("x\0\"".to_owned(), "\u{1}y\\".to_owned());
    let mut batch = batch(id, u64::MAX, u32::MAX, vec![strange.clone()]);
    batch.facts = Some("{\"a\":\"\0\"}".to_owned());
    assert_eq!(
        fresh.insert_batches(&[batch.clone()], NOW).await.unwrap(),
        [BatchOutcome::Stored]
    );
    assert_eq!(
        fresh.insert_batches(&[batch], NOW).await.unwrap(),
        [BatchOutcome::Replay]
    );
    let page = fresh
        .search_events(&EventQuery::default(), &Scope::Province)
        .await
        .unwrap();
    assert_eq!(page.events[0].message, "'; DROP TABLE events; -- ");
    assert_eq!(page.events[0].fields, strange.fields);
    assert_eq!(fresh.facts(id).await.unwrap().unwrap().seq, i64::MAX as u64);
}

#[tokio::test]
async fn the_newest_facts_stay_however_late_older_ones_come() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    for (epoch, seq, expected) in [(1, 5, "1/5"), (1, 3, "1/5"), (2, 1, "2/1"), (1, 9, "2/1")] {
        let facts = Some(format!("{epoch}/{seq}"));
        let batch = EventBatch {
            epoch,
            facts,
            ..batch(id, seq, 1, vec![])
        };
        fresh.insert_batches(&[batch], NOW).await.unwrap();
        assert_eq!(fresh.facts(id).await.unwrap().unwrap().json, expected);
    }
    assert_eq!(fresh.all_facts().await.unwrap().len(), 1);
}

/// Two hosts in different courts with a few events each.
async fn with_events() -> (Fresh, [HostId; 2], [xiezhi_model::SiteId; 4]) {
    let fresh = fresh().await;
    let sites = province(&fresh).await;
    let [_, court, other, tribunal] = sites;
    let _ = court;
    let hosts = [
        enrolled(&fresh, tribunal).await,
        enrolled(&fresh, other).await,
    ];
    let mut failed = event(NOW + 2, "login_failed", "Failed password for ROOT");
    failed.severity = Severity::Warning;
    failed
        .fields
        .insert("source_address".to_owned(), "10.1.2.3".to_owned());
    let batches = [
        batch(
            hosts[0],
            1,
            1,
            vec![
                event(NOW, "login", "张三 100% in, Élan ＡＢ"),
                event(NOW + 1, "sudo", "a_b"),
                failed,
            ],
        ),
        EventBatch {
            stream: EventStream::Events,
            ..batch(hosts[1], 1, 1, vec![event(NOW + 1, "agent_started", "axb")])
        },
    ];
    fresh.insert_batches(&batches, NOW + 10).await.unwrap();
    (fresh, hosts, sites)
}

#[tokio::test]
async fn events_of_a_device_are_those_of_no_other_whose_name_is_like_it() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let host = enrolled(&fresh, root).await;
    let about = |time_ms, device: &str, message: &str| {
        let mut about = event(time_ms, "device_trap", message);
        about.fields.insert("device".to_owned(), device.to_owned());
        about
    };
    let events = vec![
        about(NOW, "sw-1", "its own"),
        about(NOW + 1, "sw-10", "another's"),
        about(NOW + 2, "sw_1", "\"device\":\"sw-1\""),
        event(NOW + 3, "device_traps_lost", "of no device"),
    ];
    let batch = EventBatch {
        stream: EventStream::Events,
        ..batch(host, 1, 1, events)
    };
    fresh.insert_batches(&[batch], NOW + 10).await.unwrap();
    for (device, expected) in [
        ("sw-1", vec!["its own"]),
        ("sw_1", vec!["\"device\":\"sw-1\""]),
        ("sw%", vec![]),
        ("", vec![]),
    ] {
        let query = EventQuery {
            device: Some(device.to_owned()),
            ..EventQuery::default()
        };
        let page = fresh.search_events(&query, &Scope::Province).await.unwrap();
        let told: Vec<_> = page.events.iter().map(|event| &event.message).collect();
        assert_eq!(told, expected, "{device}");
    }
}

#[tokio::test]
async fn events_are_found_by_every_condition() {
    let (fresh, hosts, [root, court, other, tribunal]) = with_events().await;
    let all = EventQuery::default;
    let text = |text: &str| EventQuery {
        text: Some(text.to_owned()),
        ..all()
    };
    let kinds = vec!["sudo".to_owned(), "login".to_owned()];
    let cases = [
        (
            "all",
            all(),
            vec!["login_failed", "agent_started", "sudo", "login"],
        ),
        (
            "whole tree",
            EventQuery {
                site: Some(root),
                ..all()
            },
            vec!["login_failed", "agent_started", "sudo", "login"],
        ),
        (
            "subtree",
            EventQuery {
                site: Some(court),
                ..all()
            },
            vec!["login_failed", "sudo", "login"],
        ),
        (
            "leaf",
            EventQuery {
                site: Some(tribunal),
                ..all()
            },
            vec!["login_failed", "sudo", "login"],
        ),
        (
            "other court",
            EventQuery {
                site: Some(other),
                ..all()
            },
            vec!["agent_started"],
        ),
        (
            "host",
            EventQuery {
                host: Some(hosts[1]),
                ..all()
            },
            vec!["agent_started"],
        ),
        (
            "host outside the site",
            EventQuery {
                host: Some(hosts[1]),
                site: Some(court),
                ..all()
            },
            vec![],
        ),
        (
            "stream",
            EventQuery {
                stream: Some(EventStream::Events),
                ..all()
            },
            vec!["agent_started"],
        ),
        (
            "kinds",
            EventQuery { kinds, ..all() },
            vec!["sudo", "login"],
        ),
        (
            "severity",
            EventQuery {
                least_severity: Some(Severity::Notice),
                ..all()
            },
            vec!["login_failed"],
        ),
        (
            "text in any case",
            text("failed PASSWORD"),
            vec!["login_failed"],
        ),
        ("Chinese text", text("张三"), vec!["login"]),
        ("text in a field", text("10.1.2.3"), vec!["login_failed"]),
        ("percent is no wildcard", text("0%"), vec!["login"]),
        ("underscore is no wildcard", text("a_b"), vec!["sudo"]),
        ("quote", text("'"), vec![]),
        (
            "letters beyond ASCII as they are",
            text("ÉLAN ＡＢ"),
            vec!["login"],
        ),
        ("no other case of É", text("élan"), vec![]),
        ("no other case of a full-width letter", text("ａｂ"), vec![]),
        ("a sign whose small form is longer", text("İ"), vec![]),
        (
            "time",
            EventQuery {
                from_ms: Some(NOW + 1),
                to_ms: Some(NOW + 2),
                ..all()
            },
            vec!["agent_started", "sudo"],
        ),
    ];
    for (name, query, expected) in cases {
        let page = fresh.search_events(&query, &Scope::Province).await.unwrap();
        let kinds: Vec<_> = page
            .events
            .iter()
            .map(|event| event.kind.as_str())
            .collect();
        assert_eq!(kinds, expected, "{name}");
        assert_eq!(page.next, None, "{name}");
    }
}

#[tokio::test]
async fn pages_meet_without_gap_or_overlap() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    // Enough hosts that the site is searched by walking back in time.
    let mut hosts = Vec::new();
    for _ in 0..40 {
        hosts.push(enrolled(&fresh, root).await);
    }
    let batches: Vec<_> = (0..200u64)
        .map(|number| {
            // Many events share a time.
            let events = vec![event(
                NOW + (number / 9) as i64,
                "login",
                &number.to_string(),
            )];
            batch(hosts[number as usize % 40], number, 1, events)
        })
        .collect();
    fresh.insert_batches(&batches, NOW).await.unwrap();
    let mut query = EventQuery {
        site: Some(root),
        limit: 7,
        ..EventQuery::default()
    };
    let (mut seen, mut times) = (BTreeSet::new(), Vec::new());
    loop {
        let page = fresh.search_events(&query, &Scope::Province).await.unwrap();
        times.extend(page.events.iter().map(|event| event.time_ms));
        seen.extend(page.events.into_iter().map(|event| event.message));
        let Some(next) = page.next else { break };
        query.after = Some(next.to_string().parse().unwrap());
    }
    assert_eq!((seen.len(), times.len()), (200, 200));
    assert!(times.is_sorted_by(|a, b| a >= b));
}

/// One delivery of the property test: a batch that an agent, or its restored copy, sends.
#[derive(Debug, Clone)]
struct Delivery {
    host: usize,
    seq: u64,
    content: u32,
}

fn deliveries() -> impl Strategy<Value = Vec<Vec<Delivery>>> {
    let delivery = (0..2usize, 1..30u64, 0..3u32);
    let delivery = delivery.prop_map(|(host, seq, content)| Delivery { host, seq, content });
    prop::collection::vec(prop::collection::vec(delivery, 1..8), 1..25)
}

/// Delivers like the ingest does: a conflict opens an epoch and is delivered again there.
async fn deliver(store: &Store, hosts: &[HostId], call: &[Delivery]) {
    for delivery in call {
        let host = hosts[delivery.host];
        let epoch = store.host(host).await.unwrap().unwrap().epoch;
        let text = format!("{}/{}", delivery.seq, delivery.content);
        let events = vec![event(NOW, "login", &text)];
        let mut batch = EventBatch {
            epoch,
            ..batch(host, delivery.seq, delivery.content, events)
        };
        for _ in 0..2 {
            match store
                .insert_batches(std::slice::from_ref(&batch), NOW)
                .await
                .unwrap()[0]
            {
                BatchOutcome::Stored | BatchOutcome::Replay => break,
                BatchOutcome::Conflict => {
                    let audit = entry("host.identity_conflict");
                    batch.epoch = store.open_epoch(host, batch.epoch, audit).await.unwrap();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever arrives in whatever order: each content is there at least once, nothing is lost,
    /// and an agent that never changes a number's content has each exactly once in one epoch.
    #[test]
    fn every_content_is_stored_and_an_honest_agent_stores_each_once(calls in deliveries()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stored, honest_epoch) = runtime.block_on(async {
            let fresh = fresh().await;
            let [root, ..] = province(&fresh).await;
            let hosts = [enrolled(&fresh, root).await, enrolled(&fresh, root).await];
            for call in &calls {
                // The first host is honest: its content depends on the number alone.
                let call: Vec<_> = call.iter().map(|delivery| match delivery.host {
                    0 => Delivery { content: delivery.seq as u32 % 3, ..delivery.clone() },
                    _ => delivery.clone(),
                }).collect();
                deliver(&fresh, &hosts, &call).await;
            }
            let mut stored: BTreeMap<(usize, String), usize> = BTreeMap::new();
            let query = EventQuery { limit: 1000, ..EventQuery::default() };
            for event in fresh.search_events(&query, &Scope::Province).await.unwrap().events {
                let host = usize::from(event.host != hosts[0]);
                *stored.entry((host, event.message)).or_default() += 1;
            }
            (stored, fresh.host(hosts[0]).await.unwrap().unwrap().epoch)
        });
        prop_assert_eq!(honest_epoch, 1);
        for delivery in calls.iter().flatten() {
            let content = if delivery.host == 0 { delivery.seq as u32 % 3 } else { delivery.content };
            let times = stored.get(&(delivery.host, format!("{}/{content}", delivery.seq)));
            prop_assert!(times.is_some(), "lost: {:?}", delivery);
            if delivery.host == 0 {
                prop_assert_eq!(times, Some(&1), "{:?}", delivery);
            }
        }
    }
}
