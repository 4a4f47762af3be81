// Shows the best candidate within the limits: the first that fits in the table, the recommended one, then the best.
"use strict";
(() => {
  const limits = document.getElementById("limits");
  if (!limits) return;
  const steps = JSON.parse(document.getElementById("ship-data").textContent);
  const inputs = [...limits.querySelectorAll("input[data-limit]")];
  const answer = document.getElementById("answer");
  const rows = [...document.querySelectorAll("#candidates > tbody > tr")];
  const places = new Map(rows.map((row) => [row, row.dataset.steps.split(" ").map(Number)]));

  const isLimited = (input) => Number(input.value) < Number(input.max);
  const fits = (row) => inputs.every((input) => {
    return !isLimited(input) || places.get(row)[input.dataset.place] <= Number(input.value);
  });

  const paragraph = (text) => {
    const element = document.createElement("p");
    element.className = "empty";
    element.textContent = text;
    return element;
  };

  const choose = () => {
    for (const input of inputs) {
      const words = isLimited(input) ? steps[input.dataset.limit][input.value][1] : "any";
      document.getElementById(`output-${input.dataset.limit}`).textContent = words;
      input.setAttribute("aria-valuetext", words);
    }
    const best = rows.find(fits);
    for (const row of rows) {
      row.hidden = !fits(row);
      row.classList.toggle("best", row === best);
    }
    const title = document.createElement("h3");
    title.textContent = inputs.some(isLimited) ? "Within these limits" : "Without limits";
    const card = best ? best.querySelector(".card").cloneNode(true) : paragraph("No complete trial is within these limits.");
    answer.replaceChildren(title, card);
  };

  // The address holds the limit itself, which stays valid when a running run changes the steps.
  const place = (input, limit) => {
    const choices = steps[input.dataset.limit];
    const within = choices.filter(([value]) => value <= limit * (1 + 1e-9)).length;
    return limit === null ? choices.length : Math.max(within - 1, 0);
  };

  for (const input of inputs) {
    input.addEventListener("input", () => {
      page.set({ [input.dataset.limit]: isLimited(input) ? steps[input.dataset.limit][input.value][0] : "" });
      choose();
    });
  }
  page.restored(() => {
    for (const input of inputs) {
      const limit = Number.parseFloat(page.get(input.dataset.limit) ?? "");
      input.value = place(input, Number.isFinite(limit) ? limit : null);
    }
    choose();
  });
  limits.hidden = false;
})();
