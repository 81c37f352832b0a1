// Shows what the hub sends, and says when it sends nothing. Each request is signed by a key that this browser made
// when it signed in and gives to nobody: without it the cookie opens nothing.
"use strict";
(() => {
  const LABEL = "qecnet/hub/console-proof/v1";
  const EVENTS = "/console/events", ENTER = "/console/enter", LEAVE = "/console/leave";
  const SILENT = 2500; // without data for so long, what is shown is old (the hub speaks once a second)
  const GIVEN_UP = 6000; // silent for so long, the stream is opened anew
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const by = (id) => document.getElementById(id);
  const [sections, live, gone, leave] = ["sections", "live", "gone", "leave"].map(by);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  // The key, kept where it can be used and not read.
  const keys = (mode, act) => new Promise((done, fail) => {
    const open = indexedDB.open("qecnet-console", 1);
    open.onupgradeneeded = () => open.result.createObjectStore("keys");
    open.onerror = () => fail(open.error);
    open.onsuccess = () => {
      const transaction = open.result.transaction("keys", mode);
      const asked = act(transaction.objectStore("keys"));
      transaction.oncomplete = () => { open.result.close(); done(asked.result); };
      transaction.onabort = () => { open.result.close(); fail(transaction.error); };
    };
  });
  const loadKey = () => keys("readonly", (store) => store.get("session"));
  const keepKey = (key) => keys("readwrite", (store) => store.put(key, "session"));
  const dropKey = () => keys("readwrite", (store) => store.delete("session"));

  const text = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  let ahead = 0; // how far the hub's clock is ahead of this browser's
  async function ask(key, method, path, options = {}) {
    const at = Date.now() + ahead, nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
    const message = new TextEncoder().encode([LABEL, method, path, at, nonce].join("\n"));
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, message);
    const headers = { ...options.headers, "qecnet-proof": [at, nonce, text(signature)].join(".") };
    const response = await fetch(path, { ...options, method, headers, cache: "no-store", redirect: "error" });
    const told = Date.parse(response.headers.get("date"));
    if (response.status === 401 && !Number.isNaN(told)) ahead = told - Date.now();
    return response;
  }

  async function enter(token) {
    const pair = await crypto.subtle.generateKey(algorithm, false, ["sign", "verify"]);
    const key = text(await crypto.subtle.exportKey("raw", pair.publicKey));
    const body = JSON.stringify({ token, key });
    const response = await ask(pair.privateKey, "POST", ENTER, { body, headers: { "content-type": "application/json" } });
    if (!response.ok) throw new Error((await response.json()).message);
    await keepKey(pair.privateKey);
  }

  let last = -Infinity, lastAt = "", over = false;

  function state(word, kind) {
    if (live.textContent !== word) live.textContent = word;
    live.className = kind;
  }

  function look() {
    if (over || lastAt === "") return;
    const old = performance.now() - last > SILENT;
    document.body.classList.toggle("old", old);
    gone.hidden = !old;
    const word = `no data since ${lastAt} UTC`;
    if (old && gone.textContent !== word) gone.textContent = word;
    if (old) state("no data", "bad");
  }

  // Where a selection begins and ends, to be put back after its text was changed under it.
  function patch(id, html) {
    const element = by(id);
    if (!element) return sections.insertAdjacentHTML("beforeend", html);
    const selection = getSelection();
    const held = selection.rangeCount && selection.type === "Range" && element.contains(selection.anchorNode)
      ? [selection.anchorNode, selection.anchorOffset, selection.focusNode, selection.focusOffset] : null;
    Idiomorph.morph(element, html, { morphStyle: "outerHTML", ignoreActiveValue: true });
    if (!held || !held[0].isConnected || !held[2].isConnected) return;
    const most = (node) => node.nodeType === Node.TEXT_NODE ? node.length : node.childNodes.length;
    const [from, at, to, end] = [held[0], Math.min(held[1], most(held[0])), held[2], Math.min(held[3], most(held[2]))];
    if (selection.anchorNode !== from || selection.anchorOffset !== at || selection.focusNode !== to
      || selection.focusOffset !== end) selection.setBaseAndExtent(from, at, to, end);
  }

  function show(update) {
    if (update.over) return signedOut("The session has ended.");
    if (update.operator) {
      by("who").textContent = `signed in as ${update.operator}`;
      leave.hidden = false;
      return;
    }
    if (update.whole !== undefined) {
      const page = new DOMParser().parseFromString(update.whole, "text/html").body;
      const there = new Set([...page.children].map((child) => child.id));
      [...sections.children].filter((child) => !there.has(child.id)).forEach((child) => child.remove());
      for (const child of [...page.children]) patch(child.id, child.outerHTML);
    }
    for (const [id, html] of Object.entries(update.parts ?? {})) patch(id, html);
    [last, lastAt] = [performance.now(), update.at];
    state("live", "ok");
    by("clock").textContent = `${update.at} UTC`;
    look();
  }

  function signedOut(why) {
    over = true;
    sections.replaceChildren();
    document.body.classList.remove("old");
    gone.hidden = leave.hidden = true;
    by("why").textContent = why;
    by("signed-out").hidden = false;
    by("who").textContent = by("clock").textContent = "";
    state("signed out", "dim");
  }

  // Reads one stream to its end.
  async function read(response, abort) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const watch = setInterval(() => { if (performance.now() - last > GIVEN_UP) abort.abort(); }, 1000);
    try {
      for (let rest = ""; !over;) {
        const { value, done } = await reader.read();
        if (done) return;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        lines.filter((line) => line).forEach((line) => show(JSON.parse(line)));
      }
    } finally {
      clearInterval(watch);
    }
  }

  async function follow(key) {
    // A proof may come too early for a hub that has just started, or by a clock that is wrong: not at once signed out.
    for (let refused = 0, wait = 250; !over; wait = Math.min(wait * 2, 1500)) {
      const abort = new AbortController();
      const patience = setTimeout(() => abort.abort(), GIVEN_UP);
      try {
        const response = await ask(key, "GET", EVENTS, { signal: abort.signal });
        clearTimeout(patience);
        if (response.ok) {
          [refused, wait] = [0, 250];
          last = Math.max(last, performance.now() - SILENT);
          await read(response, abort);
        } else if (response.status === 401 && ++refused > 3) {
          await dropKey();
          return signedOut("This browser's session has ended.");
        } else if (response.status === 429) {
          state("too many pages are open", "bad");
        }
      } catch (error) {
        if (lastAt === "") state("the hub does not answer", "bad");
      } finally {
        clearTimeout(patience);
      }
      if (!over) await pause(wait);
    }
  }

  async function start() {
    const token = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
    if (token) {
      try {
        await enter(token);
      } catch (error) {
        if (!(await loadKey())) return signedOut(String(error.message));
      }
    }
    const key = await loadKey();
    if (!key) return signedOut("This browser is not signed in.");
    leave.onclick = async () => {
      signedOut("Signed out.");
      await ask(key, "POST", LEAVE).catch(() => {});
      await dropKey();
    };
    await follow(key);
  }

  setInterval(look, 250);
  start().catch((error) => signedOut(`The console cannot start: ${error.message}`));
})();
