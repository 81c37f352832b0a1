//! Paths of the operators' listener.

/// `POST`: one signed command, canonical CBOR; JSON answer.
pub const REQUESTS: &str = "/v1/requests";

/// `GET`: the last signed checkpoint of the log (C2SP `tlog-checkpoint`).
pub const CHECKPOINT: &str = "/checkpoint";

/// `GET`: the same checkpoint, under the version of this contract.
pub const CHECKPOINT_V1: &str = "/v1/checkpoint";

/// `GET`: hash tiles of the log (C2SP `tlog-tiles`), as `/tile/<L>/<N>[.p/<W>]`.
pub const TILES: &str = "/tile/";

/// `GET`: whether the hub serves.
pub const HEALTH: &str = "/v1/health";

/// `GET`: where to report a vulnerability (RFC 9116).
pub const SECURITY_TXT: &str = "/.well-known/security.txt";

/// `GET`: the console page, before it is known whose. A sign-in link has its token behind `#`, which browsers keep
/// to themselves.
pub const CONSOLE: &str = "/console";

/// `POST` with a sign-in token and the browser's public key: signs the browser in, once.
pub const CONSOLE_ENTER: &str = "/console/enter";

/// `GET` with cookie and proof: live updates of the console, a line of JSON an update.
pub const CONSOLE_EVENTS: &str = "/console/events";

/// `GET`: the console's script.
pub const CONSOLE_SCRIPT: &str = "/console.js";

/// `GET`: the library that patches the page.
pub const CONSOLE_MORPH: &str = "/idiomorph.js";

/// `GET`: the console's style sheet.
pub const CONSOLE_STYLE: &str = "/console.css";

/// `POST` with cookie and proof: ends the browser's session.
pub const CONSOLE_LEAVE: &str = "/console/leave";

/// Content type of a status that is watched: a line of JSON a change.
pub const LINES: &str = "application/x-ndjson";

/// Content type of a signed request.
pub const CBOR: &str = "application/cbor";

/// Content type of an exported evidence bundle.
pub const BUNDLE: &str = "application/octet-stream";

/// Header of an export that names the entry which permitted it.
pub const ENTRY_HEADER: &str = "qecnet-entry";
