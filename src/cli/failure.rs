//! How a command ends when it does not end well.

use std::fmt;

/// Something does not answer, which may pass.
pub(super) const UNREACHABLE: u8 = 3;

/// One line for people, and the exit code for scripts.
#[derive(Debug)]
pub struct Failure {
    line: String,
    code: u8,
    refusal: bool,
}

impl Failure {
    /// Something that must hold does not: exit code 1.
    pub fn violated(what: &impl fmt::Display) -> Self {
        Self { line: what.to_string(), code: 1, refusal: false }
    }

    /// The same, where the answer on standard output has said what.
    pub fn reported() -> Self {
        Self { line: String::new(), code: 1, refusal: false }
    }

    /// Wrong use or configuration: exit code 2.
    pub fn usage(what: &impl fmt::Display) -> Self {
        Self { line: what.to_string(), code: 2, refusal: false }
    }

    /// Something cannot be reached: exit code 3.
    pub fn unreachable(what: &impl fmt::Display) -> Self {
        Self { line: what.to_string(), code: UNREACHABLE, refusal: false }
    }

    /// The API server is there and says no: exit code 2. One that was started a moment ago says that to everybody.
    pub fn refused(what: &impl fmt::Display) -> Self {
        Self { refusal: true, ..Self::usage(what) }
    }

    /// Whether the API server said no.
    pub fn is_refusal(&self) -> bool {
        self.refusal
    }

    /// Whether there is nothing left to say.
    pub fn is_said(&self) -> bool {
        self.line.is_empty()
    }

    /// Whatever a part of the program has judged itself.
    pub fn new(what: &impl fmt::Display, code: u8) -> Self {
        Self { line: what.to_string(), code, refusal: false }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}
