//! The whole interface, fuzzed by its own description: nothing that schemathesis can think of is
//! answered by a fault, with a status that is not described, or in another shape than described.
//!
//! Some seconds for each caller; `XIEZHI_LONG=1` gives each five minutes and a seed of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xiezhi_test_support::{
    Api, TestAgent, TestController, TestPostgres, eventually, program, skip,
};

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method";

/// The stream has no end, and ending sessions would end the rest of the run.
const LEFT_OUT: [&str; 5] = [
    "get_live",
    "post_logout",
    "post_me_sessions_end_others",
    "delete_me_sessions_id",
    "post_users_id_end_sessions",
];

/// Takes tokens only. People and wrong tokens are soon told to come later, with 503, because senders of
/// samples do not come again after 429.
const WRITE: &str = "post_write";

const PASSWORD: &str = "a phrase of one's own choosing";

#[tokio::test]
async fn no_account_is_answered_by_a_fault_or_by_what_is_not_described() -> Result<()> {
    let Some(fuzzer) = fuzzer()? else {
        return Ok(());
    };
    let controller = TestController::start().await?;
    let administrator = furnished(&controller).await?;
    let technician = technician(&controller, &administrator).await?;
    let [reader, writer] = [
        program_with("read-metrics", &administrator).await?,
        program_with("write-metrics", &administrator).await?,
    ];
    let prometheus = ["--include-tag", "prometheus"];
    let people = ["--exclude-operation-id", WRITE];
    let base = Fuzzed {
        fuzzer,
        controller: &controller,
        description: administrator.get("/api/v1/openapi.json").await?,
    };
    base.by(&cookie_of(&technician), &people, 15)?;
    // Nothing ended a session.
    technician.get("/api/v1/me").await?;
    base.by(&script_of(&technician).await?, &people, 10)?;
    base.by(&reader, &[prometheus, people].concat(), 10)?;
    base.by(&writer, &["--include-operation-id", WRITE], 5)?;
    // Last, because it may withdraw what the others come with.
    base.by(&cookie_of(&administrator), &people, 25)?;
    administrator.get("/api/v1/me").await?;
    Ok(())
}

/// Who sees security or the audit, and who sees nothing but numbers: they reach other routes, and are refused
/// at others.
#[tokio::test]
async fn the_other_duties_and_a_wall_are_answered_by_no_fault_either() -> Result<()> {
    let Some(fuzzer) = fuzzer()? else {
        return Ok(());
    };
    let controller = TestController::start().await?;
    let administrator = furnished(&controller).await?;
    let base = Fuzzed {
        fuzzer,
        controller: &controller,
        description: administrator.get("/api/v1/openapi.json").await?,
    };
    let people = ["--exclude-operation-id", WRITE];
    // The last may withdraw what the others come with.
    for role in ["wall", "audit_admin", "security_officer", "sec_admin"] {
        let once = controller.command(&["user", "create", role, "--role", role])?;
        let account = owned(&controller, role, once.trim()).await?;
        base.by(&cookie_of(&account), &people, 6)?;
        account.get("/api/v1/me").await?;
    }
    Ok(())
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
    let base = Fuzzed {
        fuzzer,
        controller: &controller,
        description: administrator.get("/api/v1/openapi.json").await?,
    };
    let people = ["--exclude-operation-id", WRITE];
    base.by(&cookie_of(&administrator), &people, 30)?;
    administrator.get("/api/v1/me").await?;
    Ok(())
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
    Ok(api)
}

fn cookie_of(api: &Api) -> String {
    format!("Cookie: {}", api.cookie())
}

/// The header of a program with a token of this right.
async fn program_with(right: &str, administrator: &Api) -> Result<String> {
    let wanted = json!({"name": "a", "right": right, "site": 1, "expires_in_days": 1});
    let made = administrator.post("/api/v1/api-tokens", &wanted).await?;
    let token = made["token"].as_str().context("no token")?;
    Ok(format!("Authorization: Bearer {token}"))
}

/// The header of a program that acts for a technician.
async fn script_of(technician: &Api) -> Result<String> {
    let me = technician.get("/api/v1/me").await?;
    let site = me["user"]["roles"][0]["site"]["id"].clone();
    let wanted = json!({"name": "a", "role": "technician", "site": site, "password": PASSWORD});
    let made = technician.post("/api/v1/me/api-tokens", &wanted).await?;
    let token = made["token"].as_str().context("no token")?;
    Ok(format!("Authorization: Bearer {token}"))
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
    owned(controller, "wang.fang", once).await
}

/// Signs in with a password of the account's own, in place of the one for one use.
async fn owned(controller: &TestController, name: &str, once: &str) -> Result<Api> {
    let first = signed_in(controller, name, once).await?;
    let own = json!({"old": once, "new": PASSWORD});
    first.post("/api/v1/me/password", &own).await?;
    signed_in(controller, name, PASSWORD).await
}

/// Signs in. Whoever was fuzzed before may have used up this network's attempts for some seconds.
async fn signed_in(controller: &TestController, name: &str, password: &str) -> Result<Api> {
    eventually(&format!("{name} signs in"), async || {
        let api = Api::sign_in_as(controller.web(), name, password).await?;
        Ok(Some(api))
    })
    .await
}

/// What is fuzzed, and with what.
struct Fuzzed<'a> {
    fuzzer: PathBuf,
    controller: &'a TestController,
    description: Value,
}

impl Fuzzed<'_> {
    /// Fuzzes as the caller whom this header names.
    #[expect(
        clippy::print_stdout,
        reason = "says what was tried, for whoever reads the run"
    )]
    fn by(&self, header: &str, chosen: &[&str], seconds: u32) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let description = folder.path().join("openapi.json");
        std::fs::write(&description, self.description.to_string())?;
        let mut command = Command::new(&self.fuzzer);
        command.arg("run").arg(&description);
        command.current_dir(folder.path());
        command.args(["--header", header, "--header", "X-Xiezhi-Request: 1"]);
        command.args(["--url", &format!("http://{}", self.controller.web())]);
        command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]);
        command.args(["--continue-on-failure", "--no-shrink", "--no-color"]);
        command.args(["--suppress-health-check", "all", "--warnings", "off"]);
        command.args(["--request-timeout", "60", "--generation-database", "none"]);
        // Threads of Python 3.11 fall over each other in `ast.parse`.
        command.args(["--workers", "1"]);
        for name in LEFT_OUT {
            command.args(["--exclude-operation-id", name]);
        }
        command.args(chosen);
        if std::env::var_os("XIEZHI_LONG").is_some() {
            command.args(["--max-time", "300", "--max-examples", "1000"]);
        } else {
            let seconds = seconds.to_string();
            command.args([
                "--max-time",
                &seconds,
                "--max-examples",
                "10",
                "--seed",
                "1",
            ]);
        }
        let output = command.output().context("starting schemathesis")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let also = String::from_utf8_lossy(&output.stderr);
        println!("{said}");
        ensure!(output.status.success(), "{said}\n{also}");
        let tried = said.lines().find_map(|line| {
            let (tried, _) = line.trim().split_once(" generated, ")?;
            tried.parse::<u32>().ok()
        });
        // One that tried nothing proves nothing.
        ensure!(tried.is_some_and(|tried| tried >= 20), "{said}");
        Ok(())
    }
}

/// The description names every operation that is left out, so that none is by mistake.
#[test]
fn what_is_left_out_is_there() -> Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(golden)?)?;
    let text = golden.to_string();
    for name in LEFT_OUT.into_iter().chain([WRITE]) {
        ensure!(
            text.contains(&format!("\"operationId\":\"{name}\"")),
            "{name}"
        );
    }
    Ok(())
}
