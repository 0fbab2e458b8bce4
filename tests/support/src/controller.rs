//! A real controller in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::api::Api;
use crate::process::{Running, output, program};
use crate::wait::eventually;

/// Password of the administrator of every test controller.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A controller process with the demonstration's courts.
pub struct TestController {
    folder: TempDir,
    program: PathBuf,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    agents: String,
    web: String,
}

impl TestController {
    /// Makes the data folder and starts the controller.
    ///
    /// # Errors
    /// Any step failed; the program's own words are in the error.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// As [`TestController::start`], with further lines of configuration.
    ///
    /// # Errors
    /// As there.
    pub async fn start_with(configuration: &str) -> Result<Self> {
        let mut controller = Self::prepare(configuration)?;
        controller.run().await?;
        Ok(controller)
    }

    /// As [`TestController::start`], without any court.
    ///
    /// # Errors
    /// As there.
    pub async fn start_empty() -> Result<Self> {
        let program = program("xiezhi-controller")?;
        let mut controller = Self::prepare_empty(&program, "127.0.0.1", "")?;
        controller.run().await?;
        Ok(controller)
    }

    /// Makes the data folder without starting the controller.
    ///
    /// # Errors
    /// As [`TestController::start`].
    pub fn prepare(configuration: &str) -> Result<Self> {
        Self::prepare_as(&program("xiezhi-controller")?, "127.0.0.1", configuration)
    }

    /// As [`TestController::prepare`], with another version's program, or listening for agents at
    /// another address of this machine.
    ///
    /// # Errors
    /// As there.
    pub fn prepare_as(program: &Path, listen: &str, configuration: &str) -> Result<Self> {
        let controller = Self::prepare_empty(program, listen, configuration)?;
        controller.command(&["sites", "import"])?;
        Ok(controller)
    }

    fn prepare_empty(program: &Path, listen: &str, configuration: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("xiezhi-controller-")
            .tempdir()?;
        let path = folder.path().display();
        let text = format!(
            "data_dir: {path}/data\nagents: {listen}:0\nweb: {{listen: '127.0.0.1:0', tls: off}}\n\
             passphrase_file: {path}/passphrase\n{configuration}"
        );
        std::fs::write(folder.path().join("controller.yaml"), text)?;
        for name in ["passphrase", "root-passphrase", "password"] {
            write_secret(&folder.path().join(name), PASSWORD)?;
        }
        let controller = Self {
            program: program.to_owned(),
            environment: Vec::new(),
            running: None,
            agents: String::new(),
            web: String::new(),
            folder,
        };
        let root = controller.path("root-passphrase");
        let password = controller.path("password");
        controller.command(&[
            "init",
            "--root-passphrase-file",
            &root,
            "--password-file",
            &password,
            "--offline-dir",
            &controller.path("offline-root"),
        ])?;
        Ok(controller)
    }

    /// Starts the process (again) and waits until its ports are open. The ports of the first start
    /// are kept, so that agents find it again.
    ///
    /// # Errors
    /// It ended or did not open its ports.
    pub async fn run(&mut self) -> Result<()> {
        let ready = self.folder.path().join("ready.json");
        drop(std::fs::remove_file(&ready));
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.folder.path().join("controller.yaml"));
        command
            .args(["run", "--one-time-login", "--ready-file"])
            .arg(&ready)
            .envs(self.environment.iter().cloned());
        let log = self.folder.path().join("controller.log");
        let mut running = Running::start("controller", &mut command, &log)?;
        let text = eventually("the controller opens its ports", async || {
            running.check()?;
            Ok(std::fs::read_to_string(&ready)
                .ok()
                .filter(|text| !text.is_empty()))
        })
        .await?;
        let ready: serde_json::Value =
            serde_json::from_str(&text).context("reading the ready file")?;
        ready["agents"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut self.agents);
        ready["web"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut self.web);
        self.running = Some(running);
        self.keep_ports()
    }

    /// Uses another version's program from its next start on.
    pub fn set_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Sets what it finds in its environment, from the next start on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Writes the ports that the system chose into the configuration.
    fn keep_ports(&self) -> Result<()> {
        let path = self.folder.path().join("controller.yaml");
        let text = std::fs::read_to_string(&path)?;
        let agents = self.agents.rsplit_once(':').map_or("", |(host, _)| host);
        let text = text.replace(
            &format!("agents: {agents}:0\n"),
            &format!("agents: {}\n", self.agents),
        );
        let text = text.replace("listen: '127.0.0.1:0'", &format!("listen: '{}'", self.web));
        Ok(std::fs::write(path, text)?)
    }

    /// Runs one of the controller's commands beside it and yields what it printed.
    ///
    /// # Errors
    /// The command failed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.folder.path().join("controller.yaml"))
            .args(arguments);
        output(&mut command)
    }

    /// A token for the high court's hosts.
    ///
    /// # Errors
    /// The command failed.
    pub fn token(&self, uses: u32) -> Result<String> {
        let token = self.command(&[
            "token",
            "create",
            "--site",
            "gs",
            "--uses",
            &uses.to_string(),
        ])?;
        Ok(token.trim().to_owned())
    }

    /// Signs in at the browsers' port.
    ///
    /// # Errors
    /// The controller refused.
    pub async fn api(&self) -> Result<Api> {
        Api::sign_in(&self.web, PASSWORD).await
    }

    /// What `/readyz` answers, well or unwell.
    ///
    /// # Errors
    /// It did not answer.
    pub async fn readiness(&self) -> Result<serde_json::Value> {
        crate::api::probe(&self.web).await
    }

    /// The agents' port, `host:port`.
    #[must_use]
    pub fn agents(&self) -> &str {
        &self.agents
    }

    /// The browsers' port, `host:port`.
    #[must_use]
    pub fn web(&self) -> &str {
        &self.web
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The running process.
    ///
    /// # Errors
    /// It is not running.
    pub fn process(&mut self) -> Result<&mut Running> {
        match &mut self.running {
            Some(running) => Ok(running),
            None => bail!("the controller is not running"),
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Stops it as an administrator would; fails if it did not end by itself with success.
    ///
    /// # Errors
    /// It is not running, hangs, or ended with a failure.
    pub fn stop(&mut self) -> Result<()> {
        let running = self.process()?;
        if !running.stop()? {
            bail!(
                "the controller failed when it was stopped:\n{}",
                running.log()
            );
        }
        self.running = None;
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// The controller refuses secrets that others may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
