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
