//! What is wrong with a document, all of it.

use std::fmt;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do about it.
    pub message: String,
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
    pub fn add(&mut self, line: usize, column: usize, message: impl Into<String>) {
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

    /// `Ok` if there are none.
    ///
    /// # Errors
    /// The problems themselves.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One line per problem: `file:line:column: message`.
impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.list() {
            let Problem {
                line,
                column,
                message,
            } = problem;
            writeln!(formatter, "{}:{line}:{column}: {message}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
