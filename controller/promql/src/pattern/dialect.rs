//! Go's dialect of regular expressions as the `regex` crates read it.

/// Longest name or number that stands in an escape or a class.
const NAME_BYTES: usize = 64;

/// Rewrites what Go's dialect reads otherwise: `\Q…\E`, a brace that starts no count, `\w` and its
/// like, which mean ASCII in Go, and in a class a bracket, `&&`, `--`, `~~`, which are plain
/// characters there.
pub(super) fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    let mut class_starts = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if c == '\\' {
            rest = escape(after, in_class, &mut out);
            class_starts = false;
            continue;
        }
        rest = after;
        if !in_class {
            match c {
                '[' => (in_class, class_starts) = (true, true),
                '{' if !is_count(after) => out.push('\\'),
                _ => {}
            }
            out.push(c);
            continue;
        }
        match c {
            '^' if class_starts => {
                out.push(c);
                continue;
            }
            ']' if class_starts => out.push('\\'),
            ']' => in_class = false,
            '[' if after.starts_with(':') => {
                let near = after.get(..after.floor_char_boundary(NAME_BYTES));
                let end = near.and_then(|near| near.find(":]")).map_or(0, |at| at + 2);
                out.push('[');
                out.push_str(after.get(..end).unwrap_or_default());
                rest = after.get(end..).unwrap_or_default();
                class_starts = false;
                continue;
            }
            '[' | '&' | '~' => out.push('\\'),
            '-' if after.starts_with('-') => out.push('\\'),
            _ => {}
        }
        out.push(c);
        class_starts = false;
    }
    out
}

/// Copies what follows a backslash and gives what is left.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    if let Some(quoted) = after.strip_prefix('Q') {
        let (text, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        for c in text.chars() {
            if c.is_ascii_punctuation() {
                out.push('\\');
            }
            out.push(c);
        }
        return rest;
    }
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = after.get(c.len_utf8()..).unwrap_or_default();
    match ascii_class(c) {
        Some(class) if in_class => out.push_str(class),
        Some(class) => {
            out.push('[');
            out.push_str(class);
            out.push(']');
        }
        None if matches!(c, 'b' | 'B') && !in_class => {
            out.push_str("(?-u:\\");
            out.push(c);
            out.push(')');
        }
        None => {
            out.push('\\');
            out.push(c);
        }
    }
    // A name or a number in braces belongs to the escape.
    let braced = matches!(c, 'p' | 'P' | 'x') && rest.starts_with('{');
    let near = rest.get(..rest.floor_char_boundary(NAME_BYTES));
    let end = near.and_then(|near| near.find('}')).filter(|_| braced);
    let (inside, rest) = rest.split_at(end.map_or(0, |at| at + 1));
    out.push_str(inside);
    rest
}

/// What `\w` and its like are in Go, inside of a class.
fn ascii_class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        'D' => "[^0-9]",
        's' => r"\t\n\f\r ",
        'S' => r"[^\t\n\f\r ]",
        'w' => "0-9A-Za-z_",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

/// Whether the text after a brace makes it a count: `3}`, `3,}`, `3,5}`.
fn is_count(after: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let low = digits(after);
    let rest = after.get(low..).unwrap_or_default();
    let rest = match rest.strip_prefix(',') {
        Some(high) => high.get(digits(high)..).unwrap_or_default(),
        None => rest,
    };
    low > 0 && rest.starts_with('}')
}

/// How many classes of the pattern may hold most characters that there are. A few more are counted
/// than there are: a bracket may be a plain character.
pub(super) fn wide_classes(pattern: &str) -> usize {
    let bytes = pattern.as_bytes();
    let pairs = bytes.windows(2);
    let is_wide = |pair: &&[u8]| {
        matches!(
            pair,
            [b'\\', b'p' | b'P' | b'W' | b'D' | b'S'] | [b'[', b'^']
        )
    };
    pairs.filter(is_wide).count()
}

#[cfg(test)]
mod tests {
    use crate::matcher::{MatchOp, Matcher};

    fn matches(pattern: &str, text: &str) -> bool {
        Matcher::new("a", MatchOp::Regex, pattern)
            .unwrap()
            .matches(text)
    }

    #[test]
    fn go_patterns_mean_what_they_mean_in_go() {
        for (pattern, text) in [
            (r"\Qa.b\E+", "a.bb"),
            ("a{b", "a{b"),
            ("{a}", "{a}"),
            ("a{2}", "aa"),
            ("[[a]", "["),
            ("[a&&b]", "&"),
            ("[]a]", "]"),
            ("[^]a]", "b"),
            ("[[:digit:]x]+", "1x2"),
            (r"(?i:pro)\.x", "PRO.x"),
            ("(?i)pro", "PRO"),
            (r"\p{Greek}+\pL", "αβa"),
            (r"\x{61}\x{3B1}", "aα"),
            (r"[\w.]+\W[\D]", "a_1.éx"),
            (r"\s\S", "\té"),
        ] {
            assert!(matches(pattern, text), "{pattern} should match {text}");
        }
        for (pattern, text) in [
            (r"\w", "é"),
            (r"\d", "٣"),
            (r"\s", "\u{a0}"),
            (r"[^\w]", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} should not match {text}");
        }
        assert!(
            matches(r".*\bx\b.*", "éx"),
            "a letter outside ASCII is no word in Go"
        );
    }
}
