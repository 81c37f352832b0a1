//! The command line: names and arguments. Scripts rely on them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use link::{Attack, Preset};
use types::mesh::{Function, Groups, KeyType, Protocol, SignalKind};
use types::{ForwardId, IncidentId, KeyId, Millis, NodeId, OperatorId, RequestId, SaeId};

/// A quantum-safe key mesh whose every change is decided by policy and recorded as evidence.
#[derive(Debug, Parser)]
#[command(name = "qecnet", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Arguments every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Folder of the deployment.
    #[arg(long, global = true, default_value = "./qecnet-data", env = "QECNET_DIR")]
    pub(crate) dir: PathBuf,
    /// Operator to act as.
    #[arg(long = "as", global = true, default_value = "op1", value_name = "OPERATOR")]
    pub(crate) operator: OperatorId,
    /// Print JSON for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Why, for those who approve and those who review. Critical commands need it.
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole mesh on this machine: hub, nodes, simulated fibres, console.
    Up(Up),
    /// Make the identity and configuration of one part.
    Init(Init),
    /// Run the hub alone.
    Hub(Part),
    /// Run one node alone.
    Node(Part),
    /// Run one simulated fibre alone, or tap one as an eavesdropper would.
    #[command(subcommand)]
    Fibre(Fibre),
    /// Show the state of the mesh.
    Status(Status),
    /// Nodes of the mesh.
    #[command(subcommand)]
    Nodes(Nodes),
    /// Keys and their life.
    #[command(subcommand)]
    Keys(Keys),
    /// Quantum links.
    #[command(subcommand)]
    Links(Links),
    /// Incidents and their review.
    #[command(subcommand)]
    Incidents(Incidents),
    /// Report something noticed about a node: one person's word, which a second source confirms.
    Signal(Signal),
    /// Cut a node or a credential off at once and alone, for fifteen minutes; everybody is told.
    #[command(subcommand)]
    BreakGlass(BreakGlass),
    /// Hold autonomous responses for approval, or stop holding them.
    Assist(Assist),
    /// Have steps taken by a later version of the rules, for good: takes two people.
    Rules(Rules),
    /// Requests that wait for approval.
    #[command(subcommand)]
    Approvals(Approvals),
    /// Forwards of TCP streams between nodes.
    #[command(subcommand)]
    Forward(ForwardCommand),
    /// Who may act here: their keys and the life of these.
    #[command(subcommand)]
    Operators(Operators),
    /// Applications that are given keys.
    #[command(subcommand)]
    Sae(SaeCommand),
    /// The evidence log, for an auditor.
    #[command(subcommand)]
    Audit(Audit),
    /// Print a new one-time sign-in link for the console.
    Console,
    /// Check the deployment, or a key management entity, and say what to do about what is wrong.
    Doctor(Doctor),
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Go on showing it as it changes.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// How many nodes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub(crate) nodes: u16,
    /// Address of the operators' API and console.
    #[arg(long, default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// Life of a pair's session key.
    #[arg(long, default_value = "300s")]
    pub(crate) refresh: Millis,
    /// How new quantum links make key: bbm92 or e91, which verify the channel by entanglement, bb84, decoy-bb84, or
    /// `mixed` for some of each.
    #[arg(long, default_value = "bbm92")]
    pub(crate) protocol: LinkProtocol,
    /// Where forwards may end at each new node, `ADDRESS:PORT` or `ADDRESS:*`; nowhere where absent.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) allow_connect: Vec<node::Destination>,
    /// Fibre and detectors of new links: short, gys, metro (the default) or lossy.
    #[arg(long)]
    pub(crate) preset: Option<Preset>,
}

/// How the links of a new mesh make key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkProtocol {
    /// Some of each.
    Mixed,
    /// All the same.
    All(Protocol),
}

impl FromStr for LinkProtocol {
    type Err = types::mesh::ParseWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "mixed" { Ok(Self::Mixed) } else { text.parse().map(Self::All) }
    }
}

impl LinkProtocol {
    /// The protocol of the link numbered `at` of those between two nodes, or of one that ends at the
    /// hub, which is quick to start.
    pub(crate) fn of(self, at: Option<usize>) -> Protocol {
        const TURNS: [Protocol; 6] =
            [Protocol::Bbm92, Protocol::DecoyBb84, Protocol::Bb84, Protocol::E91, Protocol::Bb84, Protocol::Bb84];
        match (self, at) {
            (Self::All(protocol), _) => protocol,
            (Self::Mixed, Some(at)) => TURNS[at % TURNS.len()],
            (Self::Mixed, None) => Protocol::Bb84,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(subcommand)]
    pub(crate) part: InitPart,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InitPart {
    /// The hub of a new boundary.
    Hub {
        /// Name of the boundary.
        #[arg(long, default_value = "qecnet")]
        boundary: types::BoundaryId,
        /// Address of the operators' API and console.
        #[arg(long, default_value = "127.0.0.1:8443")]
        listen: SocketAddr,
        /// Address nodes connect to.
        #[arg(long, default_value = "127.0.0.1:8444")]
        mesh_listen: SocketAddr,
        /// Address where everyone reads what is public: checkpoint, tiles, health; nothing is public without.
        #[arg(long)]
        public_listen: Option<SocketAddr>,
        /// Life of a pair's session key.
        #[arg(long, default_value = "300s")]
        refresh: Millis,
    },
    /// A node.
    Node {
        /// Its name.
        #[arg(long)]
        id: NodeId,
        /// What it is for.
        #[arg(long)]
        function: Function,
        /// Address other nodes connect to.
        #[arg(long)]
        listen: SocketAddr,
        /// Name of the boundary.
        #[arg(long, default_value = "qecnet")]
        boundary: types::BoundaryId,
        /// Address of the hub for nodes.
        #[arg(long, default_value = "127.0.0.1:8444")]
        hub: SocketAddr,
        /// Address at which it gives keys to applications; not at all where absent.
        #[arg(long)]
        kme: Option<SocketAddr>,
        /// Other ends of its quantum links; `hub` is the hub.
        #[arg(long = "link")]
        links: Vec<NodeId>,
        /// Where forwards may end at it, `ADDRESS:PORT` or `ADDRESS:*`; nowhere where absent.
        #[arg(long, value_name = "ADDRESS")]
        allow_connect: Vec<node::Destination>,
    },
    /// An operator.
    Operator {
        /// The name.
        #[arg(long)]
        id: OperatorId,
        /// Groups the operator is in.
        #[arg(long = "group", default_values = ["operators", "duty"])]
        groups: Vec<String>,
    },
    /// The trust files of every part in the folder, from the cards in `cards/`.
    Trust {
        /// Name of the boundary.
        #[arg(long, default_value = "qecnet")]
        boundary: types::BoundaryId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Part {
    #[command(subcommand)]
    pub(crate) run: RunPart,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunPart {
    /// Run until stopped.
    Run(Run),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Run {
    /// Its configuration file.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Stop when standard input ends, as under a supervisor.
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Fibre {
    /// Run until stopped.
    Run(Run),
    /// Attack a fraction of the pulses; asks nobody's permission.
    Tap {
        /// One end.
        a: NodeId,
        /// The other end.
        b: NodeId,
        /// Fraction of the pulses, 0 to 1.
        #[arg(long)]
        fraction: f64,
        /// What to do to them: intercept-resend, pns, blind, blind-alice or loss.
        #[arg(long, default_value = "intercept-resend")]
        attack: Attack,
    },
    /// Stop attacking.
    Untap {
        /// One end.
        a: NodeId,
        /// The other end.
        b: NodeId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Nodes {
    /// Every node.
    List,
    /// One node.
    Show {
        /// Its name.
        node: NodeId,
    },
    /// Admit a node, from the card `init node` made. Needs a grant.
    Admit {
        /// The card.
        card: PathBuf,
    },
    /// Cut a node off for good. Needs a second person.
    Isolate {
        /// Its name.
        node: NodeId,
    },
    /// Bring an isolated node back. Needs a second person.
    Restore {
        /// Its name.
        node: NodeId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Every key that is not destroyed.
    List,
    /// One key.
    Show {
        /// Its number.
        key: KeyId,
    },
    /// Rotate keys now.
    Rotate {
        /// Only keys of this type.
        #[arg(long = "type")]
        key_type: Option<KeyType>,
        /// Revoke first, and re-key from what is pre-staged. Needs a second person.
        #[arg(long)]
        emergency: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Links {
    /// Every quantum link.
    List,
    /// One quantum link.
    Show {
        /// One end.
        a: NodeId,
        /// The other end.
        b: NodeId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Incidents {
    /// Every incident.
    List,
    /// One incident with its steps.
    Show {
        /// Its number.
        incident: IncidentId,
    },
    /// Sign off the review of an incident.
    Review {
        /// Its number.
        incident: IncidentId,
        /// The finding.
        #[arg(long)]
        note: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Signal {
    /// The node it is about.
    #[arg(long)]
    pub(crate) node: NodeId,
    /// What was noticed.
    #[arg(long)]
    pub(crate) kind: SignalKind,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BreakGlass {
    /// Cut a node off for fifteen minutes.
    Node {
        /// Its name.
        node: NodeId,
    },
    /// Cut an operator's credential off for fifteen minutes.
    Credential {
        /// The operator.
        operator: OperatorId,
    },
    /// Make lasting what another person cut off.
    Confirm {
        /// The incident it opened.
        incident: IncidentId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Rules {
    /// The version, which hub and auditors must know already.
    #[arg(long)]
    pub(crate) activate: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Assist {
    /// on or off.
    #[arg(value_parser = ["on", "off"])]
    pub(crate) mode: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operators {
    /// Every operator.
    List,
    /// Make a key and a card to hand over: for a new operator, or the next key of one who has a key here.
    Card {
        /// The name.
        id: OperatorId,
        /// Groups the operator is in.
        #[arg(long = "group", default_values = ["operators", "duty"])]
        groups: Vec<String>,
    },
    /// Let another person act, by the card that person handed over. Needs a second person.
    Add {
        /// The card.
        card: PathBuf,
        /// Life of the key.
        #[arg(long, default_value = "2160h")]
        life: Millis,
    },
    /// Let an operator's key live longer. Needs a second person.
    Renew {
        /// The name.
        id: OperatorId,
        /// Life of the key from now on.
        #[arg(long, default_value = "2160h")]
        life: Millis,
    },
    /// Take another key for an operator, by the card that person handed over. Needs a second person.
    Replace {
        /// The card.
        card: PathBuf,
        /// Life of the key.
        #[arg(long, default_value = "2160h")]
        life: Millis,
    },
    /// Use the next key of an operator that lies here, once the boundary has taken it.
    Adopt {
        /// The name.
        id: OperatorId,
    },
    /// Let an operator act no more. Needs a second person.
    Remove {
        /// The name.
        id: OperatorId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Approvals {
    /// Every request that waits.
    List,
    /// One request with all there is to know before deciding.
    Show {
        /// Its number.
        request: RequestId,
    },
    /// Approve one.
    Approve {
        /// Its number.
        request: RequestId,
    },
    /// Deny one.
    Deny {
        /// Its number.
        request: RequestId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ForwardCommand {
    /// Add a forward.
    Add {
        /// The node that listens.
        #[arg(long)]
        node: NodeId,
        /// The address it listens on.
        #[arg(long)]
        listen: SocketAddr,
        /// The node that connects onward.
        #[arg(long)]
        to: NodeId,
        /// The address that node connects to.
        #[arg(long)]
        connect: SocketAddr,
    },
    /// Every forward.
    List,
    /// Remove a forward.
    Remove {
        /// Its number.
        id: ForwardId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SaeCommand {
    /// Let an application have keys at a node, and make its key and certificate here. Needs a grant.
    Add(AddSae),
    /// Every application.
    List,
    /// Make a new key and certificate for an application, and know it by these alone. Needs a grant.
    Renew(RenewSae),
    /// Let an application have no more keys.
    Remove {
        /// Its name.
        id: SaeId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddSae {
    /// Its name.
    pub(crate) id: SaeId,
    /// The node that serves it.
    #[arg(long)]
    pub(crate) node: NodeId,
    /// Folder for its key and certificates; `saes` in the deployment's folder by default.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Applications with which it may have keys; all where absent.
    #[arg(long, value_delimiter = ',')]
    pub(crate) slaves: Option<Vec<SaeId>>,
    /// Bits of key it may take a second.
    #[arg(long)]
    pub(crate) quota_bps: Option<u64>,
    /// Key exchange it is served over: hybrid alone, or preferred, which takes classical groups too.
    #[arg(long, default_value = "preferred")]
    pub(crate) groups: Groups,
    /// Life of its certificate.
    #[arg(long, default_value = "168h")]
    pub(crate) life: Millis,
    /// A certificate it has already (PEM), instead of making one.
    #[arg(long)]
    pub(crate) certificate: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RenewSae {
    /// Its name.
    pub(crate) id: SaeId,
    /// Folder of its key and certificates; `saes` in the deployment's folder by default.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Life of its certificate.
    #[arg(long, default_value = "168h")]
    pub(crate) life: Millis,
    /// A certificate it has already (PEM), instead of making one.
    #[arg(long)]
    pub(crate) certificate: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(subcommand)]
    pub(crate) what: Option<DoctorWhat>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DoctorWhat {
    /// A key management entity of ETSI GS QKD 014, of this or another vendor, from outside.
    Kme(DoctorKme),
}

#[derive(Debug, Args)]
pub(crate) struct DoctorKme {
    /// `https://HOST:PORT`.
    pub(crate) url: String,
    /// Authority of its certificate, PEM.
    #[arg(long)]
    pub(crate) cacert: PathBuf,
    /// Certificate of a SAE it serves, PEM.
    #[arg(long)]
    pub(crate) cert: PathBuf,
    /// The SAE's private key, PEM.
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// A SAE with which that one may have keys.
    #[arg(long)]
    pub(crate) slave: SaeId,
    /// Take one key, to see that it is given.
    #[arg(long)]
    pub(crate) take: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Write the whole log as one file.
    Export {
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Write the keys an auditor pins.
    Pins {
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
}
