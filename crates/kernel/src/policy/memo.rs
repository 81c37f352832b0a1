//! Answers that were worked out before, for questions that do not depend on the time.
//!
//! [`decide`](super::decide) is a pure function, so an answer holds for as long as the set does. A
//! question is its request without the time; where a policy for its action may look at the time, or
//! uses the context as a whole, every request is a question of its own and nothing is kept. What is
//! kept changes no answer: the property tests hold it against Cedar's scan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use types::Timestamp;

use super::Obligations;
use super::request::{LowerError, Lowered, Names, Request, Shape};

/// Answers kept; at one more, all are dropped. Operators ask few questions, and ask them often.
const KEPT: usize = 1_024;

/// What a decision comes to, without what it is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Names of the permitting policies, sorted, and what they ask for.
    Permit(Vec<String>, Obligations),
    /// Why not, sorted.
    Deny(Vec<String>),
}

/// Answers by their questions, and the shapes of requests that fit the schema.
#[derive(Debug, Default)]
pub(super) struct Memo {
    answers: Mutex<BTreeMap<Request, Answer>>,
    shapes: Mutex<BTreeSet<Shape>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy of a set begins without answers: they are found again.
impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Memo {
    /// The answer to a request whose answer does not depend on the time.
    pub(super) fn recall(&self, request: &Request, find: impl FnOnce() -> Answer) -> Answer {
        let question = Request { now: Timestamp::default(), ..request.clone() };
        if let Some(answer) = lock(&self.answers).get(&question) {
            return answer.clone();
        }
        let answer = find();
        let mut answers = lock(&self.answers);
        if answers.len() >= KEPT {
            answers.clear();
        }
        answers.insert(question, answer.clone());
        answer
    }

    /// The request in Cedar's form; held against the schema where none of its shape was before.
    pub(super) fn lower(&self, names: &Names, request: &Request) -> Result<Lowered, LowerError> {
        let shape = request.shape();
        if lock(&self.shapes).contains(&shape) {
            return request.lower_known(names);
        }
        let lowered = request.lower_checked(names)?;
        lock(&self.shapes).insert(shape);
        Ok(lowered)
    }
}

/// Whether a policy's text may depend on the time of a request. Errs to the safe side: every mention
/// of the context that is not plainly another attribute of it counts.
pub(super) fn is_timed(text: &str) -> bool {
    text.match_indices("context").any(|(at, word)| {
        let attribute = text[at + word.len()..].strip_prefix('.').unwrap_or_default();
        let end = attribute.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(attribute.len());
        matches!(&attribute[..end], "" | "now")
    })
}

#[cfg(test)]
mod tests {
    use super::is_timed;

    #[test]
    fn only_plain_uses_of_other_attributes_are_free_of_time() {
        for timed in
            ["when { context.now > 1 }", "context[\"now\"]", "context == {}", "context has now", "context . now"]
        {
            assert!(is_timed(timed), "{timed}");
        }
        for free in ["when { principal.now }", "context.assisted && context.severity == 1", "context.nowhere", ""] {
            assert!(!is_timed(free), "{free}");
        }
    }
}
