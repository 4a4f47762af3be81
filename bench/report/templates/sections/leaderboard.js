// Sorts, filters and exports the leaderboard. A family moves together with its trials.
"use strict";
(() => {
  const board = document.getElementById("board");
  const controls = document.getElementById("controls");
  if (!controls) return;
  const data = JSON.parse(document.getElementById("board-data").textContent);
  const heads = [...board.tHead.querySelectorAll("button[data-sort]")];
  const choices = [...controls.querySelectorAll("button[data-state]")];
  const filter = document.getElementById("filter");
  const collator = new Intl.Collator("en", { numeric: true });
  const DESCENDING_FIRST = new Set(["test_accuracy", "difference", "val_accuracy"]);

  const trialOf = (row) => Object.fromEntries(data.trialColumns.map((key, i) => [key, data.trials[row.id][i]]));
  const configuration = (row) => [...row.querySelectorAll("li")].map((item) => item.textContent.trim()).join(", ");
  const words = (values, more = "") => {
    const parts = [values.family, `${values.engine ?? ""} #${values.trial ?? ""}`, values.state, values.weights, more];
    return parts.join(" ").toLowerCase();
  };

  const families = [...board.tBodies].map((body, place) => {
    const values = Object.fromEntries(data.columns.map((key, i) => [key, data.families[place][i]]));
    const trials = [...body.querySelectorAll("tr[id]")].map((row) => {
      const trial = trialOf(row);
      return { row, values: trial, words: words(trial, configuration(row)) };
    });
    return { body, place, values, trials, words: words(values), details: body.querySelector("details[data-family]") };
  });
  const total = families.reduce((sum, { trials }) => sum + trials.length, 0);

  // -- order

  const order = () => {
    const key = heads.some(({ dataset }) => dataset.sort === page.get("sort")) ? page.get("sort") : "rank";
    const usual = DESCENDING_FIRST.has(key) ? "descending" : "ascending";
    return { key, direction: ["ascending", "descending"].includes(page.get("order")) ? page.get("order") : usual };
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
  const sort = () => {
    const { key, direction } = order();
    const sign = direction === "descending" ? -1 : 1;
    const sorted = [...families].sort((one, other) => {
      const [a, b] = [one.values[key], other.values[key]];
      if (a === null || b === null) return (a === null) - (b === null) || one.place - other.place;
      return sign * compare(a, b) || one.place - other.place;
    });
    board.append(...sorted.map(({ body }) => body));
    for (const head of heads) {
      if (head.dataset.sort === key) head.parentElement.setAttribute("aria-sort", direction);
      else head.parentElement.removeAttribute("aria-sort");
    }
    return sorted;
  };
  for (const head of heads) {
    head.addEventListener("click", () => {
      const { key, direction } = order();
      const chosen = head.dataset.sort;
      const other = direction === "ascending" ? "descending" : "ascending";
      page.set({ sort: chosen, order: chosen === key ? other : "" });
      sort();
    });
  }

  // -- filter

  const select = () => {
    const tokens = (page.get("filter") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const states = new Set(page.all("state"));
    const fits = (text, state) => {
      return tokens.every((token) => text.includes(token)) && (states.size === 0 || states.has(state));
    };
    for (const { body, trials, words: familyWords, values } of families) {
      for (const trial of trials) trial.row.hidden = !fits(trial.words, trial.values.state);
      body.hidden = trials.length ? trials.every(({ row }) => row.hidden) : !fits(familyWords, values.state);
    }
    const shown = families.filter(({ body }) => !body.hidden);
    const rows = shown.reduce((sum, { trials }) => sum + trials.filter(({ row }) => !row.hidden).length, 0);
    const isAll = shown.length === families.length && rows === total;
    const of = (n, all, one, many) => `${isAll ? n : `${n} of ${all}`} ${all === 1 ? one : many}`;
    document.getElementById("shown").textContent =
      `${of(shown.length, families.length, "family", "families")}, ${of(rows, total, "trial", "trials")}`;
    for (const choice of choices) choice.setAttribute("aria-pressed", String(states.has(choice.dataset.state)));
  };
  filter.addEventListener("input", () => {
    page.set({ filter: filter.value.trim() });
    select();
  });
  for (const choice of choices) {
    choice.addEventListener("click", () => {
      const states = new Set(page.all("state"));
      if (!states.delete(choice.dataset.state)) states.add(choice.dataset.state);
      page.set({ state: [...states] });
      select();
    });
  }
  board.addEventListener("reveal", ({ target }) => {
    if (!target.closest("[hidden]")) return;
    filter.value = "";
    page.set({ filter: "", state: "" });
    select();
  });

  // -- unfolded families

  const folds = families.map(({ details }) => details).filter(Boolean);
  for (const details of folds) {
    details.addEventListener("toggle", () => {
      page.set({ open: folds.filter(({ open }) => open).map(({ dataset }) => dataset.family) });
    });
  }

  // -- export: the rows that are shown, in their order, with the trials of unfolded families

  const columns = [...data.columns, "configuration"];
  const line = (values) => columns.map((column) => values[column] ?? null);
  document.getElementById("export").addEventListener("click", () => {
    const lines = [columns];
    for (const { body, values, trials, details } of sort()) {
      if (body.hidden) continue;
      const chosen = body.dataset.chosen && document.getElementById(body.dataset.chosen);
      lines.push(line({ ...values, configuration: chosen ? configuration(chosen) : null }));
      for (const trial of details?.open ? trials : []) {
        if (trial.row.hidden) continue;
        lines.push(line({ ...trial.values, row: "trial", configuration: configuration(trial.row) }));
      }
    }
    page.save("leaderboard.csv", page.csv(lines), "text/csv;charset=utf-8");
  });

  // -- Escape hides a column's tooltip until the pointer or the focus moves

  addEventListener("keydown", ({ key }) => board.classList.toggle("quiet", key === "Escape"));
  for (const head of heads) {
    head.parentElement.addEventListener("pointerenter", () => board.classList.remove("quiet"));
    head.addEventListener("focus", () => board.classList.remove("quiet"));
  }

  page.restored(() => {
    const open = new Set(page.all("open"));
    for (const details of folds) details.open = open.has(details.dataset.family);
    filter.value = page.get("filter") ?? "";
    sort();
    select();
  });
  controls.hidden = false;
})();
