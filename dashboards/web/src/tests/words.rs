//! What the controller refuses and what it writes down is said in both languages, everywhere.
//!
//! The codes and words are found in the controller's source, so that one that is added without a text
//! fails here and not on a Chinese page. What cannot be followed to its words fails as well.

use std::collections::BTreeSet;
use std::path::Path;

use super::source::{controller, files, shipped};
use super::text;

/// What is loaded before a refusal is said; `files` by the pages that send or take files.
const ALWAYS: [&str; 5] = ["i18n", "people", "frame", "problems", "files"];

/// What the page of the audit log loads besides.
const AUDIT: [&str; 3] = ["actions", "audited", "register"];

/// Words that stand where codes do and are none; each says what it is.
const NO_CODES: [(&str, &str); 12] = [
    ("bad_data", "Prometheus's type of an error"),
    ("timeout", "the same"),
    ("internal", "the same"),
    ("unauthorized", "the same"),
    ("forbidden", "the same"),
    ("unavailable", "the same"),
    ("ok", "the answer of a probe"),
    ("degraded", "the same"),
    ("unwell", "the same"),
    ("taken", "what is wrong with a field"),
    ("code_stays", "the same"),
    ("unknown_code", "the same"),
];

fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.bytes().all(fits)
}

/// Quoted words in a piece of source.
fn words(code: &str) -> Vec<String> {
    let quoted = code.split('"').skip(1).step_by(2);
    quoted
        .filter(|text| is_word(text))
        .map(str::to_owned)
        .collect()
}

/// The arguments of a call that begins after `code`'s bracket, and how long they are.
fn arguments(code: &str) -> Vec<String> {
    let (mut depth, mut is_text, mut escaped) = (1, false, false);
    let mut found = vec![String::new()];
    for sign in code.chars() {
        if is_text {
            is_text = escaped || sign != '"';
            escaped = !escaped && sign == '\\';
        } else {
            match sign {
                '"' => is_text = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && sign == ',' {
                found.push(String::new());
                continue;
            }
        }
        found.last_mut().unwrap().push(sign);
    }
    found.iter().map(|one| one.trim().to_owned()).collect()
}

/// The calls of a function: where each is, and its arguments.
fn calls(code: &str, name: &str) -> Vec<(usize, Vec<String>)> {
    let call = format!("{name}(");
    let at = code.match_indices(&call).map(|(at, _)| at);
    at.map(|at| (at, arguments(&code[at + call.len()..])))
        .collect()
}

/// The function around a place, from its head to where its indentation ends.
fn around(code: &str, at: usize) -> &str {
    let lines = code[..at].match_indices("fn ");
    let heads = lines.filter(|(at, _)| {
        let line = code[..*at].rfind('\n').map_or(0, |end| end + 1);
        let before = code[line..*at].trim();
        [
            "",
            "pub",
            "pub(crate)",
            "pub(super)",
            "async",
            "pub(crate) async",
            "pub(super) async",
        ]
        .contains(&before.trim_end_matches(" const"))
    });
    let start = heads.last().map_or(0, |(at, _)| at);
    let line = code[..start].rfind('\n').map_or(0, |end| end + 1);
    let indent: String = code[line..]
        .chars()
        .take_while(|sign| *sign == ' ')
        .collect();
    let end = code[at..].find(&format!("\n{indent}}}"));
    &code[start..end.map_or(code.len(), |end| at + end)]
}

/// The body of the first function with this name after `mark`.
fn body(code: &str, mark: &str, name: &str) -> String {
    let from = code.find(mark).unwrap_or_else(|| panic!("{mark} is gone"));
    let head = code[from..].find(&format!("fn {name}("));
    let head = from + head.unwrap_or_else(|| panic!("fn {name} is gone"));
    let inside = head + code[head..].find('{').unwrap() + 1;
    around(code, inside).to_owned()
}

/// The codes of all problems of the interface for pages.
fn codes() -> BTreeSet<String> {
    let source = controller().join("api/src");
    let password = shipped(&controller().join("identity/src/password.rs"));
    let mut found: BTreeSet<String> = words(&body(&password, "impl", "code"))
        .into_iter()
        .collect();
    assert!(found.len() > 3, "codes of bad passwords: {found:?}");
    for path in files(&source) {
        let code = shipped(&path);
        let mut names = vec!["Problem::new", "Problem::failed"];
        if path.ends_with("problem.rs") || code.contains("for Problem {") {
            names.extend(["Self::new", "Self::failed"]);
        }
        for (at, arguments) in names.iter().flat_map(|name| calls(&code, name)) {
            let given = arguments.get(1).map_or("", String::as_str);
            let quoted = given
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            // A name in capitals is a constant of some file of this folder.
            let chosen = match quoted {
                Some(one) => vec![one.to_owned()],
                None if given
                    .chars()
                    .all(|sign| sign.is_ascii_uppercase() || sign == '_') =>
                {
                    constant(&source, given)
                }
                None => words(around(&code, at)),
            };
            // Where a problem is made of what its caller says, the caller is found as well.
            let passes_on = ["files.rs", "problem.rs", "register.rs", "change.rs"];
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(
                !chosen.is_empty() || passes_on.contains(&name),
                "{}: which codes? …{}",
                path.display(),
                &code[at..(at + 80).min(code.len())]
            );
            found.extend(chosen);
        }
        // A code beside its status, wherever it goes.
        for (at, _) in code.match_indices("StatusCode::") {
            let rest = &code[at..];
            let word = rest
                .split_once(',')
                .map_or("", |(_, rest)| rest.trim_start());
            let status = rest.find(|sign: char| !(sign.is_alphanumeric() || "_:".contains(sign)));
            if status == rest.find(',')
                && let Some(quoted) = word
                    .strip_prefix('"')
                    .and_then(|rest| rest.split('"').next())
                && is_word(quoted)
            {
                found.insert(quoted.to_owned());
            }
        }
    }
    found.retain(|word| NO_CODES.iter().all(|(one, _)| one != word));
    found
}

fn constant(folder: &Path, name: &str) -> Vec<String> {
    let line = format!("const {name}: &str = \"");
    let found = files(folder).into_iter().filter_map(|path| {
        let code = shipped(&path);
        let at = code.find(&line)?;
        code[at + line.len()..].split('"').next().map(str::to_owned)
    });
    found.collect()
}

/// What of `keys` none of the tables has in two languages.
fn missing(tables: &[&str], keys: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let table: String = tables
        .iter()
        .map(|name| text(&format!("lib/{name}.js")))
        .collect();
    let has = |key: &String| table.contains(&format!("'{key}': ['"));
    let lacking = keys.into_iter().filter(|any| !any.iter().any(has));
    lacking.filter_map(|any| any.into_iter().next()).collect()
}

#[test]
fn every_problem_that_the_controller_can_have_is_said_in_both_languages() {
    let codes = codes();
    for known in [
        "not_allowed",
        "busy",
        "too_often",
        "last_administrator",
        "password_same",
        "too_many_rows",
    ] {
        assert!(
            codes.contains(known),
            "codes are no longer found: {known} of {codes:?}"
        );
    }
    let keys = codes.iter().map(|code| vec![format!("problem.{code}")]);
    let missing = missing(&ALWAYS, keys);
    assert!(
        missing.is_empty(),
        "give each a line `'problem.…': ['中文', 'English'],` in lib/problems.js: {missing:?}"
    );
}

/// Where the particulars of entries take their words from: file, what stands before the function, function.
const SPOKEN: [(&str, &str, &str); 10] = [
    ("ingest/src/events.rs", "", "explain"),
    ("ingest/src/lane.rs", "", "explain"),
    ("ingest/src/enrol.rs", "", "explain"),
    ("ingest/src/enrol.rs", "", "revoked"),
    ("ingest/src/enrol/proof.rs", "", "word"),
    ("store/src/sessions.rs", "impl IdentityConflict", "word"),
    ("model/src/api_token.rs", "", "word"),
    ("model/src/account_change.rs", "", "word"),
    ("model/src/role.rs", "impl Role", "word"),
    ("model/src/register.rs", "impl RegisterKind", "word"),
];

#[test]
fn every_word_in_the_audits_particulars_is_said_in_both_languages() {
    let (mut names, mut values) = (BTreeSet::new(), BTreeSet::new());
    for path in files(&controller()) {
        let code = shipped(&path);
        if !["AuditEntry", ".audit(", "by_console("]
            .iter()
            .any(|mark| code.contains(mark))
        {
            continue;
        }
        for (_, arguments) in calls(&code, ".with") {
            names.extend(words(&arguments[0]));
            // What is written as a word stands there as one.
            if let Some(value) = arguments.get(1).filter(|value| value.starts_with('"')) {
                values.extend(words(value));
            }
        }
    }
    for (file, mark, name) in SPOKEN {
        let found = words(&body(&shipped(&controller().join(file)), mark, name));
        assert!(
            !found.is_empty(),
            "words of {file} {name} are no longer found"
        );
        values.extend(found);
    }
    let login = shipped(&controller().join("api/src/resources/login.rs"));
    for (_, arguments) in calls(&login, "refused")
        .into_iter()
        .chain(calls(&login, "enter"))
    {
        values.extend(arguments.last().map(|last| words(last)).unwrap_or_default());
    }
    let proof = shipped(&controller().join("api/src/second_factor.rs"));
    for (_, arguments) in calls(&proof, "Proof::Good") {
        values.extend(words(&arguments[0]));
    }
    // Words that stand alone: after what, in which file.
    for (file, before) in [
        ("ingest/src/lane.rs", "word: "),
        ("api/src/query_desk.rs", "const COSTLY: [&str; 2] = "),
        ("ingest/src/enrol.rs", "StatusCode::"),
    ] {
        let code = shipped(&controller().join(file));
        let rest = code.split(before).skip(1);
        values.extend(rest.flat_map(|rest| words(rest.split([';', ')']).next().unwrap())));
    }
    for known in ["address", "reason", "path", "why"] {
        assert!(
            names.contains(known),
            "names are no longer found: {known} of {names:?}"
        );
    }
    for known in [
        "one_time_code",
        "token_expired",
        "checksum",
        "good",
        "disable",
        "sec_admin",
    ] {
        assert!(
            values.contains(known),
            "words are no longer found: {known} of {values:?}"
        );
    }
    let tables = [ALWAYS.as_slice(), AUDIT.as_slice()].concat();
    let names = names.iter().map(|name| vec![format!("detail.{name}")]);
    let forms = ["detailed", "change", "role", "problem"];
    let values = values
        .iter()
        .map(|value| forms.map(|form| format!("{form}.{value}")).into());
    let missing = missing(&tables, names.chain(values));
    assert!(
        missing.is_empty(),
        "give each a line `'…': ['中文', 'English'],` in lib/audited.js: {missing:?}"
    );
}

#[test]
fn every_reason_against_taking_courts_back_is_said_in_both_languages() {
    let mut found = BTreeSet::new();
    for file in ["undo.rs", "usage.rs"] {
        let code = shipped(&controller().join("store/src/sites").join(file));
        let named = code.split("word: \"").skip(1);
        found.extend(named.map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(found.len() > 9 && found.contains("hosts"), "{found:?}");
    let keys = found.iter().map(|word| vec![format!("tree.undo.{word}")]);
    assert_eq!(missing(&["tree"], keys), Vec::<String>::new());
}
