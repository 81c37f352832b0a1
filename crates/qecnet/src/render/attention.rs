//! What waits for people, in one line.

use std::io::IsTerminal;

use api::view::Attention;
use time::OffsetDateTime;

/// Whether the line may have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    /// Colours on a terminal, unless `NO_COLOR` is set (no-color.org).
    pub(crate) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && std::io::stdout().is_terminal() { Self::Coloured } else { Self::Plain }
    }

    /// SGR of ECMA-48: 2 is faint, 1 bold, 31 red.
    fn paint(self, text: &str, codes: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\x1b[{codes}m{text}\x1b[0m"),
        }
    }
}

/// The line: quiet where nothing waits, alarming where anything does.
pub(crate) fn line(attention: &Attention, paint: Paint) -> String {
    match what(attention) {
        None => paint.paint("attention  nothing waits", "2"),
        Some(what) => paint.paint(&format!("ATTENTION  {what}"), "1;31"),
    }
}

/// What waits; `None` where nothing does.
pub(crate) fn what(attention: &Attention) -> Option<String> {
    let Attention { isolated, quarantined, reviews_owed, approvals_waiting } = attention;
    let mut parts = Vec::new();
    if !isolated.is_empty() {
        let names: Vec<&str> = isolated.iter().map(types::NodeId::as_str).collect();
        parts.push(format!("{} isolated: {}", isolated.len(), names.join(", ")));
    }
    for one in quarantined {
        let until = i64::try_from(one.until.as_millis() / 1_000).ok();
        let until = until.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let until = until.map(|at| format!("{:02}:{:02}:{:02} UTC", at.hour(), at.minute(), at.second()));
        let until = until.unwrap_or_default();
        parts.push(format!("quarantine of {} by {}, lapses at {until}", one.subject, one.by));
    }
    let count = |count: u64, one: &str, rest: &str| match count {
        0 => None,
        1 => Some(format!("1 {one} {rest}")),
        count => Some(format!("{count} {one}s {rest}")),
    };
    parts.extend(count(*reviews_owed, "review", "owed"));
    parts.extend(count(*approvals_waiting, "approval", "waiting"));
    (!parts.is_empty()).then(|| parts.join(" · "))
}

#[cfg(test)]
mod tests {
    use api::view::Attention;

    use super::{Paint, line};

    /// U4: the line is quiet where nothing waits, and loud where anything does.
    #[test]
    fn the_line_is_quiet_or_loud() {
        let calm = Attention::default();
        assert_eq!(line(&calm, Paint::Plain), "attention  nothing waits");
        assert_eq!(line(&calm, Paint::Coloured), "\x1b[2mattention  nothing waits\x1b[0m");
        let waits = Attention {
            isolated: vec!["n3".parse().unwrap(), "n4".parse().unwrap()],
            reviews_owed: 1,
            approvals_waiting: 2,
            ..calm
        };
        let text = "ATTENTION  2 isolated: n3, n4 · 1 review owed · 2 approvals waiting";
        assert_eq!(line(&waits, Paint::Plain), text);
        assert_eq!(line(&waits, Paint::Coloured), format!("\x1b[1;31m{text}\x1b[0m"));
    }
}
