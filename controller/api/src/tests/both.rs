//! The interface once more on PostgreSQL: a real server, and a schema of its own for each test.
//!
//! Usually the authorisation matrix for every third caller (each role is among them) and the parts of the suite
//! that touch the state; with `XIEZHI_LONG=1` all callers and the whole suite. What ran is printed.

use std::process::Command;

use xiezhi_test_support::TestPostgres;

use super::bench::SERVER;
use super::matrix::SHARE;

/// Parts of the suite whose answers come from the database.
const PARTS: &[&str] = &[
    "tests::closed::",
    "tests::devices::",
    "tests::exports::",
    "tests::interface::",
    "tests::lists::",
    "tests::matrix::",
    "tests::once::",
    "tests::own_tokens::",
    "tests::people::",
    "tests::register::",
    "tests::sites::",
    "tests::undo::",
    "tests::uploads::",
    "tests::views::",
    "tests::writes::",
];

/// Tests that need the file itself, or a server of their own.
const NOT_THERE: &[&str] = &["tests::both::", "tests::outage::"];

#[tokio::test]
async fn the_interface_holds_on_postgresql() {
    let Some(server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let long = std::env::var_os("XIEZHI_LONG").is_some();
    let mut suite = Command::new(std::env::current_exe().unwrap());
    suite.args(["--test-threads", "4", "--nocapture"]);
    for part in NOT_THERE {
        suite.args(["--skip", part]);
    }
    match long {
        true => suite.arg("tests::"),
        false => suite.args(PARTS).env(SHARE, "3"),
    };
    let suite = suite.env(SERVER, server.url()).output().unwrap();
    let said = String::from_utf8_lossy(&suite.stdout);
    let told = said.lines().filter(|line| {
        let marks = [
            "matrix: ",
            " callers on ",
            "test result",
            "FAILED",
            "panicked",
        ];
        marks.iter().any(|mark| line.contains(mark))
    });
    let told: Vec<&str> = told.collect();
    let what = if long {
        "the whole suite".to_owned()
    } else {
        PARTS.join(" ")
    };
    println!("on PostgreSQL: {what}\n{}", told.join("\n"));
    assert!(
        suite.status.success(),
        "the suite fails on PostgreSQL:\n{said}\n{}",
        String::from_utf8_lossy(&suite.stderr)
    );
    assert!(
        told.iter()
            .any(|line| line.ends_with("callers on PostgreSQL")),
        "{told:?}"
    );
    let sql = "SELECT count(*) FROM pg_tables WHERE tablename = 'schema_version'";
    let schemas: u32 = server.sql_in("xiezhi", sql).unwrap().parse().unwrap();
    assert!(schemas > 40, "only {schemas} tests used the server");
}
