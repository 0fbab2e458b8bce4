//! Cuts the text into words, with Prometheus's messages for what is none.

use super::Fault;
use super::token::{Kind, Token, word};
use crate::ast::{BinaryOp, Span};

/// Reads words one by one; after a fault it must not be asked again.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    parens: usize,
    in_braces: bool,
    in_brackets: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            parens: 0,
            in_braces: false,
            in_brackets: false,
        }
    }

    /// The next word; spaces and comments are skipped.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, Fault> {
        self.skip();
        let start = self.at;
        let Some(c) = self.bump() else {
            return self.end(start);
        };
        let kind = if self.in_braces {
            self.inside_braces(c, start)?
        } else {
            self.outside(c, start)?
        };
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Token {
            kind,
            text,
            span: Span {
                start,
                end: self.at,
            },
        })
    }

    fn end(&self, start: usize) -> Result<Token<'a>, Fault> {
        let unclosed = if self.in_braces {
            "unexpected end of input inside braces"
        } else if self.parens > 0 {
            "unclosed left parenthesis"
        } else if self.in_brackets {
            "unclosed left bracket"
        } else {
            let span = Span { start, end: start };
            return Ok(Token {
                kind: Kind::End,
                text: "",
                span,
            });
        };
        Err(Fault {
            at: start,
            message: unclosed.to_owned(),
        })
    }

    fn outside(&mut self, c: char, start: usize) -> Result<Kind, Fault> {
        use BinaryOp as B;
        Ok(match c {
            ',' => Kind::Comma,
            '*' => Kind::Operator(B::Mul),
            '/' => Kind::Operator(B::Div),
            '%' => Kind::Operator(B::Mod),
            '+' => Kind::Operator(B::Add),
            '-' => Kind::Operator(B::Sub),
            '^' => Kind::Operator(B::Pow),
            '@' => Kind::At,
            '=' if self.take('=') => Kind::Operator(B::Equal),
            '=' if self.peek() == Some('~') => {
                return Err(fault(start, "unexpected character after '=': ", '~'));
            }
            '=' => Kind::Assign,
            '!' if self.take('=') => Kind::Operator(B::NotEqual),
            '!' => return Err(self.after(start, "unexpected character after '!': ")),
            '<' if self.take('=') => Kind::Operator(B::LessEqual),
            '<' => Kind::Operator(B::Less),
            '>' if self.take('=') => Kind::Operator(B::GreaterEqual),
            '>' => Kind::Operator(B::Greater),
            '(' | ')' | '{' | '}' | '[' | ']' => self.bracket(c, start)?,
            '"' | '\'' | '`' => self.quoted(c, start)?,
            '0'..='9' => self.number(start)?,
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => self.number(start)?,
            ':' if self.in_brackets => Kind::Colon,
            c if is_alpha(c) || c == ':' => self.identifier(start),
            c => return Err(fault(start, "unexpected character: ", c)),
        })
    }

    fn bracket(&mut self, c: char, start: usize) -> Result<Kind, Fault> {
        match c {
            '(' => {
                self.parens += 1;
                Ok(Kind::LeftParen)
            }
            ')' => match self.parens.checked_sub(1) {
                Some(left) => {
                    self.parens = left;
                    Ok(Kind::RightParen)
                }
                // Prometheus complains when it has passed the parenthesis.
                None => Err(fault(self.at, "unexpected right parenthesis ", c)),
            },
            '{' => {
                self.in_braces = true;
                Ok(Kind::LeftBrace)
            }
            '[' if !self.in_brackets => {
                self.in_brackets = true;
                Ok(Kind::LeftBracket)
            }
            ']' if self.in_brackets => {
                self.in_brackets = false;
                Ok(Kind::RightBracket)
            }
            '[' => Err(fault(start, "unexpected left bracket ", c)),
            ']' => Err(fault(start, "unexpected right bracket ", c)),
            _ => Err(fault(start, "unexpected character: ", c)),
        }
    }

    fn inside_braces(&mut self, c: char, start: usize) -> Result<Kind, Fault> {
        Ok(match c {
            c if is_alpha(c) => {
                self.skip_while(|c| is_alpha(c) || c.is_ascii_digit());
                Kind::Identifier
            }
            ',' => Kind::Comma,
            '"' | '\'' | '`' => self.quoted(c, start)?,
            '=' if self.take('~') => Kind::Matches,
            '=' => Kind::Assign,
            '!' if self.take('~') => Kind::MatchesNot,
            '!' if self.take('=') => Kind::Operator(BinaryOp::NotEqual),
            '!' => return Err(self.after(start, "unexpected character after '!' inside braces: ")),
            '{' => return Err(fault(start, "unexpected left brace ", c)),
            '}' => {
                self.in_braces = false;
                Kind::RightBrace
            }
            c => return Err(fault(start, "unexpected character inside braces: ", c)),
        })
    }

    fn identifier(&mut self, start: usize) -> Kind {
        self.skip_while(|c| is_alpha(c) || c.is_ascii_digit() || c == ':');
        let text = self.text.get(start..self.at).unwrap_or_default();
        match word(text) {
            Some(kind) => kind,
            None if text.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        }
    }

    fn quoted(&mut self, quote: char, start: usize) -> Result<Kind, Fault> {
        while let Some(c) = self.bump() {
            match c {
                c if c == quote => return Ok(Kind::String),
                '\\' if quote != '`' => {
                    self.bump();
                }
                '\n' if quote != '`' => break,
                _ => {}
            }
        }
        let what = if quote == '`' {
            "unterminated raw string"
        } else {
            "unterminated quoted string"
        };
        Err(Fault {
            at: start,
            message: what.to_owned(),
        })
    }

    /// A number (decimal, hexadecimal, with exponent, `_` between digits) or a duration.
    fn number(&mut self, start: usize) -> Result<Kind, Fault> {
        self.at = start;
        let rest = self.text.get(start..).unwrap_or_default();
        let is_hex = rest.starts_with("0x") || rest.starts_with("0X");
        if is_hex {
            self.at += 2;
            self.skip_while(|c| c.is_ascii_hexdigit() || c == '_');
        } else {
            self.skip_while(|c| c.is_ascii_digit() || c == '_');
            if self.take('.') {
                self.skip_while(|c| c.is_ascii_digit() || c == '_');
            }
            self.exponent();
        }
        if self.units() {
            return Ok(Kind::Duration);
        }
        if !self
            .peek()
            .is_some_and(|c| is_alpha(c) || c.is_ascii_digit())
        {
            return Ok(Kind::Number);
        }
        self.bump();
        let text = self.text.get(start..self.at).unwrap_or_default();
        let quoted = crate::labels::quote(text.as_bytes());
        Err(Fault {
            at: start,
            message: format!("bad number or duration syntax: {quoted}"),
        })
    }

    /// Takes a unit and further numbers with units, and tells whether the word ends with one. Their
    /// order is looked at when the duration is read.
    fn units(&mut self) -> bool {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let length = match rest.as_bytes() {
                [b'm', b's', ..] => 2,
                [b's' | b'm' | b'h' | b'd' | b'w' | b'y', ..] => 1,
                _ => return false,
            };
            self.at += length;
            match self.peek() {
                Some(c) if c.is_ascii_digit() => self.skip_while(|c| c.is_ascii_digit()),
                Some(c) if is_alpha(c) => return false,
                _ => return true,
            }
        }
    }

    fn exponent(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default().as_bytes();
        let sign = usize::from(matches!(rest.get(1), Some(b'+' | b'-')));
        let is_exponent = matches!(rest.first(), Some(b'e' | b'E'))
            && rest.get(1 + sign).is_some_and(u8::is_ascii_digit);
        if is_exponent {
            self.at += 1 + sign;
            self.skip_while(|c| c.is_ascii_digit());
        }
    }

    fn skip(&mut self) {
        loop {
            self.skip_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            if self.in_braces || self.peek() != Some('#') {
                return;
            }
            self.skip_while(|c| c != '\n');
        }
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.find(|c| !keep(c)).unwrap_or(rest.len());
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn after(&self, start: usize, message: &str) -> Fault {
        match self.peek() {
            Some(c) => fault(start, message, c),
            None => Fault {
                at: start,
                message: "unexpected end of input".to_owned(),
            },
        }
    }
}

fn fault(at: usize, message: &str, c: char) -> Fault {
    Fault {
        at,
        message: format!("{message}{c:?}"),
    }
}

fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}
