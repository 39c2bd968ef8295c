//! Colours: on a terminal only, and not when `NO_COLOR` is set.

use std::io::{IsTerminal, Write};

/// What a piece of text is.
#[derive(Clone, Copy)]
pub(crate) enum Ink {
    Heading,
    Good,
    Warning,
    Error,
}

/// Paints for one output.
#[derive(Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn stdout() -> Paint {
        Paint(wanted(std::io::stdout().is_terminal()))
    }

    pub(crate) fn stderr() -> Paint {
        Paint(wanted(std::io::stderr().is_terminal()))
    }

    pub(crate) fn paint(self, ink: Ink, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Heading => "1",
            Ink::Good => "32",
            Ink::Warning => "33",
            Ink::Error => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn wanted(is_terminal: bool) -> bool {
    // By the convention of no-color.org, an empty variable does not count.
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints `error: text` to stderr.
pub(crate) fn complain(text: impl std::fmt::Display) {
    // There is nobody to tell that this cannot be written either.
    let _ = writeln!(std::io::stderr(), "{} {text}", Paint::stderr().paint(Ink::Error, "error:"));
}

/// Prints `warning: text` to stderr.
pub(crate) fn warn(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{} {text}", Paint::stderr().paint(Ink::Warning, "warning:"));
}
