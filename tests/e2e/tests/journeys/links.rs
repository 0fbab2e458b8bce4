//! A leased line measured by one agent against the reflector of another: its numbers at the controller, what is
//! told when the other end is gone, and that it is no device.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;
use xiezhi_test_support::{Api, TestAgent, TestController, eventually};

/// A folder that the program that measures may read.
fn folder() -> Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("xiezhi-links-")
        .tempdir()?
        .keep();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
    std::fs::create_dir(folder.join("links.d"))?;
    Ok(folder)
}

fn say(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = folder.join("links.d").join(name);
    std::fs::write(&file, text)?;
    Ok(std::fs::set_permissions(
        &file,
        std::fs::Permissions::from_mode(0o644),
    )?)
}

fn agent(controller: &TestController, folder: &Path) -> Result<TestAgent> {
    let configuration = format!(
        "interval: 1s\nreconnect_within: 1s\n\
         devices:\n  folder: {0}/devices.d\n  links: {0}/links.d\n  profiles: {0}/profiles.d\n  state_dir: {0}/state\n  user: daemon\n",
        folder.display()
    );
    TestAgent::enrol(controller, &configuration)
}

/// The value of the only series of `promql`, if there is one.
async fn only(api: &Api, promql: &str) -> Result<Option<(Value, f64)>> {
    let query: String = form_urlencoded::byte_serialize(promql.as_bytes()).collect();
    let answer = api.get(&format!("/api/v1/query?query={query}")).await?;
    let result = answer["data"]["result"].as_array().context("no result")?;
    match result.as_slice() {
        [] => Ok(None),
        [one] => {
            let value = one["value"][1].as_str().context("no value")?.parse()?;
            Ok(Some((one["metric"].clone(), value)))
        }
        many => anyhow::bail!("{promql}: {} series", many.len()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_measured_and_told_and_an_end_that_is_gone_is_told_too() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let port = xiezhi_test_support::free_port()?;
    let key = "key: a key of both ends";
    let (centre, court) = (folder()?, folder()?);
    say(
        &centre,
        "reflector.yaml",
        &format!(
            "reflector:\n  port: {port}\n  listen: [127.0.0.1]\n  peers:\n  - {{address: 127.0.0.0/8, {key}}}\n"
        ),
    )?;
    say(
        &court,
        "line.yaml",
        &format!("links:\n- {{name: centre, address: '127.0.0.1:{port}', every: 5s, {key}}}\n"),
    )?;
    // One machine is enrolled once: the other end belongs to another province.
    let elsewhere = TestController::start().await?;
    let mut reflecting = agent(&elsewhere, &centre)?;
    reflecting.run()?;
    let mut measuring = agent(&controller, &court)?;
    measuring.run()?;

    let up = "up{job=\"stamp\",instance=\"centre\"}";
    let (labels, _) = eventually("the other end answers", async || {
        measuring.process()?.check()?;
        Ok(only(&api, up).await?.filter(|(_, up)| *up == 1.0))
    })
    .await?;
    assert!(
        labels["device_id"].is_string() && labels["site_id"].is_string(),
        "{labels}"
    );
    let (_, median) = only(&api, "stamp_rtt_median_seconds")
        .await?
        .context("no round trip")?;
    assert!(median > 0.0, "{median}");
    for direction in ["forward", "backward"] {
        let lost = format!("stamp_lost_by_direction_total{{direction=\"{direction}\"}}");
        assert!(only(&api, &lost).await?.is_some(), "{lost}");
    }
    let devices = api.get("/api/v1/devices").await?;
    assert_eq!(devices["total"], 0, "a link is no device: {devices}");

    // The other end goes away: that is told, and the host that measures is well.
    reflecting.stop()?;
    eventually("the other end is gone", async || {
        Ok(only(&api, up).await?.filter(|(_, up)| *up == 0.0))
    })
    .await?;
    let (_, lost) = only(&api, "stamp_lost_total")
        .await?
        .context("nothing is lost")?;
    assert!(lost > 0.0, "{lost}");

    // It comes back, and so do the numbers.
    reflecting.run()?;
    eventually("the other end answers again", async || {
        Ok(only(&api, up).await?.filter(|(_, up)| *up == 1.0))
    })
    .await?;
    measuring.stop()?;
    Ok(())
}
