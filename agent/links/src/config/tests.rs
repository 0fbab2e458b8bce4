//! What a file of links may say, and what is told where it says something else.

use super::*;
use xiezhi_document::Language;

fn folder(texts: &[(&str, &str)]) -> Folder {
    let files: Vec<File<'_>> = texts
        .iter()
        .map(|(path, text)| File { path, text })
        .collect();
    read(&files, &|sealed| match sealed {
        "sealed:good" => Ok(Zeroizing::new("a key of both ends".to_owned())),
        _ => Err(Said::from("closed")),
    })
}

fn told(folder: &Folder) -> String {
    let problems = folder.problems.iter();
    problems.map(|one| one.shown(Language::English)).collect()
}

#[test]
fn links_and_the_reflector_are_read() {
    let folder = folder(&[
        (
            "a.yaml",
            "links:\n- {name: centre, address: 10.8.0.1, key: 'sealed:good', source: 10.8.3.1, note: 电信}\n\
             - {name: old, address: '10.8.0.2:862', rate: 20, size: 200, every: 15s, timeout: 1s, reflector: stateless}\n",
        ),
        (
            "b.yaml",
            "reflector:\n  port: 5862\n  listen: [10.8.3.1, '::1']\n  peers:\n  - {address: 10.8.0.0/16, key: a plain key of both}\n  - {address: 10.9.0.1}\n",
        ),
    ]);
    assert_eq!(told(&folder), "");
    let centre = &folder.links["centre"];
    assert_eq!(centre.peer, "10.8.0.1:20862".parse().unwrap());
    assert_eq!(
        (centre.rate, centre.size, centre.stateful),
        (10, SIGNED, true)
    );
    assert_eq!(centre.key, Key::new("a key of both ends"));
    let old = &folder.links["old"];
    assert_eq!(old.peer.port(), 862);
    assert_eq!(
        (old.rate, old.size, old.stateful, old.key.is_none()),
        (20, 200, false, true)
    );
    let reflector = folder.reflector.unwrap();
    assert_eq!(reflector.listen.len(), 2);
    assert_eq!(reflector.listen[1], "[::1]:5862".parse().unwrap());
    assert_eq!(
        reflector.peers[1].network,
        ("10.9.0.1".parse().unwrap(), 32)
    );
}

#[test]
fn a_bad_link_or_file_stops_no_other_and_is_told_with_its_place() {
    let text = "links:\n\
        - {name: good, address: 10.0.0.1}\n\
        - {name: Bad, address: 10.0.0.1}\n\
        - {name: far, address: nowhere}\n\
        - {name: fast, address: 10.0.0.1, rate: 1000}\n\
        - {name: odd, address: 10.0.0.1, size: 46}\n\
        - {name: weak, address: 10.0.0.1, key: short-secret}\n\
        - {name: shut, address: 10.0.0.1, key: 'sealed:bad'}\n\
        - {name: good, address: 10.0.0.9}\n\
        - {name: mixed, address: 10.0.0.1, source: '::1'}\n\
        - {name: slow, address: 10.0.0.1, every: 1h}\n\
        reflector: {peers: []}\n";
    let folder = folder(&[("a.yaml", text), ("b.yaml", "links: [\n")]);
    assert_eq!(folder.links.keys().collect::<Vec<_>>(), ["good"]);
    assert!(folder.reflector.is_none());
    let told = told(&folder);
    for part in [
        "a.yaml:3:",
        "a.yaml:4:",
        "a.yaml:5:",
        "a.yaml:6:",
        "a.yaml:7:",
        "a.yaml:8:",
        "a.yaml:9:",
        "a.yaml:10:",
        "a.yaml:11:",
        "a.yaml:12:",
        "b.yaml:",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(!told.contains("short-secret"), "{told}");
}

#[test]
fn a_host_has_one_reflector() {
    let one = "reflector: {peers: [{address: 10.0.0.0/8}]}\n";
    let folder = folder(&[("a.yaml", one), ("b.yaml", one)]);
    assert_eq!(folder.reflector.as_ref().unwrap().file, "a.yaml");
    assert!(told(&folder).contains("b.yaml:1:"), "{}", told(&folder));
}
