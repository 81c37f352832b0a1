//! The console in a real browser.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::Browser;
use crate::deployment::Mesh;

const LIVE: &str = "document.getElementById('live').className === 'ok'";

/// Opens the console with a new sign-in link and waits until the mesh is on it.
fn signed_in(mesh: &Mesh, width: u32, height: u32) -> Browser {
    let link = mesh.read(&["console"])["url"].as_str().unwrap().to_owned();
    let mut browser = Browser::start(width, height);
    browser.open(&link);
    browser.wait("the page is live", &format!("{LIVE} && !!document.getElementById('node-n1')"));
    browser
}

fn console_of(mesh: &Mesh) -> String {
    let url = mesh.read(&["console"])["url"].as_str().unwrap().to_owned();
    url.split_once('#').unwrap().0.to_owned()
}

/// KM-15 SM-04: the sign-in link works once and shows the live mesh.
#[test]
fn the_console_shows_the_mesh_and_its_link_works_once() {
    let mesh = Mesh::start(3, "2s");
    let link = mesh.read(&["console"])["url"].as_str().unwrap().to_owned();
    let mut browser = Browser::start(1280, 900);
    browser.open(&link);
    browser.wait("the page is live", LIVE);
    let wanted = ["n1", "n2", "n3", "grid", "lng", "access", "ONLINE", "qkd+kem", "ACTIVE", "rotation of n1 – n2"];
    browser.wait(
        "everything is on the page",
        &format!("{}.every((wanted) => document.documentElement.outerHTML.includes(wanted))", json!(wanted)),
    );
    assert_eq!(browser.eval("location.href.includes('#')"), false, "the token stays in the address");
    browser.picture("console-1280");
    let mut stranger = Browser::start(1280, 900);
    stranger.open(&link);
    stranger.wait("a used link is told", "!document.getElementById('signed-out').hidden");
    assert_eq!(stranger.eval("document.body.innerText.includes('ONLINE')"), false, "a used link opened the console");
    stranger.picture("signed-out-1280");
}

/// U1: without data the page says so and dims, and it is back by itself, with the same session, once the hub is.
/// SM-07a: that session is of this browser alone.
#[test]
fn u1_the_page_says_that_its_data_is_old_and_comes_back_with_the_same_session() {
    let mesh = Mesh::start(2, "5s");
    let mut browser = signed_in(&mesh, 1280, 900);
    let (config, aside) = (mesh.dir().join("hub/config.toml"), mesh.dir().join("hub/config.aside"));
    // It stays dead until it may read its configuration again.
    std::fs::rename(&config, &aside).unwrap();
    mesh.kill("hub");
    let killed = Instant::now();
    browser.wait("the page says that its data is old", "document.body.classList.contains('old')");
    let took = killed.elapsed();
    println!("the page said so after {took:?}");
    assert!(took < Duration::from_secs(6), "it took {took:?}");
    let told = browser.eval("document.getElementById('gone').innerText");
    let time = told.as_str().unwrap().strip_prefix("no data since ").unwrap().strip_suffix(" UTC").unwrap().to_owned();
    assert!(time.len() == 8 && time.split(':').all(|part| part.parse::<u8>().is_ok()), "{told}");
    let dim = browser.eval("parseFloat(getComputedStyle(document.getElementById('sections')).opacity)");
    assert!(dim.as_f64().unwrap() < 0.5, "old data is shown as bright as new");
    assert_ne!(browser.eval("document.getElementById('live').className"), "ok");
    browser.picture("no-data-1280");

    std::fs::rename(&aside, &config).unwrap();
    browser.wait("the page is back by itself", &format!("{LIVE} && !document.body.classList.contains('old')"));
    assert_eq!(browser.eval("document.getElementById('who').innerText"), "signed in as op1");
    assert_eq!(browser.eval("document.getElementById('gone').hidden"), true);

    // The key is in the browser and nobody gets it out.
    let stolen = browser.eval(
        "new Promise((done) => { const open = indexedDB.open('qecnet-console', 1); open.onsuccess = () => {
           const asked = open.result.transaction('keys').objectStore('keys').get('session');
           asked.onsuccess = async () => { const key = asked.result;
             const out = await crypto.subtle.exportKey('jwk', key).then(() => 'exported', () => 'refused');
             done([key.type, key.extractable, out]); }; }; })",
    );
    assert_eq!(stolen, json!(["private", false, "refused"]));

    // The cookie alone, in another browser.
    let cookies = browser.call("Network.getCookies", &json!({}))["cookies"].clone();
    let cookie = cookies.as_array().unwrap().iter().find(|cookie| cookie["name"] == "__Host-qecnet").unwrap().clone();
    let mut thief = Browser::start(1280, 900);
    let url = console_of(&mesh);
    let set = json!({ "name": cookie["name"], "value": cookie["value"], "url": url, "secure": true, "path": "/" });
    assert_eq!(thief.call("Network.setCookie", &set)["success"], true);
    thief.open(&url);
    thief.wait(
        "the thief is told to sign in",
        "!!document.getElementById('signed-out') && !document.getElementById('signed-out').hidden",
    );
    assert_eq!(thief.eval("fetch('/console/events').then((answer) => answer.status)"), 401);
    assert_eq!(browser.eval(LIVE), true);
}

/// Sizes of all words that are seen, as they appear, in pixels; the least of them.
const LEAST_TEXT: &str = "Math.min(...[...document.querySelectorAll('body *')].filter((one) =>
    one.getClientRects().length > 0 && !['title', 'script', 'style', 'noscript'].includes(one.tagName.toLowerCase())
    && [...one.childNodes].some((child) => child.nodeType === 3 && child.data.trim())).map((one) =>
    parseFloat(getComputedStyle(one).fontSize) * (one instanceof SVGGraphicsElement ? one.getScreenCTM().a : 1)))";

/// U7: at the width of a phone every word can be read and the page does not run out of it; and what its user has
/// selected, focused and scrolled to stays as it is while the page is kept up to date.
#[test]
fn u7_updates_leave_the_page_to_its_user_and_a_phone_can_show_it() {
    let mesh = Mesh::start(3, "2s");
    let mut browser = signed_in(&mesh, 360, 800);
    browser.wait("every link has a row", "document.querySelectorAll('#links tbody tr').length === 6");
    browser.picture("console-360");
    let least = browser.eval(LEAST_TEXT).as_f64().unwrap();
    assert!(least >= 12.0, "words of {least} px");
    let width = browser.eval("document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(width <= 360, "the page is {width} px wide");

    let did = browser.eval(
        "(() => { const cell = document.querySelector('#node-n1 td'), links = document.querySelector('#links .scroll');
           getSelection().setBaseAndExtent(cell.firstChild, 0, document.querySelector('#node-n2 td').firstChild, 2);
           links.focus({ preventScroll: true }); links.scrollLeft = 120; scrollTo(0, 400);
           window.held = [cell, links, document.querySelector('#links tbody tr')];
           window.was = document.getElementById('overview').innerText; window.seen = new Set();
           new MutationObserver(() => seen.add(document.getElementById('clock').innerText))
             .observe(document.getElementById('clock'), { childList: true, characterData: true, subtree: true });
           return [getSelection().toString().length > 2, links.scrollLeft, scrollY]; })()",
    );
    assert_eq!(did, json!([true, 120, 400]));
    browser.wait("five updates", "seen.size >= 5 && document.getElementById('overview').innerText !== was");
    let kept = browser.eval(
        "(() => { const links = document.querySelector('#links .scroll');
           return [getSelection().anchorNode === held[0].firstChild, getSelection().toString().startsWith('n1'),
             document.activeElement === links, links.scrollLeft, scrollY, held.every((one) => one.isConnected)]; })()",
    );
    assert_eq!(kept, json!([true, true, true, 120, 400, true]));

    // Also where the text under the selection is what changes.
    browser.eval(
        "(() => { const size = document.querySelector('#overview b').firstChild;
           getSelection().setBaseAndExtent(size, 0, size, size.length); window.was = size.data; })()",
    );
    browser.wait("the number of entries changed", "document.querySelector('#overview b').innerText !== was");
    let selected = browser.eval("[getSelection().toString(), document.querySelector('#overview b').innerText]");
    let selected: Vec<String> = serde_json::from_value(selected).unwrap();
    assert!(!selected[0].is_empty() && selected[1].starts_with(&selected[0]), "{selected:?}");
}

/// U4: what waits for people is seen on the page and in `status`, loud where anything waits and quiet where not.
#[test]
fn u4_what_waits_for_people_is_seen_at_once() {
    let mesh = Mesh::start(3, "30s");
    let calm = mesh.cli(&["status"]).expect(0).out;
    assert!(calm.contains("attention  nothing waits"), "{calm}");
    let mut browser = signed_in(&mesh, 1280, 900);
    let colour = "getComputedStyle(document.querySelector('#attention')).borderLeftColor";
    let quiet = browser.eval(colour);
    for operator in ["op1", "op2"] {
        mesh.cli(&["signal", "--node", "n3", "--kind", "node-compromise", "--as", operator]).expect(0);
    }
    let status = mesh.wait_status("n3 is cut off", |status| status["attention"]["isolated"][0] == "n3");
    assert!(status["public"].as_str().unwrap().starts_with("https://127.0.0.1:"));
    let loud = mesh.cli(&["status"]).expect(0).out;
    assert!(loud.contains("ATTENTION  1 isolated: n3"), "{loud}");
    browser.wait("the page says so", "document.getElementById('attention').innerText.includes('1 isolated n3')");
    assert_ne!(browser.eval(colour), quiet, "the line looks as it did");
    browser.wait("a review is owed", "document.getElementById('attention').innerText.includes('review owed')");
    browser.picture("attention-1280");
}
