//! An operator's folder, and the shipped binary in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adversary::{Deployment, GROUPS};
use serde_json::Value;
use tempfile::TempDir;

/// What a command gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.out.trim()).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// The shipped binary with these arguments.
pub(crate) fn qecnet(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qecnet"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A folder with the keys of all operators, which knows a hub at one address.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new(deployment: &Deployment, hub: SocketAddr) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let operators = folder.path().join("operators");
        std::fs::create_dir(&operators).unwrap();
        let mut client = deployment.client_config(hub);
        for (name, _) in GROUPS {
            let key = format!("{name}.key");
            std::fs::copy(deployment.dir.path().join(&key), operators.join(&key)).unwrap();
            client.know(name.parse().unwrap(), deployment.key(name).public().clone());
        }
        std::fs::write(operators.join("client.toml"), client.to_toml()).unwrap();
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A command as `operator`.
    pub(crate) fn run(&self, operator: &str, arguments: &[&str]) -> Ran {
        let output = qecnet(arguments).args(["--as", operator, "--dir"]).arg(self.path()).output().unwrap();
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
