//! The whole interface, fuzzed by its own description: nothing that schemathesis can think of is
//! answered by a fault, with a status that is not described, or in another shape than described.
//!
//! A few seconds for each account; `XIEZHI_LONG=1` goes on for ten minutes with a seed of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xiezhi_test_support::{Api, TestAgent, TestController, TestPostgres, program, skip};

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method";

/// The stream has no end, and signing out would end the rest of the run.
const LEFT_OUT: [&str; 2] = ["get_live", "post_logout"];

const PASSWORD: &str = "a phrase of a technician's own";

#[tokio::test]
async fn no_account_is_answered_by_a_fault_or_by_what_is_not_described() -> Result<()> {
    let Some(fuzzer) = fuzzer()? else {
        return Ok(());
    };
    let controller = TestController::start().await?;
    let administrator = furnished(&controller).await?;
    let technician = technician(&controller, &administrator).await?;
    fuzz(&fuzzer, &controller, &technician).await?;
    fuzz(&fuzzer, &controller, &administrator).await
}

/// Text that one database keeps and another refuses must not tell them apart.
#[tokio::test]
async fn a_database_server_answers_no_fault_either() -> Result<()> {
    let Some(fuzzer) = fuzzer()? else {
        return Ok(());
    };
    let Some(server) = TestPostgres::start().await? else {
        return Ok(());
    };
    let controller = TestController::start_with(&server.configuration()).await?;
    let administrator = furnished(&controller).await?;
    fuzz(&fuzzer, &controller, &administrator).await
}

/// Signs in as administrator where there is one of most things, with the number 1.
async fn furnished(controller: &TestController) -> Result<Api> {
    TestAgent::enrol(controller, "")?;
    let api = controller.api().await?;
    for kind in ["rooms", "staff", "assets"] {
        let values = json!({"code": "A-1", "name": "甲"});
        let item = json!({"site": 1, "values": values});
        api.post(&format!("/api/v1/register/{kind}"), &item).await?;
    }
    let token = json!({"name": "a", "right": "read-metrics", "expires_in_days": 1});
    api.post("/api/v1/api-tokens", &token).await?;
    Ok(api)
}

/// Where `cargo xtask test` puts it: beside the programs' profile.
fn fuzzer() -> Result<Option<PathBuf>> {
    let controller = program("xiezhi-controller")?;
    let target = controller.parent().and_then(Path::parent);
    let fuzzer = target
        .context("no target folder")?
        .join("schemathesis/bin/st");
    if !fuzzer.is_file() {
        skip("schemathesis is not installed: `cargo xtask test` does that");
        return Ok(None);
    }
    Ok(Some(fuzzer))
}

/// A technician of one court, with a password of their own.
async fn technician(controller: &TestController, administrator: &Api) -> Result<Api> {
    let sites = administrator.get("/api/v1/sites").await?;
    let court = sites["items"].as_array().and_then(|sites| sites.last());
    let court = court.context("no site")?["id"].clone();
    let wanted = json!({"name": "wang.fang", "home": court,
        "roles": [{"role": "technician", "site": court}]});
    let made = administrator.post("/api/v1/users", &wanted).await?;
    let once = made["password"].as_str().context("no password")?;
    let first = Api::sign_in_as(controller.web(), "wang.fang", once).await?;
    let own = json!({"old": once, "new": PASSWORD});
    first.post("/api/v1/me/password", &own).await?;
    Api::sign_in_as(controller.web(), "wang.fang", PASSWORD).await
}

async fn fuzz(fuzzer: &Path, controller: &TestController, api: &Api) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let description = folder.path().join("openapi.json");
    let read = api.get("/api/v1/openapi.json").await?;
    std::fs::write(&description, read.to_string())?;
    let mut command = command(fuzzer, &description, controller, api);
    command.current_dir(folder.path());
    let output = command.output();
    let output = output.context("starting schemathesis")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let also = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    ensure!(output.status.success(), "{said}\n{also}");
    // One that tried nothing proves nothing.
    ensure!(said.contains("operations"), "{said}");
    // It still answers, and nothing ended the session.
    api.get("/api/v1/me").await?;
    Ok(())
}

fn command(fuzzer: &Path, description: &Path, controller: &TestController, api: &Api) -> Command {
    let is_long = std::env::var_os("XIEZHI_LONG").is_some();
    let mut command = Command::new(fuzzer);
    command.arg("run").arg(description);
    command.args(["--url", &format!("http://{}", controller.web())]);
    command.args(["--header", &format!("Cookie: {}", api.cookie())]);
    command.args(["--header", "X-Xiezhi-Request: 1"]);
    command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]);
    command.args(["--continue-on-failure", "--no-shrink", "--workers", "2"]);
    command.args(["--suppress-health-check", "all", "--request-timeout", "60"]);
    command.args([
        "--generation-database",
        "none",
        "--warnings",
        "off",
        "--no-color",
    ]);
    for name in LEFT_OUT {
        command.args(["--exclude-operation-id", name]);
    }
    if is_long {
        command.args(["--max-time", "300", "--max-examples", "1000"]);
    } else {
        command.args(["--max-time", "20", "--max-examples", "10", "--seed", "1"]);
    }
    command
}

/// The description names every operation that is left out, so that none is by mistake.
#[test]
fn what_is_left_out_is_there() -> Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(golden)?)?;
    let text = golden.to_string();
    for name in LEFT_OUT {
        ensure!(
            text.contains(&format!("\"operationId\":\"{name}\"")),
            "{name}"
        );
    }
    Ok(())
}
