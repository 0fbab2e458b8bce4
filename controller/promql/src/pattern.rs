//! Regular expressions of a query: anchored at both ends, in linear time, and paid for.
//!
//! A few bytes of pattern can mean a megabyte of program and milliseconds of work, so a query's
//! patterns are counted, equal ones are compiled once, and what each takes is charged to the query's
//! budget before the next one is begun. A pattern is never compiled without a bound.

mod dialect;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;

use crate::budget::{Budget, Exhausted};
use crate::matcher::{MatcherError, SYNTAX};

/// Most bytes of a compiled program; a list of a thousand hosts takes a third.
const PROGRAM_BYTES: usize = 1 << 20;
/// Most bytes that matching keeps beside a program, of which there is one for each direction.
const CACHE_BYTES: usize = 256 << 10;
/// What is charged while a pattern is compiled: programs for both directions, and one pass.
const COMPILING_BYTES: u64 = 4 << 20;
/// Classes of many characters (`[^a]`, `\W`, `\p{L}`) in a query's patterns. Under `(?i)` one of them
/// can take ten milliseconds.
const MAX_WIDE: usize = 128;
/// Bytes of text times bytes of program that one match may cost: about a second.
const MAX_WORK: u64 = 4 << 30;

/// A pattern, anchored at both ends, where a dot also matches a line break. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Arc<Regex>);

impl Pattern {
    /// A pattern that no query has to pay for.
    pub(crate) fn new(pattern: &str) -> Result<Self, MatcherError> {
        Self::build(pattern, WhichCaptures::Implicit)
    }

    fn build(pattern: &str, captures: WhichCaptures) -> Result<Self, MatcherError> {
        let config = Config::new()
            .nfa_size_limit(Some(PROGRAM_BYTES))
            .onepass_size_limit(Some(PROGRAM_BYTES))
            .hybrid_cache_capacity(CACHE_BYTES)
            .which_captures(captures);
        let syntax = syntax::Config::new()
            .dot_matches_new_line(true)
            .nest_limit(100);
        let mut builder = Regex::builder();
        builder.configure(config).syntax(syntax);
        let anchored = format!("^(?:{})$", dialect::translate(pattern));
        let built = builder.build(&anchored);
        let regex = built.map_err(|error| MatcherError(reason(pattern, &error)))?;
        Ok(Self(Arc::new(regex)))
    }

    /// Whether the text is of this pattern.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The groups of a text, if it is of this pattern.
    pub(crate) fn captures(&self, text: &str) -> Option<Captures> {
        let mut captures = self.0.create_captures();
        self.0.captures(text, &mut captures);
        captures.is_match().then_some(captures)
    }

    /// Whether a text of so many bytes is compared soon enough: nothing can stop it on the way.
    pub(crate) fn is_quick(&self, text_bytes: usize) -> bool {
        (self.0.memory_usage() as u64).saturating_mul(text_bytes as u64) <= MAX_WORK
    }

    fn bytes(&self) -> u64 {
        self.0.memory_usage() as u64 + 2 * CACHE_BYTES as u64
    }
}

/// The patterns of one query.
pub(crate) struct Patterns<'b> {
    budget: &'b Budget,
    known: RefCell<HashMap<String, Pattern>>,
    matchers: Cell<usize>,
    bytes: Cell<usize>,
    wide: Cell<usize>,
    stopped: Cell<Option<Exhausted>>,
}

impl<'b> Patterns<'b> {
    /// None yet.
    pub(crate) fn new(budget: &'b Budget) -> Self {
        Self {
            budget,
            known: RefCell::default(),
            matchers: Cell::new(0),
            bytes: Cell::new(0),
            wide: Cell::new(0),
            stopped: Cell::new(None),
        }
    }

    /// Why the budget ended, if it did: then that is what is wrong, not the text.
    pub(crate) fn stopped(&self) -> Option<Exhausted> {
        self.stopped.get()
    }

    /// Counts one matcher more.
    pub(crate) fn count_matcher(&self) -> Result<(), MatcherError> {
        let limit = self.budget.limits().matchers;
        self.matchers.set(self.matchers.get() + 1);
        if self.matchers.get() > limit {
            return Err(MatcherError(format!(
                "more than {limit} label matchers: ask for less in one query"
            )));
        }
        Ok(())
    }

    /// A matcher's pattern; the same text is compiled once.
    pub(crate) fn compile(&self, pattern: &str) -> Result<Pattern, MatcherError> {
        if let Some(known) = self.known.borrow().get(pattern) {
            return Ok(known.clone());
        }
        let compiled = self.pay(pattern, WhichCaptures::Implicit)?;
        let mut known = self.known.borrow_mut();
        known.insert(pattern.to_owned(), compiled.clone());
        Ok(compiled)
    }

    /// A pattern with groups.
    pub(crate) fn compile_groups(&self, pattern: &str) -> Result<Pattern, MatcherError> {
        self.pay(pattern, WhichCaptures::All)
    }

    fn pay(&self, pattern: &str, captures: WhichCaptures) -> Result<Pattern, MatcherError> {
        let limit = self.budget.limits().pattern_bytes;
        self.bytes
            .set(self.bytes.get().saturating_add(pattern.len()));
        if self.bytes.get() > limit {
            return Err(MatcherError(format!(
                "regular expressions of more than {limit} bytes: ask for less in one query"
            )));
        }
        self.wide
            .set(self.wide.get() + dialect::wide_classes(pattern));
        if self.wide.get() > MAX_WIDE {
            return Err(MatcherError(format!(
                "more than {MAX_WIDE} negated or Unicode classes in regular expressions: ask for \
                 less in one query"
            )));
        }
        let begun = self.budget.check();
        self.allow(begun.and_then(|()| self.budget.charge_bytes(COMPILING_BYTES)))?;
        let compiled = Pattern::build(pattern, captures);
        self.budget.release_bytes(COMPILING_BYTES);
        let compiled = compiled?;
        self.allow(self.budget.charge_bytes(compiled.bytes()))?;
        Ok(compiled)
    }

    fn allow(&self, allowed: Result<(), Exhausted>) -> Result<(), MatcherError> {
        allowed.map_err(|why| {
            self.stopped.set(Some(why));
            MatcherError(why.to_string())
        })
    }
}

/// What is shown of a long pattern.
const SHOWN_CHARACTERS: usize = 200;

fn reason(pattern: &str, error: &regex_automata::meta::BuildError) -> String {
    let mut shown: String = pattern.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < pattern.len() {
        shown.push('…');
    }
    let fault = match (error.size_limit(), error.syntax_error()) {
        (Some(limit), _) => format!("expression needs more than {limit} bytes"),
        (None, Some(syntax)) => {
            // The last line names the fault; those before it draw the pattern.
            let text = syntax.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
        (None, None) => error.to_string(),
    };
    format!("{SYNTAX}: {fault}: `{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use std::time::Instant;

    #[test]
    fn a_pattern_is_paid_for_once_and_given_back_with_the_query() {
        let account = crate::Account::default();
        let budget = Budget::new(Limits::default()).within(&account);
        let patterns = Patterns::new(&budget);
        patterns.compile("a.*").unwrap();
        let once = account.bytes();
        assert!(once > 0);
        patterns.compile("a.*").unwrap();
        assert_eq!(account.bytes(), once);
        patterns.compile(r"\p{L}{20}").unwrap();
        assert!(account.bytes() > 2 * once);
        drop(budget);
        assert_eq!(account.bytes(), 0);
    }

    #[test]
    fn patterns_that_cost_too_much_together_are_refused() {
        let limits = Limits {
            pattern_bytes: 10,
            ..Limits::default()
        };
        let budget = Budget::new(limits);
        let patterns = Patterns::new(&budget);
        patterns.compile("12345").unwrap();
        patterns.compile("12345").unwrap();
        let error = patterns.compile("123456").unwrap_err();
        assert!(error.to_string().contains("more than 10 bytes"), "{error}");

        let budget = Budget::new(Limits::default());
        let patterns = Patterns::new(&budget);
        let error = patterns.compile(&r"(?i)[^a]".repeat(200)).unwrap_err();
        assert!(error.to_string().contains("classes"), "{error}");
        let limits = Limits {
            memory_bytes: COMPILING_BYTES + 1,
            ..Limits::default()
        };
        let budget = Budget::new(limits);
        let patterns = Patterns::new(&budget);
        patterns.compile("a.*").unwrap();
        patterns.compile("b.*").unwrap_err();
        assert!(matches!(
            patterns.stopped(),
            Some(Exhausted::TooMuchMemory { .. })
        ));
    }

    #[test]
    fn no_pattern_is_begun_after_the_deadline() {
        let limits = Limits {
            deadline: Some(Instant::now()),
            ..Limits::default()
        };
        let budget = Budget::new(limits);
        let patterns = Patterns::new(&budget);
        patterns.compile("a.*").unwrap_err();
        assert_eq!(patterns.stopped(), Some(Exhausted::TimedOut));
    }
}
