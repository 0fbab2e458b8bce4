//! A switch and a power supply, asked by an agent: their samples and their state at the controller, and
//! what stays of both when one falls silent and the agent is killed.

use anyhow::{Context as _, Result};
use serde_json::Value;
use xiezhi_test_device::Behaviour;
use xiezhi_test_support::{Api, TestController, eventually};

use crate::asked::{agent, agent_with, device};

async fn query(api: &Api, promql: &str) -> Result<Vec<Value>> {
    let query: String = form_urlencoded::byte_serialize(promql.as_bytes()).collect();
    let answer = api.get(&format!("/api/v1/query?query={query}")).await?;
    let result = answer["data"]["result"].as_array();
    Ok(result.context("no result")?.clone())
}

/// The value of the only series of `promql`, if there is one.
async fn only(api: &Api, promql: &str) -> Result<Option<(Value, f64)>> {
    match query(api, promql).await?.as_slice() {
        [] => Ok(None),
        [one] => {
            let value = one["value"][1].as_str().context("no value")?.parse()?;
            Ok(Some((one["metric"].clone(), value)))
        }
        many => anyhow::bail!("{promql}: {} series", many.len()),
    }
}

async fn state_of(api: &Api, name: &str) -> Result<Option<String>> {
    let list = api.get(&format!("/api/v1/devices?q={name}")).await?;
    Ok(list["items"][0]["state"].as_str().map(str::to_owned))
}

async fn until_state(api: &Api, name: &str, wanted: &str) -> Result<()> {
    eventually(&format!("{name} is {wanted}"), async || {
        let state = state_of(api, name).await?;
        Ok((state.as_deref() == Some(wanted)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_asked_and_silence_is_neither_down_nor_the_hosts() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let switch = device("huawei-vrp-switch.snmprec").await?;
    let supply = device("apc-smart-ups.snmprec").await?;
    let mut agent = agent(&controller, &[("sw-1", &switch), ("ups-1", &supply)])?;
    agent.run()?;

    let (labels, up) = eventually("the power supply answers", async || {
        agent.process()?.check()?;
        only(&api, "up{job=\"snmp\",instance=\"ups-1\"}").await
    })
    .await?;
    assert_eq!(up, 1.0);
    let host = api.only_host().await?.context("no host")?;
    assert!(labels["device_id"].is_string(), "{labels}");
    assert_eq!(labels["site_id"], host["site"]["id"].to_string());
    let charge = "upsHighPrecBatteryCapacity{instance=\"ups-1\"}";
    assert!(only(&api, charge).await?.is_some(), "no battery");
    until_state(&api, "sw-1", "answered").await?;

    // One that falls silent is told as such; who asked it is well, and so is the other.
    supply.behave(Behaviour {
        answers: false,
        ..Behaviour::default()
    });
    until_state(&api, "ups-1", "silent").await?;
    let told = only(&api, "up{job=\"snmp\",instance=\"ups-1\"}").await?;
    assert_eq!(told.map(|(_, up)| up), Some(0.0));
    assert_eq!(state_of(&api, "sw-1").await?.as_deref(), Some("answered"));
    api.only_host_when("up").await?;

    // It comes back, across an agent that was killed.
    agent.kill();
    supply.behave(Behaviour::default());
    agent.run()?;
    until_state(&api, "ups-1", "answered").await?;
    let list = api.get("/api/v1/devices").await?;
    assert_eq!(list["total"], 2, "each is known once: {list}");

    // Where nobody asks, nothing is known, whatever was answered last.
    agent.stop()?;
    until_state(&api, "sw-1", "unknown").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_becomes_an_event_and_its_device_is_asked_before_its_turn() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let supply = device("apc-smart-ups.snmprec").await?;
    let free = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let receiver = free.local_addr()?;
    drop(free);
    // Asked once an hour: whatever comes within minutes was not its turn.
    let devices = [("ups-1", &supply)];
    let mut agent = agent_with(&controller, &devices, "1h", &receiver.to_string())?;
    agent.run()?;

    let mains_lost = "1.3.6.1.4.1.318.0.5".parse()?;
    let event = eventually("the trap is an event", async || {
        agent.process()?.check()?;
        // Again until somebody listens; the same again makes no second event.
        supply.trap(receiver, &mains_lost, &[]).await?;
        let events = api
            .get("/api/v1/events?stream=events&kind=device_trap")
            .await?;
        Ok(events["items"].get(0).cloned())
    })
    .await?;
    assert_eq!(event["fields"]["device"], "ups-1");
    assert_eq!(event["fields"]["trap"], "1.3.6.1.4.1.318.0.5");
    until_state(&api, "ups-1", "answered").await?;
    let up = only(&api, "up{job=\"snmp\",instance=\"ups-1\"}").await?;
    assert_eq!(up.map(|(_, up)| up), Some(1.0));

    // Now that it was recognised, its profile says what a trap means and what it ends.
    let mains_back = "1.3.6.1.4.1.318.0.9".parse()?;
    supply.trap(receiver, &mains_back, &[]).await?;
    let event = eventually("the second trap is an event", async || {
        let events = api
            .get("/api/v1/events?stream=events&kind=device_trap")
            .await?;
        let items = events["items"].as_array().context("no events")?;
        let back = |event: &&Value| event["fields"]["trap"] == "1.3.6.1.4.1.318.0.9";
        Ok(items.iter().find(back).cloned())
    })
    .await?;
    assert_eq!(event["fields"]["text_zh"], "市电恢复");
    assert_eq!(event["fields"]["clears"], "1.3.6.1.4.1.318.0.5");
    agent.stop()
}
