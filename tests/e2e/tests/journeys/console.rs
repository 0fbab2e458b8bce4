//! What the console can do about accounts, and how the audit record is proved elsewhere.

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use serde_json::json;
use xiezhi_test_support::TestController;

fn path(controller: &TestController, name: &str) -> String {
    controller.folder().join(name).display().to_string()
}

/// What a command that must fail said.
fn refused(controller: &TestController, arguments: &[&str]) -> String {
    match controller.command(arguments) {
        Ok(said) => panic!("it must be refused, and said {said}"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn with_two_security_administrators_the_root_key_is_the_way_back() -> Result<()> {
    let controller = TestController::prepare("")?;
    for name in ["first", "second"] {
        controller.command(&["user", "create", name, "--role", "sec_admin"])?;
    }
    let alone = refused(&controller, &["user", "reset-password", "second"]);
    assert!(alone.contains("break-glass"), "{alone}");
    let (root, passphrase) = (
        path(&controller, "offline-root"),
        path(&controller, "root-passphrase"),
    );
    let online = path(&controller, "data/authority");
    let glass = |offline: &str, what: &str| {
        let mut words = vec![
            "user",
            "break-glass",
            "second",
            what,
            "--reason",
            "王院长批准",
        ];
        words.extend([
            "--offline-dir",
            offline,
            "--root-passphrase-file",
            &passphrase,
        ]);
        controller.command(&words)
    };
    let without = glass(&online, "reset-password");
    assert!(without.is_err(), "the machine's own folder is no root key");
    let once = glass(&root, "reset-password")?;
    assert!(
        once.trim().len() > 10 && !once.trim().contains(' '),
        "{once}"
    );
    glass(&root, "disable")?;
    // One is left: the console makes another, as at the beginning.
    controller.command(&["user", "create", "third", "--role", "sec_admin"])?;
    let list = controller.command(&["audit", "list"])?;
    for action in ["user.break_glass ", "user.break_glass_refuse"] {
        assert!(list.contains(action), "{list}");
    }
    Ok(())
}

#[tokio::test]
async fn an_exported_audit_record_is_checked_without_the_database() -> Result<()> {
    let controller = TestController::prepare("")?;
    let file = path(&controller, "audit.jsonl");
    controller.command(&["audit", "export", &file])?;
    let head = controller.command(&["audit", "head"])?;
    let hash = head
        .trim()
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .to_owned();
    let verify = ["audit", "verify", "--file", &file, "--expect-head", &hash];
    let verified = controller.command(&verify)?;
    assert!(verified.contains("unbroken"), "{verified}");
    let again = refused(&controller, &["audit", "export", &file]);
    assert!(again.contains("audit.jsonl"), "{again}");

    let text = std::fs::read_to_string(&file)?;
    let changed = text.replacen("console", "c0nsole", 1);
    std::fs::write(&file, changed)?;
    let found = refused(&controller, &verify);
    assert!(found.contains("entry 1"), "{found}");
    let lines: Vec<&str> = text.lines().collect();
    let cut = format!("{}\n", lines[..2].join("\n"));
    std::fs::write(&file, cut)?;
    let found = refused(&controller, &verify);
    assert!(found.contains("entry 2"), "{found}");

    // A head of long ago is found in a chain that has grown since.
    controller.command(&["user", "create", "wang"])?;
    let live = controller.command(&["audit", "verify", "--expect-head", &hash])?;
    assert!(live.contains("1 entries came after it"), "{live}");
    Ok(())
}

#[tokio::test]
async fn the_console_lists_whose_tokens_there_are_and_withdraws_one() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let wanted = json!({"name": "台账同步", "role": "province_admin", "site": 2,
        "password": "correct horse battery staple"});
    let made = api.post("/api/v1/me/api-tokens", &wanted).await?;
    let secret = made["token"].as_str().context("no token")?;
    let ask = async || -> Result<StatusCode> {
        let client = reqwest::Client::builder().build()?;
        let address = format!("http://{}/api/v1/hosts", controller.web());
        Ok(client
            .get(address)
            .bearer_auth(secret)
            .send()
            .await?
            .status())
    };
    let says = |parts: &[&str]| -> Result<()> {
        let list = controller.command(&["api-token", "list"])?;
        let line = list.lines().find(|line| line.contains("台账同步"));
        let line = line.context("not listed")?;
        for part in parts {
            assert!(line.contains(part), "{part}: {line}");
        }
        Ok(())
    };
    let whose = "of admin  as province_admin at 兰州市中级人民法院";
    says(&[
        "valid",
        "use-api",
        whose,
        "made 20",
        "last used never",
        "until 20",
    ])?;
    assert_eq!(ask().await?, StatusCode::OK);
    says(&["valid", " from 127.0.0.1"])?;
    controller.command(&["api-token", "revoke", &made["made"]["id"].to_string()])?;
    says(&["revoked"])?;
    assert_eq!(ask().await?, StatusCode::UNAUTHORIZED);
    let audit = controller.command(&["audit", "list"])?;
    let told = |line: &&str| line.contains("api_token.revoke") && line.contains("台账同步");
    assert!(audit.lines().any(|line| told(&line)), "{audit}");
    Ok(())
}
