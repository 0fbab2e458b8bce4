//! What a collector is given: a way to read and a place to put samples.

use std::fmt::Write as _;

use xiezhi_protocol::report::{Refusal, Report};

use crate::error::CollectError;
use crate::files::Files;

/// One run's means: files to read and samples to fill.
///
/// The two are separate fields so that a collector can push while it still looks at what it read.
pub struct Readings<'a> {
    pub(crate) files: &'a mut Files,
    /// Where samples go.
    pub samples: Samples<'a>,
}

/// Takes samples into the report and remembers refusals.
pub struct Samples<'a> {
    report: &'a mut Report,
    name: &'a mut String,
    refused: u32,
    first_refusal: Option<Refusal>,
}

impl<'a> Readings<'a> {
    pub(crate) fn new(files: &'a mut Files, report: &'a mut Report, name: &'a mut String) -> Self {
        let samples = Samples {
            report,
            name,
            refused: 0,
            first_refusal: None,
        };
        Self { files, samples }
    }
}

impl Samples<'_> {
    /// Adds a sample.
    pub fn put(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        if let Err(refusal) = self.report.push(name, labels, value) {
            self.refused = self.refused.saturating_add(1);
            self.first_refusal.get_or_insert(refusal);
        }
    }

    /// Adds a sample whose name is put together from parts; characters that a name may not hold
    /// become `_`.
    pub fn put_parts(&mut self, parts: &[&str], labels: &[(&str, &str)], value: f64) {
        let mut name = std::mem::take(self.name);
        name.clear();
        for part in parts {
            let cleaned = part
                .chars()
                .map(|c| if is_name_character(c) { c } else { '_' });
            name.extend(cleaned);
        }
        self.put(&name, labels, value);
        *self.name = name;
    }

    /// Adds a sample with one label that is a number.
    pub fn put_numbered(&mut self, name: &str, label: &str, number: u64, value: f64) {
        let mut text = String::with_capacity(8);
        // Writing to a string cannot fail.
        if write!(text, "{number}").is_ok() {
            self.put(name, &[(label, &text)], value);
        }
    }

    pub(crate) fn refusals(&self) -> Result<(), CollectError> {
        match self.first_refusal {
            Some(first) => Err(CollectError::Refused {
                count: self.refused,
                first,
            }),
            None => Ok(()),
        }
    }
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | ':')
}
