//! A controller and this machine's agent in a temporary folder, for the demonstration and the
//! figures. Everything ends, and the folder goes, with the values that stand for it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::output;

/// A prepared controller and the programs under test.
pub(crate) struct Stage {
    folder: Folder,
    controller: PathBuf,
    agent: PathBuf,
}

/// What the controller says once its ports are open.
pub(crate) struct Ready {
    /// The agents' port.
    pub(crate) agents: String,
    /// Address with the one-time login.
    pub(crate) login: String,
}

impl Stage {
    /// Makes the folder, the authority, the account and the 113 courts. `agent_lines` are further
    /// lines of the agent's configuration.
    pub(crate) fn prepare(
        controller: PathBuf,
        agent: PathBuf,
        web: SocketAddr,
        agent_lines: &str,
    ) -> Result<Self> {
        let stage = Self {
            folder: Folder::new()?,
            controller,
            agent,
        };
        let folder = stage.folder().display().to_string();
        let configuration = format!(
            "data_dir: {folder}/controller\nagents: 127.0.0.1:0\nweb: {{listen: '{web}', tls: off}}\n\
             passphrase_file: {folder}/passphrase\nlog: warn\n"
        );
        let agent = format!(
            "state_dir: {folder}/agent\nuser: nobody\nlog: warn\n\
             devices: {{folder: {folder}/devices.d, links: {folder}/links.d, profiles: {folder}/profiles.d, \
             state_dir: {folder}/devices, user: nobody}}\n{agent_lines}"
        );
        std::fs::write(stage.folder().join("controller.yaml"), configuration)?;
        std::fs::write(stage.folder().join("agent.yaml"), agent)?;
        // Random secrets that die with the folder.
        for name in ["passphrase", "root-passphrase", "password"] {
            write_private(&stage.folder().join(name), &random_text()?)?;
        }
        let root = stage.folder().join("root-passphrase");
        let password = stage.folder().join("password");
        let mut init = stage.controller(&["init", "--root-passphrase-file"]);
        init.arg(root)
            .arg("--offline-dir")
            .arg(stage.folder().join("offline-root"));
        output(init.arg("--password-file").arg(password))?;
        output(&mut stage.controller(&["sites", "import"]))?;
        Ok(stage)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// A command of the controller's program.
    pub(crate) fn controller(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.controller);
        command
            .arg("--config")
            .arg(self.folder().join("controller.yaml"))
            .args(arguments);
        command
    }

    fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.agent);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder().join("agent.yaml"));
        command
    }

    /// Starts the controller and waits until its ports are open.
    pub(crate) fn start_controller(&self, children: &mut Children) -> Result<Ready> {
        let ready_file = self.folder().join("ready.json");
        let mut command = self.controller(&["run", "--one-time-login", "--ready-file"]);
        children.start("controller", command.arg(&ready_file).stdout(Stdio::null()))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready_file) {
                let ready: serde_json::Value = serde_json::from_str(&text)?;
                let field = |name: &str| {
                    ready
                        .get(name)
                        .and_then(|value| value.as_str())
                        .unwrap_or_default()
                        .to_owned()
                };
                return Ok(Ready {
                    agents: field("agents"),
                    login: field("login"),
                });
            }
            children.check()?;
            if Instant::now() > deadline {
                bail!("the controller did not open its ports within 30 s");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Enrols this machine at the high court and starts its agent.
    pub(crate) fn start_agent(&self, children: &mut Children, ready: &Ready) -> Result<()> {
        let token = output(&mut self.controller(&["token", "create", "--site", "gs"]))?;
        let url = format!("https://{}", ready.agents);
        output(&mut self.agent(&["enrol", "--controller", &url, "--token", token.trim()]))?;
        children.start("agent", &mut self.agent(&["run"]))
    }
}

/// A temporary folder that only its owner lists, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("xiezhi-{}", std::process::id()));
        // The worker's user must pass through to its own folder below.
        let made = std::fs::DirBuilder::new().mode(0o711).create(&path);
        made.with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// The started programs; they end with this value, the last first.
#[derive(Default)]
pub(crate) struct Children(Vec<(&'static str, Child)>);

impl Children {
    /// Starts one.
    pub(crate) fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        // A group of its own: Ctrl-C is ours to pass on, in order.
        command.process_group(0).stdin(Stdio::null());
        let child = command
            .spawn()
            .with_context(|| format!("starting the {name}"))?;
        self.0.push((name, child));
        Ok(())
    }

    /// Starts one whose standard output is read.
    pub(crate) fn start_talking(
        &mut self,
        name: &'static str,
        command: &mut Command,
    ) -> Result<ChildStdout> {
        self.start(name, command.stdout(Stdio::piped()))?;
        let child = self.0.last_mut().map(|(_, child)| child);
        child
            .and_then(|child| child.stdout.take())
            .with_context(|| format!("the {name} says nothing"))
    }

    /// Process id of one.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, child)| child.id())
    }

    /// Fails if one of them has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                bail!("the {name} ended: {status}");
            }
        }
        Ok(())
    }

    /// Waits until one of them ends, the time is over or a person stops it.
    pub(crate) fn wait(&mut self, limit: Option<Duration>, stop: &AtomicBool) -> Result<()> {
        let start = Instant::now();
        while limit.is_none_or(|limit| start.elapsed() < limit) && !stop.load(Ordering::Relaxed) {
            self.check()?;
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for (name, child) in self.0.iter_mut().rev() {
            // The shell's own `kill`: the program of that name is not on every machine.
            let asked = Command::new("sh")
                .args(["-c", "kill \"$0\"", &child.id().to_string()])
                .stderr(Stdio::null())
                .status();
            let deadline = Instant::now() + Duration::from_secs(10);
            while asked.is_ok() && Instant::now() < deadline {
                if !matches!(child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            if matches!(child.try_wait(), Ok(None)) {
                eprintln!("the {name} does not stop; ending it");
                drop(child.kill());
            }
            drop(child.wait());
        }
    }
}

/// Ctrl-C and SIGTERM end the wait instead of this process, so that the folder is removed.
pub(crate) fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    ctrlc::set_handler(move || told.store(true, Ordering::Relaxed))
        .context("listening for Ctrl-C")?;
    Ok(stop)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

fn random_text() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 20];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
