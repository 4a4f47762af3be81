// Functions of the whole page: its state in the address, theme, jumps, charts, print, and reloading during a run.
// It runs in the head, so that the theme is set before the first paint; the sections' scripts run at the end of the
// body, before Plotly, and use `page`:
//   get(key), all(key)   the first value, or all values, of a key of the state
//   set(changes)         changes the state and the address: {key: value, or values, or "" for none}
//   restored(apply)      calls `apply` now, and again whenever the address changes the state
//   show(id)             unfolds and scrolls to an element, after sending it the event "reveal"
//   csv(lines), save(name, text, type)   a table as CSV (RFC 4180); saves a text as a file
"use strict";
const page = (() => {
  const root = document.documentElement;
  const listeners = [];
  const stored = (storage, key, value) => {
    try {
      if (value === undefined) return storage().getItem(key);
      if (value === null) storage().removeItem(key);
      else storage().setItem(key, value);
    } catch {
      // Browsers may refuse storage to a page from disk; then only the address keeps the state.
    }
    return null;
  };

  // -- the state: `location.hash` as in a query; a fragment without "=" is the id of an element

  const isState = (hash) => hash.includes("=");
  const fromAddress = () => new URLSearchParams(isState(location.hash) ? location.hash.slice(1) : "");
  let state = fromAddress();

  const get = (key) => state.get(key);
  const all = (key) => state.getAll(key);
  const set = (changes) => {
    const before = state.toString();
    for (const [key, value] of Object.entries(changes)) {
      state.delete(key);
      for (const item of [value].flat()) if (item !== "" && item !== null) state.append(key, item);
    }
    const now = state.toString();
    if (now === before) return;
    try {
      history.replaceState(null, "", now ? `#${now}` : location.href.split("#")[0]);
    } catch {
      // Browsers refuse too frequent changes; the next one updates the address.
    }
  };
  const restored = (apply) => {
    listeners.push(apply);
    apply();
  };

  // -- theme

  const THEMES = ["auto", "light", "dark"];
  const theme = () => {
    const wanted = get("theme") ?? stored(() => localStorage, "bench theme");
    return THEMES.includes(wanted) ? wanted : "auto";
  };
  const dress = () => {
    const chosen = theme();
    if (chosen === "auto") delete root.dataset.theme;
    else root.dataset.theme = chosen;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${chosen}`;
    redraw();
  };
  const changeTheme = () => {
    const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
    stored(() => localStorage, "bench theme", next);
    set({ theme: next });
    dress();
  };

  // -- jumps

  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const show = (id) => {
    const target = document.getElementById(id);
    if (!target) return;
    target.dispatchEvent(new CustomEvent("reveal", { bubbles: true }));
    const folded = target.querySelector(":scope > details.fold");
    for (let node = folded ?? target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    if (target.tabIndex < 0) target.tabIndex = -1;
    target.focus({ preventScroll: true });
    const block = target.tagName === "TR" ? "center" : "start";
    target.scrollIntoView({ block, inline: "nearest", behavior: calm.matches ? "instant" : "smooth" });
  };
  const go = (id) => {
    history.pushState(null, "", `#${id}`);
    show(id);
  };
  const follow = (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    link.closest("details.contents")?.removeAttribute("open");
    go(link.getAttribute("href").slice(1));
  };

  // -- charts: drawn in the colours of the theme when they come near the window

  const config = { displayModeBar: false, responsive: true, showTips: false };
  const variable = /^var\((--[a-z0-9-]+)\)$/;
  const touch = matchMedia("(pointer: coarse)").matches;
  const paper = matchMedia("print");
  const paperWidth = 640; // CSS pixels; fits A4 and Letter upright, within a browser's own margins
  const sources = new Map();
  let near = null;

  const palette = () => {
    const probe = document.body.appendChild(document.createElement("span"));
    const known = new Map();
    const look = (name) => {
      if (!known.has(name)) {
        probe.style.color = `var(${name})`;
        known.set(name, getComputedStyle(probe).color);
      }
      return known.get(name);
    };
    return { look, close: () => probe.remove() };
  };
  const coloured = (value, look) => {
    if (typeof value === "string") {
      const match = variable.exec(value);
      return match ? look(match[1]) : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, look));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, look)]));
  };
  // Plotly is plain text in the page until the first chart comes near; the policy allows it by the hash of that text.
  const startPlotly = () => {
    const waiting = document.getElementById("plotly");
    if (!waiting) return;
    const script = document.createElement("script");
    script.textContent = waiting.textContent;
    waiting.replaceWith(script);
  };
  const draw = (place) => {
    startPlotly();
    const colours = palette();
    const figure = coloured(JSON.parse(sources.get(place).textContent), colours.look);
    colours.close();
    if (paper.matches) figure.layout.width = place.classList.contains("slice") ? paperWidth / 3 - 16 : paperWidth;
    if (touch) figure.layout.dragmode = false; // a finger on a chart scrolls the page
    Plotly.react(place, figure.data, figure.layout, config);
    if (place.dataset.drawn) return;
    place.dataset.drawn = "true";
    place.on("plotly_click", ({ points }) => {
      const id = points[0]?.customdata;
      if (typeof id === "string" && document.getElementById(id)) go(id);
    });
  };
  const drawAll = () => {
    for (const place of sources.keys()) draw(place);
  };
  const redraw = () => {
    for (const place of sources.keys()) {
      near.unobserve(place);
      near.observe(place); // reports again whether it is near
    }
  };
  const startCharts = () => {
    const charts = [...document.querySelectorAll("script[data-chart]")];
    if (typeof Plotly === "undefined" && !document.getElementById("plotly")) {
      for (const { dataset } of charts) {
        document.getElementById(dataset.chart).textContent = "Plotly could not be loaded; the table has the same numbers.";
      }
      return;
    }
    near = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        draw(target);
      }
    }, { rootMargin: "50% 0px" });
    for (const source of charts) sources.set(document.getElementById(source.dataset.chart), source);
    redraw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    paper.addEventListener("change", () => (paper.matches ? drawAll() : redraw()));
  };

  // -- print: the first screen and the faults of the data; on other pages everything, unfolded

  const folded = new Set();
  const unfold = () => {
    for (const details of document.querySelectorAll("details:not([open]):not(.fold):not(.menu):not(.contents)")) {
      if (details.closest(".fold")) continue;
      folded.add(details);
      details.open = true;
    }
    if (near) drawAll();
  };
  const fold = () => {
    for (const details of folded) details.open = false;
    folded.clear();
  };

  // -- during a run: the page reloads and restores what the reader sees

  const place = `bench ${location.pathname}`;
  const keep = () => {
    const open = [...document.querySelectorAll("details[data-key][open]")].map(({ dataset }) => dataset.key);
    const focus = document.activeElement?.id;
    const left = { open, focus, scroll: scrollY, state: state.toString(), hash: location.hash };
    stored(() => sessionStorage, place, JSON.stringify(left));
  };
  const left = JSON.parse(stored(() => sessionStorage, place) ?? "null");
  stored(() => sessionStorage, place, null);
  const isBack = left !== null && left.hash === location.hash;
  if (isBack) state = new URLSearchParams(left.state);
  const comeBack = () => {
    const open = new Set(left.open);
    for (const details of document.querySelectorAll("details[data-key]")) details.open = open.has(details.dataset.key);
    if (left.focus) document.getElementById(left.focus)?.focus({ preventScroll: true });
    scrollTo({ top: left.scroll, behavior: "instant" });
  };
  const goOn = (seconds) => {
    let touched = 0;
    for (const type of ["keydown", "pointerdown", "input", "wheel"]) {
      addEventListener(type, () => (touched = Date.now()), { capture: true, passive: true });
    }
    const again = () => {
      // A living driver draws the page again every minute, and after the search at least when a model is scored.
      if (Date.now() - Date.parse(document.lastModified) > 15 * 60 * 1000) {
        const notice = document.querySelector(".notice.going span");
        notice?.append(" It no longer does: the page is 15 minutes old, so the run was stopped, or it scores slowly.");
        return;
      }
      const isBusy = Date.now() - touched < 2000 || !getSelection().isCollapsed || document.querySelector("dialog[open]");
      if (document.hidden || isBusy || paper.matches) {
        setTimeout(again, 1000);
        return;
      }
      keep();
      location.reload();
    };
    setTimeout(again, 1000 * seconds);
  };

  // -- a table as a file

  // Text that a spreadsheet would read as a formula gets an apostrophe (OWASP, CSV Injection).
  const formula = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
  const field = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && formula.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = (lines) => lines.map((line) => line.map(field).join(",") + "\r\n").join("");
  const save = (name, text, type) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // -- start

  const start = () => {
    startCharts();
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", changeTheme);
    document.addEventListener("click", follow);
    addEventListener("beforeprint", unfold);
    addEventListener("afterprint", fold);
    addEventListener("hashchange", () => {
      if (location.hash && !isState(location.hash)) {
        show(location.hash.slice(1));
        return;
      }
      state = fromAddress();
      dress();
      for (const apply of listeners) apply();
    });
    dress();
    if (isBack) comeBack();
    else if (location.hash && !isState(location.hash)) show(location.hash.slice(1));
    if (root.dataset.refresh) goOn(Number(root.dataset.refresh));
  };
  dress();
  addEventListener("DOMContentLoaded", start);
  return { get, all, set, restored, show, csv, save };
})();
