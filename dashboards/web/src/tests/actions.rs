//! Every act that the controller writes down has a name in both languages.
//!
//! The acts are found in the controller's source, so that one that is added without a name fails
//! here and not in front of an auditor.

use std::collections::BTreeSet;

use super::source::{controller, files, shipped};
use super::text;

/// Words that look like acts, in files that audit, and are none; each says what it is.
const NO_ACTS: &[(&str, &str)] = &[
    ("state.db", "the database's file"),
    ("s.site_id", "a column of a statement"),
    ("a.id", "a column of a statement"),
    ("i.id", "a column of a statement"),
];

/// `noun.verb` in quotes: lower-case letters and underscores with one dot.
fn dotted(code: &str) -> Vec<String> {
    let plain = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let is_act = |word: &&str| {
        let parts = word.split_once('.');
        parts.is_some_and(|(noun, verb)| plain(noun) && plain(verb))
    };
    code.lines()
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(is_act)
        .map(str::to_owned)
        .collect()
}

fn acts() -> BTreeSet<String> {
    let mut files: Vec<String> = files(&controller())
        .iter()
        .map(|path| shipped(path))
        .collect();
    let marks = ["AuditEntry", ".audit(", "by_console("];
    files.retain(|code| marks.iter().any(|mark| code.contains(mark)));
    let mut acts: BTreeSet<String> = files.iter().flat_map(|code| dotted(code)).collect();
    acts.retain(|act| NO_ACTS.iter().all(|(word, _)| word != act));
    acts
}

#[test]
fn every_act_in_the_audit_has_a_name_in_both_languages() {
    let acts = acts();
    assert!(acts.len() > 20, "acts are no longer found: {acts:?}");
    let table = text("lib/actions.js");
    let nameless: Vec<&String> = acts
        .iter()
        .filter(|act| !table.contains(&format!("'action.{act}': [")))
        .collect();
    assert!(
        nameless.is_empty(),
        "give each a line `'action.…': ['中文', 'English'],` in lib/actions.js, \
         or a line in NO_ACTS: {nameless:?}"
    );
}

#[test]
fn every_part_that_can_be_unwell_has_words_for_it() {
    let table = text("lib/i18n.js") + &text("lib/ailments.js");
    for part in ["samples", "events", "database", "sealing"] {
        for key in ["disk_full", "away", "failed", "means"] {
            let key = format!("'ailment.{part}.{key}': [");
            assert!(
                table.contains(&key),
                "lib/i18n.js and lib/ailments.js lack {key}"
            );
        }
        assert!(table.contains(&format!("'part.{part}': [")), "{part}");
    }
    for key in [
        "'ailment.cluster.failed': [",
        "'ailment.cluster.means': [",
        "'part.cluster': [",
    ] {
        assert!(
            table.contains(key),
            "lib/i18n.js and lib/ailments.js lack {key}"
        );
    }
    for part in ["intermediate_certificate", "web_certificate"] {
        for key in ["certificate_ends", "certificate_ended", "means", "do"] {
            let key = format!("'ailment.{part}.{key}': [");
            assert!(
                table.contains(&key),
                "lib/i18n.js and lib/ailments.js lack {key}"
            );
        }
        assert!(table.contains(&format!("'part.{part}': [")), "{part}");
    }
    for key in [
        "ailment.stored.damaged",
        "ailment.stored.means",
        "ailment.damaged.do",
        "ailment.stored.refused",
        "ailment.stored.refused.means",
        "ailment.stored.refused.do",
        "ailment.stored.stray",
        "ailment.stored.stray.means",
        "ailment.stored.stray.do",
        "ailment.sealing.without_steps",
        "ailment.sealing.without_steps.means",
        "ailment.without_steps.do",
        "ailment.series.left_out",
        "ailment.series.means",
        "ailment.left_out.do",
        "ailment.cluster.refused",
        "ailment.refused.do",
        "part.series",
    ] {
        assert!(table.contains(&format!("'{key}': [")), "{key}");
    }
}
