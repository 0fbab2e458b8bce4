//! `cargo xtask demo`: a controller and this machine's agent, live in a browser.
//!
//! Everything lies in one temporary folder and ends with this command.

use std::os::unix::process::CommandExt as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{call, cargo, output, target};

/// Simulated hosts of `--province`: a few in every court.
const SIMULATED_HOSTS: u32 = 339;

/// Builds, starts and waits for Ctrl-C.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    println!("building (the first time takes some minutes) …");
    let mut packages = vec!["--package", "xiezhi-agentd", "--package", "xiezhi-controllerd"];
    if options.province {
        packages.extend(["--package", "xiezhi-bench"]);
    }
    call(cargo(&["build", "--release", "--quiet"]).args(&packages))?;
    let stop = stop_on_signal()?;
    let folder = Folder::new()?;
    let demo = Demo { folder: &folder.0, programs: target().join("release"), options };
    let mut children = Children::default();
    demo.prepare()?;
    let ready = demo.start_controller(&mut children)?;
    demo.enrol_this_machine(&ready)?;
    demo.start_agent(&mut children)?;
    if demo.options.province {
        demo.start_province(&mut children)?;
    }
    demo.greet(&ready);
    children.wait(demo.options.stop_after, &stop)
}

struct Options {
    province: bool,
    port: u16,
    /// For tests: end by itself.
    stop_after: Option<Duration>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { province: false, port: 8080, stop_after: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--province" => options.province = true,
                "--port" => {
                    let port = rest.next().context("--port needs a number")?;
                    options.port = port.parse().context("--port needs a number")?;
                }
                "--stop-after" => {
                    let seconds = rest.next().context("--stop-after needs seconds")?;
                    options.stop_after = Some(Duration::from_secs(seconds.parse()?));
                }
                other => bail!("unknown argument `{other}`; there are --province, --port N, --stop-after SECONDS"),
            }
        }
        Ok(options)
    }

    /// The wanted port, or any free one if it is taken.
    fn web_address(&self) -> SocketAddr {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        match TcpListener::bind(wanted) {
            Ok(_) => wanted,
            Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

struct Demo<'a> {
    folder: &'a Path,
    programs: PathBuf,
    options: Options,
}

/// What the controller says once its ports are open.
struct Ready {
    agents: String,
    login: String,
}

impl Demo<'_> {
    fn controller(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("xiezhi-controller"));
        command.arg("--config").arg(self.folder.join("controller.yaml")).args(arguments);
        command
    }

    fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("xiezhi-agent"));
        command.args(arguments).arg("--config").arg(self.folder.join("agent.yaml"));
        command
    }

    fn prepare(&self) -> Result<()> {
        let folder = self.folder.display();
        let controller = format!(
            "data_dir: {folder}/controller\nagents: 127.0.0.1:0\nweb: {{listen: '{}', tls: off}}\n\
             passphrase_file: {folder}/passphrase\nlog: warn\n",
            self.options.web_address()
        );
        let agent = format!("state_dir: {folder}/agent\nuser: nobody\nlog: warn\nreconnect_within: 2s\n");
        std::fs::write(self.folder.join("controller.yaml"), controller)?;
        std::fs::write(self.folder.join("agent.yaml"), agent)?;
        // The demonstration's secrets are random and die with its folder.
        for name in ["passphrase", "root-passphrase", "password"] {
            write_private(&self.folder.join(name), &random_text()?)?;
        }
        let (root, password) = (self.folder.join("root-passphrase"), self.folder.join("password"));
        let mut init = self.controller(&["init", "--root-passphrase-file"]);
        output(init.arg(root).arg("--password-file").arg(password))?;
        output(&mut self.controller(&["sites", "import"]))?;
        Ok(())
    }

    fn start_controller(&self, children: &mut Children) -> Result<Ready> {
        let ready_file = self.folder.join("ready.json");
        let mut command = self.controller(&["run", "--one-time-login", "--ready-file"]);
        children.start("controller", command.arg(&ready_file).stdout(Stdio::null()))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready_file) {
                let ready: serde_json::Value = serde_json::from_str(&text)?;
                let field = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
                return Ok(Ready { agents: field("agents"), login: field("login") });
            }
            children.check()?;
            if Instant::now() > deadline {
                bail!("the controller did not open its ports within 30 s");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn enrol_this_machine(&self, ready: &Ready) -> Result<()> {
        let token = output(&mut self.controller(&["token", "create", "--site", "gs"]))?;
        let token = token.trim();
        let url = format!("https://{}", ready.agents);
        output(&mut self.agent(&["enrol", "--controller", &url, "--token", token]))?;
        Ok(())
    }

    fn start_agent(&self, children: &mut Children) -> Result<()> {
        children.start("agent", &mut self.agent(&["run"]))
    }

    fn start_province(&self, children: &mut Children) -> Result<()> {
        println!("adding {SIMULATED_HOSTS} simulated hosts …");
        let mut command = Command::new(self.programs.join("xiezhi-load"));
        command.arg("province").arg(self.folder.join("controller")).arg(self.folder.join("passphrase"));
        command.arg(SIMULATED_HOSTS.to_string()).arg(self.folder.join("ready.json"));
        children.start("simulated hosts", command.stdout(Stdio::null()))
    }

    fn greet(&self, ready: &Ready) {
        println!("\n  獬豸 is running. Open this address; it signs you in once:\n\n    {}\n", ready.login);
        println!("  This machine is a host of 甘肃省高级人民法院 and reports every 15 s.");
        if self.options.province {
            println!("  Hosts marked 模拟 are simulated.");
        }
        println!("  Everything lies in {}.", self.folder.display());
        println!("  Stop with Ctrl-C; nothing stays behind.\n");
    }
}

/// A temporary folder that only its owner reads, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("xiezhi-demo-{}", std::process::id()));
        // The worker's user must pass through to its own folder below.
        std::fs::DirBuilder::new().mode(0o711).create(&path).with_context(|| format!("making {}", path.display()))?;
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

/// The started programs; they end with this one.
#[derive(Default)]
struct Children(Vec<(&'static str, Child)>);

impl Children {
    fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        // A group of its own: Ctrl-C is ours to pass on, in order.
        command.process_group(0);
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting the {name}"))?;
        self.0.push((name, child));
        Ok(())
    }

    /// Fails if one of them has ended.
    fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                bail!("the {name} ended: {status}");
            }
        }
        Ok(())
    }

    /// Waits until one of them ends, the time is over or a person stops it.
    fn wait(&mut self, limit: Option<Duration>, stop: &AtomicBool) -> Result<()> {
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
            let asked = Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status();
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
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    ctrlc::set_handler(move || told.store(true, Ordering::Relaxed)).context("listening for Ctrl-C")?;
    Ok(stop)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

fn random_text() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 20];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
