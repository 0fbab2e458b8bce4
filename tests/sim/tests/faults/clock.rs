//! Hosts whose clock is wrong, or is set while they report.

use anyhow::{Context as _, Result};
use xiezhi_test_support::{Api, TestAgent, TestController, WrongClock, eventually};

use crate::proof;

const HOUR_S: i64 = 3600;
const DAY_MS: i64 = 86_400_000;
const YEAR_S: i64 = 365 * 86_400;

/// A host with a clock of its own, enrolled and running.
struct Host {
    controller: TestController,
    agent: TestAgent,
    clock: WrongClock,
    api: Api,
    id: i64,
}

impl Host {
    /// `None`, and the reason printed, where clocks cannot be wrong.
    async fn start(ahead_s: i64, security: bool) -> Result<Option<Self>> {
        let configuration =
            format!("interval: 1s\nreconnect_within: 200ms\nsecurity_events: {security}\n");
        let mut agent = TestAgent::prepare(&configuration)?;
        let clock = match WrongClock::new(agent.folder()) {
            Ok(clock) => clock,
            Err(error) => {
                xiezhi_test_support::skip(format!("{error:#}"));
                return Ok(None);
            }
        };
        clock.set(ahead_s)?;
        agent.set_environment(clock.environment());
        let controller = TestController::start().await?;
        agent.enrol_with(controller.agents(), &controller.token(1)?, &[])?;
        agent.run()?;
        let api = controller.api().await?;
        let row = eventually("the host has a session", async || {
            let row = api.only_host().await?;
            Ok(row.filter(|row| !row["connected_since_ms"].is_null()))
        })
        .await?;
        Ok(Some(Self {
            id: row["id"].as_i64().context("the row has no id")?,
            controller,
            agent,
            clock,
            api,
        }))
    }

    /// Waits until its shown skew is `ahead_s`, give or take a minute.
    async fn is_shown_ahead_by(&self, ahead_s: i64) -> Result<()> {
        eventually("the skew is shown", async || {
            let row = self.api.only_host().await?.context("the host is gone")?;
            let skew_ms = row["skew_ms"].as_i64().context("no skew is shown")?;
            let off_ms = (skew_ms - ahead_s * 1000).abs();
            anyhow::ensure!(off_ms < 60_000, "the skew is {skew_ms} ms");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the controller took `number` more reports.
    async fn reports_come(&self, number: u32) -> Result<()> {
        let mut last = None;
        for _ in 0..=number {
            last = eventually("a further report comes", async || {
                let row = self.api.only_host().await?.context("the host is gone")?;
                let now = row["last_report_ms"].as_i64();
                Ok((now > last).then_some(now))
            })
            .await?;
        }
        Ok(())
    }

    /// How often the clock was seen to be set.
    async fn steps(&self) -> Result<usize> {
        let (host, kind) = (self.id, "time_stepped");
        let path = format!("/api/v1/events?host={host}&stream=security&kind={kind}");
        let page = self.api.get(&path).await?;
        let steps = page["items"].as_array().context("a page without events")?;
        Ok(steps.len())
    }

    async fn waits_for_steps(&self, number: usize) -> Result<()> {
        eventually("the step is an event", async || {
            Ok((self.steps().await? == number).then_some(()))
        })
        .await
    }

    /// Stops both; yields what is stored on both sides.
    async fn stop(&mut self) -> Result<(proof::AgentSide, proof::ControllerSide)> {
        let ours = proof::stop_with_empty_spool(&mut self.agent, &self.api).await?;
        let shown = proof::shown_events(&self.api, self.id).await?;
        assert_eq!(shown, ours.last_event, "each event must be stored once");
        self.controller.stop()?;
        Ok((ours, proof::of_controller(&self.controller, self.id)?))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_in_1970_enrols_reports_and_is_shown() -> Result<()> {
    let now_s = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let ahead_s = 60 - now_s;
    let Some(mut host) = Host::start(ahead_s, false).await? else {
        return Ok(());
    };
    host.api.only_host_when("up").await?;
    host.is_shown_ahead_by(ahead_s).await?;
    host.reports_come(3).await?;
    host.agent.kill();
    host.agent.run()?;
    host.reports_come(3).await?;
    let (ours, theirs) = host.stop().await?;
    proof::check_nothing_lost(&ours, &theirs);
    let is_1970 = |time_ms: &i64| (0..DAY_MS).contains(time_ms);
    assert!(theirs.times_ms.iter().all(is_1970), "{:?}", theirs.times_ms);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_two_years_ahead_is_shown_and_only_its_dated_samples_are_refused() -> Result<()> {
    let Some(mut host) = Host::start(2 * YEAR_S, false).await? else {
        return Ok(());
    };
    host.is_shown_ahead_by(2 * YEAR_S).await?;
    eventually("its reports are refused", async || {
        let refused = host.api.metric("xiezhi_ingest_refused_total").await?;
        Ok((refused >= 3.0).then_some(()))
    })
    .await?;
    // Somebody sets it right, and all goes on in the same session.
    host.clock.set(0)?;
    host.api.only_host_when("up").await?;
    host.reports_come(3).await?;
    host.agent.kill();
    host.agent.run()?;
    host.is_shown_ahead_by(0).await?;
    host.reports_come(3).await?;
    let refused = host.api.metric("xiezhi_ingest_refused_total").await?;
    let (ours, theirs) = host.stop().await?;
    assert_eq!((ours.epoch, ours.pending), (1, 0), "{ours:?}");
    theirs.check_times();
    let stored = theirs.numbers().remove(&1).unwrap_or_default();
    assert!(
        stored.is_sorted_by(|a, b| a < b),
        "stored twice: {stored:?}"
    );
    assert_eq!(
        stored.len() as f64 + refused,
        ours.last as f64,
        "{stored:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_while_a_host_reports_is_an_event_and_loses_nothing() -> Result<()> {
    let Some(mut host) = Host::start(0, true).await? else {
        return Ok(());
    };
    host.api.only_host_when("up").await?;
    let positions = host.agent.state().join("security");
    eventually("the sources have a baseline", async || {
        Ok(std::fs::read_dir(&positions)?.next().map(|_| ()))
    })
    .await?;
    host.clock.set(HOUR_S)?;
    host.waits_for_steps(1).await?;
    host.reports_come(3).await?;
    host.clock.set(-HOUR_S)?;
    host.waits_for_steps(2).await?;
    host.reports_come(3).await?;
    host.agent.kill();
    host.agent.run()?;
    host.is_shown_ahead_by(-HOUR_S).await?;
    host.reports_come(3).await?;
    assert_eq!(host.steps().await?, 2, "a restart is no step");
    let (ours, theirs) = host.stop().await?;
    proof::check_nothing_lost(&ours, &theirs);
    let span_ms = theirs.times_ms.last().zip(theirs.times_ms.first());
    let is_wide = span_ms.is_some_and(|(last, first)| last - first > 2 * HOUR_S * 900);
    assert!(is_wide, "no report was dated by the wrong clock");
    Ok(())
}
