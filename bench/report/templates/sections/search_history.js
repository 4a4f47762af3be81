// The legend of families: a press highlights one in both charts, a second press ends that.
"use strict";
(() => {
  const legend = document.getElementById("search-families");
  if (!legend || legend.children.length < 2) return;
  const charts = ["chart-history", "chart-workers"].map((id) => document.getElementById(id)).filter(Boolean);
  const buttons = [...legend.children].map((entry) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.number = entry.dataset.number;
    button.append(...entry.childNodes);
    entry.append(button);
    return button;
  });
  const name = (button) => button.textContent.trim();
  const isBack = (number) => {
    const forward = buttons.find((button) => button.getAttribute("aria-pressed") === "true");
    return Boolean(forward) && forward.dataset.number !== String(number);
  };

  const bring = () => {
    const wanted = page.get("focus");
    for (const button of buttons) button.setAttribute("aria-pressed", String(name(button) === wanted));
    for (const chart of charts) {
      const source = document.querySelector(`script[data-chart="${chart.id}"]`);
      const figure = JSON.parse(source.textContent);
      for (const trace of figure.data) trace.opacity = isBack(trace.meta) ? 0.12 : 1;
      source.textContent = JSON.stringify(figure); // for the next drawing of the chart
      if (chart.dataset.drawn) Plotly.restyle(chart, { opacity: figure.data.map(({ opacity }) => opacity) });
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      page.set({ focus: page.get("focus") === name(button) ? "" : name(button) });
      bring();
    });
  }
  page.restored(bring);
})();
