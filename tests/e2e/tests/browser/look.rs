//! How a screen is looked at: language, theme, size.

use std::fmt;

/// One way to look at a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) english: bool,
    pub(crate) dark: bool,
    pub(crate) phone: bool,
}

impl Look {
    /// All of one size.
    pub(crate) fn all_of(phone: bool) -> [Self; 4] {
        let of = |english, dark| Self {
            english,
            dark,
            phone,
        };
        [
            of(false, false),
            of(false, true),
            of(true, false),
            of(true, true),
        ]
    }

    /// What most people see first.
    pub(crate) const fn usual() -> Self {
        Self {
            english: false,
            dark: false,
            phone: false,
        }
    }

    /// Two looks in which journeys are made, so that both languages, lights and sizes occur;
    /// [`crate::checks::around`] looks at what they lead to in the others.
    pub(crate) const fn two() -> [Self; 2] {
        let dark_phone = Self {
            english: true,
            dark: true,
            phone: true,
        };
        [Self::usual(), dark_phone]
    }

    /// The others of the same language.
    pub(crate) fn others(self) -> [Self; 3] {
        let (dark, phone) = (!self.dark, !self.phone);
        [
            Self { dark, ..self },
            Self { phone, ..self },
            Self {
                dark,
                phone,
                ..self
            },
        ]
    }

    /// What a page says, of the two languages.
    pub(crate) const fn said(self, chinese: &'static str, english: &'static str) -> &'static str {
        if self.english { english } else { chinese }
    }

    /// Width and height of the window in CSS pixels.
    pub(crate) const fn size(self) -> (u32, u32) {
        if self.phone { (390, 844) } else { (1440, 900) }
    }

    /// Whether the slow checks run too: half of the looks, in which every pair of language, theme
    /// and size occurs.
    pub(crate) const fn thorough(self) -> bool {
        self.english ^ self.dark ^ self.phone
    }
}

/// `zh-light-desk`; part of a picture's file name.
impl fmt::Display for Look {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let language = if self.english { "en" } else { "zh" };
        let theme = if self.dark { "dark" } else { "light" };
        let size = if self.phone { "phone" } else { "desk" };
        write!(formatter, "{language}-{theme}-{size}")
    }
}
