//! A cluster that is not on this machine: behind TLS with an authority of its own, with a password or
//! a token, and with a tenant. The servers are Debian's; the tenant's header is read by a relay that
//! ends TLS before one of them, which itself knows no tenants.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use xiezhi_test_support::{
    Api, Running, TestAgent, TestController, eventually, eventually_within, free_port, skip,
};

/// bcrypt of "test", the example of Prometheus's own documentation.
const BCRYPT_OF_TEST: &str = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay";

/// An authority's certificate and a server's, signed by it, as files.
struct Authority {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn make(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate()?;
        let ca = params.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        let certificate = leaf.signed_by(&key, &issuer)?.pem();
        let file = |what: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(format!("{name}-{what}.pem"));
            std::fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            ca: file("ca", &ca)?,
            certificate: file("server", &certificate)?,
            key: file("key", &key.serialize_pem())?,
        })
    }
}

fn is_there(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// Ends the controller and starts it with another text in its configuration.
async fn restart_with(controller: &mut TestController, old: &str, new: &str) -> Result<()> {
    let path = controller.folder().join("controller.yaml");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replace(old, new))?;
    controller.kill();
    controller.run().await
}

async fn until_log_says(controller: &mut TestController, what: &str) -> Result<()> {
    eventually("the log says why", async || {
        let log = controller.process()?.log();
        Ok(log.contains(what).then_some(()))
    })
    .await
    .with_context(|| what.to_owned())
}

async fn until_sent(api: &Api) -> Result<()> {
    eventually("samples are sent on", async || {
        let sent = api.metric("xiezhi_cluster_sent_samples_total").await?;
        Ok((sent > 0.0).then_some(()))
    })
    .await
}

const QUERY: &str = "/api/v1/query?query=count(node_memory_MemTotal_bytes)";

async fn until_answered(api: &Api) -> Result<()> {
    eventually("the cluster answers", async || {
        let answer = api.get(QUERY).await?;
        let value = answer["data"]["result"][0]["value"][1].as_str();
        Ok((value == Some("1")).then_some(()))
    })
    .await
}

fn agent(controller: &TestController) -> Result<TestAgent> {
    let configuration = "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\n";
    let mut agent = TestAgent::enrol(controller, configuration)?;
    agent.run()?;
    Ok(agent)
}

#[tokio::test]
async fn a_cluster_behind_tls_is_believed_by_its_own_authority_and_told_a_password() -> Result<()> {
    if !is_there("prometheus") {
        skip("the Debian package prometheus is not installed");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (own, other) = (
        Authority::make(folder.path(), "own")?,
        Authority::make(folder.path(), "other")?,
    );
    let (_prometheus, port) = start_prometheus(folder.path(), &own)?;
    let password = folder.path().join("password");
    write_secret(&password, "test\n")?;
    let configuration = format!(
        "cluster:\n  write: https://127.0.0.1:{port}/api/v1/write\n  query: https://127.0.0.1:{port}\n  \
         user: xiezhi\n  password_file: {}\n  ca_file: {}\n",
        password.display(),
        other.ca.display()
    );
    let mut controller = TestController::start_with(&configuration).await?;
    let _agent = agent(&controller)?;
    until_log_says(&mut controller, "its certificate is not accepted").await?;
    let api = controller.api().await?;
    let refused = api.get(QUERY).await.err().context("nobody can answer")?;
    assert!(
        format!("{refused:#}").contains("cluster.ca_file"),
        "{refused:#}"
    );
    let limit = std::time::Duration::from_secs(120);
    eventually_within(limit, "health names the certificate", async || {
        let health = api.get("/api/v1/health").await?;
        Ok(health.to_string().contains("certificate").then_some(()))
    })
    .await?;

    let (wrong, right) = (other.ca.display().to_string(), own.ca.display().to_string());
    restart_with(&mut controller, &wrong, &right).await?;
    let api = controller.api().await?;
    until_sent(&api).await?;
    until_answered(&api).await?;

    write_secret(&password, "wrong\n")?;
    restart_with(&mut controller, "", "").await?;
    until_log_says(&mut controller, "it answers 401").await?;
    let dropped = controller.api().await?;
    let dropped = dropped
        .metric("xiezhi_cluster_dropped_samples_total")
        .await?;
    assert_eq!(dropped, 0.0, "a wrong password is no fault of the samples");
    Ok(())
}

/// With TLS and a password, as its own `--web.config.file` says.
fn start_prometheus(folder: &Path, authority: &Authority) -> Result<(Running, u16)> {
    let port = free_port()?;
    let web = format!(
        "tls_server_config: {{cert_file: {}, key_file: {}}}\nbasic_auth_users:\n  xiezhi: {BCRYPT_OF_TEST}\n",
        authority.certificate.display(),
        authority.key.display()
    );
    std::fs::write(folder.join("web.yml"), web)?;
    let configuration = "storage: {tsdb: {out_of_order_time_window: 1d}}\n";
    std::fs::write(folder.join("prometheus.yml"), configuration)?;
    let mut command = Command::new("prometheus");
    command
        .args(["--config.file=prometheus.yml", "--web.config.file=web.yml"])
        .args([
            "--storage.tsdb.path=data",
            "--web.enable-remote-write-receiver",
        ])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .current_dir(folder);
    let running = Running::start("prometheus", &mut command, &folder.join("prometheus.log"))?;
    Ok((running, port))
}

#[tokio::test]
async fn tenant_and_token_reach_the_server_with_samples_and_with_queries() -> Result<()> {
    if !is_there("victoria-metrics") {
        skip("the Debian package victoria-metrics is not installed");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let authority = Authority::make(folder.path(), "own")?;
    let port = free_port()?;
    let mut command = Command::new("victoria-metrics");
    command
        .args(["-storageDataPath=data", "-search.latencyOffset=0s"])
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        .current_dir(folder.path());
    let _peer = Running::start("victoria-metrics", &mut command, &folder.path().join("log"))?;
    let relay = Relay::start(&authority, port).await?;
    let token = folder.path().join("token");
    write_secret(&token, "secret-of-the-courts\n")?;
    let configuration = format!(
        "cluster:\n  write: https://127.0.0.1:{0}/api/v1/write\n  query: https://127.0.0.1:{0}\n  \
         token_file: {1}\n  ca_file: {2}\n  tenant: courts-of-gs\n",
        relay.port,
        token.display(),
        authority.ca.display()
    );
    let controller = TestController::start_with(&configuration).await?;
    let _agent = agent(&controller)?;
    let api = controller.api().await?;
    until_sent(&api).await?;
    until_answered(&api).await?;
    let heads = relay
        .heads
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for path in ["post /api/v1/write", "post /api/v1/query"] {
        let head = heads.iter().find(|head| head.starts_with(path));
        let head = head.with_context(|| format!("no {path} in {heads:?}"))?;
        for expected in [
            "\r\nx-scope-orgid: courts-of-gs\r\n",
            "\r\nauthorization: bearer secret-of-the-courts\r\n",
        ] {
            assert!(head.contains(expected), "{expected:?} is not in {head}");
        }
    }
    Ok(())
}

/// Ends TLS before a server, and keeps what each connection begins with.
struct Relay {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    async fn start(authority: &Authority, target: u16) -> Result<Self> {
        let chain = vec![CertificateDer::from_pem_file(&authority.certificate)?];
        let key = PrivateKeyDer::from_pem_file(&authority.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    if let Ok(near) = acceptor.accept(stream).await {
                        drop(carry(near, target, &seen).await);
                    }
                });
            }
        });
        Ok(Self { port, heads })
    }
}

async fn carry(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    target: u16,
    seen: &Mutex<Vec<String>>,
) -> Result<()> {
    let mut begun = Vec::new();
    while !begun.windows(4).any(|four| four == b"\r\n\r\n") {
        if near.read_buf(&mut begun).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&begun).to_lowercase();
    note(seen, head);
    let mut far = TcpStream::connect(("127.0.0.1", target)).await?;
    far.write_all(&begun).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

fn note(seen: &Mutex<Vec<String>>, head: String) {
    let mut heads = seen
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    heads.push(head);
}
