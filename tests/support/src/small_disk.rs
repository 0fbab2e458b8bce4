//! A filesystem that is small enough to be filled.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// A small filesystem in memory; unmounted when it goes out of scope.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Moves the content of `folder` to a filesystem of its own, of so many megabytes, that is mounted
    /// there. Whoever uses it ends before it does.
    ///
    /// # Errors
    /// This user may not mount, or it is too small.
    pub fn under(folder: &Path, megabytes: u32) -> Result<Self> {
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside)?;
        std::fs::create_dir(folder)?;
        let disk = Self::mount(folder, &format!("size={megabytes}m,mode=0700"))?;
        let copied = Command::new("cp")
            .arg("-a")
            .args([&aside.join("."), folder])
            .status()?;
        ensure!(copied.success(), "{} was not copied", aside.display());
        Ok(disk)
    }

    fn mount(folder: &Path, options: &str) -> Result<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder)
            .output()?;
        ensure!(
            mounted.status.success(),
            "a tmpfs cannot be mounted on {}",
            folder.display()
        );
        Ok(Self(folder.to_owned()))
    }

    /// Whether this user may mount one.
    #[must_use]
    pub fn is_possible() -> bool {
        let folder = tempfile::tempdir();
        folder.is_ok_and(|folder| Self::mount(folder.path(), "size=64k").is_ok())
    }

    /// Takes all the space that is left, also what was given back since the last time; yields the
    /// file to remove.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("ballast");
        let mut file = File::options().append(true).create(true).open(&path)?;
        for size in [65_536, 4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // If it stays mounted, the temporary folder does too; there is nobody to tell.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
