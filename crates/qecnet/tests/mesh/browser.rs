//! A real Chromium, driven through its remote debugging pipe (Chrome DevTools Protocol).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::deployment::wait;

/// Longest wait for an answer of the browser.
const PATIENCE: Duration = Duration::from_secs(60);

/// One browser with a profile of its own and one page open.
pub(crate) struct Browser {
    child: Child,
    to: File,
    from: mpsc::Receiver<Value>,
    asked: u64,
    session: Option<String>,
    profile: TempDir,
}

impl Browser {
    /// Starts it with a window of this size. A narrow one is a phone's.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (to, from) = (profile.path().join("to"), profile.path().join("from"));
        let made = Command::new("mkfifo").args([&to, &from]).status().unwrap();
        assert!(made.success());
        let child = Command::new("sh")
            // The browser reads what it is asked from descriptor 3 and answers on descriptor 4.
            .args(["-c", r#"to=$1 from=$2; shift 2; exec chromium "$@" 3<"$to" 4>"$from""#, "chromium"])
            .args([&to, &from])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--ignore-certificate-errors", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the shell's own order: each end waits for the other.
        let to = OpenOptions::new().write(true).open(&to).unwrap();
        let from = listen(File::open(&from).unwrap());
        let mut browser = Self { child, to, from, asked: 0, session: None, profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", &json!({}));
        let phone = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        browser.call("Emulation.setDeviceMetricsOverride", &metrics);
        browser
    }

    /// Has the browser do something and returns what came of it.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer =
                self.from.recv_timeout(left).unwrap_or_else(|_| panic!("the browser does not answer {method}"));
            if answer["id"] == self.asked {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// What a script gives that runs on the page; it may wait for promises.
    #[track_caller]
    pub(crate) fn eval(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", &asked);
        assert!(result["exceptionDetails"].is_null(), "{script}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until a script says yes.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, script: &str) {
        // While the page is on its way there is nothing to look at, which is no yes.
        let script = format!("(() => {{ try {{ return !!({script}); }} catch {{ return false; }} }})()");
        wait(what, || (self.eval(&script) == true).then_some(()));
    }

    /// Keeps a picture of the page in the folder `QECNET_PICTURES`, where that is set.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("QECNET_PICTURES") else { return };
        let taken = self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        let picture = base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("the browser with {} does not close", self.profile.path().display());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Messages of the browser, each ended by a zero byte.
fn listen(from: File) -> mpsc::Receiver<Value> {
    let (told, messages) = mpsc::channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut message = Vec::new();
        while from.read_until(0, &mut message).is_ok_and(|read| read > 0) {
            message.pop();
            let parsed = serde_json::from_slice(&message).unwrap_or(Value::Null);
            message.clear();
            if told.send(parsed).is_err() {
                return;
            }
        }
    });
    messages
}
