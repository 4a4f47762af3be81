// Sorts, filters, unfolds and exports the leaderboard, and compares two trials. A family moves together with its trials.
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
  const DESCENDING_FIRST = new Set(data.descending);

  const trialOf = (row) => Object.fromEntries(data.trialColumns.map((key, i) => [key, data.trials[row.id][i]]));
  const configuration = ({ params }) => Object.entries(params).map(([name, value]) => `${name} ${value}`).join(", ");
  const words = (values, more = "") => {
    const parts = [values.family, `${values.engine ?? ""} #${values.trial ?? ""}`, values.state, values.weights, more];
    return parts.join(" ").toLowerCase();
  };

  const families = [...board.tBodies].map((body, place) => {
    const values = Object.fromEntries(data.columns.map((key, i) => [key, data.families[place][i]]));
    const trials = [...body.querySelectorAll("tr[id]")].map((row) => {
      const trial = trialOf(row);
      return { row, values: trial, words: words(trial, configuration(trial)) };
    });
    const [unfold, folded] = [body.querySelector(".unfold"), body.querySelector(".trials-of")];
    return { body, place, values, trials, words: words(values), unfold, folded };
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
      const isLast = [one, other].map(({ body }) => body.classList.contains("baseline"));
      if (isLast[0] !== isLast[1]) return isLast[0] - isLast[1];
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
    const count = (some) => some.filter(({ values }) => values.state !== "chance").length;
    const rows = shown.reduce((sum, { trials }) => sum + trials.filter(({ row }) => !row.hidden).length, 0);
    const isAll = shown.length === families.length && rows === total;
    const of = (n, all, one, many) => `${isAll ? n : `${n} of ${all}`} ${all === 1 ? one : many}`;
    document.getElementById("shown").textContent =
      `${of(count(shown), count(families), "family", "families")}, ${of(rows, total, "trial", "trials")}`;
    for (const choice of choices) choice.setAttribute("aria-pressed", String(states.has(choice.dataset.state)));
    if (!shown.length) document.getElementById("shown").textContent = "No family or trial matches the filter.";
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
    const family = families.find(({ folded }) => folded?.contains(target));
    if (family) unfold(family, true);
    if (!target.closest("[hidden]")) return;
    filter.value = "";
    page.set({ filter: "", state: "" });
    select();
  });

  // -- unfolded families

  const isOpen = ({ folded }) => Boolean(folded) && !folded.hidden;
  const show = ({ unfold: button, folded }, open) => {
    folded.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  };
  const unfold = (family, open) => {
    show(family, open);
    page.set({ open: families.filter(isOpen).map(({ values }) => values.family) });
  };
  for (const family of families) family.unfold?.addEventListener("click", () => unfold(family, !isOpen(family)));

  // -- columns: the optional ones are chosen in the menu

  const menu = document.getElementById("column-choices");
  const optional = [...board.tHead.querySelectorAll("[data-optional]")].map((head) => {
    const key = [...head.classList].find((name) => name.startsWith("c-")).slice(2);
    const label = menu.appendChild(document.createElement("label"));
    const box = label.appendChild(document.createElement("input"));
    box.type = "checkbox";
    label.append(` ${head.querySelector("button").textContent}`);
    box.addEventListener("change", () => {
      page.set({ columns: optional.filter(({ box: { checked } }) => checked).map(({ key: chosen }) => chosen) });
      dress();
    });
    return { key, box };
  });
  const dress = () => {
    const chosen = new Set(page.all("columns"));
    for (const { key, box } of optional) {
      box.checked = chosen.has(key);
      for (const cell of board.querySelectorAll(`.c-${key}`)) cell.hidden = !box.checked;
    }
    const width = board.tHead.querySelectorAll("th:not([hidden])").length;
    for (const { folded } of families) if (folded) folded.firstElementChild.colSpan = width;
  };

  // -- two ticked trials side by side

  const side = document.getElementById("side");
  const ticks = [...board.querySelectorAll(".tick input")];
  const rowOf = (box) => box.closest("tr");
  const HIDDEN = new Set(["family", "engine", "trial"]);
  const line = (name, values) => {
    const row = document.createElement("tr");
    const head = row.appendChild(document.createElement("th"));
    head.scope = "row";
    head.textContent = name.replaceAll("_", " ");
    for (const value of values) {
      const cell = row.appendChild(document.createElement("td"));
      cell.textContent = typeof value === "number" ? String(Number(value.toPrecision(5))) : value ?? "–";
      if (String(values[0]) !== String(values[1])) cell.className = "other";
    }
    return row;
  };
  const compareTwo = () => {
    const pair = page.all("pair").map((id) => document.getElementById(id)).filter((row) => row && data.trials[row.id]);
    for (const box of ticks) {
      box.checked = pair.includes(rowOf(box));
      box.disabled = pair.length === 2 && !box.checked;
    }
    side.hidden = pair.length < 2;
    side.replaceChildren();
    if (pair.length < 2) return;
    const trials = pair.map(trialOf);
    const table = side.appendChild(document.createElement("table"));
    const title = table.createCaption();
    title.textContent = "Two trials side by side";
    const head = table.createTHead().insertRow();
    head.append(document.createElement("td"));
    for (const trial of trials) {
      const cell = head.appendChild(document.createElement("th"));
      cell.scope = "col";
      cell.textContent = `${trial.family} ${trial.engine} #${trial.trial}`;
    }
    const body = table.createTBody();
    const names = [...new Set(trials.flatMap(({ params }) => Object.keys(params)))];
    for (const name of names) body.append(line(name, trials.map(({ params }) => params[name])));
    for (const key of data.trialColumns) {
      const values = trials.map((trial) => trial[key]);
      if (key !== "params" && !HIDDEN.has(key) && values.some((value) => value !== null)) body.append(line(key, values));
    }
    const close = side.appendChild(document.createElement("button"));
    close.type = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => {
      page.set({ pair: "" });
      compareTwo();
    });
  };
  for (const box of ticks) {
    box.hidden = false;
    box.addEventListener("change", () => {
      page.set({ pair: ticks.filter(({ checked }) => checked).map((ticked) => rowOf(ticked).id) });
      compareTwo();
      if (!side.hidden) page.show("side");
    });
  }

  // -- export: the rows that are shown, in their order, with the trials of unfolded families

  const columns = [...data.columns, "configuration"];
  const values = (record) => columns.map((column) => record[column] ?? null);
  document.getElementById("export").addEventListener("click", () => {
    const lines = [columns];
    for (const family of sort()) {
      const chosen = data.trials[family.body.dataset.chosen] && trialOf({ id: family.body.dataset.chosen });
      if (family.body.hidden) continue;
      lines.push(values({ ...family.values, configuration: chosen ? configuration(chosen) : null }));
      for (const { row, values: trial } of isOpen(family) ? family.trials : []) {
        if (!row.hidden) lines.push(values({ ...trial, row: "trial", configuration: configuration(trial) }));
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
    for (const family of families) if (family.folded) show(family, open.has(family.values.family));
    filter.value = page.get("filter") ?? "";
    sort();
    select();
    dress();
    compareTwo();
  });
  controls.hidden = false;
})();
