//! A new host enrols, reports, and what it reported can be read.

use anyhow::{Context as _, Result};
use serde_json::Value;
use xiezhi_test_support::{Api, TestAgent, TestController, eventually};

#[tokio::test]
async fn an_enrolled_host_is_up_and_its_samples_and_facts_can_be_read() -> Result<()> {
    let controller = TestController::start().await?;
    let _agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    assert_eq!(host["reason"], "reporting");
    assert_eq!(host["hostname"], hostname());
    assert_eq!(host["simulated"], false);
    assert!(host["identity_conflict_ms"].is_null(), "{host}");

    let memory = eventually("the memory's size can be read", async || {
        last_value(&api, id, "node_memory_MemTotal_bytes").await
    })
    .await?;
    let expected = memory_bytes()?;
    // Charts have six digits.
    assert!(
        (memory - expected).abs() <= expected * 1e-5,
        "{memory} is not {expected}"
    );
    let available = last_value(&api, id, "node_memory_MemAvailable_bytes").await?;
    assert!(
        available.is_some_and(|value| value > 0.0 && value < expected),
        "{available:?}"
    );
    let load = last_value(&api, id, "node_load1").await?;
    assert!(
        load.is_some_and(|value| (0.0..10_000.0).contains(&value)),
        "{load:?}"
    );

    let facts = eventually("facts appear", async || {
        let page = api.get(&format!("/api/v1/hosts/{id}/facts")).await?;
        Ok(Some(page["facts"].clone()).filter(|facts| !facts.is_null()))
    })
    .await?;
    assert_eq!(facts["hostname"], hostname());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    assert_eq!(facts["kernel"], kernel.trim());
    assert_eq!(facts["cpu_count"].as_u64(), Some(cpus()));

    let audit = api.get("/api/v1/audit?action=host.enrolled").await?;
    assert_eq!(audit["items"].as_array().map(Vec::len), Some(1), "{audit}");
    assert_eq!(api.get("/api/v1/audit/chain").await?["state"], "intact");
    Ok(())
}

/// The newest value of the only series of this name.
async fn last_value(api: &Api, host: i64, name: &str) -> Result<Option<f64>> {
    let now_ms = std::time::UNIX_EPOCH.elapsed()?.as_millis();
    // A chart ends with the last whole step: ask for one that is still to come.
    let (from, to) = (now_ms - 600_000, now_ms + 60_000);
    let path = format!("/api/v1/hosts/{host}/series?match={name}&from={from}&to={to}");
    let answer = api.get(&path).await?;
    assert_eq!(answer["damaged"], 0, "{answer}");
    let values = answer["series"][0]["values"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(values.iter().filter_map(Value::as_f64).next_back())
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn memory_bytes() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("no MemTotal")?;
    Ok(kib.parse::<f64>()? * 1024.0)
}

fn cpus() -> u64 {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with("processor"))
        .count() as u64
}
