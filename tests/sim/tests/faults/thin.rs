//! A line as it is in a mountain court: 64 kbit/s, slow, uneven, and it loses packets.

use std::time::Duration;

use anyhow::Result;
use xiezhi_test_support::{Conditions, LossyLine, Way};

use crate::apart::{Apart, networks};
use crate::settings::from_environment;

#[tokio::test]
async fn a_thin_and_forgetful_line_delivers_everything_once() -> Result<()> {
    let Some((near, far)) = networks() else {
        return Ok(());
    };
    let conditions = Conditions {
        delay: Duration::from_millis(150),
        jitter: Duration::from_millis(150),
        loss_percent: 10,
        bytes_per_second: 8000,
        queue: 50,
        seed: from_environment("XIEZHI_SEED", 1),
        ..Conditions::default()
    };
    let line = match LossyLine::lay(&near, &far, conditions) {
        Ok(line) => line,
        Err(error) => {
            xiezhi_test_support::skip(format!("{error:#}"));
            return Ok(());
        }
    };
    // Enrolment, sessions, reports: all of it goes this way.
    let mut apart = Apart::start(&near, far).await?;
    for way in [Way::ToNear, Way::ToFar] {
        line.set_open(way, false);
    }
    apart.wait_for_backlog().await?;
    for way in [Way::ToNear, Way::ToFar] {
        line.set_open(way, true);
    }
    apart.wait_for_recovery().await?;
    assert!(!apart.seen.contains("down"), "{:?}", apart.seen);
    apart.prove().await?;
    let ways = [Way::ToNear, Way::ToFar].map(|way| line.carried(way));
    eprintln!("with seed {}: {ways:?}", conditions.seed);
    assert!(
        ways.iter().any(|way| way.lost > 0) && ways.iter().all(|way| way.swallowed > 0),
        "a line without faults: {ways:?}"
    );
    Ok(())
}
