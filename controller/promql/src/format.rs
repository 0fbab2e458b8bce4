//! A tree as text again: on one line, as it is sent to a cluster, or broken as Prometheus's
//! `format_query` breaks it.
//!
//! What is printed reads back as the same tree. Parentheses are nodes of their own, so none is added
//! and none is lost. Source of the form: `promql/parser/printer.go` and `prettier.go` of Prometheus.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::ast::{
    Aggregate, At, Binary, Call, Expr, Group, Grouping, Matching, Moment, Node, Selector, Subquery,
};
use crate::budget::Budget;
use crate::error::{ParseError, QueryError};
use crate::labels::quote;
use crate::matcher::{MatchOp, Matcher};
use crate::number::format_value;
use crate::parse;

/// A line that is longer is broken.
const MOST_CHARACTERS: usize = 100;

/// A query in Prometheus's own form.
///
/// # Errors
/// If it is none, or the budget ends.
pub fn format_query(text: &str, budget: &Budget) -> Result<String, QueryError> {
    let tree = crate::engine::parse(text, budget)?;
    Ok(pretty(&tree, 0))
}

/// A query on one line whose every selector has the matchers that `change` makes of its own; the
/// metric's name is among them.
///
/// # Errors
/// If `text` is no query, or what `change` says.
pub fn rewrite_selectors<E: From<ParseError>>(
    text: &str,
    change: &mut dyn FnMut(Vec<Matcher>) -> Result<Vec<Matcher>, E>,
) -> Result<String, E> {
    let mut expr = parse::parse_alone(text)?;
    rewrite(&mut expr, change)?;
    Ok(expr.to_string())
}

/// Matchers in braces, as a parameter `match[]` has them.
#[must_use]
pub fn format_matchers(matchers: &[Matcher]) -> String {
    let mut out = String::new();
    // Writing into a text cannot fail.
    let written = write_matchers(&mut out, matchers.iter());
    written.map(|()| out).unwrap_or_default()
}

fn rewrite<E>(
    expr: &mut Expr,
    change: &mut dyn FnMut(Vec<Matcher>) -> Result<Vec<Matcher>, E>,
) -> Result<(), E> {
    match &mut expr.node {
        Node::Number(_) | Node::String(_) => Ok(()),
        Node::Vector(selector) | Node::Matrix(selector, _) => {
            selector.matchers = change(std::mem::take(&mut selector.matchers))?;
            Ok(())
        }
        Node::Subquery(subquery) => rewrite(&mut subquery.expr, change),
        Node::Call(call) => call
            .args
            .iter_mut()
            .try_for_each(|arg| rewrite(arg, change)),
        Node::Aggregate(aggregate) => {
            if let Some(param) = &mut aggregate.param {
                rewrite(param, change)?;
            }
            rewrite(&mut aggregate.expr, change)
        }
        Node::Binary(binary) => {
            rewrite(&mut binary.left, change)?;
            rewrite(&mut binary.right, change)
        }
        Node::Negative(inner) | Node::Positive(inner) | Node::Paren(inner) => {
            rewrite(inner, change)
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number(value) => f.write_str(&number(*value)),
            Node::String(bytes) => f.write_str(&quote(bytes)),
            Node::Vector(selector) => write!(f, "{}{}", Bare(selector), selector.moment),
            Node::Matrix(selector, range_ms) => {
                let range = Duration(*range_ms);
                write!(f, "{}[{range}]{}", Bare(selector), selector.moment)
            }
            Node::Subquery(subquery) => write!(f, "{}{}", subquery.expr, Window(subquery)),
            Node::Call(Call { function, args }) => {
                write!(f, "{}({})", function.text, Listed(args))
            }
            Node::Aggregate(aggregate) => {
                write!(f, "{}(", Head(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            Node::Binary(binary) => {
                write!(f, "{} {} {}", binary.left, Middle(binary), binary.right)
            }
            Node::Negative(inner) => write!(f, "-{inner}"),
            Node::Positive(inner) => write!(f, "+{inner}"),
            Node::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "Inf".to_owned()
    } else {
        format_value(value)
    }
}

/// A selector without its time.
struct Bare<'a>(&'a Selector);

impl Display for Bare<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Selector { name, matchers, .. } = self.0;
        // The name before the braces is among the matchers once more.
        let is_name = |matcher: &Matcher| {
            matcher.is_metric_name() && name.as_ref().is_some_and(|name| *name == matcher.value)
        };
        let skipped = matchers.iter().rposition(is_name);
        if let (Some(name), Some(_)) = (name, skipped) {
            f.write_str(name)?;
        }
        let others = matchers.iter().enumerate();
        let others = others.filter(|(index, _)| Some(*index) != skipped);
        let mut others = others.map(|(_, matcher)| matcher).peekable();
        if skipped.is_some() && others.peek().is_none() {
            return Ok(());
        }
        write_matchers(f, others)
    }
}

fn write_matchers<'a>(
    out: &mut dyn fmt::Write,
    matchers: impl Iterator<Item = &'a Matcher>,
) -> fmt::Result {
    out.write_char('{')?;
    for (index, matcher) in matchers.enumerate() {
        if index > 0 {
            out.write_char(',')?;
        }
        let op = match matcher.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        let value = quote(matcher.value.as_bytes());
        write!(out, "{}{op}{value}", label_name(&matcher.name))?;
    }
    out.write_char('}')
}

/// A label's name; in quotes if it is none of the classic ones.
fn label_name(name: &str) -> String {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_classic =
        name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit());
    if is_classic {
        name.to_owned()
    } else {
        quote(name.as_bytes())
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Time(ms)) => {
                let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
                write!(f, " @ {sign}{}.{:03}", ms / 1000, ms % 1000)?;
            }
        }
        match self.offset_ms {
            0 => Ok(()),
            ms @ ..0 => write!(f, " offset -{}", Duration(ms.saturating_neg())),
            ms => write!(f, " offset {}", Duration(ms)),
        }
    }
}

/// Milliseconds as Prometheus writes a duration: years and weeks only if nothing is left over.
pub(crate) struct Duration(pub(crate) i64);

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, i64, bool); 7] = [
            ("y", 365 * 86_400_000, true),
            ("w", 7 * 86_400_000, true),
            ("d", 86_400_000, false),
            ("h", 3_600_000, false),
            ("m", 60_000, false),
            ("s", 1_000, false),
            ("ms", 1, false),
        ];
        let mut left = self.0;
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, ms, is_exact) in UNITS {
            if is_exact && left % ms != 0 {
                continue;
            }
            if left / ms > 0 {
                write!(f, "{}{unit}", left / ms)?;
                left %= ms;
            }
        }
        Ok(())
    }
}

/// What follows the expression of a subquery.
struct Window<'a>(&'a Subquery);

impl Display for Window<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", Duration(self.0.range_ms))?;
        if let Some(step_ms) = self.0.step_ms {
            Duration(step_ms).fmt(f)?;
        }
        write!(f, "]{}", self.0.moment)
    }
}

struct Listed<'a>(&'a [Expr]);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, expr) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{expr}")?;
        }
        Ok(())
    }
}

/// An aggregation's operator and grouping.
struct Head<'a>(&'a Aggregate);

impl Display for Head<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Grouping { labels, without } = &self.0.grouping;
        f.write_str(self.0.op.name())?;
        match (without, labels.is_empty()) {
            (true, _) => write!(f, " without ({}) ", names(labels)),
            (false, false) => write!(f, " by ({}) ", names(labels)),
            (false, true) => Ok(()),
        }
    }
}

/// An operator and how its sides match.
struct Middle<'a>(&'a Binary);

impl Display for Middle<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Matching {
            on,
            labels,
            group,
            include,
        } = &self.0.matching;
        f.write_str(self.0.op.symbol())?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        let is_grouped = *group != Group::OneToOne;
        if *on || !labels.is_empty() || is_grouped {
            let word = if *on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", names(labels))?;
        }
        if is_grouped {
            let side = if *group == Group::ManyToOne {
                "left"
            } else {
                "right"
            };
            write!(f, " group_{side} ({})", names(include))?;
        }
        Ok(())
    }
}

fn names(labels: &[Arc<str>]) -> String {
    let labels: Vec<String> = labels.iter().map(|label| label_name(label)).collect();
    labels.join(", ")
}

fn pretty(expr: &Expr, level: usize) -> String {
    let indent = "  ".repeat(level);
    let line = expr.to_string();
    let is_short = line.chars().count() <= MOST_CHARACTERS;
    match &expr.node {
        Node::Negative(inner) | Node::Positive(inner) => {
            let sign = if matches!(expr.node, Node::Negative(_)) {
                '-'
            } else {
                '+'
            };
            format!("{indent}{sign}{}", pretty(inner, level).trim_start())
        }
        _ if is_short => format!("{indent}{line}"),
        Node::Aggregate(aggregate) => {
            let mut out = format!("{indent}{}(\n", Head(aggregate));
            if let Some(param) = &aggregate.param {
                out += &format!("{},\n", pretty(param, level + 1));
            }
            out + &format!("{}\n{indent})", pretty(&aggregate.expr, level + 1))
        }
        Node::Binary(binary) => {
            let (left, right) = (&binary.left, &binary.right);
            let (left, right) = (pretty(left, level + 1), pretty(right, level + 1));
            format!("{left}\n{indent}{}\n{right}", Middle(binary))
        }
        Node::Call(call) => {
            let args: Vec<String> = call.args.iter().map(|arg| pretty(arg, level + 1)).collect();
            format!(
                "{indent}{}(\n{}\n{indent})",
                call.function.text,
                args.join(",\n")
            )
        }
        Node::Subquery(subquery) => {
            format!("{}{}", pretty(&subquery.expr, level), Window(subquery))
        }
        Node::Paren(inner) => format!("{indent}(\n{}\n{indent})", pretty(inner, level + 1)),
        _ => format!("{indent}{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Limits;

    fn formatted(text: &str) -> Result<String, QueryError> {
        format_query(text, &Budget::new(Limits::default()))
    }

    /// The tree without places, which printing changes.
    fn shape(text: &str) -> String {
        let tree = format!("{:?}", parse::parse_alone(text).unwrap());
        let mut out = String::new();
        let mut rest = tree.as_str();
        while let Some((before, after)) = rest.split_once("Span {") {
            out += before;
            rest = after.split_once('}').unwrap().1;
        }
        out + rest
    }

    #[test]
    fn a_query_is_printed_as_prometheus_prints_it() {
        for (text, printed) in [
            (
                "sum by(job,x)(rate(a{b='c'}[5m]))",
                "sum by (job, x) (rate(a{b=\"c\"}[5m]))",
            ),
            ("sum(a)without()", "sum without () (a)"),
            ("sum by()(a)", "sum(a)"),
            ("topk(5,a)by(b)", "topk by (b) (5, a)"),
            ("a+on(b)group_left(c)d", "a + on (b) group_left (c) d"),
            (
                "a/ignoring()group_right d",
                "a / ignoring () group_right () d",
            ),
            ("a>bool 5", "a > bool 5"),
            ("-a^2", "-a ^ 2"),
            ("a offset 90m @ 1.5", "a @ 1.500 offset 1h30m"),
            ("a[1w] offset -1d", "a[1w] offset -1d"),
            ("rate(a[5m])[1h:]", "rate(a[5m])[1h:]"),
            (
                "max_over_time(a[30m:10s]@end())",
                "max_over_time(a[30m:10s] @ end())",
            ),
            ("{__name__=\"a\",b!~\"c|d\"}", "{__name__=\"a\",b!~\"c|d\"}"),
            ("a{}", "a"),
            ("1e6 + Inf", "1000000 + Inf"),
            ("\"x\\ny\"", "\"x\\ny\""),
        ] {
            assert_eq!(parse::parse_alone(text).unwrap().to_string(), printed);
            assert_eq!(shape(text), shape(printed), "{text}");
        }
    }

    #[test]
    fn long_queries_are_broken_as_prometheus_breaks_them() {
        let long = "sum by (job) (rate(http_requests_total{method=\"GET\",code=~\"2..\"}[5m])) / \
                    sum by (job) (rate(http_requests_total[5m]))";
        assert_eq!(
            formatted(long).unwrap(),
            "  sum by (job) (rate(http_requests_total{method=\"GET\",code=~\"2..\"}[5m]))\n/\n  \
             sum by (job) (rate(http_requests_total[5m]))"
        );
        assert_eq!(formatted("a+b").unwrap(), "a + b");
        assert!(formatted("a+").is_err());
    }

    #[test]
    fn selectors_get_the_matchers_that_are_asked_for() {
        let rewritten = rewrite_selectors::<ParseError>(
            "rate(a{b=\"c\"}[5m]) / on (x) {d=\"e\"} offset 1m",
            &mut |mut matchers| {
                matchers.push(Matcher::written("host_id", MatchOp::Regex, "1|2"));
                Ok(matchers)
            },
        );
        assert_eq!(
            rewritten.unwrap(),
            "rate(a{b=\"c\",host_id=~\"1|2\"}[5m]) / on (x) {d=\"e\",host_id=~\"1|2\"} offset 1m"
        );
    }

    /// Every query of Prometheus's files and ours, printed and broken, is the same tree again.
    #[test]
    fn the_corpus_survives_printing() {
        let mut count = 0;
        for folder in ["corpus", "ours"] {
            let folder = format!("{}/tests/{folder}", env!("CARGO_MANIFEST_DIR"));
            for file in std::fs::read_dir(folder).unwrap() {
                let script = std::fs::read_to_string(file.unwrap().path()).unwrap();
                for query in script.lines().filter_map(query_of) {
                    let Ok(expr) = parse::parse_alone(query) else {
                        continue;
                    };
                    count += 1;
                    let printed = expr.to_string();
                    assert_eq!(shape(query), shape(&printed), "{query} → {printed}");
                    let broken = formatted(query).unwrap();
                    assert_eq!(shape(query), shape(&broken), "{query} → {broken}");
                    assert_eq!(broken, formatted(&broken).unwrap(), "{query}");
                }
            }
        }
        assert!(count > 900, "{count}");
    }

    fn query_of(line: &str) -> Option<&str> {
        let line = line.trim();
        let rest = line.strip_prefix("eval")?;
        let (_, rest) = rest.split_once(if line.contains("range from") {
            " step "
        } else {
            " at "
        })?;
        Some(rest.split_once(' ')?.1.trim())
    }
}
