//! `profile try` and `profile learn`: a live device, or its recording.
//!
//! As root the network is not touched: the agent runs this program once more as its worker, without
//! rights, which is handed the credentials through a pipe. What it learned comes back as text, and root
//! writes it.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_devices::{
    Ask, AskError, Fault, Limits, Login, PollError, Poller, Secret, Socket, Target,
};
use xiezhi_document::{Language, Said};
use xiezhi_profiles::{
    GENERIC, Hints, Library, Oid, Probe, Profile, Walk, learn as learning, replay,
};

use crate::{Arguments, credentials, files, show};

/// SNMP's port.
const PORT: u16 = 161;

/// How long a device may take to tell what its profile asks for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a device may take to tell everything.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Most values of a recording.
const MOST: usize = 500_000;

/// What parts a draft from its recording, on its way from the worker to root.
const SEPARATOR: &str = "\n# -- recording --\n";

/// `profile try`: what a device tells, read with its profile.
pub(crate) fn try_device(arguments: &Arguments) -> Result<ExitCode> {
    let language = arguments.language();
    let (library, profile_problems) = library(arguments)?;
    if let Some(path) = &arguments.walk {
        ensure!(
            arguments.words.is_empty(),
            "give an ADDRESS or --walk FILE, not both"
        );
        let (walk, bad) = files::walk(path)?;
        for bad in bad {
            say!("{}: {bad}", path.display());
        }
        let profile = chosen(
            &library,
            arguments,
            &replay::probe(&library, &walk),
            language,
        )?;
        show::reading(language, profile, &replay::read(profile, &walk));
        return Ok(code(profile_problems == 0));
    }
    if is_root() {
        return as_worker(arguments, "try");
    }
    runtime()?.block_on(try_live(arguments, &library, language))
}

/// `profile learn`: a draft and a recording, without names, addresses and serial numbers.
pub(crate) fn learn(arguments: &Arguments) -> Result<ExitCode> {
    let name = arguments
        .name
        .as_deref()
        .context("--name NAME is missing")?;
    let into = arguments
        .into
        .as_deref()
        .context("--into FOLDER is missing")?;
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.chars().all(is_word),
        "`--name {name}`: small letters, digits and dashes only"
    );
    let (draft, recording) = match &arguments.walk {
        Some(path) => {
            let (library, _) = library(arguments)?;
            learned(&library, name, &files::walk(path)?.0)
        }
        None if is_root() => {
            let output = ask_worker(arguments, "learn")?;
            let (draft, recording) = output
                .split_once(SEPARATOR)
                .context("the unprivileged part ended before it was done")?;
            (draft.to_owned(), recording.to_owned())
        }
        None => {
            let (library, _) = library(arguments)?;
            let walk = runtime()?.block_on(walk_live(arguments))?;
            learned(&library, name, &walk)
        }
    };
    if into == Path::new("-") {
        say_part!("{draft}{SEPARATOR}{recording}");
        return Ok(ExitCode::SUCCESS);
    }
    let yaml = into.join(format!("{name}.yaml"));
    files::write_new(&yaml, &draft)?;
    files::write_new(&into.join(format!("{name}.snmprec")), &recording)?;
    let shown = yaml.display();
    say!(
        "{}",
        show::said(
            arguments.language(),
            &Said::new(
                format!(
                    "made {shown} and its recording; read both, mend the draft, then: xiezhi-agent profile check {shown}"
                ),
                format!(
                    "已生成 {shown} 和记录文件。请先检查两个文件的内容，补全草稿，再运行：xiezhi-agent profile check {shown}"
                ),
            )
        )
    );
    Ok(ExitCode::SUCCESS)
}

fn learned(library: &Library, name: &str, walk: &Walk) -> (String, String) {
    let walk = learning::anonymised(walk);
    (learning::draft(library, name, &walk), walk.text())
}

fn library(arguments: &Arguments) -> Result<(Library, usize)> {
    let own = files::own(arguments.profiles.as_deref())?;
    let (library, problems) = files::library(&own);
    for one in &problems {
        say_part!("{}", one.shown(arguments.language()));
    }
    Ok((library, problems.len()))
}

/// The profile that was asked for, or the one that the device is of.
fn chosen<'l>(
    library: &'l Library,
    arguments: &Arguments,
    probe: &Probe,
    language: Language,
) -> Result<&'l Profile> {
    if let Some(name) = &arguments.profile {
        return library.get(name).with_context(|| {
            format!("there is no profile `{name}`; see `xiezhi-agent profile list`")
        });
    }
    if let Some(profile) = library.recognise(probe) {
        return Ok(profile);
    }
    let oid = &probe.sys_object_id;
    say!(
        "{}",
        show::said(
            language,
            &Said::new(
                format!("no profile is for {oid}; this is what the generic one reads"),
                format!("没有适用于 {oid} 的配置，以下由通用配置读取"),
            )
        )
    );
    library
        .get(GENERIC)
        .context("the generic profile is missing")
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

fn as_worker(arguments: &Arguments, command: &str) -> Result<ExitCode> {
    let (words, secret) = words(arguments, command)?;
    let mut child = agent(arguments, &words)?
        .spawn()
        .context("starting the agent's worker")?;
    hand_over(&mut child, &secret)?;
    let status = child.wait().context("waiting for the agent's worker")?;
    Ok(code(status.success()))
}

/// Runs a command of this program as the agent's worker, which reads `secret` from its standard input; whether it
/// went well.
pub(crate) fn by_worker(
    config: Option<&Path>,
    words: &[OsString],
    secret: &Secret,
) -> Result<bool> {
    let arguments = Arguments {
        config: config.map(Path::to_owned),
        ..Arguments::default()
    };
    let mut child = agent(&arguments, words)?
        .spawn()
        .context("starting the agent's worker")?;
    hand_over(&mut child, secret)?;
    let status = child.wait().context("waiting for the agent's worker")?;
    Ok(status.success())
}

fn ask_worker(arguments: &Arguments, command: &str) -> Result<String> {
    let (words, secret) = words(arguments, command)?;
    let mut child = agent(arguments, &words)?
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the agent's worker")?;
    hand_over(&mut child, &secret)?;
    let output = child
        .wait_with_output()
        .context("waiting for the agent's worker")?;
    // The worker has told why.
    ensure!(output.status.success(), "nothing was learned");
    String::from_utf8(output.stdout).context("reading what the worker learned")
}

/// The agent, beside this program, which gives up root's rights before it comes back here.
fn agent(arguments: &Arguments, words: &[OsString]) -> Result<Command> {
    let own = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(own.with_file_name("xiezhi-agent"));
    if let Some(path) = &arguments.config {
        command.arg("--config").arg(path);
    }
    command
        .arg("profile-as-worker")
        .args(words)
        .stdin(Stdio::piped());
    Ok(command)
}

fn hand_over(child: &mut Child, secret: &Secret) -> Result<()> {
    let Some(mut stdin) = child.stdin.take() else {
        return Ok(());
    };
    stdin
        .write_all(secret.reveal().as_bytes())
        .context("handing over the credentials")
}

/// The same command for the worker, which gets the credentials through its standard input.
fn words(arguments: &Arguments, command: &str) -> Result<(Vec<OsString>, Secret)> {
    let secret = credentials::text(arguments)?;
    let address = arguments
        .address()
        .context("ADDRESS or --walk FILE is missing")?;
    let mut words: Vec<OsString> = vec![command.into(), address.into()];
    words.extend(["--credentials".into(), "-".into()]);
    words.extend(["--lang".into(), lang(arguments.language()).into()]);
    let mut add = |key: &str, value: Option<OsString>| {
        if let Some(value) = value {
            words.extend([key.into(), value]);
        }
    };
    add("--profile", arguments.profile.clone().map(Into::into));
    add("--profiles", arguments.profiles.clone().map(Into::into));
    add("--name", arguments.name.clone().map(Into::into));
    add("--into", arguments.into.as_ref().map(|_| "-".into()));
    Ok((words, secret))
}

fn lang(language: Language) -> &'static str {
    match language {
        Language::English => "en",
        Language::Chinese => "zh",
    }
}

/// Where the device is, and what it accepts.
fn target(arguments: &Arguments) -> Result<Target> {
    let address = arguments
        .address()
        .context("ADDRESS or --walk FILE is missing")?;
    let text = credentials::text(arguments)?;
    let name = match &arguments.credentials {
        Some(path) => path.display().to_string(),
        None => "standard input".to_owned(),
    };
    let credentials = credentials::read(&name, &text, arguments.language())?;
    Ok(Target {
        address: resolve(&address)?,
        login: Login::new(&credentials)?,
        hints: Hints::default(),
        pace: None,
    })
}

fn resolve(text: &str) -> Result<SocketAddr> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(SocketAddr::new(address, PORT));
    }
    let found = if text.contains(':') {
        text.to_socket_addrs()
    } else {
        (text, PORT).to_socket_addrs()
    };
    found
        .ok()
        .and_then(|mut addresses| addresses.next())
        .with_context(|| format!("`{text}` is no address such as 10.8.0.7 or 10.8.0.7:1161, and no host of that name is known"))
}

async fn poller() -> Result<Poller> {
    let socket = Socket::open().await.context("opening a socket")?;
    Ok(Poller::new(socket, 1))
}

async fn try_live(
    arguments: &Arguments,
    library: &Library,
    language: Language,
) -> Result<ExitCode> {
    let mut target = target(arguments)?;
    let poller = poller().await?;
    let identity = poller
        .identify(&target)
        .await
        .map_err(|error| told(language, &error))?;
    let probe = poller.probe(&target, library, &identity).await;
    let profile = chosen(library, arguments, &probe, language)?;
    target.hints = profile.hints.clone();
    let (scalars, columns) = profile.objects();
    let ask = Ask { scalars, columns };
    let polled = poller
        .poll(&target, &ask, Limits::default(), PATIENCE)
        .await;
    show::reading(language, profile, &profile.read(&polled.answers));
    for Fault { object, problem } in &polled.faults {
        say!("  {object}: {problem}");
    }
    let (ms, requests) = (polled.elapsed.as_millis(), polled.counts.requests);
    let values = polled.answers.values();
    say!(
        "\n{}",
        show::said(
            language,
            &Said::new(
                format!("{values} values in {requests} requests, {ms} ms"),
                format!("{requests} 次请求，{values} 个值，用时 {ms} 毫秒"),
            )
        )
    );
    match &polled.error {
        Some(error) => Err(told(language, error)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Everything that the device tells.
async fn walk_live(arguments: &Arguments) -> Result<Walk> {
    let target = target(arguments)?;
    let poller = poller().await?;
    let language = arguments.language();
    let limits = Limits {
        rows: MOST,
        values: MOST,
    };
    let mut walk = Walk::default();
    // The standard part, LLDP's, and what the vendors say.
    for root in [&[1, 0, 8802][..], &[1, 3, 6, 1, 2, 1], &[1, 3, 6, 1, 4, 1]] {
        let part = poller
            .walk(&target, &Oid::new(root), limits, LONG_PATIENCE)
            .await;
        for (oid, value) in part.walk.iter() {
            walk.add(oid.clone(), value.clone());
        }
        if let Some(error) = &part.error {
            return Err(told(language, error));
        }
        if let Some(problem) = part.fault {
            say!("# {}: {problem}", Oid::new(root));
        }
    }
    if walk.iter().next().is_none() {
        bail!(told(language, &PollError::Ask(AskError::Silent)));
    }
    Ok(walk)
}

/// The error in `language`.
fn told(language: Language, error: &PollError) -> anyhow::Error {
    let chinese = match error {
        PollError::Ask(AskError::Silent) => {
            "设备没有应答：请检查设备是否开机、地址和团体字是否正确、设备是否允许本机访问"
        }
        PollError::Ask(AskError::Login(_)) => "设备不接受该用户：请检查用户名、口令和加密协议",
        PollError::Ask(AskError::Unreachable(_)) => "本机无法到达该设备：请检查网络和路由",
        PollError::Deadline(_) => "设备应答太慢，没有在规定时间内读完",
        PollError::Ask(_) => "设备的应答无法理解",
    };
    match language {
        Language::English => anyhow::anyhow!("{error}"),
        Language::Chinese => anyhow::anyhow!("{chinese}（{error}）"),
    }
}
