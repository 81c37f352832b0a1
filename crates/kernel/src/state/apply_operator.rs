//! The fold over operators.

use types::{Hash, Label, OperatorId};

use super::State;
use super::mesh::Operator;
use crate::event::OperatorSpec;
use crate::record::Record;

/// What an identity is known by.
pub(crate) fn identity_hash(identity: &[u8]) -> Hash {
    Label::IDENTITY.hash(&[identity])
}

impl State {
    pub(super) fn apply_operator(&mut self, record: &Record) {
        match record {
            Record::OperatorAdded { spec } | Record::OperatorReplaced { spec } => self.put_operator(spec),
            Record::OperatorRenewed { id, expires } => self.with_operator(id, |operator| {
                (operator.expires, operator.ending, operator.expired) = (*expires, false, false);
            }),
            Record::OperatorRemoved { id } => {
                self.operators.remove(id);
            }
            Record::OperatorEnding { id, over } => self.with_operator(id, |operator| {
                operator.ending = true;
                operator.expired |= *over;
            }),
            Record::OperatorRevoked { operator } => self.with_operator(operator, |operator| operator.revoked = true),
            _ => {}
        }
    }

    /// Takes an operator in, in the place of the one of that name. Identities are never forgotten.
    pub(super) fn put_operator(&mut self, spec: &OperatorSpec) {
        self.identities.insert(identity_hash(&spec.identity), spec.id.clone());
        self.operators.insert(spec.id.clone(), Operator::from(spec));
    }

    fn with_operator(&mut self, id: &OperatorId, change: impl FnOnce(&mut Operator)) {
        if let Some(operator) = self.operators.get_mut(id) {
            change(operator);
        }
    }

    /// Whose an identity is, or was.
    pub fn identity_of(&self, identity: &[u8]) -> Option<&OperatorId> {
        self.identities.get(&identity_hash(identity))
    }
}
