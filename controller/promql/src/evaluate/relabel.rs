//! `label_replace` and `label_join`.

use super::{Evaluator, Result, Steps, Table, fail};
use crate::ast::Call;
use crate::pattern::{Pattern, Patterns};

/// Longest label that is made; Prometheus's own limits on scraped ones are far below.
const MAX_LABEL_BYTES: usize = 64 << 10;

impl<'a> Evaluator<'a> {
    pub(super) fn label_replace(&self, call: &Call, steps: Steps) -> Result<Table<'a>> {
        let pattern = self.text_arg(call, 4)?;
        let pattern = String::from_utf8_lossy(pattern);
        let regex = self.pattern_of(&pattern)?;
        let destination = self.label_name(call, 1, "destination", "label_replace")?;
        let replacement = String::from_utf8_lossy(self.text_arg(call, 2)?);
        let replacement = braced(&replacement);
        let source = String::from_utf8_lossy(self.text_arg(call, 3)?);
        let mut table = self.vector_arg(call, 0, steps)?;
        for row in &mut table.rows {
            self.budget.check()?;
            let value = row.labels.get(&source).unwrap_or_default();
            if !regex.is_quick(value.len()) {
                return fail("a label is too long for the regular expression in label_replace()");
            }
            let Some(captures) = regex.captures(value) else {
                continue;
            };
            // Each reference may stand for the whole value.
            let references = replacement.matches('$').count();
            self.allow_label(
                replacement.len() + references * value.len(),
                "label_replace",
            )?;
            let mut replaced = String::new();
            captures.interpolate_string_into(value, &replacement, &mut replaced);
            let mut labels = row.labels.to_builder();
            labels.set(destination.as_str(), replaced);
            row.labels = labels.build();
        }
        table.merge()?;
        Ok(table)
    }

    pub(super) fn label_join(&self, call: &Call, steps: Steps) -> Result<Table<'a>> {
        let destination = self.label_name(call, 1, "destination", "label_join")?;
        let separator = String::from_utf8_lossy(self.text_arg(call, 2)?);
        let mut sources = Vec::new();
        for index in 3..call.args.len() {
            sources.push(self.label_name(call, index, "source", "label_join")?);
        }
        let mut table = self.vector_arg(call, 0, steps)?;
        for row in &mut table.rows {
            self.budget.check()?;
            let values: Vec<&str> = sources
                .iter()
                .map(|name| row.labels.get(name).unwrap_or_default())
                .collect();
            let length = values
                .iter()
                .map(|value| value.len() + separator.len())
                .sum();
            self.allow_label(length, "label_join")?;
            let joined = values.join(&separator);
            let mut labels = row.labels.to_builder();
            labels.set(destination.as_str(), joined);
            row.labels = labels.build();
        }
        table.merge()?;
        Ok(table)
    }

    fn pattern_of(&self, pattern: &str) -> Result<Pattern> {
        let patterns = Patterns::new(self.budget);
        let found = patterns.compile_groups(pattern);
        found.or_else(|error| match patterns.stopped() {
            Some(why) => Err(why.into()),
            // Prometheus names the pattern and no fault.
            None if error.is_syntax() => fail(format!(
                "invalid regular expression in label_replace(): {pattern}"
            )),
            None => fail(error.to_string()),
        })
    }

    /// Pays for a label that is made. Calls within calls could double it again and again.
    fn allow_label(&self, bytes: usize, function: &str) -> Result<()> {
        if bytes > MAX_LABEL_BYTES {
            return fail(format!(
                "label value could be longer than {MAX_LABEL_BYTES} bytes in {function}()"
            ));
        }
        Ok(self.budget.charge_bytes(bytes as u64)?)
    }

    fn label_name(&self, call: &Call, index: usize, role: &str, function: &str) -> Result<String> {
        let bytes = self.text_arg(call, index)?;
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => {
                let name = String::from_utf8_lossy(bytes);
                fail(format!("invalid {role} label name in {function}(): {name}"))
            }
        }
    }
}

/// Go reads `$1x` as the group named `1x`, as the `regex` crate does; `$` before anything else is
/// nothing in Go but itself here.
fn braced(replacement: &str) -> String {
    let mut out = String::with_capacity(replacement.len());
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '$' {
            out.push(c);
            continue;
        }
        match chars.peek() {
            Some('$') => {
                chars.next();
                out.push_str("$$");
            }
            Some('{') => out.push('$'),
            Some(next) if next.is_alphanumeric() || *next == '_' => out.push('$'),
            _ => out.push_str("$$"),
        }
    }
    out
}
