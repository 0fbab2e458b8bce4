//! Somebody adds a kind of device without code: learns it from the live device, mends the draft, checks
//! it, and sees what it reads.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{Running, TestAgent, free_port, program, skip};

const SNMPD: &str = "/usr/sbin/snmpd";

/// net-snmp's daemon, playing a power supply; the folder is its own.
struct Device {
    address: String,
    folder: tempfile::TempDir,
    _running: Running,
}

impl Device {
    /// `None`, and why is said, where the package is missing.
    fn start() -> Result<Option<Self>> {
        if !Path::new(SNMPD).exists() {
            skip("no snmpd here (Debian package snmpd)");
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let text = format!(
            "agentAddress udp:{address}\nrocommunity courts\nrouser reader priv\n\
             createUser reader SHA-256 one-password AES another-one\n\
             sysObjectID 1.3.6.1.4.1.318.1.3.27\nsysName ups-of-room-3\nsysLocation Court of Nowhere\n\
             override 1.3.6.1.4.1.318.1.1.1.1.1.1.0 octet_str \"Smart-UPS 3000\"\n\
             override 1.3.6.1.4.1.318.1.1.1.1.2.3.0 octet_str \"AS1234567890\"\n\
             override 1.3.6.1.4.1.318.1.1.1.2.3.1.0 uinteger 970\n\
             override 1.3.6.1.4.1.318.1.1.1.4.1.1.0 integer 3\n"
        );
        let configuration = folder.path().join("snmpd.conf");
        std::fs::write(&configuration, text)?;
        let mut command = Command::new(SNMPD);
        command
            .args(["-f", "-C", "-Lo", "-c"])
            .arg(&configuration)
            .arg("-I")
            .arg("-smux")
            .env("SNMP_PERSISTENT_DIR", folder.path().join("state"));
        let running = Running::start("snmpd", &mut command, &folder.path().join("log"))?;
        Ok(Some(Self {
            address,
            folder,
            _running: running,
        }))
    }

    fn credentials(&self, password: &str) -> Result<String> {
        let path = self.folder.path().join("credentials.yaml");
        let text = format!(
            "version: 3\nuser: reader\nauth: {{protocol: sha256, password: {password}}}\n\
             privacy: {{protocol: aes128, password: another-one}}\n"
        );
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(path.display().to_string())
    }
}

#[test]
fn a_device_is_read_over_snmp_v3_and_a_wrong_password_is_told() -> Result<()> {
    let Some(device) = Device::start()? else {
        return Ok(());
    };
    let agent = TestAgent::prepare("")?;
    let read = |password: &str, lang: &str| -> Result<String> {
        let credentials = device.credentials(password)?;
        agent.command(&[
            "profile",
            "try",
            &device.address,
            "--credentials",
            &credentials,
            "--lang",
            lang,
        ])
    };
    let said = until_it_answers(|| read("one-password", "zh"))?;
    for part in ["Smart-UPS 3000", "AS1234567890", "97 %", "电池供电 !!"] {
        ensure!(said.contains(part), "{part}\n{said}");
    }
    let refused = format!(
        "{:#}",
        read("two-password", "zh").err().context("it was let in")?
    );
    ensure!(refused.contains("设备不接受该用户"), "{refused}");
    ensure!(!refused.contains("two-password"), "{refused}");
    Ok(())
}

#[test]
fn a_draft_is_learned_from_the_device_and_holds_after_mending() -> Result<()> {
    let Some(device) = Device::start()? else {
        return Ok(());
    };
    let agent = TestAgent::prepare("")?;
    let into = tempfile::tempdir()?;
    let folder = into.path().display().to_string();
    let credentials = device.credentials("one-password")?;
    until_it_answers(|| {
        agent.command(&[
            "profile",
            "learn",
            &device.address,
            "--credentials",
            &credentials,
            "--name",
            "our-ups",
            "--into",
            &folder,
        ])
    })?;
    let recording = std::fs::read_to_string(into.path().join("our-ups.snmprec"))?;
    for owner in [
        "ups-of-room-3",
        "Court of Nowhere",
        "AS1234567890",
        "courts",
    ] {
        ensure!(!recording.contains(owner), "{owner}");
    }
    let yaml = into.path().join("our-ups.yaml");
    let draft = std::fs::read_to_string(&yaml)?;
    let object = "oid: 1.3.6.1.4.1.318.1.1.1.2.3.1.0}  # 970";
    ensure!(draft.contains(object), "{draft}");
    let mended = draft
        .replace("kind: other\n", "kind: ups\n")
        .replace(
            "metrics: []\n",
            "metrics:\n  - {id: battery_charge, name: charge, oid: 1.3.6.1.4.1.318.1.1.1.2.3.1.0, scale: 0.1}\n",
        )
        .replace("match:\n  - {", "match:\n  - {priority: 9, ")
        .replace("expect: {kind: other}", "expect: {kind: ups, battery_charge: 97}");
    std::fs::write(
        &yaml,
        mended.replace("battery_charge: 97}", "battery_charge: 98}"),
    )?;
    let path = yaml.display().to_string();
    let (accepted, said) = check(&[&path, "--lang", "en"])?;
    ensure!(
        !accepted && said.contains("`battery_charge` should be `98` and is `97`"),
        "{said}"
    );
    std::fs::write(&yaml, mended)?;
    let (accepted, said) = check(&[&path, "--lang", "zh"])?;
    ensure!(accepted, "{said}");
    ensure!(said.contains("没有问题"), "{said}");
    Ok(())
}

#[test]
fn a_secret_on_the_command_line_or_readable_by_others_is_refused() -> Result<()> {
    let agent = TestAgent::prepare("")?;
    let said = |arguments: &[&str]| -> Result<String> {
        let result = agent.command(arguments);
        Ok(format!("{:#}", result.err().context("it was accepted")?))
    };
    let refused = said(&["profile", "try", "127.0.0.1", "--community", "public"])?;
    ensure!(refused.contains("--community -"), "{refused}");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("open.yaml");
    std::fs::write(&file, "version: 2c\ncommunity: public\n")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    let path = file.display().to_string();
    let refused = said(&["profile", "try", "127.0.0.1", "--credentials", &path])?;
    ensure!(refused.contains("chmod 600"), "{refused}");
    Ok(())
}

#[test]
fn what_comes_with_the_agent_has_no_problems() -> Result<()> {
    let (accepted, said) = check(&["--lang", "en"])?;
    ensure!(accepted && said.contains("no problems"), "{said}");
    Ok(())
}

/// `profile check`: whether it finds nothing, and what it says.
fn check(arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(program("xiezhi-agent")?)
        .args(["profile", "check"])
        .args(arguments)
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

/// A daemon that has just started does not answer yet.
fn until_it_answers(act: impl Fn() -> Result<String>) -> Result<String> {
    let mut last = act();
    for _ in 0..10 {
        if last.is_ok() {
            break;
        }
        last = act();
    }
    last
}
