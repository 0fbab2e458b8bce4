//! What is stored on both sides once all is quiet, and whether it agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_protocol::batch::Stream;
use xiezhi_series::{SeriesOptions, SeriesStore, StoredFrame};
use xiezhi_spool::{Limits, Spool};
use xiezhi_test_support::{Api, TestAgent, TestController, eventually};

/// A series that every report has.
const ALWAYS: &str = "node_memory_MemTotal_bytes";

/// The agent's side.
#[derive(Debug)]
pub(crate) struct AgentSide {
    pub(crate) epoch: u64,
    /// Highest sequence number of a report.
    pub(crate) last: u64,
    /// Highest sequence number of an ordinary event; the agent sends each in a batch of its own.
    pub(crate) last_event: u64,
    /// Batches of all streams that still wait for their acknowledgement.
    pub(crate) pending: u64,
    /// Batches that were given up.
    pub(crate) dropped: u64,
}

/// The controller's side.
#[derive(Debug)]
pub(crate) struct ControllerSide {
    pub(crate) frames: Vec<StoredFrame>,
    /// Times that a chart of the whole time has.
    pub(crate) times_ms: Vec<i64>,
}

/// Reads the spool of a stopped agent from a copy: opening it may write.
pub(crate) fn of_agent(agent: &TestAgent) -> Result<AgentSide> {
    let copy = tempfile::tempdir()?;
    copy_folder(&agent.state().join("spool"), &copy.path().join("spool"))?;
    let spool = Spool::open(&copy.path().join("spool"), Limits::default(), 0)?;
    let status = spool.status();
    ensure!(
        status.trouble.is_empty(),
        "the spool is in trouble: {}",
        status.trouble
    );
    Ok(AgentSide {
        epoch: spool.epoch(),
        last: spool.next_seq(Stream::Samples) - 1,
        last_event: spool.next_seq(Stream::Events) - 1,
        pending: status.pending,
        dropped: status
            .dropped
            .iter()
            .map(|gap| gap.last - gap.first + 1)
            .sum(),
    })
}

/// Reads the samples of a stopped controller.
pub(crate) fn of_controller(controller: &TestController, host: i64) -> Result<ControllerSide> {
    let dir = controller.folder().join("data/series");
    let store = SeriesStore::open(&dir, SeriesOptions::default())?;
    let verified = store.verify()?;
    ensure!(
        verified.damaged.is_empty(),
        "stored samples are damaged: {:?}",
        verified.damaged
    );
    let wanted = |series: &str| series == ALWAYS;
    let mut found = store.range(host, 0, i64::MAX, &wanted)?;
    let points = found
        .pop()
        .with_context(|| format!("{ALWAYS} is not stored"))?
        .points;
    let times_ms = points.iter().map(|&(time_ms, _)| time_ms).collect();
    Ok(ControllerSide {
        frames: store.frames(host)?,
        times_ms,
    })
}

/// How many ordinary events of `host` a running controller shows; fails if one is shown twice.
pub(crate) async fn shown_events(api: &Api, host: i64) -> Result<u64> {
    let (mut shown, mut known) = (0, BTreeSet::new());
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/events?host={host}&stream=events&limit=1000{cursor}");
        let page = api.get(&path).await?;
        for event in page["items"].as_array().context("a page without events")? {
            shown += 1;
            let (time_ms, kind) = (event["time_ms"].as_i64(), event["kind"].to_string());
            ensure!(known.insert((time_ms, kind)), "shown twice: {event}");
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(shown),
        }
    }
}

/// Stops the agent in order until a stop leaves nothing that waits: the last reports may be on
/// their way when it is asked to stop, and then the next start sends them.
pub(crate) async fn stop_with_empty_spool(agent: &mut TestAgent, api: &Api) -> Result<AgentSide> {
    const ATTEMPTS: u32 = 10;
    let mut left = None;
    for _ in 0..ATTEMPTS {
        agent.stop()?;
        let side = of_agent(agent)?;
        if side.pending == 0 {
            return Ok(side);
        }
        eprintln!("{} batches still wait after the stop", side.pending);
        left = Some(side);
        wait_for_session(api, false).await?;
        agent.run()?;
        wait_for_session(api, true).await?;
    }
    bail!("the spool is never empty: {left:?}")
}

async fn wait_for_session(api: &Api, open: bool) -> Result<()> {
    eventually("the session opens or closes", async || {
        let host = api
            .only_host()
            .await?
            .context("the host is gone from the list")?;
        Ok((host["connected_since_ms"].is_null() != open).then_some(()))
    })
    .await
}

impl ControllerSide {
    /// Sequence numbers by epoch, ascending.
    pub(crate) fn numbers(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut numbers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for frame in &self.frames {
            numbers
                .entry(frame.epoch)
                .or_default()
                .push(frame.batch.seq);
        }
        numbers
    }

    /// A chart shows each time once, and every report's time.
    pub(crate) fn check_times(&self) {
        assert!(
            self.times_ms.is_sorted_by(|a, b| a < b),
            "times repeat or go back"
        );
        let mut reported: Vec<i64> = self
            .frames
            .iter()
            .map(|frame| frame.batch.time_ms)
            .collect();
        reported.sort_unstable();
        reported.dedup();
        assert_eq!(self.times_ms, reported, "a chart must show every report");
    }
}

/// Everything is settled, and each number from 1 to the last is stored exactly once in epoch 1.
pub(crate) fn check_nothing_lost(agent: &AgentSide, controller: &ControllerSide) {
    assert_eq!(
        (agent.epoch, agent.pending, agent.dropped),
        (1, 0, 0),
        "{agent:?}"
    );
    let expected: Vec<u64> = (1..=agent.last).collect();
    assert_eq!(controller.numbers(), BTreeMap::from([(1, expected)]));
    controller.check_times();
}

/// Copies a folder with owners and modes.
pub(crate) fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(copied.success(), "{} was not copied", from.display());
    Ok(())
}
