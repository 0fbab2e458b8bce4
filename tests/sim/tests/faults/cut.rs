//! The line between two networks is cut, wholly or one way: nothing is reset, only silence comes.

use std::time::Duration;

use anyhow::{Result, bail};
use xiezhi_test_support::{Cable, Conditions, LossyLine, Way, WrongClock, eventually_within};

use crate::apart::{Apart, networks};

#[tokio::test]
async fn an_unplugged_line_loses_nothing_and_is_no_dead_host() -> Result<()> {
    let Some((near, far)) = networks() else {
        return Ok(());
    };
    let cable = Cable::lay(&near, &far)?;
    let mut apart = Apart::start(&near, far).await?;
    cable.unplug()?;
    apart.wait_for_backlog().await?;
    cable.plug()?;
    check_seen(&mut apart, true)?;
    apart.wait_for_recovery().await?;
    apart.prove().await
}

#[tokio::test]
async fn a_line_that_only_carries_downwards_loses_nothing() -> Result<()> {
    half_open(Way::ToNear).await
}

#[tokio::test]
async fn a_line_that_only_carries_upwards_loses_nothing() -> Result<()> {
    half_open(Way::ToFar).await
}

/// Closes one way, and the other stays open.
async fn half_open(closed: Way) -> Result<()> {
    let Some((near, far)) = networks() else {
        return Ok(());
    };
    let line = match LossyLine::lay(&near, &far, Conditions::default()) {
        Ok(line) => line,
        Err(error) => {
            xiezhi_test_support::skip(format!("{error:#}"));
            return Ok(());
        }
    };
    let mut apart = Apart::start(&near, far).await?;
    line.set_open(closed, false);
    apart.wait_for_backlog().await?;
    line.set_open(closed, true);
    let swallowed = line.carried(closed).swallowed;
    assert!(swallowed > 0, "the line was never cut");
    // Upwards some reports still arrive although nothing comes back.
    check_seen(&mut apart, closed == Way::ToNear)?;
    apart.wait_for_recovery().await?;
    eprintln!("{swallowed} packets were swallowed");
    apart.prove().await
}

/// The silence was noticed and taken for what it is.
fn check_seen(apart: &mut Apart, noticed: bool) -> Result<()> {
    eprintln!("presence meanwhile: {:?}", apart.seen);
    if apart.seen.contains("down") || (noticed && !apart.seen.contains("stale")) {
        bail!(
            "a cut line is no dead host, and no living one: {:?}",
            apart.seen
        );
    }
    apart.seen.clear();
    Ok(())
}

/// Two minutes of the controller's clock pass while it is down: short of waiting, that is how a
/// silence becomes long enough to be judged.
#[tokio::test]
async fn a_controller_that_restarts_while_the_line_is_cut_calls_nobody_dead() -> Result<()> {
    let Some((near, far)) = networks() else {
        return Ok(());
    };
    let cable = Cable::lay(&near, &far)?;
    let mut apart = Apart::start(&near, far).await?;
    let clock = match WrongClock::new(apart.controller.folder()) {
        Ok(clock) => clock,
        Err(error) => {
            xiezhi_test_support::skip(format!("{error:#}"));
            return Ok(());
        }
    };
    cable.unplug()?;
    apart.wait_for_backlog().await?;
    apart.controller.kill();
    clock.set(120)?;
    apart.controller.set_environment(clock.environment());
    apart.controller.run().await?;
    apart.api = apart.controller.api().await?;
    apart.api.only_host_when("unknown").await?;
    cable.plug()?;
    check_seen(&mut apart, true)?;
    apart.wait_for_recovery().await?;
    check_seen(&mut apart, false)?;
    apart.prove().await
}

/// No clock is turned here: it is the kernel that gives the silent connection up, and its own clock
/// cannot be. That takes a minute and a quarter, and a silence is judged after a minute and a half.
#[tokio::test]
async fn behind_a_line_that_stays_cut_a_host_is_unknown() -> Result<()> {
    let Some((near, far)) = networks() else {
        return Ok(());
    };
    let cable = Cable::lay(&near, &far)?;
    let mut apart = Apart::start(&near, far).await?;
    cable.unplug()?;
    let limit = Duration::from_secs(180);
    eventually_within(limit, "the host is unknown", async || {
        Ok((apart.look().await? == "unknown").then_some(()))
    })
    .await?;
    let host = apart.api.only_host().await?;
    assert_eq!(
        host.map(|host| host["reason"].clone()),
        Some("silent_without_evidence".into())
    );
    cable.plug()?;
    check_seen(&mut apart, true)?;
    apart.wait_for_recovery().await?;
    apart.prove().await
}
