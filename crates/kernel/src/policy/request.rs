//! What policy is asked: who, does what, to what, under which facts; and its form in Cedar.

use std::fmt;

use cedar_policy::{self as cedar, RestrictedExpression as Expr};
use types::mesh::{Function, KeyType, Severity, SignalKind};
use types::{BoundaryId, IncidentId, KeyId, LinkId, NodeId, OperatorId, RequestId, SaeId, Timestamp};

use super::parse::PolicyError;
use crate::record;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What can be asked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action { $($(#[$doc])* $variant,)* }

        impl Action {
            /// Every action of the schema.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in policies and records.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

actions! {
    /// Look at something.
    Read = "read",
    /// Open a console session.
    OpenConsole = "open_console",
    /// Export the log.
    ExportAudit = "export_audit",
    /// Turn assisted mode on or off.
    SetAssisted = "set_assisted",
    /// Admit a node.
    AdmitNode = "admit_node",
    /// Bring an isolated node back.
    RestoreNode = "restore_node",
    /// Rotate keys.
    Rotate = "rotate",
    /// Revoke keys, then re-key.
    RotateEmergency = "rotate_emergency",
    /// Sign off an incident.
    ReviewIncident = "review_incident",
    /// Report something noticed.
    Signal = "signal",
    /// Cut a node off.
    IsolateNode = "isolate_node",
    /// Cut a node or a credential off for a while.
    BreakGlass = "break_glass",
    /// Make that lasting.
    ConfirmBreakGlass = "confirm_break_glass",
    /// Add a forward.
    AddForward = "add_forward",
    /// Remove a forward.
    RemoveForward = "remove_forward",
    /// Let an application have keys at a node.
    AddSae = "add_sae",
    /// Know it by a new certificate.
    RenewSae = "renew_sae",
    /// Let it have none any more.
    RemoveSae = "remove_sae",
    /// Let another person or service act.
    AddOperator = "add_operator",
    /// Let an operator's key live longer.
    RenewOperator = "renew_operator",
    /// Take another key for an operator.
    ReplaceOperator = "replace_operator",
    /// Let an operator act no more.
    RemoveOperator = "remove_operator",
    /// Take steps by a later version of the rules.
    ActivateRules = "activate_rules",
    /// Approve a held request.
    Approve = "approve",
    /// Deny a held request.
    Deny = "deny",
    /// The engine revokes and replaces keys.
    RespondRotateKeys = "respond_rotate_keys",
    /// The engine cuts a node off.
    RespondIsolateNode = "respond_isolate_node",
    /// The engine takes a node's forwards away.
    RespondReroute = "respond_reroute",
    /// The engine revokes an operator.
    RespondRevokeOperator = "respond_revoke_operator",
    /// The engine looks at a node more closely.
    RespondWatch = "respond_watch",
    /// The engine has a node prove its identity anew.
    RespondReauthenticate = "respond_reauthenticate",
    /// A node reports something noticed.
    NodeSignal = "node_signal",
    /// A node opens streams of a forward.
    NodeForward = "node_forward",
}

/// Who asks, with what policies may know of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A person or service.
    Operator {
        /// The name.
        id: OperatorId,
        /// Its groups.
        groups: Vec<String>,
        /// Whether its credential is revoked.
        revoked: bool,
    },
    /// The response engine.
    Engine,
    /// A node of the mesh.
    Node(NodeRef),
}

/// A node, with what policies may know of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeRef {
    /// The name.
    pub id: NodeId,
    /// What it is for; `None` for the hub.
    pub function: Option<Function>,
    /// Whether it is cut off.
    pub isolated: bool,
}

/// What a request is about. Shown as `Type::"id"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The boundary as a whole.
    Boundary(BoundaryId),
    /// A node.
    Node(NodeRef),
    /// All keys of a type.
    KeyType(KeyType),
    /// One key.
    Key {
        /// Its number.
        id: KeyId,
        /// Who holds it.
        participants: Vec<NodeId>,
    },
    /// A quantum link.
    Link(LinkId),
    /// An operator.
    Operator {
        /// The name.
        id: OperatorId,
        /// Whether its credential is revoked.
        revoked: bool,
    },
    /// An incident.
    Incident {
        /// Its number.
        id: IncidentId,
        /// Its class.
        severity: Severity,
    },
    /// A forward of streams.
    Forward {
        /// The node that listens.
        from: NodeRef,
        /// The node that connects onward.
        to: NodeRef,
    },
    /// An application that may have keys.
    Sae {
        /// Its name.
        id: SaeId,
        /// The node whose KME serves it.
        node: NodeRef,
    },
    /// A held request.
    Held {
        /// Its number.
        id: RequestId,
        /// Who asked; `None` for the engine.
        asker: Option<OperatorId>,
    },
}

/// What else a decision may depend on; each action has its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Facts {
    /// Nothing more.
    None,
    /// Of a read: the word.
    Read(String),
    /// Of a signal.
    Signal {
        /// What was noticed.
        kind: SignalKind,
        /// How sure, in parts per million.
        confidence_ppm: u32,
    },
    /// Of a response: the class of its incident.
    Severity(Severity),
    /// Of assisted mode: on or off.
    On(bool),
    /// Of an application: whether it is served over a hybrid key exchange alone.
    Hybrid(bool),
}

/// One question to policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Who asks.
    pub actor: Actor,
    /// What for.
    pub action: Action,
    /// What it is about.
    pub resource: Resource,
    /// The time of the decision.
    pub now: Timestamp,
    /// Whether assisted mode is on.
    pub assisted: bool,
    /// What else there is to know.
    pub facts: Facts,
}

impl Actor {
    /// The actor as it is recorded.
    pub fn principal(&self) -> record::Principal {
        match self {
            Self::Operator { id, .. } => record::Principal::Operator(id.clone()),
            Self::Engine => record::Principal::Engine,
            Self::Node(node) => record::Principal::Node(node.id.clone()),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Operator { .. } => "Operator",
            Self::Engine => "Engine",
            Self::Node(_) => "Node",
        }
    }

    /// Its own entity and those it is in, as `Type::"id"`.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let (own, groups) = match self {
            Self::Operator { id, groups, .. } => (quoted("Operator", id.as_str()), groups.as_slice()),
            Self::Engine => (quoted("Engine", "engine"), [].as_slice()),
            Self::Node(node) => (quoted("Node", node.id.as_str()), [].as_slice()),
        };
        groups.iter().map(|group| quoted("Group", group)).chain(std::iter::once(own))
    }
}

impl Facts {
    fn kind(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Read(_) => 1,
            Self::Signal { .. } => 2,
            Self::Severity(_) => 3,
            Self::On(_) => 4,
            Self::Hybrid(_) => 25,
        }
    }
}

impl Resource {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Boundary(_) => "Boundary",
            Self::Node(_) => "Node",
            Self::KeyType(_) => "KeyType",
            Self::Key { .. } => "Key",
            Self::Link(_) => "Link",
            Self::Operator { .. } => "Operator",
            Self::Incident { .. } => "Incident",
            Self::Forward { .. } => "Forward",
            Self::Sae { .. } => "Sae",
            Self::Held { .. } => "HeldRequest",
        }
    }

    fn id(&self) -> String {
        match self {
            Self::Boundary(id) => id.to_string(),
            Self::Node(node) => node.id.to_string(),
            Self::KeyType(kind) => kind.to_string(),
            Self::Key { id, .. } => id.to_string(),
            Self::Link(link) => link.to_string(),
            Self::Operator { id, .. } => id.to_string(),
            Self::Incident { id, .. } => id.to_string(),
            Self::Forward { from, to } => format!("{}>{}", from.id, to.id),
            Self::Sae { id, .. } => id.to_string(),
            Self::Held { id, .. } => id.to_string(),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(self.kind(), &self.id()))
    }
}

/// As Cedar writes an entity's name, escapes included.
fn quoted(kind: &str, id: &str) -> String {
    format!("{kind}::\"{}\"", id.escape_debug())
}

/// The names of the schema, parsed once.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) schema: cedar::Schema,
    types: std::collections::BTreeMap<&'static str, cedar::EntityTypeName>,
}

const TYPES: &[&str] = &[
    "Action",
    "Group",
    "Operator",
    "Engine",
    "Node",
    "Function",
    "Severity",
    "Signal",
    "Boundary",
    "KeyType",
    "Key",
    "Link",
    "Incident",
    "Forward",
    "Sae",
    "HeldRequest",
];

/// A name the schema does not have: never of a request made of the types above.
#[derive(Debug)]
pub(super) struct LowerError(String);

impl LowerError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl Names {
    pub(super) fn new(schema: cedar::Schema) -> Result<Self, PolicyError> {
        let mut types = std::collections::BTreeMap::new();
        for name in TYPES {
            let parsed = name.parse().map_err(|error: cedar::ParseErrors| PolicyError::Schema(error.to_string()))?;
            types.insert(*name, parsed);
        }
        Ok(Self { schema, types })
    }

    fn uid(&self, kind: &str, id: &str) -> Result<cedar::EntityUid, LowerError> {
        let kind = self.types.get(kind).ok_or_else(|| LowerError::new(kind))?;
        Ok(cedar::EntityUid::from_type_name_and_id(kind.clone(), cedar::EntityId::new(id)))
    }

    fn reference(&self, kind: &str, id: &str) -> Result<Expr, LowerError> {
        Ok(Expr::new_entity_uid(self.uid(kind, id)?))
    }

    fn references<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeId>) -> Result<Expr, LowerError> {
        let uids: Result<Vec<_>, _> = nodes.into_iter().map(|node| self.reference("Node", node.as_str())).collect();
        Ok(Expr::new_set(uids?))
    }
}

/// A request as Cedar takes it.
pub(super) struct Lowered {
    pub(super) request: cedar::Request,
    pub(super) entities: cedar::Entities,
}

/// The types of a request.
pub(super) type Shape = (Action, &'static str, &'static str, u8);

type Attributes = Vec<(String, Expr)>;

fn attribute(name: &str, value: Expr) -> (String, Expr) {
    (name.to_owned(), value)
}

fn entity(
    uid: cedar::EntityUid,
    attributes: Attributes,
    parents: Vec<cedar::EntityUid>,
) -> Result<cedar::Entity, LowerError> {
    cedar::Entity::new_with_tags(uid, attributes, parents, []).map_err(LowerError::new)
}

fn node_entity(names: &Names, node: &NodeRef) -> Result<cedar::Entity, LowerError> {
    let function = node.function.map_or("hub", Function::as_str);
    let attributes = vec![
        attribute("function", names.reference("Function", function)?),
        attribute("isolated", Expr::new_bool(node.isolated)),
    ];
    entity(names.uid("Node", node.id.as_str())?, attributes, vec![])
}

fn operator_entity(
    names: &Names,
    id: &OperatorId,
    revoked: bool,
    groups: &[String],
) -> Result<cedar::Entity, LowerError> {
    let parents: Result<Vec<_>, _> = groups.iter().map(|group| names.uid("Group", group)).collect();
    entity(names.uid("Operator", id.as_str())?, vec![attribute("revoked", Expr::new_bool(revoked))], parents?)
}

impl Request {
    /// The request in Cedar's form; an error where the schema has no such action for such an actor,
    /// resource and facts, since validation said nothing about it then.
    pub(super) fn lower_checked(&self, names: &Names) -> Result<Lowered, LowerError> {
        self.lower_with(names, Some(&names.schema), None)
    }

    /// The request in Cedar's form, where another of its [`Shape`] was found to fit the schema.
    pub(super) fn lower_known(&self, names: &Names) -> Result<Lowered, LowerError> {
        self.lower_with(names, None, None)
    }

    pub(super) fn conforms(&self, names: &Names) -> Result<(), PolicyError> {
        let lowered = self.lower_with(names, Some(&names.schema), Some(&names.schema));
        lowered.map(|_| ()).map_err(|error| PolicyError::BadRequest(error.0))
    }

    /// All that the schema's check of a request looks at: its types. Their values are made by the
    /// functions here, each from a closed list of words or as free text.
    pub(super) fn shape(&self) -> Shape {
        (self.action, self.actor.kind(), self.resource.kind(), self.facts.kind())
    }

    /// The schemas to check the request and the attributes of its entities against. The latter are made
    /// by the functions here alone, so that tests check them and decisions need not.
    fn lower_with(
        &self,
        names: &Names,
        request: Option<&cedar::Schema>,
        entities: Option<&cedar::Schema>,
    ) -> Result<Lowered, LowerError> {
        let own = match &self.actor {
            Actor::Operator { id, .. } => names.uid("Operator", id.as_str())?,
            Actor::Engine => names.uid("Engine", "engine")?,
            Actor::Node(node) => names.uid("Node", node.id.as_str())?,
        };
        let action = names.uid("Action", self.action.as_str())?;
        let resource = names.uid(self.resource.kind(), &self.resource.id())?;
        let context = cedar::Context::from_pairs(self.context(names)?).map_err(LowerError::new)?;
        let request = cedar::Request::new(own, action, resource, context, request).map_err(LowerError::new)?;
        let entities = cedar::Entities::from_entities(self.entities(names)?, entities).map_err(LowerError::new)?;
        Ok(Lowered { request, entities })
    }

    fn context(&self, names: &Names) -> Result<Attributes, LowerError> {
        let now = i64::try_from(self.now.as_millis()).map_err(LowerError::new)?;
        let mut context =
            vec![attribute("now", Expr::new_long(now)), attribute("assisted", Expr::new_bool(self.assisted))];
        match &self.facts {
            Facts::None => {}
            Facts::Read(what) => context.push(attribute("what", Expr::new_string(what.clone()))),
            Facts::Signal { kind, confidence_ppm } => {
                context.push(attribute("kind", names.reference("Signal", kind.as_str())?));
                context.push(attribute("confidence_ppm", Expr::new_long(i64::from(*confidence_ppm))));
            }
            Facts::Severity(severity) => {
                context.push(attribute("severity", names.reference("Severity", severity.as_str())?));
            }
            Facts::On(on) => context.push(attribute("on", Expr::new_bool(*on))),
            Facts::Hybrid(hybrid) => context.push(attribute("hybrid", Expr::new_bool(*hybrid))),
        }
        Ok(context)
    }

    /// The actor and the resource with their attributes. Where both are one entity, the actor's
    /// description stands: it also knows the groups.
    fn entities(&self, names: &Names) -> Result<Vec<cedar::Entity>, LowerError> {
        let mut entities = match &self.actor {
            Actor::Operator { id, groups, revoked } => vec![operator_entity(names, id, *revoked, groups)?],
            Actor::Engine => vec![],
            Actor::Node(node) => vec![node_entity(names, node)?],
        };
        for described in self.resource_entities(names)? {
            if entities.iter().all(|known| known.uid() != described.uid()) {
                entities.push(described);
            }
        }
        Ok(entities)
    }

    fn resource_entities(&self, names: &Names) -> Result<Vec<cedar::Entity>, LowerError> {
        let uid = names.uid(self.resource.kind(), &self.resource.id())?;
        let attributes = match &self.resource {
            Resource::Boundary(_) => vec![],
            // An entity that is a word of the schema has nothing to say of itself.
            Resource::KeyType(_) => return Ok(vec![]),
            Resource::Node(node) => return Ok(vec![node_entity(names, node)?]),
            Resource::Operator { id, revoked } => return Ok(vec![operator_entity(names, id, *revoked, &[])?]),
            Resource::Key { participants, .. } => vec![attribute("participants", names.references(participants)?)],
            Resource::Link(link) => vec![attribute("ends", names.references([link.a(), link.b()])?)],
            Resource::Incident { severity, .. } => {
                vec![attribute("severity", names.reference("Severity", severity.as_str())?)]
            }
            Resource::Held { asker, .. } => match asker {
                Some(asker) => vec![attribute("asker", names.reference("Operator", asker.as_str())?)],
                None => vec![],
            },
            Resource::Sae { node, .. } => {
                let home = vec![attribute("node", names.reference("Node", node.id.as_str())?)];
                return Ok(vec![entity(uid, home, vec![])?, node_entity(names, node)?]);
            }
            Resource::Forward { from, to } => {
                let ends = vec![
                    attribute("from", names.reference("Node", from.id.as_str())?),
                    attribute("to", names.reference("Node", to.id.as_str())?),
                ];
                return Ok(vec![entity(uid, ends, vec![])?, node_entity(names, from)?, node_entity(names, to)?]);
            }
        };
        Ok(vec![entity(uid, attributes, vec![])?])
    }
}
