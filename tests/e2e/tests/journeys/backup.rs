//! The samples are backed up while the controller runs, and restored as the handbook says.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xiezhi_test_support::{Api, TestAgent, TestController, eventually};

#[tokio::test]
async fn a_backup_of_a_running_controller_gives_the_same_answers_after_a_restore() -> Result<()> {
    let mut controller = TestController::start().await?;
    let mut agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    eventually("a few reports are stored", async || {
        let chart = chart(&api, id, now_ms()? + 60_000).await?;
        Ok((points(&chart) >= 3).then_some(()))
    })
    .await?;
    agent.stop()?;
    let until = now_ms()? + 60_000;
    let before = chart(&api, id, until).await?;

    let folder = tempfile::tempdir()?;
    let backup = folder.path().join("backup");
    let target = backup.display().to_string();
    let said = controller.command(&["series", "backup", &target])?;
    ensure!(said.contains("a whole backup"), "{said}");
    ensure!(
        !controller
            .folder()
            .join("data/series-backup.staging")
            .exists()
    );
    let again = controller.command(&["series", "backup", &target]);
    ensure!(again.is_err(), "a backup was written over another");
    let said = controller.command(&["series", "verify"])?;
    ensure!(said.contains("intact records"), "{said}");

    // What came after the backup is not in it.
    agent.run()?;
    eventually("more reports are stored", async || {
        let chart = chart(&api, id, now_ms()? + 60_000).await?;
        Ok((points(&chart) > points(&before)).then_some(()))
    })
    .await?;
    agent.stop()?;
    controller.stop()?;
    let samples = controller.folder().join("data/series");
    std::fs::remove_dir_all(&samples)?;
    std::fs::create_dir(&samples)?;
    for entry in std::fs::read_dir(&backup)? {
        let entry = entry?;
        std::fs::copy(entry.path(), samples.join(entry.file_name()))?;
    }
    let said = controller.command(&["series", "verify"])?;
    ensure!(said.contains("intact records"), "{said}");
    controller.run().await?;
    let api = controller.api().await?;
    assert_eq!(chart(&api, id, until).await?, before);

    // A controller that does not run is backed up as well.
    controller.stop()?;
    let second = folder.path().join("second").display().to_string();
    controller.command(&["series", "backup", &second])?;

    let log = largest(&backup)?;
    let mut bytes = std::fs::read(&log)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("an empty file")? ^= 1;
    std::fs::write(&log, bytes)?;
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    match controller.command(&["series", "verify", &target]) {
        Ok(said) => anyhow::bail!("a damaged backup passed: {said}"),
        Err(error) => ensure!(format!("{error:#}").contains(&*name), "{error:#} ({name})"),
    }
    Ok(())
}

/// The host's memory until `until`, as a chart shows it.
async fn chart(api: &Api, host: i64, until: u128) -> Result<Value> {
    let from = until - 900_000;
    let name = "node_memory_MemAvailable_bytes";
    let path = format!("/api/v1/hosts/{host}/series?match={name}&from={from}&to={until}");
    Ok(api.get(&path).await?["series"].clone())
}

fn points(chart: &Value) -> usize {
    let values = chart[0]["values"].as_array();
    values.map_or(0, |values| {
        values.iter().filter(|value| !value.is_null()).count()
    })
}

fn largest(folder: &std::path::Path) -> Result<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    Ok(files.into_iter().max().context("an empty backup")?.1)
}

fn now_ms() -> Result<u128> {
    Ok(std::time::UNIX_EPOCH.elapsed()?.as_millis())
}
