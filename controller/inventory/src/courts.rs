//! Reads the list of courts.

use std::collections::BTreeMap;

use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use xiezhi_model::{NewSite, Tier};

use crate::problem::{MAX_FIELD_BYTES, MAX_SITES, Problem, ProblemKind};

const HEADER: &str = "id,name,tier,parent_id,court_code";

/// The byte order mark that spreadsheets put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that could be read, with where it stands.
struct Line {
    number: u64,
    site: NewSite,
}

/// Reads a list of courts, in the file's order.
///
/// # Errors
/// Every problem of the file, by line.
pub fn parse_courts(bytes: &[u8]) -> Result<Vec<NewSite>, Vec<Problem>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut problems = Problems::default();
    let lines = read_lines(bytes, &mut problems);
    check_tree(&lines, &mut problems);
    if lines.is_empty() && problems.list.is_empty() {
        problems.add(1, ProblemKind::Nothing);
    }
    problems.list.sort_by_key(|problem| problem.line);
    if problems.list.is_empty() {
        Ok(lines.into_iter().map(|line| line.site).collect())
    } else {
        Err(problems.list)
    }
}

#[derive(Default)]
struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, line: u64, kind: ProblemKind) {
        self.list.push(Problem { line, kind });
    }
}

fn read_lines(bytes: &[u8], problems: &mut Problems) -> Vec<Line> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut lines = Vec::new();
    let mut record = ByteRecord::new();
    let mut header_seen = false;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => return lines,
            Ok(true) => {}
            Err(error) => {
                problems.add(reader.position().line(), unreadable(&error));
                return lines;
            }
        }
        let number = record.position().map_or(0, csv::Position::line);
        let Some(fields) = as_text(&record) else {
            problems.add(number, ProblemKind::Encoding);
            header_seen = true;
            continue;
        };
        if !header_seen {
            header_seen = true;
            check_header(number, &fields, problems);
        } else if lines.len() >= MAX_SITES {
            problems.add(number, ProblemKind::TooMany);
            return lines;
        } else if let Some(site) = read_site(number, &fields, problems) {
            lines.push(Line { number, site });
        }
    }
}

fn unreadable(error: &csv::Error) -> ProblemKind {
    match error.kind() {
        ErrorKind::Utf8 { .. } => ProblemKind::Encoding,
        _ => ProblemKind::Unreadable(error.to_string()),
    }
}

/// The fields without surrounding spaces; `None` if they are not UTF-8.
fn as_text(record: &ByteRecord) -> Option<Vec<&str>> {
    record
        .iter()
        .map(|field| std::str::from_utf8(field).ok().map(str::trim))
        .collect()
}

fn check_header(number: u64, fields: &[&str], problems: &mut Problems) {
    let found = fields.join(",");
    if found != HEADER {
        let found = found.chars().take(80).collect();
        problems.add(number, ProblemKind::Header { found });
    }
}

/// A line with mistakes still becomes a site of the tree, so that they are not reported again for
/// its children; only one without an identifier cannot be anyone's parent.
fn read_site(number: u64, fields: &[&str], problems: &mut Problems) -> Option<NewSite> {
    let &[key, name, tier, parent, court_code] = fields else {
        problems.add(
            number,
            ProblemKind::Fields {
                found: fields.len(),
            },
        );
        return fields
            .first()
            .and_then(|key| site(key, "", Tier::Other, "", ""));
    };
    for (field, text) in [("id", key), ("name", name)] {
        if text.is_empty() {
            problems.add(number, ProblemKind::Empty { field });
        }
    }
    let named = [
        ("id", key),
        ("name", name),
        ("parent_id", parent),
        ("court_code", court_code),
    ];
    for (field, text) in named {
        if text.len() > MAX_FIELD_BYTES || text.chars().any(char::is_control) {
            problems.add(number, ProblemKind::Unusable { field });
        }
    }
    let known = Tier::from_word(tier);
    if known.is_none() {
        let found = tier.chars().take(80).collect();
        problems.add(number, ProblemKind::Tier { found });
    }
    site(key, name, known.unwrap_or(Tier::Other), parent, court_code)
}

fn site(key: &str, name: &str, tier: Tier, parent: &str, court_code: &str) -> Option<NewSite> {
    (!key.is_empty()).then(|| NewSite {
        key: key.to_owned(),
        name: name.to_owned(),
        tier,
        parent: (!parent.is_empty()).then(|| parent.to_owned()),
        court_code: court_code.to_owned(),
    })
}

fn check_tree(lines: &[Line], problems: &mut Problems) {
    let mut by_key: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in lines {
        let id = line.site.key.as_str();
        match by_key.get(id) {
            Some(first) => {
                let (id, first) = (id.to_owned(), first.number);
                problems.add(line.number, ProblemKind::Duplicate { id, first });
            }
            None => drop(by_key.insert(id, line)),
        }
    }
    for line in lines {
        let Some(parent) = line.site.parent.as_deref() else {
            continue;
        };
        if !by_key.contains_key(parent) {
            let parent = parent.to_owned();
            problems.add(line.number, ProblemKind::Parent { parent });
        }
    }
    check_cycles(&by_key, problems);
}

/// Whether the way up from a site was walked already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Now,
    Done,
}

/// Walks up from every site once; meeting a site of the same walk again is a circle.
fn check_cycles(by_key: &BTreeMap<&str, &Line>, problems: &mut Problems) {
    let mut walks: BTreeMap<&str, Walk> = BTreeMap::new();
    for (&start, &line) in by_key {
        let mut path: Vec<&str> = Vec::new();
        let mut next = Some((start, line));
        while let Some((key, line)) = next {
            match walks.get(key) {
                Some(Walk::Done) => break,
                Some(Walk::Now) => {
                    report_cycle(&path, key, by_key, problems);
                    break;
                }
                None => {}
            }
            walks.insert(key, Walk::Now);
            path.push(key);
            next = line.site.parent.as_deref().and_then(|parent| {
                by_key
                    .get_key_value(parent)
                    .map(|(&key, &line)| (key, line))
            });
        }
        for key in path {
            walks.insert(key, Walk::Done);
        }
    }
}

fn report_cycle(path: &[&str], key: &str, by_key: &BTreeMap<&str, &Line>, problems: &mut Problems) {
    let circle = path.iter().skip_while(|&&other| other != key);
    let shown = circle
        .chain([&key])
        .copied()
        .collect::<Vec<_>>()
        .join(" → ");
    let number = by_key.get(key).map_or(0, |line| line.number);
    problems.add(number, ProblemKind::Cycle { path: shown });
}

#[cfg(test)]
mod tests;
