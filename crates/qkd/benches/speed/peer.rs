//! The public C++ library cascade-cpp (Bruno Rijsman), where there is a build of it to measure.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The library's own study program, `run_experiments`, named by `CASCADE_PEER`. It holds both ends
/// in one thread, as we do, and states the processor time of its reconciliations alone.
pub(crate) struct Peer {
    program: PathBuf,
    folder: PathBuf,
}

/// What it says of one series of keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) mbits: f64,
    pub(crate) efficiency: f64,
    pub(crate) failed: f64,
}

impl Peer {
    pub(crate) fn named() -> Option<Self> {
        let program = std::env::var_os("CASCADE_PEER")?.into();
        let folder = std::env::temp_dir().join(format!("cascade-peer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).ok()?;
        Some(Self { program, folder })
    }

    /// Reconciles `runs` random keys of `n` bits with its algorithm `original`, the fastest it has.
    pub(crate) fn measure(&self, n: usize, qber: f64, runs: u32) -> Option<Figures> {
        let task = serde_json::json!([{
            "independent_variable": "error_rate", "algorithm": "original",
            "error_rate": [qber], "key_size": n, "runs": runs,
        }]);
        let file = self.folder.join("task.json");
        std::fs::write(&file, task.to_string()).ok()?;
        let mut command = Command::new(&self.program);
        command.arg("--disable-multi-processing").arg("--output-directory").arg(&self.folder).arg(&file);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        let name = format!("data__algorithm=original;key_size={n};error_rate=vary");
        let text = std::fs::read_to_string(self.folder.join(name)).ok().filter(|_| status.success())?;
        let said: Value = serde_json::from_str(text.lines().last()?).ok()?;
        let average = |name: &str| said[name]["average"].as_f64();
        Some(Figures {
            mbits: n as f64 / average("elapsed_process_time")? / 1e6,
            efficiency: average("efficiency")?,
            failed: average("remaining_frame_error_rate")?,
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
