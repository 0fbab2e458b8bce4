//! A host certificate at two thirds of its life: it is changed for another under way.

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{Api, TestAgent, TestController, WrongClock, eventually, skip};

use crate::proof;

const DAY_S: i64 = 86_400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_changed_at_two_thirds_of_its_life_and_nothing_is_lost() -> Result<()> {
    let configuration = "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\n";
    let mut agent = TestAgent::prepare(configuration)?;
    let clock = match WrongClock::new(agent.folder()) {
        Ok(clock) => clock,
        Err(error) => {
            skip(format!("{error:#}"));
            return Ok(());
        }
    };
    // What was reported three weeks ago must still be there to be counted.
    let mut controller = TestController::prepare("series: {retention: 60d}\n")?;
    controller.set_environment(clock.environment());
    agent.set_environment(clock.environment());
    controller.run().await?;
    agent.enrol_with(controller.agents(), &controller.token(1)?, &[])?;
    agent.run()?;
    let host = controller.api().await?.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    let identity = agent.state().join("identity");
    let first = std::fs::read(identity.join("chain.pem"))?;
    let kept = tempfile::tempdir()?;
    let kept = kept.path().join("identity");
    proof::copy_folder(&identity, &kept)?;

    // A day before two thirds nothing happens, a day after them the change: the agent believes no
    // clock but the controller's, which it hears at the begin of a session.
    turn_to(&clock, &mut controller, 19).await?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    ensure!(renewals(&api, id).await? == 0, "it was renewed too early");
    turn_to(&clock, &mut controller, 21).await?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    eventually("another certificate is in use", async || {
        agent.process()?.check()?;
        let is_whole = !identity.join("next-host.json").exists();
        let now = std::fs::read(identity.join("chain.pem"))?;
        Ok((is_whole && now != first).then_some(()))
    })
    .await?;
    assert_eq!(renewals(&api, id).await?, 1);
    let row = api.only_host_when("up").await?;
    assert!(row["identity_conflict_ms"].is_null(), "{row}");

    // Nine days are left of the old one: a host that lost the new one, restored from a copy, is taken
    // with it, and asks for a new one again.
    agent.kill();
    for name in ["key.pem", "chain.pem", "host.json"] {
        let (from, to) = (kept.join(name), identity.join(name));
        proof::copy_folder(&from, &to)?;
    }
    agent.run()?;
    eventually("the old one is taken and changed again", async || {
        Ok((renewals(&api, id).await? == 2).then_some(()))
    })
    .await?;
    api.only_host_when("up").await?;

    let ours = proof::stop_with_empty_spool(&mut agent, &api).await?;
    let shown = proof::shown_events(&api, id).await?;
    assert_eq!(shown, ours.last_event, "each event must be stored once");
    controller.stop()?;
    let theirs = proof::of_controller(&controller, id)?;
    proof::check_nothing_lost(&ours, &theirs);
    Ok(())
}

/// Turns everybody's clock to `days` after the start. The controller's restart ends the session.
async fn turn_to(clock: &WrongClock, controller: &mut TestController, days: i64) -> Result<()> {
    controller.kill();
    clock.set(days * DAY_S)?;
    controller.run().await?;
    controller.api().await?.only_host_when("up").await?;
    // Asked before the clock jumps: a report that comes in between would have the minute in it already,
    // and the one waited for would be a real minute away.
    let api = controller.api().await?;
    let before = api.only_host().await?;
    let before = before.and_then(|row| row["last_report_ms"].as_i64());
    // What the agent looks after once a minute is due.
    clock.set(days * DAY_S + 61)?;
    eventually("reports come after that minute", async || {
        let row = api.only_host().await?.context("the host is gone")?;
        let now = row["last_report_ms"].as_i64();
        Ok((now > before.map(|before| before + 61_000)).then_some(()))
    })
    .await
}

/// How often the host's certificate was renewed.
async fn renewals(api: &Api, host: i64) -> Result<usize> {
    let path = format!("/api/v1/audit?action=host.certificate_renewed&subject=host:{host}");
    let page = api.get(&path).await?;
    let items = page["items"].as_array();
    Ok(items.context("a page without entries")?.len())
}
