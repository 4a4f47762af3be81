// Sorts the list of runs by the column whose heading is pressed; empty cells stay at the end.
"use strict";
(() => {
  const table = document.querySelector("table.runs");
  if (!table) return;
  const headings = [...table.tHead.rows[0].cells];
  const [body] = table.tBodies;
  const newestFirst = [...body.rows];
  const words = new Intl.Collator("en", { numeric: true });

  const usual = (heading) => (heading.classList.contains("n") || heading === headings[0] ? "descending" : "ascending");
  const order = () => {
    const heading = headings.find(({ dataset }) => dataset.key === page.get("sort")) ?? headings[0];
    const direction = page.get("order");
    return { heading, direction: ["ascending", "descending"].includes(direction) ? direction : usual(heading) };
  };

  const sort = () => {
    const { heading, direction } = order();
    const sign = direction === "ascending" ? 1 : -1;
    const cell = (row) => row.cells[heading.cellIndex].dataset;
    const sorted = [...newestFirst].sort((one, other) => {
      const [a, b] = [cell(one).value, cell(other).value];
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * ("number" in cell(one) ? a - b : words.compare(a, b));
    });
    body.append(...sorted);
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
  };

  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const { heading: before, direction } = order();
      const other = direction === "ascending" ? "descending" : "ascending";
      page.set({ sort: heading.dataset.key, order: heading === before ? other : "" });
      sort();
    });
  }
  page.restored(sort);
})();
