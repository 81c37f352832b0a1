use std::fmt;

use super::key::{KeyName, NoteKeyId};
use super::{NOTE_LEN, SIGNATURES};
use crate::base64;

const LINE_START: &str = "\u{2014} ";

/// One line under a note: `— <name> <base64(key id ‖ signature)>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    /// Name of the key.
    pub name: KeyName,
    /// Id of the key.
    pub key_id: NoteKeyId,
    /// What follows the id: for timestamped types the time, then the signature.
    pub payload: Vec<u8>,
}

impl SignatureLine {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(LINE_START)?.split_once(' ')?;
        let bytes = base64::decode(encoded)?;
        let (id, payload) = bytes.split_first_chunk::<4>()?;
        if payload.is_empty() {
            return None;
        }
        Some(Self { name: name.parse().ok()?, key_id: NoteKeyId::new(*id), payload: payload.to_vec() })
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_bytes(), self.payload.as_slice()].concat();
        writeln!(f, "{LINE_START}{} {}", self.name, base64::encode(&bytes))
    }
}

/// A text with signature lines; nothing is said about whether they hold.
///
/// Shown as its bytes: the text, an empty line, the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    lines: Vec<SignatureLine>,
}

/// Bytes are not a signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_LEN`].
    #[error("a signed note has at most {NOTE_LEN} bytes")]
    TooLong,
    /// Not UTF-8, or with control characters.
    #[error("a signed note is text without control characters")]
    NotText,
    /// No empty line between text and signatures, or nothing on one side of it.
    #[error("a signed note is a text, an empty line and signature lines")]
    NoSignatures,
    /// A line that is not a signature line.
    #[error("signature line {0} is not `— name base64`")]
    BadLine(usize),
    /// More lines than [`SIGNATURES`].
    #[error("a signed note has at most {SIGNATURES} signatures")]
    TooManySignatures,
    /// The text given to sign is not one.
    #[error("the text of a note is not empty and ends with a newline")]
    BadText,
}

impl SignedNote {
    /// Puts `lines` under `text`, which ends with a newline and has no control characters.
    pub fn new(text: String, lines: Vec<SignatureLine>) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || text == "\n" {
            return Err(NoteError::BadText);
        }
        if text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::NotText);
        }
        match lines.len() {
            0 => Err(NoteError::NoSignatures),
            1..=SIGNATURES => Ok(Self { text, lines }),
            _ => Err(NoteError::TooManySignatures),
        }
    }

    /// Parses the one form of a signed note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_LEN {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        let end = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, rest) = (&note[..=end], &note[end + 2..]);
        let rest = rest.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut lines = Vec::new();
        for (number, line) in rest.split('\n').enumerate() {
            if number == SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            lines.push(SignatureLine::parse(line).ok_or(NoteError::BadLine(number))?);
        }
        let parsed = Self::new(text.to_owned(), lines)?;
        if parsed.to_string() == note { Ok(parsed) } else { Err(NoteError::NoSignatures) }
    }

    /// The signed text, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines under it, in order.
    pub fn lines(&self) -> &[SignatureLine] {
        &self.lines
    }

    /// Puts further lines under the note, such as those of witnesses.
    pub fn with_lines(self, lines: impl IntoIterator<Item = SignatureLine>) -> Result<Self, NoteError> {
        let lines = self.lines.into_iter().chain(lines).collect();
        Self::new(self.text, lines)
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.lines.iter().try_for_each(|line| line.fmt(f))
    }
}
