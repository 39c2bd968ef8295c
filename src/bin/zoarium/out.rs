//! What a command prints. A reader that goes (`| head`) takes the text with it and nothing else: the command goes on, and
//! its exit code says how it went.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use zoarium::store::os_text;

use crate::paint::complain;

/// Nothing more can be printed.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);
/// Something that should have been printed is lost, and not because its reader went.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Prints a line to stdout, as `println!` does, but never panics.
macro_rules! say {
    () => { $crate::out::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::out::print(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use say;

/// Prints `text` as it is.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    if !IS_CLOSED.load(Ordering::Relaxed) {
        note(io::stdout().lock().write_fmt(text));
    }
}

/// Takes in how a write to stdout went; whether there may be more of them.
pub(crate) fn note(written: io::Result<()>) -> bool {
    let Err(error) = written else { return true };
    let was_closed = IS_CLOSED.swap(true, Ordering::Relaxed);
    if !was_closed && error.kind() != ErrorKind::BrokenPipe {
        IS_LOST.store(true, Ordering::Relaxed);
        complain(format!("cannot write the output: {}", os_text(&error)));
    }
    false
}

/// Whether output is lost that somebody waits for, as on a disk without space.
pub(crate) fn is_lost() -> bool {
    IS_LOST.load(Ordering::Relaxed)
}
