//! The line between a court and the centre is cut for a while.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xiezhi_test_support::{Api, TestAgent, TestController, eventually};

use crate::gauge::{free_port, pending};
use crate::proof;
use crate::relay::{Line, Relay};

/// Reports that gather while the line is cut.
const BACKLOG: f64 = 6.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_the_present_comes_first_and_then_all_of_the_past() -> Result<()> {
    let mut controller = TestController::start().await?;
    let relay = Relay::start(controller.agents()).await?;
    let metrics = free_port()?;
    let configuration = format!(
        "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\nmetrics: 127.0.0.1:{metrics}\n"
    );
    let mut agent = TestAgent::enrol_at(&controller, &relay.address(), &configuration)?;
    agent.run()?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    // Backlog waits until it is let go, so that its order can be seen however fast the line is.
    let forbidden = json!({ "from_minute": 0, "to_minute": 1440, "bytes_per_second": 0 });
    set_bandwidth(&api, id, &json!([forbidden])).await?;

    let mut seen = Vec::new();
    for line in [Line::Cut, Line::Silent] {
        relay.set(line);
        let before = pending(metrics)?.unwrap_or_default();
        eventually("reports gather in the spool", async || {
            seen.push(presence(&api).await?);
            Ok(pending(metrics)?.filter(|&pending| pending >= before + BACKLOG))
        })
        .await?;
        relay.set(Line::Open);
        api.only_host_when("up").await?;
    }
    seen.sort();
    seen.dedup();
    eprintln!("presence while the line was cut: {seen:?}");
    assert!(
        seen.contains(&"stale".to_owned()),
        "the silence was never noticed: {seen:?}"
    );
    assert!(
        !seen.contains(&"down".to_owned()),
        "a cut line is no dead host"
    );

    // It is up again, by reports that are younger than the ones that still wait.
    let waiting = eventually("what is live is acknowledged", async || {
        Ok(pending(metrics)?.filter(|&pending| pending > 0.0))
    })
    .await?;
    assert!(
        waiting >= BACKLOG,
        "backlog went before it was allowed to: {waiting} left"
    );
    set_bandwidth(&api, id, &json!([])).await?;
    eventually("the backlog is acknowledged", async || {
        // A handful of live reports always waits: they are acknowledged four at a time.
        Ok(pending(metrics)?.filter(|&pending| pending < BACKLOG))
    })
    .await?;

    let ours = proof::stop_with_empty_spool(&mut agent, &api).await?;
    assert_eq!(proof::shown_events(&api, id).await?, ours.last_event);
    controller.stop()?;
    let theirs = proof::of_controller(&controller, id)?;
    proof::check_nothing_lost(&ours, &theirs);
    let mut arrived = theirs.frames.clone();
    arrived.sort_by_key(|frame| frame.received_ms);
    let order: Vec<u64> = arrived.iter().map(|frame| frame.batch.seq).collect();
    assert!(
        !order.is_sorted(),
        "nothing live overtook the backlog: {order:?}"
    );
    Ok(())
}

async fn presence(api: &Api) -> Result<String> {
    let host = api
        .only_host()
        .await?
        .context("the host is gone from the list")?;
    Ok(host["presence"].as_str().unwrap_or_default().to_owned())
}

async fn set_bandwidth(api: &Api, host: i64, windows: &Value) -> Result<()> {
    let body = json!({ "kind": "set_bandwidth", "bytes_per_second": 0, "windows": windows });
    let outcome = api
        .post(&format!("/api/v1/hosts/{host}/directives"), &body)
        .await?;
    assert_eq!(outcome["outcome"], "done", "{outcome}");
    Ok(())
}
