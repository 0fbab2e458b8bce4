//! What is wrong with a document, all of it.

use std::fmt::{self, Write as _};

/// A sentence in both languages of the people who read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// In English.
    pub en: String,
    /// In Chinese.
    pub zh: String,
}

impl Said {
    /// The sentence in English and in Chinese.
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self {
            en: en.into(),
            zh: zh.into(),
        }
    }
}

/// A sentence that exists in English only, or is the same in both: a name, a number.
impl From<String> for Said {
    fn from(text: String) -> Self {
        Self::new(text.clone(), text)
    }
}

/// As from a `String`.
impl From<&str> for Said {
    fn from(text: &str) -> Self {
        Self::new(text, text)
    }
}

/// The language in which problems are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese.
    Chinese,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do about it.
    pub message: Said,
}

/// Everything that is wrong with one file; empty if it may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    /// No problems yet in `file`.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
        }
    }

    /// Notes one problem.
    pub fn add(&mut self, line: usize, column: usize, message: impl Into<Said>) {
        self.list.push(Problem {
            line,
            column,
            message: message.into(),
        });
    }

    /// Whether the document may be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems in the order of their places.
    #[must_use]
    pub fn list(&self) -> Vec<Problem> {
        let mut list = self.list.clone();
        list.sort();
        list
    }

    /// One line per problem: `file:line:column: message`.
    #[must_use]
    pub fn shown(&self, language: Language) -> String {
        let mut shown = String::new();
        for problem in self.list() {
            let message = match language {
                Language::English => problem.message.en,
                Language::Chinese => problem.message.zh,
            };
            let (file, line, column) = (&self.file, problem.line, problem.column);
            // Writing to a string cannot fail.
            writeln!(shown, "{file}:{line}:{column}: {message}").ok();
        }
        shown
    }

    /// `Ok` if there are none.
    ///
    /// # Errors
    /// The problems themselves.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One line per problem, in English: `file:line:column: message`.
impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown(Language::English))
    }
}

impl std::error::Error for Problems {}
