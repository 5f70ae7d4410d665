//! How a command ends when it does not end well.

use std::fmt;

/// Something does not answer, which may pass.
pub(super) const UNREACHABLE: u8 = 3;

/// One line for people, and the exit code for scripts.
#[derive(Debug)]
pub struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// Something that must hold does not: exit code 1.
    pub fn violated(what: &impl fmt::Display) -> Self {
        Self { line: what.to_string(), code: 1 }
    }

    /// The same, where the answer on standard output has said what.
    pub fn reported() -> Self {
        Self { line: String::new(), code: 1 }
    }

    /// Wrong use or configuration: exit code 2.
    pub fn usage(what: &impl fmt::Display) -> Self {
        Self { line: what.to_string(), code: 2 }
    }

    /// Something cannot be reached: exit code 3.
    pub fn unreachable(what: &impl fmt::Display) -> Self {
        Self { line: what.to_string(), code: UNREACHABLE }
    }

    /// Whether there is nothing left to say.
    pub fn is_said(&self) -> bool {
        self.line.is_empty()
    }

    /// Whatever a part of the program has judged itself.
    pub fn new(what: &impl fmt::Display, code: u8) -> Self {
        Self { line: what.to_string(), code }
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
