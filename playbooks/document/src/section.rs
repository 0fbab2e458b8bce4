//! One mapping of a document, taken apart key by key.

use std::str::FromStr;
use std::time::Duration;

use crate::node::{Content, Node};
use crate::problems::{Problems, Said};
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
                    Said::new("expected a mapping of keys to values", "此处应为“键: 值”"),
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
                self.problems.add(
                    key.line,
                    key.column,
                    Said::new("a key must be plain text", "键必须是普通文本"),
                );
                continue;
            };
            let earlier = self
                .entries
                .iter()
                .take(index)
                .find(|(other, _)| key_text(other) == Some(name));
            if let Some((other, _)) = earlier {
                let line = other.line;
                let message = Said::new(
                    format!("`{name}` is already set in line {line}; keep one"),
                    format!("`{name}` 在第 {line} 行已写过，请只保留一处"),
                );
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
    pub fn problem(&mut self, key: &str, message: impl Into<Said>) {
        let (line, column) = self.place(key);
        self.problems.add(line, column, message);
    }

    /// Any scalar as text.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.scalar(key, &Said::new("text", "文本"), |text| {
            Some(text.to_owned())
        })
    }

    /// Text that must be there.
    pub fn required_text(&mut self, key: &str, what: impl Into<Said>) -> Option<String> {
        let present = self
            .entries
            .iter()
            .any(|(name, _)| key_text(name) == Some(key));
        if !present {
            self.asked.push(key.to_owned());
            let (line, column) = (self.node.line, self.node.column);
            let what = what.into();
            let message = Said::new(
                format!("`{key}` is missing: {}", what.en),
                format!("缺少 `{key}`：{}", what.zh),
            );
            self.problems.add(line, column, message);
            return None;
        }
        self.text(key)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        self.scalar(
            key,
            &Said::new("true or false", "true 或 false"),
            |text| match text {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
        )
    }

    /// A number or anything else that parses from text; `expected` names it for a person.
    pub fn parsed<T: FromStr>(&mut self, key: &str, expected: impl Into<Said>) -> Option<T> {
        self.scalar(key, &expected.into(), |text| text.parse().ok())
    }

    /// A list of numbers or anything else that parses from text, each with its place; one value
    /// without brackets is a list of one. Empty if it is absent.
    pub fn parsed_list<T: FromStr>(&mut self, key: &str, expected: impl Into<Said>) -> Vec<T> {
        let Some(node) = self.value(key) else {
            return Vec::new();
        };
        let expected = expected.into();
        let items = match &node.content {
            Content::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        items
            .iter()
            .filter_map(|item| self.parse_node(key, item, &expected, |text| text.parse().ok()))
            .collect()
    }

    /// The keys of this mapping in the order in which they were written. Asking for them does not
    /// make them known.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.entries
            .iter()
            .filter_map(|(key, _)| key_text(key).map(str::to_owned))
            .collect()
    }

    /// Whether `key` is there and is a mapping, not one value.
    #[must_use]
    pub fn is_section(&self, key: &str) -> bool {
        self.holds(key, |content| matches!(content, Content::Mapping(_)))
    }

    /// Whether `key` is there and is a list.
    #[must_use]
    pub fn is_list(&self, key: &str) -> bool {
        self.holds(key, |content| matches!(content, Content::List(_)))
    }

    fn holds(&self, key: &str, test: impl Fn(&Content) -> bool) -> bool {
        self.entries
            .iter()
            .any(|(name, value)| key_text(name) == Some(key) && test(&value.content))
    }

    /// A duration: `15s`, `10m`, `6h`, `7d`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        self.scalar(
            key,
            &Said::new(
                "a duration such as 15s, 10m, 6h or 7d",
                "时长，例如 15s、10m、6h、7d",
            ),
            scalar::duration,
        )
    }

    /// A size in bytes: `64kB`, `256MB`, `1GiB`.
    pub fn size(&mut self, key: &str) -> Option<u64> {
        let expected = Said::new(
            "a size such as 64kB, 256MB or 1GiB",
            "大小，例如 64kB、256MB、1GiB",
        );
        self.scalar(key, &expected, scalar::size)
    }

    /// One of the listed words.
    pub fn choice<T: Clone>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = Said::new(
            format!("one of {}", words.join(", ")),
            format!("以下之一：{}", words.join("、")),
        );
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
            self.problems.add(node.line, node.column, not_a_list(key));
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match &item.content {
                Content::Scalar { text, .. } => texts.push(text.clone()),
                _ => self.problems.add(
                    item.line,
                    item.column,
                    Said::new("expected text", "此处应为文本"),
                ),
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
            self.problems.add(node.line, node.column, not_a_list(key));
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
        expected: &Said,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let node = self.value(key)?;
        self.parse_node(key, node, expected, parse)
    }

    fn parse_node<T>(
        &mut self,
        key: &str,
        node: &Node,
        expected: &Said,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (parsed, found) = match &node.content {
            Content::Scalar { text, .. } => (parse(text), Said::from(format!("`{text}`"))),
            Content::List(_) => (None, Said::new("a list", "列表")),
            Content::Mapping(_) => (None, Said::new("a mapping", "“键: 值”")),
        };
        if parsed.is_none() {
            let message = Said::new(
                format!("`{key}` must be {}, not {}", expected.en, found.en),
                format!("`{key}` 应为{}，而不是 {}", expected.zh, found.zh),
            );
            self.problems.add(node.line, node.column, message);
        }
        parsed
    }

    /// Notes the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for (key, _) in self.entries {
            let Some(name) = key_text(key) else { continue };
            if !self.asked.iter().any(|asked| asked == name) {
                let message = Said::new(
                    format!(
                        "unknown key `{name}`; known here: {}",
                        self.asked.join(", ")
                    ),
                    format!("未知的键 `{name}`；此处可用：{}", self.asked.join("、")),
                );
                self.problems.add(key.line, key.column, message);
            }
        }
    }
}

fn not_a_list(key: &str) -> Said {
    Said::new(
        format!("`{key}` must be a list"),
        format!("`{key}` 应为列表"),
    )
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
