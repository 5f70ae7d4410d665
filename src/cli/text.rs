//! Styled text that knows how wide it is on a terminal.
//!
//! Styles are always written here; [`super::emit`] takes them out again where nobody would see colours.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// No style.
pub const PLAIN: Style = Style::new();
/// For what is there but matters less.
pub const DIM: Style = Style::new().dimmed();
/// For titles and what is new.
pub const BOLD: Style = Style::new().bold();
/// All is well.
pub const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
/// Under way.
pub const BUSY: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
/// Wrong.
pub const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
/// At rest, on purpose.
pub const CALM: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));

/// A line, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text {
    pieces: Vec<(Style, String)>,
}

impl Text {
    /// Text in one style. Control characters, which could repaint the reader's terminal, become spaces.
    pub fn new(style: Style, text: impl AsRef<str>) -> Self {
        Self { pieces: vec![(style, printable(text.as_ref()))] }
    }

    /// Text without a style.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::new(PLAIN, text)
    }

    /// The same, and more behind it.
    pub fn and(mut self, style: Style, text: impl AsRef<str>) -> Self {
        self.pieces.push((style, printable(text.as_ref())));
        self
    }

    /// The same, and another one behind it.
    pub fn join(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self
    }

    /// All of it in one style.
    pub fn all(self, style: Style) -> Self {
        Self { pieces: self.pieces.into_iter().map(|(_, text)| (style, text)).collect() }
    }

    /// Columns on a terminal.
    pub fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| text.width()).sum()
    }

    /// At most `width` columns, with an ellipsis where something was cut off.
    pub fn cut(self, width: usize) -> Self {
        // Blanks that are cut off are not missed.
        let room = if self.to_plain().width() <= width { width } else { width.saturating_sub(1) };
        if self.width() <= width {
            return self;
        }
        let mut left = room;
        let mut pieces = vec![];
        for (style, text) in self.pieces {
            let mut kept = String::new();
            for c in text.chars() {
                let wide = c.width().unwrap_or(0);
                if wide > left {
                    if room < width {
                        kept.push('…');
                    }
                    pieces.push((style, kept));
                    return Self { pieces };
                }
                left -= wide;
                kept.push(c);
            }
            pieces.push((style, kept));
        }
        Self { pieces }
    }

    /// Exactly `width` columns: cut off, or filled with spaces behind.
    pub fn left(self, width: usize) -> Self {
        let cut = self.cut(width);
        let fill = width.saturating_sub(cut.width());
        if fill == 0 { cut } else { cut.and(PLAIN, " ".repeat(fill)) }
    }

    /// Exactly `width` columns: cut off, or filled with spaces before.
    pub fn right(self, width: usize) -> Self {
        let cut = self.cut(width);
        let fill = width.saturating_sub(cut.width());
        if fill == 0 { cut } else { Self::plain(" ".repeat(fill)).join(cut) }
    }

    /// The line without styles.
    pub fn to_plain(&self) -> String {
        let text: String = self.pieces.iter().map(|(_, text)| text.as_str()).collect();
        text.trim_end().to_owned()
    }

    /// The line with its styles as escape sequences, without spaces at its end.
    pub fn to_ansi(&self) -> String {
        let mut line = String::new();
        let seen = |(style, text): &(Style, String)| match style.get_bg_color() {
            Some(_) => !text.is_empty(),
            None => !text.trim_end().is_empty(),
        };
        let last = self.pieces.iter().rposition(seen);
        for (index, (style, text)) in self.pieces.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            let ends = Some(index) == last && style.get_bg_color().is_none();
            let text = if ends { text.trim_end() } else { text };
            if *style == PLAIN {
                line.push_str(text);
            } else {
                // Writing to a String does not fail.
                let _ = write!(line, "{style}{text}{style:#}");
            }
        }
        line
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_columns_and_not_by_bytes() {
        let text = Text::plain("Größe ").and(BOLD, "→ 日本");
        assert_eq!(text.width(), 12);
        assert_eq!(text.clone().cut(12), text);
        assert_eq!(text.clone().cut(10).width(), 9, "half a character is not shown");
        assert_eq!(text.left(20).width(), 20);
    }

    #[test]
    fn an_escape_sequence_in_a_log_does_not_reach_the_terminal() {
        assert_eq!(Text::plain("a\x1b[2Jb\r\nc").to_ansi(), "a [2Jb  c");
    }

    #[test]
    fn a_line_ends_with_its_last_word() {
        assert_eq!(Text::plain("a").left(9).join(Text::plain("  ")).to_ansi(), "a");
    }
}
