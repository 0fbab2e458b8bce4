//! What the agent's processes may do, as the kernel sees it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{TestAgent, TestController, eventually};

type Status = BTreeMap<String, String>;

#[tokio::test]
async fn the_warden_can_only_end_processes_and_the_worker_nothing() -> Result<()> {
    if status("self")?["Uid"] != ids("0") {
        xiezhi_test_support::skip("the agent has a warden only when root starts it");
        return Ok(());
    }
    let controller = TestController::start().await?;
    let mut agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    let process = agent.process()?;
    let warden = status(&process.id().to_string())?;
    let worker = eventually("the worker shows its name", async || {
        let children = process.children().into_iter();
        let mut statuses = children.filter_map(|child| status(&child.to_string()).ok());
        Ok(statuses.find(|status| status["Name"] == "xiezhi-worker"))
    })
    .await?;

    assert_eq!(warden["Name"], "xiezhi-warden");
    assert_eq!(warden["Uid"], ids("0"));
    assert_eq!(
        number(&warden, "CapEff")?,
        1 << 5,
        "CAP_KILL alone: {}",
        warden["CapEff"]
    );
    let permitted = [2, 5, 6, 7, 8, 10]
        .iter()
        .fold(0, |set, bit| set | 1 << bit);
    for set in ["CapPrm", "CapBnd"] {
        let held = number(&warden, set)?;
        // What this machine does not grant is missing; nothing else may be there.
        ensure!(
            held & !permitted == 0,
            "{set}: {held:x} is more than {permitted:x}"
        );
    }
    assert_eq!(warden["NoNewPrivs"], "1");

    let nobody = account("nobody")?;
    assert_eq!(worker["Uid"], ids(&nobody));
    for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(number(&worker, set)?, 0, "{set}");
    }
    assert_eq!(worker["NoNewPrivs"], "1");
    assert_eq!(worker["Seccomp"], "2", "a filter on system calls");
    assert_eq!(worker["Threads"], "1");
    Ok(())
}

/// `/proc/PID/status`, proc_pid_status(5).
fn status(process: &str) -> Result<Status> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect())
}

fn number(status: &Status, key: &str) -> Result<u64> {
    let text = status.get(key).with_context(|| format!("no {key}"))?;
    u64::from_str_radix(text, 16).with_context(|| format!("{key}: {text}"))
}

/// Real, effective, saved and filesystem user, all the same.
fn ids(id: &str) -> String {
    [id; 4].join("\t")
}

fn account(name: &str) -> Result<String> {
    let text = std::fs::read_to_string("/etc/passwd")?;
    let line = text
        .lines()
        .find(|line| line.split(':').next() == Some(name));
    let id = line.and_then(|line| line.split(':').nth(2));
    Ok(id
        .with_context(|| format!("there is no user {name}"))?
        .to_owned())
}
