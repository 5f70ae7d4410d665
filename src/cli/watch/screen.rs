//! Drawing over what was drawn before, without flicker.

use std::io::{self, IsTerminal as _, Write as _};

use terminal_size::{Height, Width, terminal_size_of};
use unicode_width::UnicodeWidthStr as _;

use crate::cli::text::Text;

/// Asked for nothing: what a log or a pipe is.
const DEFAULT_WIDTH: usize = 120;

/// Alternate screen, no cursor, no wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// What is written between these is shown at once, by terminals that know them; the others ignore them.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[J\x1b[?2026l";

/// Columns and lines of the terminal, if there is one.
pub fn size() -> Option<(usize, usize)> {
    terminal_size_of(io::stdout()).map(|(Width(width), Height(height))| (width.into(), height.into()))
}

/// Columns to use, terminal or not. COLUMNS is believed where there is none.
pub fn width() -> usize {
    let asked = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    size().map(|(width, _)| width).or_else(asked).filter(|width| *width >= 20).unwrap_or(DEFAULT_WIDTH)
}

/// Whether somebody is looking.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The terminal while the view has it. Given back when dropped.
pub struct Screen {
    out: io::Stdout,
    colours: bool,
}

impl Screen {
    pub fn enter() -> Self {
        raw(ENTER);
        let out = io::stdout();
        let colours = anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never;
        Self { out, colours }
    }

    /// Shows `lines` on a terminal of `width` columns; what stood there before goes.
    pub fn show(&mut self, lines: &[Text], width: usize) -> io::Result<()> {
        let mut text = String::from(BEGIN);
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                text.push_str("\r\n");
            }
            let plain = line.to_plain();
            let shown = plain.width();
            text.push_str(&if self.colours { line.to_ansi() } else { plain });
            // The rest of the line that was here. Behind the last column this would take away the last character.
            if shown < width {
                text.push_str("\x1b[K");
            }
        }
        text.push_str(END);
        let mut out = self.out.lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        raw(LEAVE);
    }
}

fn raw(sequence: &str) {
    let mut out = io::stdout().lock();
    // A terminal that is gone needs nothing restored.
    let _ = out.write_all(sequence.as_bytes());
    let _ = out.flush();
}
