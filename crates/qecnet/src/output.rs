//! Standard output: text for people, or one JSON value for programs.

use std::io::{self, Write};

use serde::Serialize;

/// Writes `text`. A reader that went away (as `head` does) is no error.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes `value` as one line of JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> io::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    text(&line)
}
