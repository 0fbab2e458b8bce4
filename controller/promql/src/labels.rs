//! Label sets: sorted, immutable, cheap to clone.
//!
//! A storage keeps one per series and hands out clones; names and values are shared text, so a
//! grouping key made of them copies no characters.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// One label. An empty value means the same as no label, so none is stored.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label {
    /// Name, any UTF-8 text that is not empty.
    pub name: Arc<str>,
    /// Value, any UTF-8 text that is not empty.
    pub value: Arc<str>,
}

/// A label set, sorted by name, each name once, `__name__` among them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl Labels {
    /// The set of these labels; empty values are left out, and of equal names the last one counts.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// The set of labels that are already sorted by name, each once, none empty: no work but the
    /// allocation. Falls back to sorting if they are not.
    #[must_use]
    pub fn from_sorted(labels: Vec<Label>) -> Self {
        let ordered = labels.windows(2).all(|pair| match pair {
            [a, b] => a.name < b.name,
            _ => true,
        });
        if ordered && labels.iter().all(|label| !label.value.is_empty()) {
            return Self(labels.into());
        }
        Self::new(labels.into_iter().map(|label| (label.name, label.value)))
    }

    /// The value of a label, or nothing if the set has none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.label(name).map(|label| &*label.value)
    }

    /// The label of this name.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&Label> {
        self.0.iter().find(|label| &*label.name == name)
    }

    /// The metric's name, empty if there is none.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// Labels in the order of their names.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// Number of labels, the metric's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no label at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of the set; the texts are shared and not counted.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        (size_of::<Label>() * self.0.len() + 2 * size_of::<usize>()) as u64
    }

    /// The set without the labels for which `drop` holds. Shares the set if nothing is dropped.
    #[must_use]
    pub fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        if !self.0.iter().any(|label| drop(&label.name)) {
            return self.clone();
        }
        Self(
            self.0
                .iter()
                .filter(|label| !drop(&label.name))
                .cloned()
                .collect(),
        )
    }

    /// The set without the metric's name.
    #[must_use]
    pub fn without_name(&self) -> Self {
        self.without(|name| name == METRIC_NAME)
    }

    /// A builder that starts from this set.
    #[must_use]
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder {
            labels: self.0.to_vec(),
        }
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Prometheus's order: label by label, name first, then value; a prefix comes first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// `{a="b", c="d"}`, as Prometheus writes sets in its messages.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, label) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}={}", label.name, quote(label.value.as_bytes()))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a label set one label at a time.
#[derive(Clone, Default, Debug)]
pub struct LabelsBuilder {
    labels: Vec<Label>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) {
        let (name, value) = (name.into(), value.into());
        self.remove(&name);
        if !value.is_empty() {
            self.labels.push(Label { name, value });
        }
    }

    /// Removes a label if it is there.
    pub fn remove(&mut self, name: &str) {
        self.labels.retain(|label| &*label.name != name);
    }

    /// The set.
    #[must_use]
    pub fn build(mut self) -> Labels {
        self.labels.sort_unstable();
        Labels(self.labels.into())
    }
}

/// Text in double quotes as Go's `%q` writes it; bytes that are not UTF-8 become `\xNN`.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_unique_without_empty_values() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(labels.to_string(), r#"{a="1", b="3"}"#);
        assert_eq!(labels.get("c"), None);
    }

    #[test]
    fn a_prefix_comes_before_the_longer_set() {
        let short = Labels::new([("a", "1")]);
        let long = Labels::new([("a", "1"), ("b", "0")]);
        assert!(short < long);
        assert!(Labels::new([("a", "2")]) > long);
    }

    #[test]
    fn quotes_escape_what_is_not_text() {
        assert_eq!(quote(b"a\xc5z\"\n"), r#""a\xc5z\"\n""#);
    }
}
