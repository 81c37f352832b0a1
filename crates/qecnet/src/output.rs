//! Standard output: text for people, or one JSON value for programs.

use std::io::{self, Write};

use serde::Serialize;

/// An error with its causes, each said once: many errors tell their cause themselves.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for part in error.chain().map(ToString::to_string) {
        if !text.contains(&part) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&part);
        }
    }
    text
}

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

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::sentence;

    #[test]
    fn a_cause_is_told_once() {
        let error = std::io::Error::other("no such file");
        let told = anyhow::Error::new(error).context("cannot read `a`: no such file");
        assert_eq!(sentence(&told), "cannot read `a`: no such file");
        let told = Err::<(), _>(std::io::Error::other("no such file")).context("cannot read `a`").unwrap_err();
        assert_eq!(sentence(&told), "cannot read `a`: no such file");
    }
}
