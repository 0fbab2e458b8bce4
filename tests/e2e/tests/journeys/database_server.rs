//! State on a PostgreSQL server, reached as one on another machine: with TLS, and a password from a
//! file.

use anyhow::{Result, ensure};
use serde_json::Value;
use xiezhi_test_support::{TestAgent, TestController, TestPostgres, eventually};

#[tokio::test]
async fn a_controller_keeps_its_state_on_a_server_and_outlives_its_crash() -> Result<()> {
    let Some(mut server) = TestPostgres::start().await? else {
        return Ok(());
    };
    let mut controller = TestController::start_with(&server.configuration()).await?;
    let mut agent = TestAgent::start(&controller)?;
    let host = controller.api().await?.only_host_when("up").await?;
    ensure!(!controller.folder().join("data/state.db").exists());
    let stored = server.sql_in("xiezhi", "SELECT count(*) FROM hosts")?;
    assert_eq!(stored, "1");

    controller.stop()?;
    controller.run().await?;
    let api = controller.api().await?;
    let again = api.only_host_when("up").await?;
    assert_eq!(
        (&again["id"], &again["hostname"]),
        (&host["id"], &host["hostname"])
    );

    // Beside it a command works and a second controller does not.
    controller.token(1)?;
    let second = controller.command(&["audit", "verify"])?;
    assert!(second.contains("unbroken"), "{second}");
    second_is_refused(&server)?;

    server.kill();
    let body = probe_until(&controller, |body| body["parts"]["database"] == "away").await?;
    assert_eq!(body["status"], "unwell");
    assert_eq!(body["parts"]["samples"], "ok");
    // An event that happens now waits on its host.
    agent.stop()?;
    agent.run()?;
    server.run().await?;
    probe_until(&controller, |body| body["status"] == "ok").await?;
    let id = &host["id"];
    eventually("the agent's starts are all known", async || {
        let path = format!("/api/v1/events?host={id}&stream=events&kind=agent_started&limit=10");
        let page = api.get(&path).await?;
        let starts = page["items"].as_array().map_or(0, Vec::len);
        ensure!(starts <= 2, "an event came twice: {page}");
        Ok((starts == 2).then_some(()))
    })
    .await?;

    controller.kill();
    controller.run().await?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    assert_eq!(api.get("/api/v1/audit/chain").await?["state"], "intact");
    let log = std::fs::read_to_string(controller.folder().join("controller.log"))?;
    assert!(log.contains("postgres://xiezhi@127.0.0.1"), "{log}");
    assert!(!log.contains(server.password()) && !log.contains("secret%2Fwith"));
    Ok(())
}

/// A controller that has outgrown its file: stopped, copied, started on the server, and everything is
/// there and goes on.
#[tokio::test]
async fn a_controllers_state_moves_from_its_file_to_a_server() -> Result<()> {
    let Some(server) = TestPostgres::start().await? else {
        return Ok(());
    };
    let mut controller = TestController::start().await?;
    let agent = TestAgent::start(&controller)?;
    let host = controller.api().await?.only_host_when("up").await?;
    controller.token(3)?;
    let password = server.password_file().display().to_string();
    let target = server.network_url();
    let copy = [
        "store",
        "copy",
        "--to",
        &target,
        "--to-password-file",
        &password,
    ];

    let running = refused(&controller, &copy)?;
    ensure!(running.contains("another controller works"), "{running}");
    controller.stop()?;
    let said = controller.command(&copy)?;
    ensure!(
        said.contains("each compared") && said.contains("unbroken"),
        "{said}"
    );
    let again = refused(&controller, &copy)?;
    ensure!(again.contains("the target is in use"), "{again}");
    ensure!(!again.contains(server.password()), "{again}");

    let path = controller.folder().join("controller.yaml");
    let text = std::fs::read_to_string(&path)? + &server.configuration();
    std::fs::write(&path, text)?;
    controller.run().await?;
    let api = controller.api().await?;
    let again = api.only_host_when("up").await?;
    ensure!(again["id"] == host["id"], "{again}");
    ensure!(
        controller
            .command(&["token", "list"])?
            .contains("3/3 uses left"),
        "tokens"
    );
    assert_eq!(api.get("/api/v1/audit/chain").await?["state"], "intact");
    drop(agent);
    Ok(())
}

/// What a command says that must fail.
fn refused(controller: &TestController, arguments: &[&str]) -> Result<String> {
    match controller.command(arguments) {
        Ok(said) => anyhow::bail!("{arguments:?} passed: {said}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// A controller with a data folder of its own on the same database ends, and says why.
fn second_is_refused(server: &TestPostgres) -> Result<()> {
    let second = TestController::prepare("")?;
    let path = second.folder().join("controller.yaml");
    let text = std::fs::read_to_string(&path)? + &server.configuration();
    std::fs::write(&path, text)?;
    match second.command(&["run"]) {
        Ok(_) => anyhow::bail!("two controllers work with one database"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains("another controller works"), "{said}");
        }
    }
    Ok(())
}

/// Asks `/readyz` until `wanted` holds.
async fn probe_until(
    controller: &TestController,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    eventually("the probe says so", async || {
        let body = controller.readiness().await?;
        ensure!(wanted(&body), "{body}");
        Ok(Some(body))
    })
    .await
}
