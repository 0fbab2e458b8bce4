//! Crashes at any moment, of either side.
//!
//! `XIEZHI_ROUNDS` makes it longer; each run is another one, unless `XIEZHI_SEED` repeats one. Reports
//! and ordinary events are counted on both sides. Security events come from a log of the agent's own,
//! where each round writes logins of users that occur once; only root can give an agent such a log.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{Api, Random, TestAgent, TestController, TestPostgres, eventually};

use crate::settings::{from_environment, seed};
use crate::{proof, security};

/// Longest life between two crashes. Shorter than the interval of reports on the average, so that
/// crashes fall into every phase: connecting, sending, committing, acknowledging.
const LONGEST_LIFE: Duration = Duration::from_millis(1600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_lose_nothing_and_repeat_nothing() -> Result<()> {
    let rounds = from_environment("XIEZHI_ROUNDS", 30);
    let seed = seed();
    let mut random = Random::new(seed);
    let mut controller = TestController::start().await?;
    let mut agent = TestAgent::prepare("interval: 1s\nreconnect_within: 200ms\n")?;
    let log = OwnLog::of(&mut agent)?;
    let Some(log) = log else {
        return Ok(());
    };
    agent.enrol_with(controller.agents(), &controller.token(1)?, &[])?;
    agent.run()?;
    let host = controller.api().await?.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;

    security::wait_for_baseline(&agent).await?;

    let started = std::time::Instant::now();
    let (mut agents, mut controllers) = (0, 0);
    for round in 0..rounds {
        log.write(round)?;
        // The schedule of the crashes, not a wait for anything.
        tokio::time::sleep(random.moment(LONGEST_LIFE)).await;
        let whom = random.below(5);
        if whom != 0 {
            agent.kill();
            agents += 1;
        }
        // Most crashes are the agent's alone, some the controller's alone, some both.
        if whom < 2 {
            controller.kill();
            controllers += 1;
            controller.run().await?;
        }
        if whom != 0 {
            agent.run()?;
        }
    }
    eprintln!(
        "{rounds} rounds with seed {seed} in {:?}: {agents} crashes of the agent, {controllers} of \
         the controller",
        started.elapsed()
    );

    prove(controller, agent, id, rounds, Some(&log)).await
}

/// The same with the state on a PostgreSQL server, which crashes too: alone, or together with the
/// controller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_of_the_database_server_lose_nothing_and_repeat_nothing() -> Result<()> {
    let Some(mut server) = TestPostgres::start().await? else {
        return Ok(());
    };
    let rounds = from_environment("XIEZHI_ROUNDS", 30);
    let seed = seed();
    let mut random = Random::new(seed);
    let mut controller = TestController::start_with(&server.configuration()).await?;
    let configuration = "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\n";
    let mut agent = TestAgent::enrol(&controller, configuration)?;
    agent.run()?;
    let host = controller.api().await?.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;

    let (mut agents, mut controllers, mut servers) = (0, 0, 0);
    for _ in 0..rounds {
        // The schedule of the crashes, not a wait for anything.
        tokio::time::sleep(random.moment(LONGEST_LIFE)).await;
        let whom = random.below(6);
        if whom.is_multiple_of(2) {
            // Its start is an event, which is on its way when the others end.
            agent.kill();
            agent.run()?;
            agents += 1;
            tokio::time::sleep(random.moment(LONGEST_LIFE)).await;
        }
        if whom < 4 {
            server.kill();
            servers += 1;
        }
        if whom > 2 {
            controller.kill();
            controllers += 1;
        }
        if whom < 4 {
            server.run().await?;
        }
        if whom > 2 {
            controller.run().await?;
        }
    }
    eprintln!(
        "{rounds} rounds with seed {seed}: {agents} crashes of the agent, {controllers} of the \
         controller, {servers} of the database server"
    );
    prove(controller, agent, id, rounds, None).await
}

/// Everything that the agent has numbered is stored once, and nothing waits.
async fn prove(
    mut controller: TestController,
    mut agent: TestAgent,
    id: i64,
    rounds: u64,
    log: Option<&OwnLog>,
) -> Result<()> {
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    assert!(
        host["identity_conflict_ms"].is_null(),
        "a crash is no clone: {host}"
    );
    let ours = proof::stop_with_empty_spool(&mut agent, &api).await?;
    if let Some(log) = log {
        log.check(&api, id, rounds).await?;
    }
    let page = api.get(&format!("/api/v1/hosts/{id}")).await?;
    assert_eq!(page["record"]["epoch"], 1, "crashes open no epoch: {page}");
    assert_eq!(
        api.get(&format!("/api/v1/gaps?host={id}")).await?["items"],
        serde_json::json!([])
    );
    assert_eq!(api.get("/api/v1/audit/chain").await?["state"], "intact");
    let shown = proof::shown_events(&api, id).await?;
    assert_eq!(shown, ours.last_event, "each event must be stored once");
    controller.stop()?;
    let theirs = proof::of_controller(&controller, id)?;
    eprintln!("{} reports and {shown} events, each stored once", ours.last);
    proof::check_nothing_lost(&ours, &theirs);
    assert!(
        ours.last >= rounds / 4,
        "too few reports to prove anything: {}",
        ours.last
    );
    Ok(())
}

/// Log lines of one kind in a minute beyond which they would only be counted; a run of 30 rounds takes
/// less than a minute, a longer one writes none in the rounds after.
const MOST_LINES: u64 = 55;

/// A log that only this agent sees.
struct OwnLog(PathBuf);

impl OwnLog {
    /// `None`, and the reason printed, where this user cannot give an agent one.
    fn of(agent: &mut TestAgent) -> Result<Option<Self>> {
        let logs = agent.folder().join("logs");
        std::fs::create_dir(&logs)?;
        let path = logs.join("auth.log");
        std::fs::write(&path, "")?;
        let own = security::has_its_own_logs(agent, &logs);
        Ok(own.then_some(Self(path)))
    }

    /// What sshd writes when the user of this round comes and when a stranger fails.
    fn write(&self, round: u64) -> Result<()> {
        if round >= MOST_LINES {
            return Ok(());
        }
        let head = "Nov 21 10:00:00 h sshd[7]:";
        let text = format!(
            "{head} Accepted password for k{round} from 10.0.0.9 port 5 ssh2\n\
             {head} Failed password for k{round} from 10.0.0.9 port 5 ssh2\n"
        );
        let mut file = std::fs::OpenOptions::new().append(true).open(&self.0)?;
        Ok(file.write_all(text.as_bytes())?)
    }

    /// Waits until each is shown, and fails if one is shown twice.
    async fn check(&self, api: &Api, host: i64, rounds: u64) -> Result<()> {
        for kind in ["login", "login_failed"] {
            let seen = eventually("every login is shown", async || {
                let seen = security::users(api, host, kind).await?;
                ensure!(
                    seen.len() as u64 >= rounds.min(MOST_LINES),
                    "{kind}: {} users are shown",
                    seen.len()
                );
                Ok(Some(seen))
            })
            .await?;
            let twice: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
            assert!(twice.is_empty(), "{kind}: {twice:?}");
            assert_eq!(seen.len() as u64, rounds.min(MOST_LINES), "{kind}");
        }
        Ok(())
    }
}
