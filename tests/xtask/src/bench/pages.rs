//! What the first page costs a browser, and what open pages cost the controller.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::http::request;
use super::load::{self, Load};
use super::span::{Span, machine_load, pause};
use super::{Programs, verdict};
use crate::stage::{Children, Ready, Stage};

/// Loads with an empty cache; the median counts.
const LOADS: usize = 7;

/// Bytes of script on the wire.
const MOST_SCRIPT: f64 = 60_000.0;

/// Milliseconds until something is painted.
const MOST_PAINT_MS: f64 = 300.0;

/// Pages that are open at one time.
const VIEWERS: usize = 200;

/// Hosts that come and go.
const HOSTS: usize = 240;

/// Changes of hosts' states in a second: each host that comes also goes.
const CHANGES: f64 = 60.0;

/// Script on the wire and first contentful paint of the overview, cold, over loopback.
pub(super) fn page_weight(programs: &Programs) -> Result<()> {
    let signed = Signed::start(programs)?;
    let driver = Driver::start()?;
    let mut paints = Vec::new();
    let mut script = 0.0_f64;
    for _ in 0..LOADS {
        let (bytes, paint) = driver.first_page(&signed)?;
        script = script.max(bytes);
        paints.push(paint);
    }
    paints.sort_by(f64::total_cmp);
    let median = paints.get(LOADS / 2).copied().unwrap_or(f64::NAN);
    println!(
        "{LOADS} cold loads of the overview of 113 courts: {script:.0} B of script; first contentful paint {paints:.0?} ms; \
         machine load {}",
        machine_load()
    );
    verdict(
        "page-weight",
        &format!("{:.1} kB of script, {median:.0} ms", script / 1000.0),
        "–",
        "60 kB, 300 ms",
        script <= MOST_SCRIPT && median <= MOST_PAINT_MS,
    );
    Ok(())
}

/// What each of many viewers of the overview is sent while hosts come and go, and what that takes.
pub(super) fn wall_live(programs: &Programs) -> Result<()> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
    let mut hosts = flapping(&stage)?;
    let signed = Signed::on(stage)?;
    let id = signed.children.id("controller").context("no controller")?;
    load::announce(&signed.stage, &signed.ready)?;
    hosts.wait_until("changes", Duration::from_secs(60), |changes| {
        changes >= 2.0 * HOSTS as f64
    })?;
    // What the hosts cost without anybody who looks.
    let alone = Span::begin(id);
    pause(15);
    let alone = alone.end().cores();
    let viewers = Viewers::open(&signed)?;
    pause(3);
    let (span, start) = (Span::begin(id), Instant::now());
    let (bytes, changes) = (viewers.bytes(), hosts.get("changes"));
    pause(programs.seconds.unwrap_or(60));
    let seconds = start.elapsed().as_secs_f64();
    let cores = span.end().cores();
    let each = (viewers.bytes() - bytes) as f64 / seconds / VIEWERS as f64;
    let pace = (hosts.get("changes") - changes) / seconds;
    let open = viewers.still_open();
    println!(
        "{open} of {VIEWERS} viewers for {seconds:.0} s at {pace:.1} changes/s: {each:.0} B/s each; {cores:.3} core, of it \
         {alone:.3} without viewers (connections and goodbyes of the hosts); machine load {}",
        machine_load()
    );
    drop(viewers);
    hosts.stop()?;
    verdict(
        "wall-live",
        &format!("{:.2} kB/s each, {cores:.2} core", each / 1000.0),
        "–",
        "2 kB/s, 0.5 core at 60 changes/s",
        open == VIEWERS && pace >= CHANGES * 0.9 && each <= 2000.0 && cores <= 0.5,
    );
    Ok(())
}

fn flapping(stage: &Stage) -> Result<Load> {
    let mut command = load::command(&["flap"]);
    command
        .arg(stage.folder().join("controller"))
        .arg(stage.folder().join("passphrase"))
        .arg(load::address_file(stage))
        .arg(HOSTS.to_string())
        .arg((CHANGES / 2.0).to_string());
    let mut hosts = Load::start(&mut command)?;
    hosts.prepared()?;
    Ok(hosts)
}

/// A running controller and a session with it.
struct Signed {
    // Dropped in this order.
    children: Children,
    ready: Ready,
    stage: Stage,
    port: u16,
    cookie: String,
}

impl Signed {
    fn start(programs: &Programs) -> Result<Self> {
        let web = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
        Self::on(stage)
    }

    fn on(stage: Stage) -> Result<Self> {
        let mut children = Children::default();
        let ready = stage.start_controller(&mut children)?;
        let (base, code) = ready
            .login
            .split_once("/login?code=")
            .context("no one-time login")?;
        let port = base.rsplit(':').next().context("no port")?.parse()?;
        let headers = [
            ("X-Xiezhi-Request", "1"),
            ("Content-Type", "application/json"),
        ];
        let body = json!({ "code": code }).to_string();
        let entered = request(port, "POST", "/api/v1/login/once", &headers, &body)?;
        let cookie = entered
            .header("set-cookie")
            .and_then(|value| value.split(';').next())
            .with_context(|| format!("not signed in: {}", entered.body))?
            .to_owned();
        Ok(Self {
            children,
            ready,
            stage,
            port,
            cookie,
        })
    }
}

/// Connections that read the live updates of the overview and count them.
struct Viewers {
    bytes: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Viewers {
    fn open(signed: &Signed) -> Result<Self> {
        let viewers = Self {
            bytes: Arc::default(),
            ended: Arc::default(),
            stop: Arc::default(),
        };
        let (port, cookie) = (signed.port, &signed.cookie);
        // As a browser asks.
        let text = format!(
            "GET /api/v1/live?rows=false HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\
             Accept-Encoding: gzip, deflate, br\r\nCookie: {cookie}\r\n\r\n"
        );
        for _ in 0..VIEWERS {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            stream.write_all(text.as_bytes())?;
            let (bytes, ended) = (Arc::clone(&viewers.bytes), Arc::clone(&viewers.ended));
            let stop = Arc::clone(&viewers.stop);
            std::thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                while !stop.load(Ordering::Relaxed) {
                    match stream.read(&mut buffer) {
                        Ok(read @ 1..) => bytes.fetch_add(read as u64, Ordering::Relaxed),
                        _ => break,
                    };
                }
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        Ok(viewers)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn still_open(&self) -> usize {
        VIEWERS - self.ended.load(Ordering::Relaxed) as usize
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Debian's Chromium behind its driver.
struct Driver {
    _children: Children,
    port: u16,
}

impl Driver {
    fn start() -> Result<Self> {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = free.local_addr()?.port();
        drop(free);
        let mut children = Children::default();
        let mut command = Command::new("chromedriver");
        command
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        children.start("browser's driver", &mut command)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            children.check()?;
            if Instant::now() > deadline {
                bail!("chromedriver did not open its port");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self {
            _children: children,
            port,
        })
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let headers = [("Content-Type", "application/json")];
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let answer = request(self.port, method, path, &headers, &body)?;
        let found: Value =
            serde_json::from_str(&answer.body).context("reading the driver's answer")?;
        if answer.status != 200 {
            bail!("{path}: {}", answer.body);
        }
        Ok(found.get("value").cloned().unwrap_or_default())
    }

    /// Bytes of script and milliseconds to the first paint of the overview, in a new browser.
    fn first_page(&self, signed: &Signed) -> Result<(f64, f64)> {
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=1440,900",
        ];
        let wanted =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let opened = self.ask("POST", "/session", &wanted)?;
        let id = opened
            .get("sessionId")
            .and_then(Value::as_str)
            .context("no session")?;
        let session = format!("/session/{id}");
        let measured = self.measure(&session, signed);
        self.ask("DELETE", &session, &Value::Null)?;
        measured
    }

    fn measure(&self, session: &str, signed: &Signed) -> Result<(f64, f64)> {
        let base = format!("http://127.0.0.1:{}", signed.port);
        let go = |path: &str| {
            let body = json!({ "url": format!("{base}{path}") });
            self.ask("POST", &format!("{session}/url"), &body)
        };
        // A page without script, so that the cookie can be set before anything is loaded.
        go("/api/v1/nowhere")?;
        let (name, value) = signed.cookie.split_once('=').context("no cookie")?;
        let cookie = json!({"cookie": {"name": name, "value": value, "path": "/"}});
        self.ask("POST", &format!("{session}/cookie"), &cookie)?;
        go("/")?;
        let script = "const paint = performance.getEntriesByName('first-contentful-paint')[0];
            if (!paint || !document.querySelector('.hex')) return null;
            const scripts = performance.getEntriesByType('resource').filter((one) => new URL(one.name).pathname.endsWith('.js'));
            return [scripts.reduce((sum, one) => sum + one.encodedBodySize, 0), paint.startTime];";
        let body = json!({ "script": script, "args": [] });
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.ask("POST", &format!("{session}/execute/sync"), &body)?;
            let number = |at: usize| found.get(at).and_then(Value::as_f64);
            if let (Some(bytes), Some(paint)) = (number(0), number(1)) {
                return Ok((bytes, paint));
            }
            if Instant::now() > deadline {
                bail!("the overview was not shown within 20 s");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
