// Keeps a page up to date, and shows the values of plots. Without it, the page shows the same, as
// of when it was loaded; values are in the tables below the plots.
"use strict";
(() => {
  const place = document.querySelector("[data-live]");
  let verdict = document.querySelector("[data-states]");
  showValues();
  if (!verdict || !window.EventSource) return;
  const loaded = Date.now();
  const source = new EventSource("/live");
  source.onmessage = (event) => {
    const news = JSON.parse(event.data);
    age(Boolean(news.problem));
    for (const [name, html] of Object.entries(news.parts)) put(name, html);
    renew(news.states);
  };
  source.onerror = () => age(true);
  source.onopen = () => age(false);

  function age(isStale) {
    if (place) place.classList.toggle("stale", isStale);
    const note = document.querySelector("[data-away]");
    if (note) note.hidden = !isStale;
  }

  // A part of the page, new; a table that somebody has opened stays open.
  function put(name, html) {
    const part = document.querySelector(`[data-part="${name}"]`);
    if (!part) return;
    const isOpen = Boolean(part.querySelector("details[open]"));
    const hasFocus = document.activeElement && document.activeElement.matches("summary") &&
      part.contains(document.activeElement);
    part.innerHTML = html;
    const details = part.querySelector("details");
    if (!details) return;
    details.open = isOpen;
    if (hasFocus) details.querySelector("summary").focus();
  }

  // The value that the pointer, or a finger, is at; in the line above the plot.
  function showValues() {
    let shown = null;
    const show = (event) => {
      const target = event.target instanceof Element ? event.target : null;
      const bar = target && target.closest(".plot svg g");
      const line = bar && bar.closest(".plot").querySelector("[data-readout]");
      if (shown && shown !== line) shown.textContent = shown.dataset.readout;
      shown = line;
      if (!line) return;
      if (!line.dataset.readout) line.dataset.readout = line.textContent;
      line.textContent = bar.querySelector("title").textContent;
    };
    document.addEventListener("pointermove", show, { passive: true });
    document.addEventListener("pointerdown", show, { passive: true });
  }

  // New states: load what stands above and below, unless somebody writes into a form.
  let busy = false;
  async function renew(at) {
    const idle = !document.activeElement || !document.activeElement.closest("form");
    if (busy || !at || !verdict || at === verdict.dataset.states || !idle) return;
    if (Date.now() - loaded < 5000 || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual" });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const before = document.querySelector("main");
      const after = page.querySelector("main");
      if (!before || !after) return;
      const details = [...before.querySelectorAll("details")];
      const isOpen = details.map((one) => one.open);
      const summary = document.activeElement && document.activeElement.matches("summary");
      const focused = summary ? details.indexOf(document.activeElement.parentElement) : -1;
      const live = after.querySelector("[data-live]");
      if (live && place) live.replaceWith(place);
      before.replaceChildren(...after.childNodes);
      const tables = [...before.querySelectorAll("details")];
      if (tables.length === isOpen.length) {
        tables.forEach((one, at) => { one.open = isOpen[at]; });
        if (focused >= 0) tables[focused].querySelector("summary").focus();
      }
      verdict = before.querySelector("[data-states]");
      document.title = page.title;
    } finally {
      busy = false;
    }
  }
})();
