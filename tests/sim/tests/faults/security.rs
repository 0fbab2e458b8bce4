//! An agent is killed while it spools security events of one poll in several batches.
//!
//! The agent sees a folder of its own as `/var/log`, so that no log of this machine is touched.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use xiezhi_protocol::batch::Stream;
use xiezhi_spool::{Limits, Spool};
use xiezhi_test_support::{Api, Random, TestAgent, TestController, WrongClock, eventually};

use crate::proof;
use crate::settings::{from_environment, seed};

/// Events of each kind that one minute may bring before they are only counted.
const PER_KIND: u64 = 60;
const KINDS: [&str; 4] = ["login", "login_failed", "sudo", "sudo_failed"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_two_batches_of_one_poll_repeats_and_loses_no_event() -> Result<()> {
    let rounds = from_environment("XIEZHI_ROUNDS", 4).min(30);
    let mut random = Random::new(seed());
    let mut agent = TestAgent::prepare("interval: 1s\nreconnect_within: 200ms\n")?;
    let logs = agent.folder().join("logs");
    std::fs::create_dir(&logs)?;
    let log = logs.join("auth.log");
    std::fs::write(&log, lines(0)?)?;
    let (Some(clock), true) = (clock(&agent)?, has_its_own_logs(&mut agent, &logs)) else {
        return Ok(());
    };
    agent.set_environment(clock.environment());
    let controller = TestController::start().await?;
    agent.enrol_with(controller.agents(), &controller.token(1)?, &[])?;
    agent.run()?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let host = host["id"].as_i64().context("the row has no id")?;
    wait_for_baseline(&agent).await?;

    for round in 1..=rounds {
        // Another minute, or the events would only be counted.
        clock.set(i64::try_from(round)? * 70)?;
        let worker = worker(&mut agent).await?;
        let before = bytes_of_security(&agent.state().join("spool"));
        let mut file = std::fs::OpenOptions::new().append(true).open(&log)?;
        file.write_all(lines(round)?.as_bytes())?;
        wait_for_first_batch(&agent.state().join("spool"), before)?;
        // The schedule of the kill, not a wait for anything.
        std::thread::sleep(random.moment(Duration::from_millis(4)));
        kill_process(worker, Signal::KILL)?;
        agent.kill();
        agent.run()?;
        wait_for_last(&api, host, round)
            .await
            .with_context(|| format!("round {round}; the agent said:\n{}", agent.log()))?;
    }
    proof::stop_with_empty_spool(&mut agent, &api).await?;
    for kind in KINDS {
        let seen = users(&api, host, kind).await?;
        let twice: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "{kind}: {twice:?}");
        assert_eq!(seen.len() as u64, rounds * PER_KIND, "{kind}");
    }
    let spool = Spool::open(&agent.state().join("spool"), Limits::default(), 0)?;
    let batches = spool.next_seq(Stream::Security) - 1;
    eprintln!("{rounds} rounds, {batches} batches of security events");
    assert!(batches >= 2 * rounds, "a poll was only one batch");
    Ok(())
}

/// A clock that the test can set; `None`, and the reason printed, where there is none.
fn clock(agent: &TestAgent) -> Result<Option<WrongClock>> {
    match WrongClock::new(agent.folder()) {
        Ok(clock) => Ok(Some(clock)),
        Err(error) => {
            xiezhi_test_support::skip(format!("{error:#}"));
            Ok(None)
        }
    }
}

/// Waits until the sources know where they begin: what is written to a log from now on is an event.
pub(crate) async fn wait_for_baseline(agent: &TestAgent) -> Result<()> {
    let positions = agent.state().join("security");
    eventually("the sources have a baseline", async || {
        Ok(std::fs::read_dir(&positions)?.next().map(|_| ()))
    })
    .await
}

/// Shows the agent `logs` as `/var/log`; only root can.
pub(crate) fn has_its_own_logs(agent: &mut TestAgent, logs: &Path) -> bool {
    let script = "mount --bind \"$0\" /var/log && exec \"$@\"";
    let logs = logs.display().to_string();
    let words = ["unshare", "--mount", "sh", "-c", script, &logs];
    let [first, rest @ ..] = words;
    let tried = std::process::Command::new(first)
        .args(rest)
        .arg("true")
        .output();
    let works = tried.is_ok_and(|output| output.status.success());
    if works {
        agent.set_wrapper(&words);
    } else {
        xiezhi_test_support::skip("this user may not mount a folder over /var/log (run as root)");
    }
    works
}

/// What sshd and sudo write, with users that occur once.
fn lines(round: u64) -> Result<String> {
    use std::fmt::Write as _;
    let mut text = String::new();
    let sudo = "TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/true";
    for number in 0..PER_KIND {
        let head = "Nov 21 10:00:00 h";
        let user = format!("u{round}x{number}");
        let from = "from 10.0.0.9 port 5 ssh2";
        writeln!(text, "{head} sshd[7]: Accepted password for {user} {from}")?;
        writeln!(text, "{head} sshd[7]: Failed password for {user} {from}")?;
        writeln!(text, "{head} sudo: {user} : {sudo}")?;
        writeln!(text, "{head} sudo: {user} : command not allowed ; {sudo}")?;
    }
    Ok(text)
}

/// The process that spools.
async fn worker(agent: &mut TestAgent) -> Result<Pid> {
    eventually("the worker runs", async || {
        let name = |id: &u32| std::fs::read_to_string(format!("/proc/{id}/comm"));
        let children = agent.process()?.children();
        let worker = children
            .into_iter()
            .find(|id| name(id).is_ok_and(|name| name == "xiezhi-worker\n"));
        Ok(worker.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    })
    .await
}

/// Bytes of the security stream in a spool folder.
fn bytes_of_security(spool: &Path) -> u64 {
    let files = std::fs::read_dir(spool).into_iter().flatten().flatten();
    let ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("security-"))
    };
    let paths = files.map(|file| file.path()).filter(ours);
    paths
        .filter_map(|path| Some(path.metadata().ok()?.len()))
        .sum()
}

/// Returns as soon as something was appended: looks as often as it can.
fn wait_for_first_batch(spool: &Path, before: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    // Segments also go when they are acknowledged, so any change but that counts.
    let mut least = before;
    loop {
        let now = bytes_of_security(spool);
        if now > least {
            return Ok(());
        }
        least = now;
        ensure!(Instant::now() < deadline, "no poll within a minute");
        std::thread::yield_now();
    }
}

/// Waits until the last event of a round is shown.
async fn wait_for_last(api: &Api, host: i64, round: u64) -> Result<()> {
    let last = format!("u{round}x{}", PER_KIND - 1);
    eventually("the events of the round are shown", async || {
        let seen = users(api, host, "sudo_failed").await?;
        ensure!(seen.contains_key(&last), "{} users are shown", seen.len());
        Ok(Some(()))
    })
    .await
}

/// How often each user occurs in events of a kind.
pub(crate) async fn users(api: &Api, host: i64, kind: &str) -> Result<BTreeMap<String, u32>> {
    let mut users = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let filter = format!("host={host}&stream=security&kind={kind}&limit=1000{cursor}");
        let page = api.get(&format!("/api/v1/events?{filter}")).await?;
        for event in page["items"].as_array().context("a page without events")? {
            let user = event["fields"]["user"].as_str().unwrap_or_default();
            *users.entry(user.to_owned()).or_default() += 1;
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(users),
        }
    }
}
