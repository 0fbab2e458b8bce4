//! A host is restored from an old copy of its disk: its numbers begin again where they were.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;
use xiezhi_test_support::{Api, TestAgent, TestController, eventually};

use crate::proof;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_copy_gets_an_epoch_and_nothing_is_dropped() -> Result<()> {
    let mut controller = TestController::start().await?;
    let configuration = "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\n";
    let mut agent = TestAgent::enrol(&controller, configuration)?;
    agent.run()?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    further_reports(&api, 3).await?;
    let copied = proof::stop_with_empty_spool(&mut agent, &api).await?;
    let copy = agent.folder().join("state.copy");
    proof::copy_folder(&agent.state(), &copy)?;

    // It goes on, and what it sends now is what the copy does not know of.
    agent.run()?;
    api.only_host_when("up").await?;
    further_reports(&api, 4).await?;
    let first = proof::stop_with_empty_spool(&mut agent, &api).await?;
    assert_eq!((copied.epoch, first.epoch), (1, 1));
    assert!(first.last > copied.last);
    assert!(
        api.only_host()
            .await?
            .is_some_and(|host| host["identity_conflict_ms"].is_null())
    );

    std::fs::remove_dir_all(agent.state())?;
    std::fs::rename(&copy, agent.state())?;
    agent.run()?;
    api.only_host_when("up").await?;
    eventually("the host is marked", async || {
        Ok(api
            .only_host()
            .await?
            .filter(|host| !host["identity_conflict_ms"].is_null()))
    })
    .await?;
    further_reports(&api, 4).await?;
    let second = proof::stop_with_empty_spool(&mut agent, &api).await?;
    let page = api.get(&format!("/api/v1/hosts/{id}")).await?;
    assert_eq!(page["record"]["epoch"], 2, "{page}");
    let audit = api.get(&format!("/api/v1/audit?subject=host:{id}")).await?;
    assert!(marks(&audit) > 0, "{audit}");
    let events = first.last_event + second.last_event - copied.last_event;
    assert_eq!(
        proof::shown_events(&api, id).await?,
        events,
        "events of both lives"
    );
    controller.stop()?;

    assert_eq!(
        (second.epoch, second.pending, second.dropped),
        (2, 0, 0),
        "{second:?}"
    );
    let theirs = proof::of_controller(&controller, id)?;
    let numbers = theirs.numbers();
    assert_eq!(numbers.keys().copied().collect::<Vec<_>>(), [1, 2]);
    // All of the first life, and all that came after the restoration.
    assert_eq!(numbers[&1], (1..=first.last).collect::<Vec<_>>());
    assert_eq!(
        numbers[&2],
        (copied.last + 1..=second.last).collect::<Vec<_>>()
    );
    theirs.check_times();
    let checksums: BTreeSet<u32> = theirs
        .frames
        .iter()
        .map(|frame| frame.batch.checksum)
        .collect();
    assert_eq!(
        checksums.len(),
        theirs.frames.len(),
        "a report is stored twice"
    );
    Ok(())
}

fn marks(audit: &Value) -> usize {
    let known = ["host.identity_conflict", "host.rolled_back_or_cloned"];
    let items = audit["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    items
        .iter()
        .filter(|item| known.iter().any(|action| item["action"] == **action))
        .count()
}

/// Waits until the controller took `number` more reports.
async fn further_reports(api: &Api, number: u32) -> Result<()> {
    let mut last = Value::Null;
    for _ in 0..=number {
        last = eventually("a further report comes", async || {
            let host = api
                .only_host()
                .await?
                .context("the host is gone from the list")?;
            Ok(Some(host["last_report_ms"].clone()).filter(|now| *now != last))
        })
        .await?;
    }
    Ok(())
}
