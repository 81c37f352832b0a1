//! The folder of a deployment: where each part keeps its files.
//!
//! ```text
//! cards/<name>.toml      what each part tells the others; carried by people
//! hub/                   config.toml, keys, trust.toml, store.db
//! nodes/<id>/            config.toml, keys, trust.toml, store.db
//! fibres/<a>~<b>.toml    simulated fibres
//! operators/             client.toml and one key an operator
//! saes/                  keys and certificates of applications, where they were made here
//! logs/<part>.log        what each part says, under `up`
//! ```

mod card;
mod create;
mod ports;
pub(crate) mod whole;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hub::HubConfig;
use link::fibre::FibreConfig;
use node::NodeConfig;
use types::{LinkId, NodeId, OperatorId};

use crate::cli::Up;
use crate::exit::{Exit, Fault, OrExit};
use crate::places::{self, Place};
use crate::supervise::Part;

pub(crate) use card::Card;
pub(crate) use create::{NewHub, NewNode};

/// One deployment's folder.
pub(crate) struct Deployment {
    dir: PathBuf,
}

impl Deployment {
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn cards(&self) -> PathBuf {
        self.dir.join("cards")
    }

    pub(crate) fn card(&self, name: &str) -> PathBuf {
        self.cards().join(format!("{name}.toml"))
    }

    pub(crate) fn hub(&self) -> PathBuf {
        self.dir.join("hub")
    }

    pub(crate) fn hub_config(&self) -> PathBuf {
        self.hub().join("config.toml")
    }

    pub(crate) fn nodes(&self) -> PathBuf {
        self.dir.join("nodes")
    }

    pub(crate) fn node(&self, node: &NodeId) -> PathBuf {
        self.nodes().join(node.as_str())
    }

    pub(crate) fn fibres(&self) -> PathBuf {
        self.dir.join("fibres")
    }

    pub(crate) fn fibre_config(&self, link: &LinkId) -> PathBuf {
        self.fibres().join(format!("{link}.toml"))
    }

    pub(crate) fn operators(&self) -> PathBuf {
        self.dir.join("operators")
    }

    pub(crate) fn operator_key(&self, operator: &OperatorId) -> PathBuf {
        self.operators().join(format!("{operator}.key"))
    }

    /// Keys and cards that operators will use once the boundary takes them.
    pub(crate) fn next(&self) -> PathBuf {
        self.operators().join("next")
    }

    pub(crate) fn next_key(&self, operator: &OperatorId) -> PathBuf {
        self.next().join(format!("{operator}.key"))
    }

    pub(crate) fn client_config(&self) -> PathBuf {
        self.operators().join("client.toml")
    }

    pub(crate) fn saes(&self) -> PathBuf {
        self.dir.join("saes")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Makes the deployment of `up` where there is none. Says whether it did.
    pub(crate) fn prepare(&self, up: &Up) -> Result<bool, Fault> {
        fs::create_dir_all(&self.dir).or_exit(Exit::Disk, &format!("cannot make {}", self.dir.display()))?;
        self.lock()?;
        // Nothing of a deployment runs before all of it is made, so what a stopped attempt left is made anew.
        let making = self.making();
        let fresh = self.is_new();
        if fresh {
            self.clear(&making).or_exit(Exit::Disk, "cannot make room for the deployment")?;
            create::whole_mesh(self, up).or_exit(Exit::Config, "cannot make the deployment")?;
            fs::remove_file(&making).or_exit(Exit::Disk, "cannot end the making of the deployment")?;
        }
        fs::create_dir_all(self.logs()).or_exit(Exit::Disk, "cannot make the folder of logs")?;
        Ok(fresh)
    }

    /// Says that a deployment is being made, and takes away what an earlier attempt left of its parts. Operators'
    /// keys stay.
    fn clear(&self, making: &Path) -> anyhow::Result<()> {
        let parts = [self.hub(), self.nodes(), self.fibres()];
        if making.exists() {
            for folder in parts.iter().filter(|folder| folder.exists()) {
                fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        } else {
            // An empty folder is room that somebody made, such as a file system of its own.
            for folder in parts.iter().filter(|folder| folder.exists()) {
                let mut within = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
                if within.next().is_some() {
                    anyhow::bail!("{} exists, of a deployment made in parts: give another --dir", folder.display());
                }
            }
        }
        whole::write(making, "", false)
    }

    /// Keeps a second supervisor out of the folder until this process ends.
    fn lock(&self) -> Result<(), Fault> {
        let path = self.dir.join("up.lock");
        let file = File::create(&path).or_exit(Exit::Disk, &format!("cannot write {}", path.display()))?;
        file.try_lock().map_err(|_| {
            let text = format!("another `qecnet up` runs in {}: stop it, or give another --dir", self.dir.display());
            Fault::new(Exit::Refused, anyhow::anyhow!(text))
        })?;
        // The lock ends with the process, not with this scope.
        std::mem::forget(file);
        Ok(())
    }

    /// Every part of the deployment on this machine, fibres first.
    pub(crate) fn parts(&self) -> anyhow::Result<Vec<Part>> {
        let mut parts = Vec::new();
        for path in sorted(&self.fibres())? {
            let name = path.file_stem().and_then(|stem| stem.to_str()).context("a fibre file has no name")?;
            parts.push(self.part("fibre", name, &path));
        }
        if self.hub_config().exists() {
            parts.push(self.part("hub", "hub", &self.hub_config()));
        }
        for path in sorted(&self.nodes())? {
            let name = path.file_name().and_then(|name| name.to_str()).context("a node's folder has no name")?;
            parts.push(self.part("node", name, &path.join("config.toml")));
        }
        Ok(parts)
    }

    /// Where the parts of the deployment listen.
    pub(crate) fn places(&self) -> anyhow::Result<Vec<Place>> {
        let mut places = Vec::new();
        if self.hub_config().exists() {
            places.extend(places::of_hub(&self.hub_config(), &HubConfig::load(&self.hub_config())?));
        }
        for folder in sorted(&self.nodes())? {
            let path = folder.join("config.toml");
            places.extend(places::of_node(&path, &NodeConfig::load(&path)?));
        }
        for path in sorted(&self.fibres())? {
            places.extend(places::of_fibre(&path, &FibreConfig::load(&path)?));
        }
        Ok(places)
    }

    /// Whether `up` would make it.
    pub(crate) fn is_new(&self) -> bool {
        self.making().exists() || !self.client_config().exists()
    }

    /// There while `up` makes it.
    fn making(&self) -> PathBuf {
        self.dir.join("up.making")
    }

    fn part(&self, kind: &str, name: &str, config: &Path) -> Part {
        let arguments = [kind, "run", "--supervised", "--config"].map(str::to_owned);
        let config = config.to_string_lossy().into_owned();
        Part {
            name: name.to_owned(),
            arguments: arguments.into_iter().chain([config]).collect(),
            log: self.logs().join(format!("{name}.log")),
        }
    }
}

fn sorted(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let list = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = list.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}
