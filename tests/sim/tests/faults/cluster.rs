//! Samples are sent on to a real cluster while it is killed, while the line to it is cut or silent,
//! and while the controller is killed: afterwards the cluster holds what the embedded engine holds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use xiezhi_metrics::remote_write::encode::BodyWriter;
use xiezhi_test_support::{Api, Random, TestAgent, TestController, eventually, eventually_within};

use crate::backend::{Backend, Held, Kind, embedded};
use crate::proof;
use crate::relay::{Line, Relay};
use crate::settings::from_environment;

/// Agents, each with a report a second: a machine is one host only.
const AGENTS: usize = 1;

struct Setting {
    backend: Backend,
    relay: Relay,
    controller: TestController,
    agents: Vec<TestAgent>,
    random: Random,
}

impl Setting {
    async fn start(kind: Kind) -> Result<Option<Self>> {
        let Some(backend) = Backend::start(kind).await? else {
            return Ok(None);
        };
        let relay = Relay::start(&backend.address()).await?;
        let configuration = format!(
            "cluster:\n  write: http://{0}/api/v1/write\n  query: http://{0}\n",
            relay.address()
        );
        let controller = TestController::start_with(&configuration).await?;
        let mut agents = Vec::new();
        for _ in 0..AGENTS {
            let configuration = "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\n";
            let mut agent = TestAgent::enrol(&controller, configuration)?;
            agent.run()?;
            agents.push(agent);
        }
        Ok(Some(Self {
            backend,
            relay,
            controller,
            agents,
            random: Random::new(from_environment("XIEZHI_SEED", 1)),
        }))
    }

    /// The schedule of faults, not a wait for anything.
    async fn live_on(&mut self) {
        tokio::time::sleep(self.random.moment(Duration::from_secs(6))).await;
    }

    /// Waits until the cluster takes samples again.
    async fn wait_for_sending(&self) -> Result<()> {
        let api = self.controller.api().await?;
        let before = api.metric("xiezhi_cluster_sent_samples_total").await?;
        eventually_within(Duration::from_secs(180), "samples go on", async || {
            let now = api.metric("xiezhi_cluster_sent_samples_total").await?;
            Ok((now > before).then_some(()))
        })
        .await
    }

    /// Stops the agents in order and compares both sides until they agree.
    async fn prove(&mut self) -> Result<()> {
        let api = self.controller.api().await?;
        for agent in &mut self.agents {
            proof::stop_with_empty_spool(agent, &api).await?;
        }
        let series = self.controller.folder().join("data/series");
        let limit = Duration::from_secs(180);
        let (samples, hosts) = eventually_within(limit, "the cluster has it all", async || {
            compare(&embedded(&series)?, &self.backend.held().await?).map(Some)
        })
        .await?;
        for name in [
            "returns",
            "retries",
            "dropped_samples",
            "refused_repetitions",
        ] {
            let value = api.metric(&format!("xiezhi_cluster_{name}_total")).await?;
            eprintln!("{name}: {value}");
        }
        eprintln!("{samples} samples of {hosts} hosts are the same on both sides");
        assert_eq!(hosts, AGENTS);
        Ok(())
    }
}

/// Every point of the agents here is there, and there is no series that is not here.
fn compare(here: &Held, there: &Held) -> Result<(usize, usize)> {
    let of_agents = |held: &Held| -> Held {
        let agents = held.iter().filter(|((host, _), _)| *host > 0);
        agents
            .map(|(key, points)| (key.clone(), points.clone()))
            .collect()
    };
    let (here, there) = (of_agents(here), of_agents(there));
    let mut samples = 0;
    for (key, points) in &here {
        let found = there
            .get(key)
            .with_context(|| format!("{key:?} is missing"))?;
        for (time_ms, value) in points {
            let other = found
                .get(time_ms)
                .with_context(|| format!("{key:?} at {time_ms} is missing"))?;
            // VictoriaMetrics keeps decimals of 15 digits or so.
            if (other - value).abs() > value.abs() * 1e-12 {
                bail!("{key:?} at {time_ms}: {value} became {other}");
            }
        }
        samples += points.len();
    }
    let strange = there.keys().find(|key| !here.contains_key(*key));
    if let Some(strange) = strange {
        bail!("{strange:?} came from nowhere");
    }
    let hosts: std::collections::BTreeSet<i64> = here.keys().map(|key| key.0).collect();
    Ok((samples, hosts.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victoriametrics_killed_and_cut_off_has_every_sample_in_the_end() -> Result<()> {
    let Some(mut setting) = Setting::start(Kind::VictoriaMetrics).await? else {
        return Ok(());
    };
    setting.wait_for_sending().await?;
    for round in 0..from_environment("XIEZHI_ROUNDS", 4) {
        setting.live_on().await;
        match round % 4 {
            0 => {
                setting.backend.kill();
                setting.live_on().await;
                setting.backend.run().await?;
            }
            1 => {
                setting.relay.set(Line::Cut);
                setting.live_on().await;
                setting.relay.set(Line::Open);
            }
            2 => {
                setting.controller.kill();
                setting.controller.run().await?;
            }
            _ => {
                // Both at once: what was acknowledged in the last seconds is in nobody's memory.
                setting.backend.kill();
                setting.controller.kill();
                setting.backend.run().await?;
                setting.controller.run().await?;
            }
        }
        setting.wait_for_sending().await?;
    }
    setting.prove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_line_to_prometheus_delays_and_loses_nothing() -> Result<()> {
    let Some(mut setting) = Setting::start(Kind::Prometheus).await? else {
        return Ok(());
    };
    setting.wait_for_sending().await?;
    setting.relay.set(Line::Silent);
    let api = setting.controller.api().await?;
    let limit = Duration::from_secs(120);
    let health = eventually_within(limit, "health names the cluster", async || {
        let health = api.get("/api/v1/health").await?;
        let ailments = health["ailments"].as_array().context("no list")?;
        let is_cluster = |ailment: &&Value| ailment["part"] == "cluster";
        Ok(ailments
            .iter()
            .find(is_cluster)
            .is_some()
            .then_some(health.clone()))
    })
    .await?;
    assert_eq!(health["accepting"], true, "{health}");
    assert!(health["cluster"]["lag_s"].as_i64() > Some(0), "{health}");
    setting.relay.set(Line::Cut);
    let refused = api.get("/api/v1/query?query=up").await;
    let refused = format!("{:#}", refused.err().context("the cluster is away")?);
    for expected in [
        "503",
        "\"unavailable\"",
        "the cluster at 127.0.0.1",
        "does not answer",
    ] {
        assert!(refused.contains(expected), "{refused}");
    }
    setting.controller.kill();
    setting.controller.run().await?;
    setting.relay.set(Line::Open);
    setting.wait_for_sending().await?;
    setting.prove().await
}

/// Without a window for late samples Prometheus refuses whatever comes in another order than its
/// own. So nothing that is refused for the first time means that no order was ever changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_a_host_survives_crashes_and_cuts() -> Result<()> {
    let Some(mut setting) = Setting::start(Kind::StrictPrometheus).await? else {
        return Ok(());
    };
    setting.wait_for_sending().await?;
    for round in 0..from_environment("XIEZHI_ROUNDS", 2) {
        setting.live_on().await;
        if round % 2 == 0 {
            setting.backend.kill();
            setting.backend.run().await?;
        } else {
            setting.relay.set(Line::Cut);
            setting.live_on().await;
            setting.relay.set(Line::Open);
        }
        setting.wait_for_sending().await?;
    }
    // Before the agent is restarted, which may report twice within a second.
    let api = setting.controller.api().await?;
    let dropped = api.metric("xiezhi_cluster_dropped_samples_total").await?;
    assert_eq!(dropped, 0.0);
    setting.prove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_are_answered_by_the_cluster_within_the_callers_scope() -> Result<()> {
    for kind in [Kind::VictoriaMetrics, Kind::Prometheus] {
        let Some(setting) = Setting::start(kind).await? else {
            return Ok(());
        };
        let api = setting.controller.api().await?;
        let ask = async |path: &str| api.get(&format!("/api/v1/{path}")).await;
        let count = "query?query=count(node_memory_MemTotal_bytes)";
        eventually("the cluster answers for all agents", async || {
            let answer = ask(count).await?;
            let value = answer["data"]["result"][0]["value"][1].as_str();
            Ok((value == Some("1")).then_some(()))
        })
        .await?;
        let names = ask("label/__name__/values").await?;
        let has = |name: &str| {
            names["data"]
                .as_array()
                .is_some_and(|all| all.contains(&name.into()))
        };
        assert!(has("node_memory_MemTotal_bytes"), "{names}");
        write_dotted(&setting).await?;
        for (name, value) in [("U__a_2e_b", "x"), ("U__c_2f_d", "y")] {
            let path = format!("label/{name}/values");
            // Prometheus 2 has no such names: to ask for one is no mistake, and there are no values.
            let expected = match kind {
                Kind::VictoriaMetrics => serde_json::json!([value]),
                _ => serde_json::json!([]),
            };
            let what = format!("{kind:?} has {expected} for {name}");
            eventually_within(Duration::from_secs(60), &what, async || {
                Ok((ask(&path).await?["data"] == expected).then_some(()))
            })
            .await?;
        }
        let labels = ask("labels").await?;
        assert!(labels.to_string().contains("\"host_id\""), "{labels}");
        let series = ask("series?match[]=node_memory_MemTotal_bytes").await?;
        assert_eq!(series["data"].as_array().map(Vec::len), Some(AGENTS));
        let metadata = ask("metadata?metric=node_memory_MemTotal_bytes").await?;
        assert!(metadata.to_string().contains("gauge"), "{metadata}");
        let wrong = ask("query?query=sum(").await.err().context("no query")?;
        assert!(wrong.to_string().contains("400"), "{wrong}");
        scoped(&setting, &api).await?;
    }
    Ok(())
}

/// Another program's sample, with labels that only names in UTF-8 can have.
async fn write_dotted(setting: &Setting) -> Result<()> {
    let create = ["api-token", "create", "--name", "program"];
    let right = ["--right", "write-metrics", "--site", "gs"];
    let token = setting.controller.command(&[create, right].concat())?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now_ms = i64::try_from(since.as_millis())?;
    let mut body = BodyWriter::default();
    let labels = [("__name__", "of_a_program"), ("a.b", "x"), ("c/d", "y")];
    body.add_unsorted(&labels, &[(now_ms, 1.0)]);
    let url = format!("http://{}/api/v1/write", setting.controller.web());
    let request = reqwest::Client::new().post(url).bearer_auth(token.trim());
    let request = request.header("content-type", "application/x-protobuf");
    let request = request.header("content-encoding", "snappy");
    let answer = request.body(body.take()).send().await?;
    let status = answer.status();
    anyhow::ensure!(status.as_u16() == 204, "{status}: {}", answer.text().await?);
    Ok(())
}

/// Tokens of two sites: the agents' own and another.
async fn scoped(setting: &Setting, _administrator: &Api) -> Result<()> {
    for (site, expected) in [("gs", Some("1")), ("gs-02", None)] {
        let token = setting.controller.command(&[
            "api-token",
            "create",
            "--name",
            site,
            "--right",
            "read-metrics",
            "--site",
            site,
        ])?;
        let client = reqwest::Client::new();
        let get = async |path: &str| -> Result<Value> {
            let url = format!("http://{}/api/v1/{path}", setting.controller.web());
            let request = client.get(url).bearer_auth(token.trim());
            Ok(serde_json::from_str(&request.send().await?.text().await?)?)
        };
        let count = get("query?query=count(node_memory_MemTotal_bytes)").await?;
        let value = count["data"]["result"][0]["value"][1].as_str();
        assert_eq!(
            (count["status"].as_str(), value),
            (Some("success"), expected),
            "{count}"
        );
        let own = get("query?query=xiezhi_fleet_hosts").await?;
        assert_eq!(own["data"]["result"], Value::Array(Vec::new()), "{own}");
        let values = get("label/host_id/values").await?;
        let length = values["data"].as_array().map(Vec::len);
        assert_eq!(
            length,
            Some(if expected.is_some() { AGENTS } else { 0 }),
            "{values}"
        );
    }
    Ok(())
}
