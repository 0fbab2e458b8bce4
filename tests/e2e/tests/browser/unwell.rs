//! The controller's disk is full: every page says so in words, probes say which part, and both say
//! when it is over.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{TestAgent, TestController, eventually};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

/// A small filesystem in memory; unmounted when it goes out of scope.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Moves the content of `folder` to a filesystem of its own that is mounted there.
    fn under(folder: &Path) -> Result<Self> {
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside)?;
        std::fs::create_dir(folder)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"]);
        ensure!(
            mount.arg(folder).status()?.success(),
            "no tmpfs can be mounted"
        );
        let disk = Self(folder.to_owned());
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(aside.join(".")).arg(folder);
        ensure!(copy.status()?.success(), "the data folder cannot be copied");
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
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[tokio::test]
async fn a_full_disk_is_told_on_every_page_and_by_the_probe() -> Result<()> {
    if !is_root() {
        eprintln!("skipped: only root may mount a tmpfs");
        return Ok(());
    }
    let mut controller = TestController::prepare("")?;
    let disk = SmallDisk::under(&controller.folder().join("data"))?;
    let result = fill_and_free(&mut controller, &disk).await;
    // In this order: a folder with a filesystem on it cannot be removed.
    controller.kill();
    drop(disk);
    result
}

async fn fill_and_free(controller: &mut TestController, disk: &SmallDisk) -> Result<()> {
    controller.run().await?;
    let agent = TestAgent::start(controller)?;
    controller.api().await?.only_host_when("up").await?;
    let browser = Browser::signed_in(controller, Look::usual()).await?;
    ensure!(
        probe(&browser, "/healthz").await?.starts_with("200 "),
        "not well at the start"
    );

    let ballast = disk.fill()?;
    let banner = "const told = document.querySelector('.ailment'); return !!told && told.textContent.includes('磁盘已满') && told.textContent.includes('不会丢失')";
    browser.until("the banner", banner).await?;
    browser.picture("unwell").await?;
    let said = probe(&browser, "/readyz").await?;
    ensure!(
        said.starts_with("503 ") && said.contains("disk_full"),
        "{said}"
    );
    for page in ["/fleet", "/settings"] {
        browser.goto(page).await?;
        browser.until("the banner", banner).await?;
    }
    browser.picture("unwell-settings").await?;
    // The browser's log tells of the probe's own refusal.
    let mut found = checks::complaints(&browser, "unwell", Look::usual()).await?;
    found.retain(|complaint| !complaint.contains("503"));
    checks::none_of(&found)?;

    std::fs::remove_file(ballast)?;
    browser
        .until(
            "the banner goes",
            "return !document.querySelector('.ailment')",
        )
        .await?;
    eventually("the probe is well", async || {
        Ok(probe(&browser, "/readyz")
            .await?
            .starts_with("200 ")
            .then_some(()))
    })
    .await?;
    browser.close().await?;
    drop(agent);
    Ok(())
}

/// Status and body of an address, as the browser gets it.
async fn probe(browser: &Browser, address: &str) -> Result<String> {
    let ask = format!(
        "const done = arguments[arguments.length - 1]; \
         fetch('{address}').then(async (answer) => done(answer.status + ' ' + await answer.text()))"
    );
    let said = browser.run_async(&ask).await?;
    Ok(said.as_str().context("no answer")?.to_owned())
}
