//! A PostgreSQL server for a row: Debian's, in a temporary folder, under an unprivileged user, on a socket.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::output;
use crate::stage::Children;

/// Where Debian keeps the servers, one folder per major version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// `nobody` and `nogroup`: the server refuses to run as root.
const UNPRIVILEGED: u32 = 65_534;

/// A server with one database `xiezhi` of its user `xiezhi`; it ends with the children.
pub(super) struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
}

impl Postgres {
    /// Makes it in an empty folder and starts it.
    pub(super) fn start(folder: &Path, children: &mut Children) -> Result<Self> {
        let versions = std::fs::read_dir(VERSIONS).context("PostgreSQL is not installed")?;
        let newest = versions.flatten().map(|entry| entry.path()).max();
        let server = Self {
            programs: newest.context("PostgreSQL is not installed")?.join("bin"),
            folder: folder.to_owned(),
        };
        std::fs::create_dir(folder)?;
        chown(folder, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        let data = folder.join("data");
        let mut make = server.command("initdb");
        make.args(["--username=xiezhi", "--auth=trust", "--encoding=UTF8"]);
        output(
            make.args(["--locale=C.UTF-8", "--no-sync", "-D"])
                .arg(&data),
        )?;
        let mut run = server.command("postgres");
        run.arg("-D").arg(&data).arg("-k").arg(folder);
        run.args(["-h", "", "-c", "shared_buffers=128MB"]);
        children.start("postgres", run.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while server.sql("postgres", "SELECT 1").is_err() {
            if Instant::now() > deadline {
                bail!("the database server does not answer");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        server.sql("postgres", "CREATE DATABASE xiezhi TEMPLATE template0")?;
        Ok(server)
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        let folder = self.folder.display();
        format!("postgres://xiezhi@localhost/xiezhi?host={folder}&port=5432")
    }

    /// Runs SQL in a database.
    pub(super) fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = self.command("psql");
        command.args(["-X", "-q", "-U", "xiezhi", "-d", database, "-c", sql]);
        output(command.arg("-h").arg(&self.folder))
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/").uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        command
    }
}
