//! The commands of a script, from its lines.

use regex_automata::meta::Regex;

use super::notation::{Point, parse_series};
use crate::labels::Labels;
use crate::parse::parse_duration;

/// One command.
#[derive(Debug)]
pub(super) enum Command {
    Load(Load),
    Clear,
    Eval(Box<Eval>),
}

/// `load 5m` and its series; of equal series the last one counts.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) interval_ms: i64,
    pub(super) series: Vec<(Labels, Vec<Point>)>,
}

/// `eval …` and what it expects.
#[derive(Debug)]
pub(super) struct Eval {
    /// Line of the command in its file, from 1.
    pub(super) line: usize,
    pub(super) query: String,
    pub(super) span: Span,
    pub(super) ordered: bool,
    pub(super) fail: Option<Vec<Text>>,
    pub(super) warn: Annotated,
    pub(super) info: Annotated,
    pub(super) string: Option<String>,
    /// Times of an expected range vector: start, end, step in milliseconds.
    pub(super) range_vector: Option<(i64, i64, i64)>,
    pub(super) series: Vec<(Labels, Vec<Point>)>,
}

/// When a case is evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span {
    Instant(i64),
    Range {
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    },
}

/// What is expected of annotations of one kind.
#[derive(Default, Debug)]
pub(super) struct Annotated {
    /// There must be none.
    pub(super) none: bool,
    /// Each must be met, and if there is one, each annotation must meet one.
    pub(super) texts: Vec<Text>,
}

/// A text that is expected.
#[derive(Debug)]
pub(super) enum Text {
    Any,
    Exact(String),
    Pattern(Regex),
}

impl Text {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(expected) => expected == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

/// All commands of a script; an error begins with the line's number.
pub(super) fn parse_script(script: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<&str> = script.lines().map(clean).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let number = at + 1;
        at += 1;
        if line.is_empty() {
            continue;
        }
        let rest = lines.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|line| !line.is_empty()).count();
        let block = rest.get(..length).unwrap_or_default();
        let word = line.split_whitespace().next().unwrap_or_default();
        let command = match word {
            "clear" => Ok(Command::Clear),
            "load" | "load_with_nhcb" => load(line, block).map(Command::Load),
            _ if word.starts_with("eval") => {
                eval(line, block, number).map(|eval| Command::Eval(Box::new(eval)))
            }
            _ => Err(format!("no command: {line}")),
        };
        if word != "clear" {
            at += length;
        }
        commands.push(command.map_err(|reason| format!("line {number}: {reason}"))?);
    }
    Ok(commands)
}

/// A line without its comment and the spaces around it.
fn clean(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}

fn load(line: &str, block: &[&str]) -> Result<Load, String> {
    let interval = line.split_whitespace().nth(1).unwrap_or_default();
    let interval_ms = time(interval)?;
    let mut series: Vec<(Labels, Vec<Point>)> = Vec::new();
    for line in block {
        let (labels, points) = parse_series(line)?;
        series.retain(|(known, _)| *known != labels);
        series.push((labels, points));
    }
    Ok(Load {
        interval_ms,
        series,
    })
}

fn eval(line: &str, block: &[&str], number: usize) -> Result<Eval, String> {
    let (command, rest) = split(line);
    let (kind, rest) = split(rest);
    let (span, query) = match kind {
        "instant" => instant(rest)?,
        "range" => range(rest)?,
        _ => return Err("eval needs instant or range".to_owned()),
    };
    let mut eval = Eval {
        line: number,
        query: query.to_owned(),
        span,
        ordered: command == "eval_ordered",
        fail: (command == "eval_fail").then(Vec::new),
        warn: Annotated::default(),
        info: Annotated::default(),
        string: None,
        range_vector: None,
        series: Vec::new(),
    };
    match command {
        "eval_warn" => eval.warn.texts.push(Text::Any),
        "eval_info" => eval.info.texts.push(Text::Any),
        _ => {}
    }
    for line in block {
        expectation(&mut eval, line)?;
    }
    Ok(eval)
}

fn instant(rest: &str) -> Result<(Span, &str), String> {
    let Some(rest) = rest.strip_prefix("at ") else {
        return Ok((Span::Instant(0), rest));
    };
    let (at, query) = split(rest);
    Ok((Span::Instant(time(at)?), query))
}

fn range(rest: &str) -> Result<(Span, &str), String> {
    let mut times = [0; 3];
    let mut rest = rest;
    for (word, slot) in ["from", "to", "step"].iter().zip(&mut times) {
        let (found, after) = split(rest);
        if found != *word {
            return Err(format!("expected {word}, got {found}"));
        }
        let (text, after) = split(after);
        *slot = time(text)?;
        rest = after;
    }
    let [start_ms, end_ms, step_ms] = times;
    Ok((
        Span::Range {
            start_ms,
            end_ms,
            step_ms,
        },
        rest,
    ))
}

fn expectation(eval: &mut Eval, line: &str) -> Result<(), String> {
    if let Some(message) = line.strip_prefix("expected_fail_message ") {
        eval.fail
            .get_or_insert_default()
            .push(Text::Exact(message.trim().to_owned()));
        return Ok(());
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp ") {
        eval.fail
            .get_or_insert_default()
            .push(pattern_of(pattern.trim())?);
        return Ok(());
    }
    let Some(rest) = line.strip_prefix("expect ") else {
        eval.series.push(parse_series(line)?);
        return Ok(());
    };
    if let Some(times) = rest.strip_prefix("range vector ") {
        let (
            Span::Range {
                start_ms,
                end_ms,
                step_ms,
            },
            _,
        ) = range(times)?
        else {
            return Err("expected from … to … step …".to_owned());
        };
        eval.range_vector = Some((start_ms, end_ms, step_ms));
        return Ok(());
    }
    let (kind, rest) = split(rest);
    match kind {
        "ordered" => eval.ordered = true,
        "no_warn" => eval.warn.none = true,
        "no_info" => eval.info.none = true,
        "warn" => eval.warn.texts.push(text(rest)?),
        "info" => eval.info.texts.push(text(rest)?),
        "fail" => eval.fail.get_or_insert_default().push(text(rest)?),
        "string" => {
            let bytes = crate::parse::unquote(rest)?;
            eval.string = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        _ => return Err(format!("unknown expectation: {kind}")),
    }
    Ok(())
}

fn text(rest: &str) -> Result<Text, String> {
    if let Some(message) = rest.strip_prefix("msg:") {
        return Ok(Text::Exact(message.trim().to_owned()));
    }
    match rest.strip_prefix("regex:") {
        Some(pattern) => pattern_of(pattern.trim()),
        None => Ok(Text::Any),
    }
}

fn pattern_of(pattern: &str) -> Result<Text, String> {
    Regex::new(pattern)
        .map(Text::Pattern)
        .map_err(|error| error.to_string())
}

/// The first word and what follows.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

/// A duration, possibly negative, or a number of seconds, in milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "times of tests are small")]
fn time(text: &str) -> Result<i64, String> {
    let (sign, positive) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let seconds = || {
        positive
            .parse::<f64>()
            .ok()
            .map(|seconds| (seconds * 1000.0).round() as i64)
    };
    let time = parse_duration(positive).or_else(seconds);
    time.map(|ms| sign * ms)
        .ok_or_else(|| format!("no time: {text}"))
}
