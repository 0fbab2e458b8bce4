//! The version before and this one work together, both ways round, and one becomes the other.
//!
//! `cargo xtask test` builds the old programs from their commit (`tests/sim/releases`) before the
//! tests run. Where it could not, the kept samples in `agent/protocol/tests` are all there is, and
//! these tests say so.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;
use xiezhi_test_support::{Api, TestAgent, TestController, eventually, program};

use crate::proof;

const CONFIGURATION: &str = "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\n";

/// The programs of one version.
struct Version {
    agent: PathBuf,
    controller: PathBuf,
}

/// This version.
fn present() -> Result<Version> {
    Ok(Version {
        agent: program("xiezhi-agent")?,
        controller: program("xiezhi-controller")?,
    })
}

/// The version before; `None`, and the reason printed, if its programs are not there.
fn before() -> Result<Option<Version>> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("releases");
    let text = std::fs::read_to_string(list)?;
    let last = text.lines().rfind(|line| !line.starts_with('#'));
    let commit = last
        .and_then(|line| line.split_whitespace().next())
        .context("no version was released")?;
    let present = present()?;
    let target = present
        .agent
        .ancestors()
        .nth(2)
        .context("no target folder")?;
    let folder = target.join("releases").join(commit);
    let version = Version {
        agent: folder.join("xiezhi-agent"),
        controller: folder.join("xiezhi-controller"),
    };
    if version.agent.is_file() && version.controller.is_file() {
        return Ok(Some(version));
    }
    eprintln!(
        "skipped: the programs of {commit} are not in {} (`cargo xtask test` builds them where it \
         has the history)",
        folder.display()
    );
    Ok(None)
}

/// A host and its controller, each of some version.
struct Pair {
    controller: TestController,
    agent: TestAgent,
    api: Api,
    host: i64,
}

impl Pair {
    /// Enrols a host.
    async fn start(agent: &Path, controller: &Path) -> Result<Self> {
        let mut centre = TestController::prepare_as(controller, "127.0.0.1", "")?;
        centre.run().await?;
        let mut court = TestAgent::prepare(CONFIGURATION)?;
        court.set_program(agent);
        court.enrol_with(centre.agents(), &centre.token(1)?, &[])?;
        court.run()?;
        let api = centre.api().await?;
        let host = api.only_host_when("up").await?;
        Ok(Self {
            controller: centre,
            agent: court,
            host: host["id"].as_i64().context("the row has no id")?,
            api,
        })
    }

    /// Reports come, an order is obeyed, and crashes of both lose nothing.
    async fn work(&mut self) -> Result<()> {
        self.reports_come(3).await?;
        self.obeys().await?;
        self.agent.kill();
        self.agent.run()?;
        self.reports_come(2).await?;
        self.restart_controller().await?;
        self.reports_come(2).await
    }

    async fn reports_come(&self, number: u32) -> Result<()> {
        let mut last = self.last_report().await?;
        for _ in 0..number {
            last = eventually("a further report comes", async || {
                let now = self.last_report().await?;
                Ok((now > last).then_some(now))
            })
            .await?;
        }
        Ok(())
    }

    async fn last_report(&self) -> Result<i64> {
        let host = self.api.only_host().await?.context("the host is gone")?;
        Ok(host["last_report_ms"].as_i64().unwrap_or_default())
    }

    async fn obeys(&self) -> Result<()> {
        let path = format!("/api/v1/hosts/{}/directives", self.host);
        let outcome = self
            .api
            .post(&path, &json!({ "kind": "collect_now" }))
            .await?;
        assert_eq!(outcome["outcome"], "done", "{outcome}");
        Ok(())
    }

    /// A crash of the controller, and a new start of whatever program it has by now.
    async fn restart_controller(&mut self) -> Result<()> {
        self.controller.kill();
        self.controller.run().await?;
        self.api = self.controller.api().await?;
        self.api.only_host_when("up").await?;
        Ok(())
    }

    /// Stops both and checks that every report and event is stored exactly once.
    async fn prove(mut self) -> Result<()> {
        let host = self.api.only_host().await?.context("no host")?;
        assert!(host["identity_conflict_ms"].is_null(), "{host}");
        let ours = proof::stop_with_empty_spool(&mut self.agent, &self.api).await?;
        let shown = proof::shown_events(&self.api, self.host).await?;
        assert_eq!(shown, ours.last_event, "each event must be stored once");
        let chain = self.api.get("/api/v1/audit/chain").await?;
        assert_eq!(chain["state"], "intact", "{chain}");
        self.controller.stop()?;
        let theirs = proof::of_controller(&self.controller, self.host)?;
        proof::check_nothing_lost(&ours, &theirs);
        eprintln!("{} reports and {shown} events, each stored once", ours.last);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_agent_reports_to_a_new_controller_and_is_then_replaced() -> Result<()> {
    let (Some(old), new) = (before()?, present()?) else {
        return Ok(());
    };
    let mut pair = Pair::start(&old.agent, &new.controller).await?;
    pair.work().await?;
    // The new agent takes over its identity, spool and positions.
    pair.agent.kill();
    pair.agent.set_program(&new.agent);
    pair.agent.run()?;
    pair.work().await?;
    pair.prove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_agent_reports_to_an_old_controller_which_is_then_replaced() -> Result<()> {
    let (Some(old), new) = (before()?, present()?) else {
        return Ok(());
    };
    let mut pair = Pair::start(&new.agent, &old.controller).await?;
    pair.work().await?;
    // The new controller takes over database, samples and authority, and migrates what it must.
    pair.controller.set_program(&new.controller);
    pair.restart_controller().await?;
    pair.work().await?;
    pair.prove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_pair_is_replaced_controller_first() -> Result<()> {
    let (Some(old), new) = (before()?, present()?) else {
        return Ok(());
    };
    let mut pair = Pair::start(&old.agent, &old.controller).await?;
    pair.reports_come(2).await?;
    pair.controller.set_program(&new.controller);
    pair.restart_controller().await?;
    pair.work().await?;
    pair.agent.kill();
    pair.agent.set_program(&new.agent);
    pair.agent.run()?;
    pair.reports_come(3).await?;
    pair.prove().await
}
