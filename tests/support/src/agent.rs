//! A real agent in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::controller::TestController;
use crate::namespace::Namespace;
use crate::process::{Running, output, program};

/// An agent process, enrolled at a [`TestController`].
pub struct TestAgent {
    folder: TempDir,
    program: PathBuf,
    environment: Vec<(String, String)>,
    namespace: Option<Namespace>,
    wrapper: Vec<String>,
    running: Option<Running>,
}

impl TestAgent {
    /// Enrols an agent and starts it with a report every second.
    ///
    /// # Errors
    /// Any step failed; the program's own words are in the error.
    pub fn start(controller: &TestController) -> Result<Self> {
        let mut agent = Self::enrol(controller, "interval: 1s\nreconnect_within: 1s\n")?;
        agent.run()?;
        Ok(agent)
    }

    /// Enrols an agent with these lines of configuration and does not start it.
    ///
    /// # Errors
    /// As [`TestAgent::start`].
    pub fn enrol(controller: &TestController, configuration: &str) -> Result<Self> {
        Self::enrol_at(controller, controller.agents(), configuration)
    }

    /// As [`TestAgent::enrol`], with another way to the controller.
    ///
    /// # Errors
    /// As there.
    pub fn enrol_at(
        controller: &TestController,
        address: &str,
        configuration: &str,
    ) -> Result<Self> {
        let agent = Self::prepare(configuration)?;
        agent.enrol_with(address, &controller.token(1)?, &[])?;
        Ok(agent)
    }

    /// Runs the command `enrol`.
    ///
    /// # Errors
    /// The command failed; what it said is in the error.
    pub fn enrol_with(&self, address: &str, token: &str, more: &[&str]) -> Result<String> {
        let url = format!("https://{address}");
        let mut arguments = vec!["enrol", "--controller", &url, "--token", token];
        arguments.extend(more);
        self.command(&arguments)
    }

    /// Makes the agent's folder and nothing else.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn prepare(configuration: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("xiezhi-agent-").tempdir()?;
        let program = program("xiezhi-agent")?;
        // As root the agent runs its worker as another user, who must be able to get here.
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let state = folder.path().join("state");
        let text = format!(
            "state_dir: {}\nuser: nobody\n{configuration}",
            state.display()
        );
        std::fs::write(folder.path().join("agent.yaml"), text)?;
        Ok(Self {
            folder,
            program,
            environment: Vec::new(),
            namespace: None,
            wrapper: Vec::new(),
            running: None,
        })
    }

    /// Uses another version's program from its next start on.
    pub fn set_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Moves it to a network of its own: all that it starts from now on lives there.
    ///
    /// # Errors
    /// Too many files are open.
    pub fn set_namespace(&mut self, namespace: &Namespace) -> Result<()> {
        self.namespace = Some(namespace.try_clone()?);
        Ok(())
    }

    /// Has another program start it from now on, which must become it (`exec`).
    pub fn set_wrapper(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Sets what its processes find in their environment, from the next start on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Starts the process (again).
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&mut self) -> Result<()> {
        let mut command = self.prepared(&["run"]);
        let log = self.folder.path().join("agent.log");
        self.running = Some(self.there(|| Running::start("agent", &mut command, &log))?);
        Ok(())
    }

    /// Runs one of the agent's commands and yields what it printed.
    ///
    /// # Errors
    /// The command failed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.prepared(arguments);
        self.there(|| output(&mut command))
    }

    /// Starts one of the agent's commands, for a test that ends it before it has.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_command(&self, arguments: &[&str]) -> Result<Running> {
        let mut command = self.prepared(arguments);
        let log = self.folder.path().join("command.log");
        self.there(|| Running::start("agent", &mut command, &log))
    }

    /// Starts a process where the agent lives.
    fn there<T: Send>(&self, start: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.inside(start)?,
            None => start(),
        }
    }

    fn prepared(&self, arguments: &[&str]) -> Command {
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("agent.yaml"))
            .envs(self.environment.iter().cloned());
        command
    }

    /// Its folder; the state lies in `state`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its state folder: identity, spool, positions.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Everything that it wrote to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default()
    }

    /// Stops it as an administrator would; fails if it did not end by itself with success.
    ///
    /// # Errors
    /// It is not running, hangs, or ended with a failure.
    pub fn stop(&mut self) -> Result<()> {
        let running = self.process()?;
        if !running.stop()? {
            bail!("the agent failed when it was stopped:\n{}", running.log());
        }
        self.running = None;
        Ok(())
    }

    /// The running process.
    ///
    /// # Errors
    /// It is not running.
    pub fn process(&mut self) -> Result<&mut Running> {
        match &mut self.running {
            Some(running) => Ok(running),
            None => bail!("the agent is not running"),
        }
    }

    /// Ends all its processes at once, as a crash would.
    pub fn kill(&mut self) {
        self.running = None;
    }
}
