//! A configuration with several mistakes: all are shown at once, each with its place.

use std::process::Command;

use anyhow::Result;
use xiezhi_test_support::program;

/// Runs `check-config` on `text`; yields whether it is accepted, and what is said.
fn check(program_name: &str, text: &str) -> Result<(bool, String)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("some.yaml");
    std::fs::write(&file, text)?;
    let mut command = Command::new(program(program_name)?);
    let output = command
        .arg("check-config")
        .arg("--config")
        .arg(&file)
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace(&file.display().to_string(), "some.yaml");
    Ok((output.status.success(), said))
}

/// Line and column of each problem.
fn places(said: &str) -> Vec<&str> {
    let place = |line: &'_ str| {
        line.find("some.yaml:")
            .map(|start| start + "some.yaml:".len())
    };
    said.lines()
        .filter_map(|line| place(line).and_then(|start| line[start..].split(": ").next()))
        .collect()
}

#[test]
fn an_agents_four_mistakes_are_shown_together() -> Result<()> {
    let text = "interval: 5h\nmetrics: 0.0.0.0:9101\nspool: {max_bytes: 1kB}\nlogg: info\n";
    let (accepted, said) = check("xiezhi-agent", text)?;
    assert!(!accepted);
    assert_eq!(places(&said), ["1:11", "2:10", "3:20", "4:1"], "{said}");
    for word in [
        "`interval` must be between 1s and 1h",
        "loopback",
        "1MiB",
        "logg",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(check("xiezhi-agent", "interval: 15s\n")?.0);
    Ok(())
}

#[test]
fn a_controllers_four_mistakes_are_shown_together() -> Result<()> {
    let text = "agents: nowhere\nweb: {listen: 0.0.0.0:80, tls: off}\n\
                series: {retention: 1h}\nlgo: info\n";
    let (accepted, said) = check("xiezhi-controller", text)?;
    assert!(!accepted);
    assert_eq!(places(&said), ["1:9", "2:32", "3:21", "4:1"], "{said}");
    for word in [
        "address and port",
        "loopback",
        "`retention` must be from 1d to 3650d",
        "lgo",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(check("xiezhi-controller", "log: info\n")?.0);
    Ok(())
}
