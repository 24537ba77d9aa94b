// Keeps a page up to date. Without it, the page shows the same, as of when it was loaded.
"use strict";
(() => {
  const place = document.querySelector("[data-live]");
  let verdict = document.querySelector("[data-states]");
  if (!verdict || !window.EventSource) return;
  const loaded = Date.now();
  const source = new EventSource("/live");
  source.onmessage = (event) => {
    const news = JSON.parse(event.data);
    age(Boolean(news.problem));
    if (place && news.html !== undefined) place.innerHTML = news.html;
    renew(news.states);
  };
  source.onerror = () => age(true);
  source.onopen = () => age(false);

  function age(isStale) {
    if (place) place.classList.toggle("stale", isStale);
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
      const live = after.querySelector("[data-live]");
      if (live && place) live.replaceWith(place);
      before.replaceChildren(...after.childNodes);
      verdict = before.querySelector("[data-states]");
      document.title = page.title;
    } finally {
      busy = false;
    }
  }
})();
