//! `profile check` and `profile list`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use xiezhi_document::{Language, Problems, Said};
use xiezhi_profiles::{Library, Profile, replay};

use crate::files::{self, Read};
use crate::{Arguments, show};

/// Tells every problem of the named profiles, and what their recordings do not yield. Without names,
/// of the shipped ones and somebody's own.
pub(crate) fn check(arguments: &Arguments) -> Result<ExitCode> {
    let language = arguments.language();
    let mut own = files::own(arguments.profiles.as_deref())?;
    let mut named = Vec::new();
    for word in &arguments.words {
        for file in files::read(Path::new(word))? {
            // What is checked counts instead of what is installed under its name.
            own.retain(|installed| installed.name != file.name);
            named.push(file.name.clone());
            own.push(file);
        }
    }
    let (library, problems) = files::library(&own);
    let mut found = 0;
    for one in &problems {
        found += one.list().len();
        say_part!("{}", one.shown(language));
    }
    let checked = |profile: &&Profile| named.is_empty() || named.contains(&profile.name);
    let mut tried = 0;
    for profile in library.iter().filter(checked) {
        // Of the shipped ones only the text is here; their recordings are tried when they are built.
        let Some(file) = own.iter().find(|file| file.name == profile.name) else {
            continue;
        };
        let (recordings, problems) = replay_all(&library, profile, file);
        tried += recordings;
        found += problems.list().len();
        say_part!("{}", problems.shown(language));
    }
    let count = library.iter().filter(checked).count();
    say!("{}", show::said(language, &summary(count, tried, found)));
    Ok(if found == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn summary(profiles: usize, recordings: usize, problems: usize) -> Said {
    if problems == 0 {
        return Said::new(
            format!("{profiles} profiles and {recordings} recordings: no problems"),
            format!("{profiles} 个配置、{recordings} 个记录：没有问题"),
        );
    }
    Said::new(
        format!(
            "{problems} problems; {profiles} profiles can be used, {recordings} recordings tried"
        ),
        format!("发现 {problems} 个问题；{profiles} 个配置可用，试了 {recordings} 个记录"),
    )
}

fn replay_all(library: &Library, profile: &Profile, file: &Read) -> (usize, Problems) {
    let mut problems = Problems::new(&file.shown);
    let mut tried = 0;
    for test in &profile.tests {
        let (line, column) = test
            .expect
            .first()
            .map_or((1, 1), |one| (one.line, one.column));
        let path = file.path.with_file_name(&test.walk);
        match files::walk(&path) {
            Ok((walk, bad)) => {
                tried += 1;
                for bad in bad {
                    problems.add(line, column, format!("{}: {bad}", test.walk));
                }
                for (line, column, said) in replay::differences(library, profile, test, &walk) {
                    problems.add(line, column, said);
                }
            }
            Err(error) => problems.add(
                line,
                column,
                Said::new(format!("{error:#}"), format!("记录无法读取：{error:#}")),
            ),
        }
    }
    (tried, problems)
}

/// One line for each profile.
pub(crate) fn list(arguments: &Arguments) -> Result<ExitCode> {
    let language = arguments.language();
    let own = files::own(arguments.profiles.as_deref())?;
    let (library, problems) = files::library(&own);
    for one in &problems {
        say_part!("{}", one.shown(language));
    }
    let rows: Vec<[String; 3]> = library
        .iter()
        .filter(|profile| !profile.matches.is_empty())
        .map(|profile| {
            let kind = profile.kind.map(xiezhi_profiles::Kind::label);
            [
                profile.name.clone(),
                kind.map_or_else(String::new, |kind| show::text(language, &kind).to_owned()),
                show::text(language, &profile.label).to_owned(),
            ]
        })
        .collect();
    show::columns(&rows);
    let count = rows.len();
    let said = match language {
        Language::English => format!("{count} profiles"),
        Language::Chinese => format!("共 {count} 个配置"),
    };
    say!("{said}");
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
