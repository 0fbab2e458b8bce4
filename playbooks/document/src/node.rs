//! A YAML text as a tree that knows its positions.

use saphyr_parser::{Event, Parser, Span};

use crate::problems::{Problems, Said};
use crate::section::Section;

/// Deepest nesting that is read; policies written by people stay below ten.
const MAX_DEPTH: usize = 32;

/// Longest document that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) content: Content,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// A scalar; `plain` if it was written without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order in which it was written.
    Mapping(Vec<(Node, Node)>),
}

/// One parsed file. A file that is no YAML is a document with problems and no content.
#[derive(Debug, Clone)]
pub struct Document {
    file: String,
    root: Option<Node>,
    problems: Problems,
}

impl Document {
    /// Reads `text`, which came from `file`.
    #[must_use]
    pub fn parse(file: &str, text: &str) -> Self {
        let mut problems = Problems::new(file);
        if text.len() > MAX_BYTES {
            problems.add(
                1,
                1,
                Said::new(
                    format!("file is longer than {MAX_BYTES} bytes"),
                    format!("文件超过 {MAX_BYTES} 字节"),
                ),
            );
            return Self {
                file: file.to_owned(),
                root: None,
                problems,
            };
        }
        let root = Builder {
            parser: Parser::new_from_str(text),
            problems: &mut problems,
        }
        .document();
        Self {
            file: file.to_owned(),
            root,
            problems,
        }
    }

    /// Name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Takes the top-level mapping apart with `take`; yields its result and every problem that the
    /// parser or `take` found. An empty file is an empty mapping. Keys that `take` did not ask for
    /// are problems.
    pub fn read<T>(&self, take: impl FnOnce(&mut Section<'_>) -> T) -> (T, Problems) {
        let empty = Node {
            line: 1,
            column: 1,
            content: Content::Mapping(Vec::new()),
        };
        let mut problems = self.problems.clone();
        let unreadable = !problems.is_empty();
        let result = {
            let mut section = Section::new(self.root.as_ref().unwrap_or(&empty), &mut problems);
            let result = take(&mut section);
            section.finish();
            result
        };
        // What an unreadable file seems to lack is noise next to why it cannot be read.
        let problems = if unreadable {
            self.problems.clone()
        } else {
            problems
        };
        (result, problems)
    }
}

struct Builder<'input, 'problems> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    problems: &'problems mut Problems,
}

impl Builder<'_, '_> {
    fn document(&mut self) -> Option<Node> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return root,
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd, _) => {}
                (_, span) if root.is_some() => {
                    let said = Said::new(
                        "only one document is allowed in a file",
                        "一个文件只能有一份文档",
                    );
                    self.problem(&span, said);
                    return None;
                }
                (event, span) => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    /// The next event; `None`, with a problem noted, if the text is no YAML.
    fn next(&mut self) -> Option<(Event<'static>, Span)> {
        match self.parser.next_event()? {
            Ok((event, span)) => Some((owned(event), span)),
            Err(error) => {
                let marker = error.marker();
                self.problems.add(
                    marker.line(),
                    marker.col() + 1,
                    Said::new(
                        format!("not valid YAML: {}", error.info()),
                        format!("不是有效的 YAML：{}", error.info()),
                    ),
                );
                None
            }
        }
    }

    fn node(&mut self, event: Event<'static>, span: Span, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            self.problem(&span, Said::new("nested too deeply", "嵌套过深"));
            return None;
        }
        let content = match event {
            Event::Scalar(text, style, _, _) => {
                let plain = style == saphyr_parser::ScalarStyle::Plain;
                Content::Scalar {
                    text: text.into_owned(),
                    plain,
                }
            }
            Event::SequenceStart(..) => Content::List(self.list(depth)?),
            Event::MappingStart(..) => Content::Mapping(self.mapping(depth)?),
            Event::Alias(_) => {
                self.problem(
                    &span,
                    Said::new(
                        "anchors and aliases are not allowed; write the value out",
                        "不允许使用锚点和别名，请直接写出内容",
                    ),
                );
                return None;
            }
            _ => {
                self.problem(&span, Said::new("unexpected content", "此处内容无法识别"));
                return None;
            }
        };
        Some(Node {
            line: span.start.line(),
            column: span.start.col() + 1,
            content,
        })
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Vec<(Node, Node)>> {
        let mut entries = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Some(entries),
                (event, span) => self.node(event, span, depth + 1)?,
            };
            let (event, span) = self.next()?;
            entries.push((key, self.node(event, span, depth + 1)?));
        }
    }

    fn problem(&mut self, span: &Span, message: Said) {
        self.problems
            .add(span.start.line(), span.start.col() + 1, message);
    }
}

/// The event without a borrow of the text; only scalars carry text that is used.
fn owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Scalar(text, style, anchor, _) => {
            Event::Scalar(text.into_owned().into(), style, anchor, None)
        }
        Event::SequenceStart(anchor, _) => Event::SequenceStart(anchor, None),
        Event::MappingStart(anchor, _) => Event::MappingStart(anchor, None),
        Event::Alias(anchor) => Event::Alias(anchor),
        Event::Nothing => Event::Nothing,
        Event::StreamStart => Event::StreamStart,
        Event::StreamEnd => Event::StreamEnd,
        Event::DocumentStart(explicit) => Event::DocumentStart(explicit),
        Event::DocumentEnd => Event::DocumentEnd,
        Event::SequenceEnd => Event::SequenceEnd,
        Event::MappingEnd => Event::MappingEnd,
    }
}
