//! A PostgreSQL server of a test's own: Debian's, in a temporary folder, under an unprivileged user.
//!
//! It listens on a socket in that folder (where nobody needs a password) and on loopback (with TLS and
//! a password, as over a network). It ends with the value that stands for it.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::controller::write_secret;
use crate::process::{Running, output};
use crate::skip::skip;
use crate::wait::eventually;

/// Where Debian keeps the servers, one folder per major version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// `nobody` and `nogroup`: the server refuses to run as root.
const UNPRIVILEGED: u32 = 65_534;

/// Password of the user `xiezhi`, with signs that addresses must escape.
const PASSWORD: &str = "a secret/with%41 @ll:sorts";

/// A PostgreSQL server with one database `xiezhi` of one user `xiezhi`.
pub struct TestPostgres {
    running: Option<Running>,
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl TestPostgres {
    /// Makes a server and starts it; `None`, after saying so, where PostgreSQL is not installed.
    ///
    /// # Errors
    /// It cannot be made or does not start; its own words are in the error.
    pub async fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            skip("PostgreSQL is not installed (Debian's package postgresql)");
            return Ok(None);
        };
        let mut server = Self::make(programs)?;
        server.run().await?;
        server.sql(&format!("CREATE ROLE xiezhi LOGIN PASSWORD '{PASSWORD}'"))?;
        server.sql("CREATE DATABASE xiezhi OWNER xiezhi ENCODING 'UTF8' TEMPLATE template0")?;
        Ok(Some(server))
    }

    fn make(programs: PathBuf) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("xiezhi-postgres-")
            .tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        for name in ["data", "socket"] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        std::fs::set_permissions(
            folder.path().join("data"),
            std::fs::Permissions::from_mode(0o700),
        )?;
        certify(folder.path())?;
        std::fs::write(folder.path().join("password"), PASSWORD)?;
        write_secret(&folder.path().join("password-of-controller"), PASSWORD)?;
        for name in ["data", "socket", "server.key", "password"] {
            hand_over(&folder.path().join(name))?;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0")?;
        let server = Self {
            running: None,
            programs,
            port: free.local_addr()?.port(),
            settings: Vec::new(),
            folder,
        };
        let mut command = server.command("initdb");
        command.args(["--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"]);
        // As an installation in Chinese may be: neither the order nor the folding of SQLite.
        command.args(["--locale-provider=icu", "--icu-locale=zh-CN"]);
        command.args([
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--no-sync",
        ]);
        output(
            command
                .arg("--pwfile")
                .arg(server.path("password"))
                .arg(server.path("data")),
        )?;
        Ok(server)
    }

    /// Starts it (again) and waits until it answers.
    ///
    /// # Errors
    /// It ended or does not answer.
    pub async fn run(&mut self) -> Result<()> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.path("data"));
        command.arg("-k").arg(self.path("socket"));
        let port = self.port.to_string();
        command.args(["-h", "127.0.0.1", "-p", &port]);
        let certificate = format!("ssl_cert_file={}", self.path("server.pem").display());
        let key = format!("ssl_key_file={}", self.path("server.key").display());
        for setting in ["ssl=on", "shared_buffers=16MB", &certificate, &key] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut running = Running::start("postgres", &mut command, &self.path("postgres.log"))?;
        eventually("the database server answers", async || {
            running.check()?;
            Ok(self.sql("SELECT 1").ok())
        })
        .await?;
        self.running = Some(running);
        Ok(())
    }

    /// Sets something that postgresql.conf could, from the next start on: `fsync=off`.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Runs SQL as the server's administrator in the database `postgres`, and yields what it said.
    ///
    /// # Errors
    /// The server refused.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.sql_in("postgres", sql)
    }

    /// As [`TestPostgres::sql`], in another database.
    ///
    /// # Errors
    /// As there.
    pub fn sql_in(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = self.command("psql");
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        command.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]);
        Ok(output(command.arg("-h").arg(self.path("socket")))?
            .trim()
            .to_owned())
    }

    /// Address of the database through the socket; needs no password.
    #[must_use]
    pub fn url(&self) -> String {
        let (socket, port) = (self.path("socket"), self.port);
        format!(
            "postgres://xiezhi@localhost/xiezhi?host={}&port={port}",
            socket.display()
        )
    }

    /// Address of the database over TLS, as on another machine; needs the password.
    #[must_use]
    pub fn network_url(&self) -> String {
        let (ca, port) = (self.path("ca.pem"), self.port);
        let ca = ca.display();
        format!("postgres://xiezhi@127.0.0.1:{port}/xiezhi?sslmode=verify-full&sslrootcert={ca}")
    }

    /// Lines of a controller's configuration that name this server as another machine's.
    #[must_use]
    pub fn configuration(&self) -> String {
        let file = self.password_file();
        let (url, file) = (self.network_url(), file.display());
        format!("database: '{url}'\ndatabase_password_file: {file}\n")
    }

    /// A file with the password, for the controller's user.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.path("password-of-controller")
    }

    /// The password for [`TestPostgres::network_url`].
    #[must_use]
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Ends the server and all its processes at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    /// Stops (`STOP`) or continues (`CONT`) all its processes: a server that says nothing.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, name: &str) -> Result<()> {
        let running = self.running.as_ref().context("the server does not run")?;
        running.signal(name)?;
        for child in running.children() {
            // One that has just ended needs no signal.
            drop(
                Command::new("kill")
                    .args(["-s", name, &child.to_string()])
                    .status(),
            );
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir(self.folder.path())
            .env("LC_ALL", "C.UTF-8");
        if is_root() {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        command
    }
}

impl Drop for TestPostgres {
    /// A fast shutdown, so that no shared memory stays behind.
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        drop(self.signal("CONT"));
        if running.signal("INT").is_ok() {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while running.check().is_ok() && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        running.kill();
    }
}

/// Makes an empty schema on a server by its [`TestPostgres::url`], and yields the address of a database that
/// is nobody else's: for processes that share one server.
///
/// # Errors
/// PostgreSQL is not installed, or the server refused.
pub fn schema_on(server: &str, name: &str) -> Result<String> {
    let programs = programs().context("PostgreSQL is not installed")?;
    let mut command = Command::new(programs.join("psql"));
    let sql = format!("CREATE SCHEMA {name}");
    output(command.args([server, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", &sql]))?;
    let mark = if server.contains('?') { '&' } else { '?' };
    Ok(format!("{server}{mark}options[search_path]={name}"))
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?;
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    folders
        .filter(|folder| folder.join("initdb").exists())
        .max()
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn hand_over(path: &Path) -> Result<()> {
    if is_root() {
        std::os::unix::fs::chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
    }
    Ok(())
}

/// Makes an authority and the server's certificate for loopback.
fn certify(folder: &Path) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let own = authority.self_signed(&authority_key)?;
    std::fs::write(folder.join("ca.pem"), own.pem())?;
    let issuer = Issuer::new(authority, authority_key);
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    std::fs::write(folder.join("server.pem"), certificate.pem())?;
    let path = folder.join("server.key");
    std::fs::write(&path, key.serialize_pem())?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}
