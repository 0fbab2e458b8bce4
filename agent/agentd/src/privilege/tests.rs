//! The table against the code and the documentation; `tests/privilege.rs` compares it with real
//! processes.

use rustix::thread::CapabilitySet;
use xiezhi_collect::security::privileged::{Ask, RootLog};

use super::{helper, markdown, table::table, warden};

fn names(set: CapabilitySet) -> Vec<String> {
    let mut names: Vec<_> = set
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    names.sort();
    names
}

#[test]
fn table_says_what_the_code_asks_for() {
    let row = |start: &str| {
        table()
            .iter()
            .find(|row| row.process == start || row.purpose.starts_with(start))
            .unwrap()
    };
    assert_eq!(row("xiezhi-warden").effective, names(warden::EFFECTIVE));
    assert_eq!(row("xiezhi-warden").permitted, names(warden::PERMITTED));
    assert!(row("xiezhi-worker").permitted.is_empty());
    for ask in [
        Ask::LogTail(RootLog::Audit, None),
        Ask::AuthorizedKeys,
        Ask::SetuidScan,
        Ask::Dmi,
    ] {
        let row = row(ask.helper());
        assert_eq!(
            row.permitted,
            names(helper::capabilities(&ask)),
            "{}",
            ask.helper()
        );
    }
}

#[test]
fn nothing_that_parses_network_input_holds_a_strong_capability() {
    for row in table().iter().filter(|row| row.sockets.contains("TLS")) {
        assert!(row.effective.is_empty() && row.permitted.is_empty() && row.bounding.is_empty());
    }
}

#[test]
fn architecture_shows_this_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("<!-- privileges:begin -->\n").unwrap();
    let (shown, _) = rest.split_once("<!-- privileges:end -->").unwrap();
    if std::env::var_os("XIEZHI_WRITE_DOCS").is_some() && shown.trim() != markdown().trim() {
        let new = text.replace(
            &format!("<!-- privileges:begin -->\n{shown}"),
            &format!("<!-- privileges:begin -->\n{}", markdown()),
        );
        std::fs::write(path, new).unwrap();
        return;
    }
    assert_eq!(
        shown.trim(),
        markdown().trim(),
        "run this test with XIEZHI_WRITE_DOCS=1"
    );
}
