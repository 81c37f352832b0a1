// Shows what the hub sends. No state of its own: the page is whole without it, only not live.
"use strict";
(() => {
  const content = document.getElementById("content");
  const live = document.getElementById("live");
  if (!content || !window.EventSource) return;
  const source = new EventSource("/console/events");
  source.onmessage = (event) => {
    const open = new Set([...content.querySelectorAll("details[open]")].map((d) => d.id));
    const focused = document.activeElement && document.activeElement.id;
    content.innerHTML = event.data;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    live.textContent = "live";
    live.className = "ok";
  };
  source.onerror = () => {
    live.textContent = "connection lost";
    live.className = "bad";
  };
  source.addEventListener("over", () => {
    source.close();
    location.reload();
  });
})();
