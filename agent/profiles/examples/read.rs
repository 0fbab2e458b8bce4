//! Prints what the profiles read from recordings: `cargo run -p xiezhi-profiles --example read -- FILE…`
//!
//! Reads the profiles of `library/`, or of the folder that LIBRARY names, from the disk, so that trying
//! a change needs no build. Tells what the tests of the profiles miss, too.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "an example")]

use std::path::{Path, PathBuf};

use xiezhi_profiles::{File, GENERIC, Library, Walk, replay};

fn main() {
    let given = std::env::var_os("LIBRARY").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("library"));
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            texts.push((
                path.display().to_string(),
                name,
                std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    let files: Vec<File<'_>> = texts
        .iter()
        .map(|(path, name, text)| File { path, name, text })
        .collect();
    let (library, problems) = Library::read(&files);
    for problem in problems {
        print!("{problem}");
    }
    for profile in library.iter() {
        for test in &profile.tests {
            let text = std::fs::read_to_string(folder.join(&test.walk)).unwrap_or_default();
            let walk = Walk::parse(&text).0;
            for (line, column, said) in replay::differences(&library, profile, test, &walk) {
                println!("{}.yaml:{line}:{column}: {}", profile.name, said.en);
            }
        }
    }
    for file in std::env::args().skip(1) {
        show(&library, &file);
    }
}

fn show(library: &Library, file: &str) {
    let (walk, bad) = Walk::parse(&std::fs::read_to_string(file).unwrap());
    let probe = replay::probe(library, &walk);
    let profile = library
        .recognise(&probe)
        .or_else(|| library.get(GENERIC))
        .unwrap();
    println!(
        "== {file}: {} ({} bad lines) {} | {}",
        profile.name,
        bad.len(),
        probe.sys_object_id,
        probe.sys_descr
    );
    let reading = replay::read(profile, &walk);
    println!("   {:?}", reading.facts);
    for port in &reading.ports {
        println!(
            "   port {} {:?} {:?} {} counters",
            port.name,
            port.state,
            port.speed,
            port.counters.len()
        );
    }
    for value in &reading.values {
        let meaning = value.meaning.map_or("", |m| m.text.en.as_str());
        println!(
            "   {} = {} {} {meaning}",
            value.title(),
            value.shown(),
            value.metric.unit.sign()
        );
    }
    for left in &reading.left_out {
        println!("   - {} {} {:?}", left.metric.id, left.index, left.reason);
    }
}
