// Draws the figures that the page carries as data, in the colours that its stylesheet has for the theme.
"use strict";
(() => {
  const root = document.documentElement;
  const variable = /^var\((--[a-z0-9-]+)\)$/;
  const config = { displayModeBar: false, responsive: true, showTips: false };
  const touch = matchMedia("(pointer: coarse)").matches;
  const paper = matchMedia("print");
  const paperWidth = 640; // CSS pixels; fits A4 and Letter upright, within a browser's own margins

  const coloured = (value, style) => {
    if (typeof value === "string") {
      const found = variable.exec(value);
      return found ? style.getPropertyValue(found[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((each) => coloured(each, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each, style)]));
  };

  const draw = () => {
    const style = getComputedStyle(root);
    for (const source of document.querySelectorAll("script[data-chart]")) {
      const figure = coloured(JSON.parse(source.textContent), style);
      if (paper.matches) figure.layout.width = paperWidth;
      if (touch) figure.layout.dragmode = false; // a finger on a chart scrolls the page
      Plotly.react(source.dataset.chart, figure.data, figure.layout, config);
    }
  };

  if (typeof Plotly !== "undefined") {
    draw();
    for (const query of [matchMedia("(prefers-color-scheme: dark)"), paper]) query.addEventListener("change", draw);
  }

  // Paper cannot be unfolded.
  const folded = new Set();
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details:not([open])")) {
      folded.add(each);
      each.open = true;
    }
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
    folded.clear();
  });

  // A page that loads itself again stays as the reader left it.
  if (document.querySelector('meta[http-equiv="refresh"]')) {
    const key = `open ${location.pathname}`;
    const all = [...document.querySelectorAll("details[data-key]")];
    const name = (each) => each.dataset.key;
    try {
      const kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
      if (kept) for (const each of all) each.open = kept.includes(name(each));
      const keep = () => sessionStorage.setItem(key, JSON.stringify(all.filter((each) => each.open).map(name)));
      for (const each of all) each.addEventListener("toggle", keep);
    } catch {
      // Without storage it starts folded again.
    }
  }
})();
