//! Every token that does not work says why, and what to do.

use std::process::Command;

use anyhow::{Context as _, Result};
use xiezhi_test_support::{TestAgent, TestController, program};

#[tokio::test]
async fn tokens_that_do_not_work_say_why() -> Result<()> {
    let controller = TestController::start().await?;
    let agent = TestAgent::prepare("")?;
    let refusal = |address: &str, token: &str| -> String {
        agent
            .enrol_with(address, token, &[])
            .expect_err("it must be refused")
            .to_string()
    };
    let good = controller.token(1)?;
    let mut mistyped = good.clone();
    mistyped.replace_range(20..21, if &good[20..21] == "a" { "b" } else { "a" });
    let expired = ["token", "create", "--site", "gs", "--expires", "0m"];
    let expired = controller.command(&expired)?.trim().to_owned();
    let withdrawn = controller.token(1)?;
    let list = controller.command(&["token", "list"])?;
    for line in list.lines().filter(|line| line.contains(" valid ")) {
        let id = line
            .split_whitespace()
            .next()
            .context("a token without an identifier")?;
        controller.command(&["token", "revoke", id])?;
    }
    let here = controller.agents();
    for (token, said) in [
        (
            "abc",
            "this is not an enrolment token: one begins with xz1-",
        ),
        (
            &mistyped,
            "the enrolment token is incomplete or mistyped: copy it again, whole",
        ),
        (
            &good[..40],
            "the enrolment token is incomplete or mistyped: copy it again, whole",
        ),
        (
            &expired,
            "this enrolment token has expired: ask for a new one",
        ),
        (
            &withdrawn,
            "this enrolment token was withdrawn: ask for a new one",
        ),
    ] {
        let refused = refusal(here, token);
        assert!(
            refused.contains(&format!("xiezhi-agent: {said}\n")),
            "{said}:\n{refused}"
        );
    }
    let nobody = refusal("127.0.0.1:1", &good);
    assert!(
        nobody.contains("xiezhi-agent: cannot reach the controller at 127.0.0.1:1 ("),
        "{nobody}"
    );
    assert!(
        nobody.contains("check the address, the line and the firewall\n"),
        "{nobody}"
    );
    assert!(
        !agent.state().join("identity/host.json").exists(),
        "nothing may remain of a refusal"
    );
    Ok(())
}

#[tokio::test]
async fn a_token_of_another_controller_never_reaches_this_one() -> Result<()> {
    let controller = TestController::start().await?;
    let other = TestController::prepare("")?;
    let agent = TestAgent::prepare("")?;
    let here = controller.agents();
    let refused = agent
        .enrol_with(here, &other.token(1)?, &[])
        .unwrap_err()
        .to_string();
    let said =
        format!("xiezhi-agent: {here} is not the controller that this token or host belongs to (");
    assert!(refused.contains(&said), "{refused}");
    assert!(
        refused.contains("check the address, or ask for a new token\n"),
        "{refused}"
    );
    // The agent ended the handshake: the token's secret was not shown to a stranger.
    let audit = controller
        .api()
        .await?
        .get("/api/v1/audit?action=host.enrol")
        .await?;
    assert_eq!(audit["items"].as_array().map(Vec::len), Some(0), "{audit}");
    Ok(())
}

#[tokio::test]
async fn the_command_that_the_page_shows_enrols_a_host_in_a_shell() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let sites = api.get("/api/v1/sites").await?;
    let wanted = serde_json::json!({
        "site": sites["items"][0]["id"], "uses": 1, "expires_in_s": 3600, "approval": false,
    });
    let made = api.post("/api/v1/tokens", &wanted).await?;
    let shown = made["commands"][0].as_str().context("no command")?;
    let token = made["token"].as_str().context("no token")?;
    let words = shown.split('|').nth(1).context("no pipe")?;
    assert!(!words.contains(token), "the token is an argument: {shown}");

    let agent = TestAgent::prepare("")?;
    let folder = program("xiezhi-agent")?;
    let folder = folder.parent().context("no folder")?.display();
    let config = agent.folder().join("agent.yaml");
    // A test's agent has a configuration of its own, and lies in no folder of the system's.
    let line = format!(
        "PATH=\"{folder}:$PATH\"; {shown} --config {}",
        config.display()
    );
    let done = Command::new("sh").args(["-c", &line]).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{line}: {said}");
    assert!(agent.state().join("identity/host.json").exists());
    Ok(())
}
