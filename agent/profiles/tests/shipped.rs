//! Every shipped profile against its recording, and against recordings of real devices where a folder
//! of them is given.

use std::fs;
use std::path::{Path, PathBuf};

use xiezhi_profiles::{Library, Walk, replay};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("library")
}

#[test]
fn every_file_of_the_library_is_shipped_and_none_has_a_problem() {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            texts.push((name, path.clone(), fs::read_to_string(path).unwrap()));
        }
    }
    let files: Vec<xiezhi_profiles::File<'_>> = texts
        .iter()
        .map(|(name, path, text)| xiezhi_profiles::File {
            path: path.to_str().unwrap(),
            name,
            text,
        })
        .collect();
    let (library, problems) = Library::read(&files);
    let told: String = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, "");
    let shipped: Vec<String> = Library::shipped().iter().map(|p| p.name.clone()).collect();
    let there: Vec<String> = library.iter().map(|p| p.name.clone()).collect();
    assert_eq!(
        shipped, there,
        "add the line of a new profile to library/shipped.rs"
    );
}

#[test]
fn every_profile_reads_what_its_recording_says() {
    let library = Library::shipped();
    let mut wrong = Vec::new();
    for profile in library.iter() {
        if !profile.matches.is_empty() && profile.tests.is_empty() {
            wrong.push(format!("{}: has no recording", profile.name));
        }
        for test in &profile.tests {
            let text = fs::read_to_string(folder().join(&test.walk)).unwrap();
            let (walk, bad) = Walk::parse(&text);
            wrong.extend(bad.iter().map(|bad| format!("{}: {bad}", test.walk)));
            for (line, column, said) in replay::differences(&library, profile, test, &walk) {
                wrong.push(format!(
                    "{}.yaml:{line}:{column}: {}",
                    profile.name, said.en
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Recordings of real devices: `XIEZHI_WALKS=FOLDER`, or a folder `shared/data/walks` beside the
/// project. They are no part of it, so without them nothing is tried, and that is said.
#[test]
fn real_recordings_are_recognised_and_read_sanely() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/walks");
    let folder = std::env::var_os("XIEZHI_WALKS").map_or(beside, PathBuf::from);
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("real recordings: 0 tried; none are given by XIEZHI_WALKS");
        return;
    };
    let library = Library::shipped();
    let mut tried = 0;
    let mut wrong = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "snmprec")
        {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        let (walk, _) = Walk::parse(&String::from_utf8_lossy(&bytes));
        let Some(profile) = library.recognise(&replay::probe(&library, &walk)) else {
            println!("{name}: needs a profile");
            continue;
        };
        let reading = replay::read(profile, &walk);
        tried += 1;
        println!(
            "{name}: {}, {} facts, {} ports, {} values, {} left out",
            profile.name,
            reading.facts.len(),
            reading.ports.len(),
            reading.values.len(),
            reading.left_out.len()
        );
        if reading.facts.is_empty() {
            wrong.push(format!("{name}: nobody knows what it is"));
        }
        if reading.ports.is_empty() && reading.values.is_empty() {
            wrong.push(format!("{name}: nothing was read"));
        }
        let unknown = reading
            .values
            .iter()
            .filter(|value| !value.metric.states.is_empty() && value.meaning.is_none());
        wrong.extend(unknown.map(|value| {
            format!(
                "{name}: {} is {}, which means nothing",
                value.title(),
                value.shown()
            )
        }));
    }
    println!("real recordings: {tried} tried");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
