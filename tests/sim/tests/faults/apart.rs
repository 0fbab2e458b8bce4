//! An agent and a controller that share no network but one line.
//!
//! The test's own thread lives in the controller's namespace, so that it can ask the controller; the
//! agent lives in the other one.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use xiezhi_test_support::{
    Api, Inside, NEAR, Namespace, TestAgent, TestController, eventually, eventually_within,
    program, skip,
};

use crate::gauge::{free_port, pending};
use crate::proof;

/// Reports that gather before a line is mended.
const BACKLOG: f64 = 6.0;
/// After a silent cut the kernel tries again after up to twice the time that the cut took, and no
/// sooner.
const RECOVERY: std::time::Duration = std::time::Duration::from_secs(150);

/// Two networks: the controller's and the agent's. `None`, and the reason printed, where this user
/// or machine cannot have them.
pub(crate) fn networks() -> Option<(Namespace, Namespace)> {
    match Namespace::new().and_then(|near| Ok((near, Namespace::new()?))) {
        Ok(networks) => Some(networks),
        Err(error) => {
            skip(format!("{error:#}"));
            None
        }
    }
}

/// Both sides, and a session over the line between them.
pub(crate) struct Apart {
    pub(crate) controller: TestController,
    pub(crate) agent: TestAgent,
    pub(crate) api: Api,
    /// Number of the host.
    pub(crate) host: i64,
    far: Namespace,
    metrics: u16,
    /// Presences that were shown since the line was last whole.
    pub(crate) seen: BTreeSet<String>,
    inside: Inside,
}

impl Apart {
    /// Starts both and waits until the host is up. The line must have been laid.
    pub(crate) async fn start(near: &Namespace, far: Namespace) -> Result<Self> {
        let inside = near.enter()?;
        let mut controller = TestController::prepare_as(&program("xiezhi-controller")?, NEAR, "")?;
        controller.run().await?;
        let metrics = far.inside(free_port)??;
        let mut agent = TestAgent::prepare(&format!(
            "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\nmetrics: 127.0.0.1:{metrics}\n"
        ))?;
        agent.set_namespace(&far)?;
        agent.enrol_with(controller.agents(), &controller.token(1)?, &[])?;
        agent.run()?;
        let api = controller.api().await?;
        let host = api.only_host_when("up").await?;
        Ok(Self {
            host: host["id"].as_i64().context("the row has no id")?,
            controller,
            agent,
            api,
            far,
            metrics,
            seen: BTreeSet::new(),
            inside,
        })
    }

    /// Batches that wait at the agent for their acknowledgement.
    pub(crate) fn pending(&self) -> Result<Option<f64>> {
        let port = self.metrics;
        self.far.inside(|| pending(port))?
    }

    /// Presence of the host now; remembered in `seen`.
    pub(crate) async fn look(&mut self) -> Result<String> {
        let host = self.api.only_host().await?;
        let host = host.context("the host is gone from the list")?;
        let presence = host["presence"].as_str().unwrap_or_default().to_owned();
        self.seen.insert(presence.clone());
        Ok(presence)
    }

    /// Waits until reports gathered that cannot get through.
    pub(crate) async fn wait_for_backlog(&mut self) -> Result<()> {
        let before = self.pending()?.unwrap_or_default();
        eventually("reports gather in the spool", async || {
            self.look().await?;
            let pending = self.pending()?;
            Ok(pending
                .filter(|&pending| pending >= before + BACKLOG)
                .map(|_| ()))
        })
        .await
    }

    /// Waits until the host is up again and what gathered was acknowledged.
    pub(crate) async fn wait_for_recovery(&mut self) -> Result<()> {
        eventually_within(RECOVERY, "the backlog is acknowledged", async || {
            let is_up = self.look().await? == "up";
            // A handful of live reports always waits: they are acknowledged four at a time.
            let pending = self.pending()?;
            Ok(pending
                .filter(|&pending| is_up && pending < BACKLOG)
                .map(|_| ()))
        })
        .await
    }

    /// Stops both and checks that every report and event is stored exactly once.
    pub(crate) async fn prove(mut self) -> Result<()> {
        let host = self.api.only_host().await?.context("no host")?;
        assert!(host["identity_conflict_ms"].is_null(), "{host}");
        let ours = proof::stop_with_empty_spool(&mut self.agent, &self.api).await?;
        let shown = proof::shown_events(&self.api, self.host).await?;
        assert_eq!(shown, ours.last_event, "each event must be stored once");
        self.controller.stop()?;
        let theirs = proof::of_controller(&self.controller, self.host)?;
        proof::check_nothing_lost(&ours, &theirs);
        eprintln!("{} reports and {shown} events, each stored once", ours.last);
        drop(self.inside);
        Ok(())
    }
}
