//! One mapping of a document, taken apart key by key.

use std::str::FromStr;
use std::time::Duration;

use crate::node::{Content, Node};
use crate::problems::Problems;
use crate::scalar;

/// A mapping that is being read. Every `…(key)` method yields `None` if the key is absent or its
/// value is wrong; the latter is noted as a problem.
pub struct Section<'a> {
    node: &'a Node,
    entries: &'a [(Node, Node)],
    asked: Vec<String>,
    problems: &'a mut Problems,
}

impl<'a> Section<'a> {
    pub(crate) fn new(node: &'a Node, problems: &'a mut Problems) -> Self {
        let entries = match &node.content {
            Content::Mapping(entries) => entries.as_slice(),
            // `key:` with nothing after it is an empty section.
            Content::Scalar { text, plain: true } if text.is_empty() || text == "~" => &[],
            _ => {
                problems.add(
                    node.line,
                    node.column,
                    "expected a mapping of keys to values",
                );
                &[]
            }
        };
        let mut section = Self {
            node,
            entries,
            asked: Vec::new(),
            problems,
        };
        section.refuse_duplicates();
        section
    }

    fn refuse_duplicates(&mut self) {
        for (index, (key, _)) in self.entries.iter().enumerate() {
            let Some(name) = key_text(key) else {
                self.problems
                    .add(key.line, key.column, "a key must be plain text");
                continue;
            };
            let earlier = self
                .entries
                .iter()
                .take(index)
                .find(|(other, _)| key_text(other) == Some(name));
            if let Some((other, _)) = earlier {
                let message = format!("`{name}` is already set in line {}; keep one", other.line);
                self.problems.add(key.line, key.column, message);
            }
        }
    }

    fn value(&mut self, key: &str) -> Option<&'a Node> {
        self.asked.push(key.to_owned());
        self.entries
            .iter()
            .find(|(name, _)| key_text(name) == Some(key))
            .map(|(_, value)| value)
    }

    /// Line and column of `key`'s value, or of the section if the key is absent.
    #[must_use]
    pub fn place(&self, key: &str) -> (usize, usize) {
        let found = self
            .entries
            .iter()
            .find(|(name, _)| key_text(name) == Some(key));
        let node = found.map_or(self.node, |(_, value)| value);
        (node.line, node.column)
    }

    /// Notes that the value of `key` is wrong.
    pub fn problem(&mut self, key: &str, message: impl Into<String>) {
        let (line, column) = self.place(key);
        self.problems.add(line, column, message);
    }

    /// Any scalar as text.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.scalar(key, "text", |text| Some(text.to_owned()))
    }

    /// Text that must be there.
    pub fn required_text(&mut self, key: &str, what: &str) -> Option<String> {
        let present = self
            .entries
            .iter()
            .any(|(name, _)| key_text(name) == Some(key));
        if !present {
            self.asked.push(key.to_owned());
            let (line, column) = (self.node.line, self.node.column);
            self.problems
                .add(line, column, format!("`{key}` is missing: {what}"));
            return None;
        }
        self.text(key)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        self.scalar(key, "true or false", |text| match text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
    }

    /// A number or anything else that parses from text; `expected` names it for a person.
    pub fn parsed<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T> {
        self.scalar(key, expected, |text| text.parse().ok())
    }

    /// A duration: `15s`, `10m`, `6h`, `7d`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        self.scalar(
            key,
            "a duration such as 15s, 10m, 6h or 7d",
            scalar::duration,
        )
    }

    /// A size in bytes: `64kB`, `256MB`, `1GiB`.
    pub fn size(&mut self, key: &str) -> Option<u64> {
        self.scalar(key, "a size such as 64kB, 256MB or 1GiB", scalar::size)
    }

    /// One of the listed words.
    pub fn choice<T: Clone>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", words.join(", "));
        self.scalar(key, &expected, |text| {
            choices
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| value.clone())
        })
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.value(key)?;
        let Content::List(items) = &node.content else {
            self.problems
                .add(node.line, node.column, format!("`{key}` must be a list"));
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match &item.content {
                Content::Scalar { text, .. } => texts.push(text.clone()),
                _ => self.problems.add(item.line, item.column, "expected text"),
            }
        }
        Some(texts)
    }

    /// Takes apart the mapping under `key`; `None` if it is absent. Its unknown keys are problems.
    pub fn section<T>(&mut self, key: &str, take: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        let node = self.value(key)?;
        let mut section = Section::new(node, self.problems);
        let result = take(&mut section);
        section.finish();
        Some(result)
    }

    /// Takes apart every mapping in the list under `key`; empty if it is absent.
    pub fn sections<T>(
        &mut self,
        key: &str,
        mut take: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let Some(node) = self.value(key) else {
            return Vec::new();
        };
        let Content::List(items) = &node.content else {
            self.problems
                .add(node.line, node.column, format!("`{key}` must be a list"));
            return Vec::new();
        };
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let mut section = Section::new(item, self.problems);
            results.push(take(&mut section));
            section.finish();
        }
        results
    }

    fn scalar<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let node = self.value(key)?;
        let parsed = match &node.content {
            Content::Scalar { text, .. } => parse(text),
            _ => None,
        };
        if parsed.is_none() {
            let found = match &node.content {
                Content::Scalar { text, .. } => format!("`{text}`"),
                Content::List(_) => "a list".to_owned(),
                Content::Mapping(_) => "a mapping".to_owned(),
            };
            let message = format!("`{key}` must be {expected}, not {found}");
            self.problems.add(node.line, node.column, message);
        }
        parsed
    }

    /// Notes the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for (key, _) in self.entries {
            let Some(name) = key_text(key) else { continue };
            if !self.asked.iter().any(|asked| asked == name) {
                let known = self.asked.join(", ");
                let message = format!("unknown key `{name}`; known here: {known}");
                self.problems.add(key.line, key.column, message);
            }
        }
    }
}

fn key_text(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::Document;
    use proptest::prelude::*;

    fn problems(text: &str) -> String {
        let document = Document::parse("f.yaml", text);
        let (_, problems) = document.read(|section| {
            section.required_text("controller", "the controller's address, https://host:port");
            section.duration("interval");
            section.boolean("metrics");
            section.choice("level", &[("info", 1), ("debug", 2)]);
            section.section("spool", |spool| spool.size("max_bytes"));
            section.texts("names");
            section.sections("windows", |window| window.parsed::<u16>("from", "a number"));
        });
        problems.to_string()
    }

    #[test]
    fn a_good_document_has_no_problems() {
        let text = "controller: https://c:8443\ninterval: 15s\nmetrics: false\nlevel: info\n\
                    spool: {max_bytes: 256MB}\nnames: [a, b]\nwindows:\n  - from: 8\n";
        assert_eq!(problems(text), "");
    }

    #[test]
    fn all_problems_are_shown_at_once_with_their_places() {
        let text = "interval: 15 parsecs\nmetrics: maybe\nlevel: [1]\nspool:\n  max_bytes: big\n  \
                    maxbytes: 1\nnames: x\nwindows:\n  - from: noon\n    till: 5\nmetrics: true\n";
        assert_eq!(
            problems(text),
            "f.yaml:1:1: `controller` is missing: the controller's address, https://host:port\n\
             f.yaml:1:11: `interval` must be a duration such as 15s, 10m, 6h or 7d, not `15 parsecs`\n\
             f.yaml:2:10: `metrics` must be true or false, not `maybe`\n\
             f.yaml:3:8: `level` must be one of info, debug, not a list\n\
             f.yaml:5:14: `max_bytes` must be a size such as 64kB, 256MB or 1GiB, not `big`\n\
             f.yaml:6:3: unknown key `maxbytes`; known here: max_bytes\n\
             f.yaml:7:8: `names` must be a list\n\
             f.yaml:9:11: `from` must be a number, not `noon`\n\
             f.yaml:10:5: unknown key `till`; known here: from\n\
             f.yaml:11:1: `metrics` is already set in line 2; keep one\n"
        );
    }

    #[test]
    fn what_is_no_yaml_is_one_problem_with_its_place() {
        let text = problems("a: [1,\nb: }");
        assert!(text.starts_with("f.yaml:2:"), "{text}");
        assert!(text.contains("not valid YAML"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn bombs_are_refused() {
        assert!(problems("a: &x [1]\nb: *x\n").contains("anchors and aliases are not allowed"));
        assert!(problems(&"[".repeat(100)).contains("f.yaml:1:"));
        assert!(problems("a: 1\n---\nb: 2\n").contains("only one document"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[a-z:\\[\\]{}&*,\\n \"'#|>-]{0,80}") {
            drop(problems(&text));
        }
    }
}
