//! The language of what people take with them: Chinese, unless they ask for English.

/// A text in Chinese and in English.
pub type Both = (&'static str, &'static str);

/// What a file or a paper is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// As the courts write.
    #[default]
    Chinese,
    /// For who asks for it.
    English,
}

impl Language {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Chinese, Self::English];

    /// Stable word: `zh` or `en`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Chinese => "zh",
            Self::English => "en",
        }
    }

    /// The language that [`Language::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    /// The text in this language.
    #[must_use]
    pub const fn of(self, (chinese, english): Both) -> &'static str {
        match self {
            Self::Chinese => chinese,
            Self::English => english,
        }
    }

    /// The columns of a list in this language.
    #[must_use]
    pub fn header(self, columns: &[Both]) -> Vec<String> {
        let texts = columns.iter().map(|both| self.of(*both).to_owned());
        texts.collect()
    }
}
