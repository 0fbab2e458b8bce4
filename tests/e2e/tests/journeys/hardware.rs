//! The online key in a PKCS#11 token, with SoftHSM as the token and p11-kit as the line to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use xiezhi_test_support::{Running, TestAgent, TestController, eventually, program};

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "4711";

/// A token in a folder of its own.
struct Token {
    folder: TempDir,
}

impl Token {
    fn new() -> Result<Self> {
        ensure!(
            Path::new(SOFTHSM).exists(),
            "SoftHSM is missing: apt-get install softhsm2"
        );
        let token = Self {
            folder: tempfile::Builder::new().prefix("xiezhi-token-").tempdir()?,
        };
        std::fs::create_dir(token.store())?;
        let text = format!("directories.tokendir = {}\n", token.store().display());
        std::fs::write(token.folder.path().join("softhsm2.conf"), text)?;
        let made = token
            .reaching(&mut Command::new("softhsm2-util"))
            .args(["--init-token", "--free", "--label", "court ca"])
            .args(["--so-pin", "87654321", "--pin", PIN])
            .output()?;
        ensure!(made.status.success(), "softhsm2-util: {made:?}");
        Ok(token)
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn environment(&self) -> Vec<(String, String)> {
        let server = format!("unix:path={}", self.path("line"));
        vec![
            ("SOFTHSM2_CONF".to_owned(), self.path("softhsm2.conf")),
            ("P11_KIT_SERVER_ADDRESS".to_owned(), server),
        ]
    }

    fn reaching<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.environment())
    }

    /// Its address through a module.
    fn address(&self, module: &Path) -> String {
        format!("pkcs11:token=court%20ca?module-path={}", module.display())
    }

    /// A controller's data folder whose key is made in this token, and nothing running.
    fn init(&self, online_key: &str) -> Result<Output> {
        let configuration = format!(
            "data_dir: {}\npassphrase_file: {}\n",
            self.path("data"),
            self.path("pin")
        );
        std::fs::write(self.path("controller.yaml"), configuration)?;
        write_secret(&self.path("pin"), PIN)?;
        write_secret(&self.path("root-passphrase"), "a passphrase of the root")?;
        self.controller(&[
            "ca",
            "init",
            "--offline-dir",
            &self.path("root"),
            "--root-passphrase-file",
            &self.path("root-passphrase"),
            "--online-key",
            online_key,
        ])
    }

    fn controller(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(program("xiezhi-controller")?);
        command.args(["--config", &self.path("controller.yaml")]);
        Ok(self.reaching(command.args(arguments)).output()?)
    }

    /// The token behind a process that can be killed, as a network appliance's is.
    async fn line(&self) -> Result<Running> {
        let line = self.folder.path().join("line");
        drop(std::fs::remove_file(&line));
        let mut server = Command::new("p11-kit");
        server.args(["server", "--foreground", "--provider", SOFTHSM, "--name"]);
        server.arg(&line).arg("pkcs11:token=court%20ca");
        let log = self.folder.path().join("line.log");
        let mut server = Running::start("p11-kit", self.reaching(&mut server), &log)?;
        eventually("the line to the token is there", async || {
            server.check()?;
            Ok(line.exists().then_some(()))
        })
        .await?;
        Ok(server)
    }
}

/// The module that speaks to a token over a socket.
fn remote_module() -> Result<PathBuf> {
    let triples = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let found = triples
        .iter()
        .map(|triple| PathBuf::from(format!("/usr/lib/{triple}/pkcs11/p11-kit-client.so")))
        .find(|path| path.exists());
    found.context("p11-kit's client is missing: apt-get install p11-kit p11-kit-modules")
}

fn write_secret(path: &str, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o600),
    )?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// Names of the files that lie for the online key.
fn kept(data: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(data.join("authority/intermediates"))? {
        let path = entry?.path();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        names.push(ending.into_owned());
    }
    names.sort();
    Ok(names)
}

#[test]
fn a_key_made_in_a_token_is_in_no_file_and_opens_with_its_pin_only() -> Result<()> {
    let token = Token::new()?;
    let made = token.init(&token.address(Path::new(SOFTHSM)))?;
    ensure!(made.status.success(), "{}", said(&made));
    assert_eq!(kept(&token.folder.path().join("data"))?, ["pem", "pkcs11"]);
    let shown = token.controller(&["ca", "show"])?;
    ensure!(shown.status.success(), "{}", said(&shown));

    write_secret(&token.path("pin"), "0815")?;
    let refused = token.controller(&["run"])?;
    assert_eq!(refused.status.code(), Some(77), "{}", said(&refused));
    assert!(
        said(&refused).contains("refuses the PIN"),
        "{}",
        said(&refused)
    );

    // The token's folder away is a card pulled out.
    write_secret(&token.path("pin"), PIN)?;
    std::fs::rename(token.store(), token.path("drawer"))?;
    std::fs::create_dir(token.store())?;
    let away = token.controller(&["run"])?;
    assert_eq!(away.status.code(), Some(1), "{}", said(&away));
    assert!(said(&away).contains("is it plugged in"), "{}", said(&away));
    Ok(())
}

#[test]
fn a_rotation_makes_a_new_key_and_names_the_old_one() -> Result<()> {
    let token = Token::new()?;
    let address = token.address(Path::new(SOFTHSM));
    ensure!(token.init(&address)?.status.success());
    let (root, secret) = (token.path("root"), token.path("root-passphrase"));
    let rotate = ["ca", "rotate", "--offline-dir", &root];
    let rotate = [&rotate[..], &["--root-passphrase-file", &secret]].concat();
    let rotated = token.controller(&[&rotate[..], &["--online-key", &address]].concat())?;
    ensure!(rotated.status.success(), "{}", said(&rotated));
    assert!(
        said(&rotated).contains("still in its token"),
        "{}",
        said(&rotated)
    );
    assert_eq!(
        kept(&token.folder.path().join("data"))?,
        ["pem", "pem", "pkcs11"]
    );
    ensure!(token.controller(&["ca", "show"])?.status.success());

    // And back into a file, when the hardware is to be retired.
    write_secret(&token.path("pin"), "a passphrase of the file")?;
    let back = token.controller(&rotate)?;
    ensure!(back.status.success(), "{}", said(&back));
    assert_eq!(
        kept(&token.folder.path().join("data"))?,
        ["key", "pem", "pem", "pem"]
    );
    Ok(())
}

#[test]
fn a_request_is_signed_by_the_token_and_imported_for_its_key() -> Result<()> {
    let (token, elsewhere) = (Token::new()?, Token::new()?);
    let address = token.address(Path::new(SOFTHSM));
    ensure!(token.init(&address)?.status.success());
    ensure!(
        elsewhere
            .init(&elsewhere.address(Path::new(SOFTHSM)))?
            .status
            .success()
    );
    let request = token.controller(&["ca", "request", "--online-key", &address])?;
    ensure!(request.status.success(), "{}", said(&request));
    assert!(said(&request).contains("BEGIN CERTIFICATE REQUEST"));
    let pending = token.folder.path().join("data/authority/pending.pkcs11");
    assert!(std::fs::read_to_string(&pending)?.starts_with("pkcs11:token=court%20ca;id=%"));
    // What was not signed for this key is refused, and the request goes on waiting.
    let certificate =
        std::fs::read_dir(elsewhere.folder.path().join("data/authority/intermediates"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|ending| ending == "pem"))
            .context("no certificate")?;
    let refused = token.controller(&["ca", "import", &certificate.display().to_string()])?;
    assert!(
        said(&refused).contains("waiting request"),
        "{}",
        said(&refused)
    );
    assert!(pending.exists());
    Ok(())
}

#[tokio::test]
async fn a_token_that_goes_away_stops_renewals_and_nothing_else() -> Result<()> {
    let token = Token::new()?;
    let mut line = token.line().await?;
    let mut controller = TestController::prepare("")?;
    // From the sealed file into the token, as an operator would who bought one.
    let secret = controller.folder().join("passphrase");
    write_secret(&secret.display().to_string(), PIN)?;
    controller.set_environment(token.environment());
    let (root, root_secret) = ("offline-root", "root-passphrase");
    let inside = |name: &str| controller.folder().join(name).display().to_string();
    let mut rotate = Command::new(program("xiezhi-controller")?);
    rotate.args(["--config", &inside("controller.yaml"), "ca", "rotate"]);
    rotate.args(["--offline-dir", &inside(root)]);
    rotate.args(["--root-passphrase-file", &inside(root_secret)]);
    rotate.args(["--online-key", &token.address(&remote_module()?)]);
    let rotated = token.reaching(&mut rotate).output()?;
    ensure!(rotated.status.success(), "{}", said(&rotated));
    assert_eq!(
        kept(&controller.folder().join("data"))?,
        ["pem", "pem", "pkcs11"]
    );

    controller.run().await?;
    let agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let path = format!("/api/v1/hosts/{}", host["id"]);
    let renew = format!("{path}/directives");
    // Reports from before the restart make it up; its session may not be open again yet.
    let renewal = json!({ "kind": "renew_certificate" });
    let renewed = eventually("the host takes a directive", async || {
        Ok(api.post(&renew, &renewal).await.ok())
    })
    .await?;
    assert_eq!(renewed["outcome"], "done", "{renewed}");

    line.kill();
    let refused = api
        .post(&renew, &json!({ "kind": "renew_certificate" }))
        .await?;
    assert_ne!(refused["outcome"], "done", "{refused}");
    let log = controller.process()?.log();
    assert!(log.contains("a request cannot be served"), "{log}");
    // The session goes on, with reports that are newer than the failure.
    let before = api.only_host().await?.context("no host")?["last_report_ms"].clone();
    eventually("reports go on", async || {
        let host = api.only_host_when("up").await?;
        Ok((host["last_report_ms"] != before).then_some(()))
    })
    .await?;

    let _line = token.line().await?;
    let renewed = api
        .post(&renew, &json!({ "kind": "renew_certificate" }))
        .await?;
    assert_eq!(renewed["outcome"], "done", "{renewed}");
    drop(agent);
    Ok(())
}

#[tokio::test]
async fn a_systemd_credential_opens_the_online_key() -> Result<()> {
    let mut controller = TestController::prepare("")?;
    let credentials = tempfile::tempdir()?;
    let inside = |name: &str| controller.folder().join(name);
    std::fs::rename(
        inside("passphrase"),
        credentials.path().join("ca-passphrase"),
    )?;
    let configuration = std::fs::read_to_string(inside("controller.yaml"))?;
    let without: String = configuration
        .lines()
        .filter(|line| !line.starts_with("passphrase_file"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(inside("controller.yaml"), without)?;
    let mut show = Command::new(program("xiezhi-controller")?);
    show.arg("--config").arg(inside("controller.yaml"));
    show.args(["ca", "show"])
        .env("CREDENTIALS_DIRECTORY", credentials.path());
    let other = credentials.path().join("ca-passphrase");
    let secret = std::fs::read(&other)?;
    std::fs::write(&other, "the credential of another machine")?;
    let refused = show.output()?;
    assert!(
        said(&refused).contains("does not open"),
        "{}",
        said(&refused)
    );
    std::fs::write(&other, secret)?;
    let folder = credentials.path().display().to_string();
    controller.set_environment(vec![("CREDENTIALS_DIRECTORY".to_owned(), folder)]);
    controller.run().await?;
    let agent = TestAgent::start(&controller)?;
    controller.api().await?.only_host_when("up").await?;
    drop(agent);
    Ok(())
}
