//! The running controller: opens the stores, then the two ports, and closes them in reverse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use prometheus::Registry;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};
use xiezhi_api::{ApiOptions, AppState, Certificate, Certificates, Enrolment, Parts, ServeOptions};
use xiezhi_identity::{Authority, SecretBox};
use xiezhi_ingest::{Clock, Ingest, IngestOptions, IngestParts, SharedHealth};
use xiezhi_series::{SeriesOptions, SeriesStore};
use xiezhi_store::Store;

use crate::cli::Run;
use crate::clock::{now_ms, now_s};
use crate::commands::{database_address, passphrase_source};
use crate::config::{Cluster, Config};
use crate::reserve::{self, Reserve};
use crate::terminal::say;
use crate::web_certificate::WebCertificate;
use crate::{authority_watch, cluster, control, own_metrics};

/// How long a one-time login is valid.
const LOGIN_CODE_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Runs until a signal asks it to stop.
pub(crate) fn run(config: Config, how: &Run) -> Result<()> {
    // Asked for before anything else runs: at the terminal it waits for a person.
    let passphrase = passphrase_source(&config).read("the online key")?;
    let authority = Authority::open(&config.authority_dir(), &passphrase, now_s())
        .context("opening the certificate authority")?;
    drop(passphrase);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("controller")
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(config, Arc::new(authority), how))
}

async fn serve(config: Config, authority: Arc<Authority>, how: &Run) -> Result<()> {
    let reserve = Reserve::of(&config.data_dir);
    let store = reserve::open_with(&reserve, async || open_state(&config).await).await?;
    let series = reserve::open_with(&reserve, async || open_series(&config).await).await?;
    let registry = Registry::new();
    let cluster = cluster::prepare(&config, &registry)?;
    let agents = listen(config.agents, "agents")?;
    let web = listen(config.web.listen, "browsers")?;
    let (agents_at, web_at) = (agents.local_addr()?, web.local_addr()?);
    let options = IngestOptions {
        handshakes_per_second: f64::from(config.handshakes_per_second),
        ..IngestOptions::default()
    };
    let parts = IngestParts {
        listener: agents,
        store: store.clone(),
        series: series.clone(),
        authority: Arc::clone(&authority),
        tls: None,
        options,
    };
    let ingest = Ingest::start(parts, &registry)
        .await
        .context("opening the agents' port")?;
    authority_watch::register(&registry, &authority)?;
    let own_metrics = own_metrics::start(&registry, ingest.fleet(), series.clone())?;
    let control = control::start(&config.data_dir, series.clone())?;
    let certificates = Certificates::default();
    let ends_s = authority.intermediate_not_after_s();
    certificates.ends(Certificate::Intermediate, Some(ends_s));
    let web_certificate = WebCertificate::open(&config, &authority, &certificates)?;
    let tls = web_certificate
        .as_ref()
        .map(WebCertificate::server_config)
        .transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let state = AppState::new(Parts {
        store: store.clone(),
        series: series.clone(),
        fleet: ingest.fleet(),
        intake: ingest.shared_health(),
        certificates,
        enrolment: Enrolment {
            root_fingerprint: authority.root_fingerprint(),
            agent_host: None,
            agent_port: agents_at.port(),
        },
        secrets: SecretBox::open(&config.data_dir.join("secrets.key"))?,
        clock: Clock::system(),
        cluster: cluster.as_ref().map(cluster::Prepared::shown),
        registry: registry.clone(),
        options: ApiOptions {
            secure: tls.is_some(),
            trusted_proxies: Arc::new(config.web.trusted_proxies.clone()),
            queries: config.queries.settings(),
            request_timeout: request_timeout(config.queries.timeout),
            ..ApiOptions::default()
        },
    })
    .context("starting the query threads")?;
    state.prepare(PATIENCE).await;
    let login = how
        .one_time_login
        .then(|| state.issue_login_code("admin", LOGIN_CODE_LIFE))
        .transpose()?;
    let login = login.map(|code| format!("{scheme}://{web_at}/login?code={code}"));
    info!(agents = %agents_at, web = %web_at, "ready");
    if let Some(login) = &login {
        say!("{login}");
    }
    if let Some(file) = &how.ready_file {
        let ready = serde_json::json!({
            "agents": agents_at.to_string(),
            "web": web_at.to_string(),
            "login": login.unwrap_or_default(),
        });
        write_ready(file, &ready.to_string())?;
    }
    let (stop, stopped) = watch::channel(false);
    let sender = cluster
        .map(|cluster| cluster.start(series.clone(), state.directory(), stopped.clone()))
        .transpose()?;
    let audit = state.connection_audit();
    let router = xiezhi_api::router(state);
    let web = tokio::spawn(xiezhi_api::serve(
        web,
        tls,
        router,
        ServeOptions {
            registry,
            audit,
            trusted_proxies: Arc::new(config.web.trusted_proxies.clone()),
            ..ServeOptions::default()
        },
        wait_for(stopped.clone()),
    ));
    let upkeep = tokio::spawn(upkeep(
        authority,
        web_certificate,
        reserve,
        ingest.shared_health(),
        store.clone(),
        stopped,
    ));
    let superseded = tokio::select! {
        signal = wait_for_signal() => signal.map(|()| false)?,
        () = store.superseded() => true,
    };
    info!("stopping");
    stop.send_replace(true);
    own_metrics.abort();
    control.abort();
    ingest.stop().await;
    if let Some(sender) = sender {
        sender.await?;
    }
    web.await?.context("serving browsers")?;
    upkeep.await?;
    store.close().await;
    drop(series);
    anyhow::ensure!(!superseded, xiezhi_store::StoreError::Superseded);
    Ok(())
}

/// How long a start waits for what the first page needs; agents are taken in meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longer than a query's, so that whoever asked hears of it in the form that Prometheus's clients read.
fn request_timeout(query: Duration) -> Duration {
    let usual = ApiOptions::default().request_timeout;
    usual.max(query + Duration::from_secs(5))
}

async fn open_state(config: &Config) -> Result<Store> {
    let address = database_address(config)?;
    let store = Store::open_for_controller(&address)
        .await
        .with_context(|| format!("opening the state database {address}"))?;
    info!(%address, "state database is open");
    Ok(store)
}

async fn open_series(config: &Config) -> Result<SeriesStore> {
    let dir = config.series_dir();
    let options = SeriesOptions {
        hold: config.cluster.as_ref().map(Cluster::least_retention),
        ..config.series.options()
    };
    let shown = dir.display().to_string();
    tokio::task::spawn_blocking(move || SeriesStore::open(&dir, options))
        .await?
        .with_context(|| format!("opening the samples in {shown}"))
}

/// Connections that the kernel keeps until they are accepted: a whole province that comes back at
/// once must wait here, not in the retries of its first packet. Capped by `somaxconn`.
const BACKLOG: u32 = 4096;

fn listen(address: std::net::SocketAddr, whom: &str) -> Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let listening = socket.and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    });
    listening.with_context(|| format!("listening for {whom} on {address}: is the port taken?"))
}

/// How often the files of the browsers' certificate are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// What happens once an hour: certificates that near their end, events past their time. A reload of
/// the service (SIGHUP) looks at the files of the browsers' certificate at once.
async fn upkeep(
    authority: Arc<Authority>,
    mut web: Option<WebCertificate>,
    reserve: Reserve,
    intake: SharedHealth,
    store: xiezhi_store::Store,
    stopped: watch::Receiver<bool>,
) {
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    let mut look = tokio::time::interval(LOOK);
    let mut reload = signal(SignalKind::hangup()).ok();
    loop {
        let stop = wait_for(stopped.clone());
        tokio::select! {
            _ = hourly.tick() => hourly_work(&authority, web.as_ref(), &store).await,
            _ = look.tick() => {
                look_at(&mut web);
                if intake.get().is_well() {
                    reserve.keep();
                }
            }
            () = hung_up(&mut reload) => look_at(&mut web),
            () = stop => return,
        }
    }
}

fn look_at(web: &mut Option<WebCertificate>) {
    if let Some(web) = web {
        web.look();
    }
}

/// Never, where the system gives no such signal.
async fn hung_up(reload: &mut Option<Signal>) {
    match reload {
        Some(reload) => _ = reload.recv().await,
        None => std::future::pending().await,
    }
}

async fn hourly_work(
    authority: &Authority,
    web: Option<&WebCertificate>,
    store: &xiezhi_store::Store,
) {
    authority_watch::warn_if_near(authority, now_s());
    if authority.server_certificate_due(now_s()) {
        let renewed = authority
            .issue_server(now_s())
            .map_err(anyhow::Error::from)
            .and_then(|()| web.map_or(Ok(()), |web| web.renew(authority)));
        if let Err(error) = renewed {
            warn!(
                error = format!("{error:#}"),
                "the controller's certificate was not renewed"
            );
        }
    }
    expire_events(store).await;
    if let Err(error) = store.delete_expired_web_sessions(now_ms()).await {
        warn!(
            error = format!("{:#}", anyhow::Error::from(error)),
            "old browser sessions were not deleted"
        );
    }
}

/// Deletes what the retention setting no longer keeps, in slices that hold up nobody.
async fn expire_events(store: &xiezhi_store::Store) {
    const SLICE: u32 = 10_000;
    loop {
        match store.delete_expired_events(now_ms(), SLICE).await {
            Ok(deleted) if deleted >= u64::from(SLICE) => tokio::task::yield_now().await,
            Ok(_) => return,
            Err(error) => {
                warn!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "old events were not deleted"
                );
                return;
            }
        }
    }
}

async fn wait_for(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    stopped.wait_for(|stop| *stop).await.ok();
}

async fn wait_for_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Whoever waits for the file sees it whole.
fn write_ready(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = file.with_extension("new");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, file));
    written.with_context(|| format!("writing {}", file.display()))
}
