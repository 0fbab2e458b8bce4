//! The controller's disk is full for a while.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_test_support::{TestAgent, TestController, eventually};

use crate::proof;

/// A small filesystem in memory; unmounted when it goes out of scope.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Moves the content of `folder` to a filesystem of its own that is mounted there.
    fn under(folder: &Path, size: &str) -> Result<Self> {
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside)?;
        std::fs::create_dir(folder)?;
        let options = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .status()?;
        ensure!(
            mounted.success(),
            "a tmpfs cannot be mounted on {}",
            folder.display()
        );
        let disk = Self(folder.to_owned());
        proof::copy_folder(&aside.join("."), folder)?;
        Ok(disk)
    }

    /// Takes all the space that is left; yields the file to remove.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("ballast");
        let mut file = File::create(&path)?;
        for size in [65_536, 4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

fn can_mount() -> bool {
    let Ok(folder) = tempfile::tempdir() else {
        return false;
    };
    let mut mount = Command::new("mount");
    let mounted = mount
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(folder.path())
        .output();
    let works = mounted.is_ok_and(|output| output.status.success());
    if works {
        drop(SmallDisk(folder.path().to_owned()));
    }
    works
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_intake_visibly_and_loses_nothing() -> Result<()> {
    if !can_mount() {
        xiezhi_test_support::skip("this user may not mount a tmpfs (run as root)");
        return Ok(());
    }
    let mut controller = TestController::prepare("")?;
    let disk = SmallDisk::under(&controller.folder().join("data"), "24m")?;
    let result = fill_and_free(&mut controller, &disk).await;
    // In this order: a folder with a filesystem on it cannot be removed.
    controller.kill();
    drop(disk);
    result
}

async fn fill_and_free(controller: &mut TestController, disk: &SmallDisk) -> Result<()> {
    controller.run().await?;
    let configuration = "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\n";
    let mut agent = TestAgent::enrol(controller, configuration)?;
    agent.run()?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;

    let ballast = disk.fill()?;
    eventually("samples are refused by the disk", async || {
        let failures = api.metric("xiezhi_ingest_commit_failures_total").await?;
        Ok((failures > 0.0).then_some(()))
    })
    .await?;
    let log = controller.process()?.log();
    if !log.contains("samples cannot be stored, trying again; agents keep theirs") {
        bail!("the log does not say what is wrong:\n{log}");
    }
    // People still see the fleet.
    ensure!(
        api.only_host().await?.is_some(),
        "the list of hosts is empty"
    );

    std::fs::remove_file(ballast)?;
    let host = api.only_host_when("up").await?;
    ensure!(host["identity_conflict_ms"].is_null(), "{host}");
    let ours = proof::stop_with_empty_spool(&mut agent, &api).await?;
    assert_eq!(proof::shown_events(&api, id).await?, ours.last_event);
    controller.stop()?;
    let theirs = proof::of_controller(controller, id)?;
    proof::check_nothing_lost(&ours, &theirs);
    Ok(())
}
