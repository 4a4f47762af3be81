// Exports the record of the trials, which is packed in the page (sections/reproduce.py), as CSV and JSON.
"use strict";
(() => {
  const source = document.getElementById("raw");
  const actions = document.getElementById("raw-actions");
  if (!source || !actions) return;

  const trials = async () => {
    const packed = Uint8Array.from(atob(JSON.parse(source.textContent)), (character) => character.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const { columns, rows } = await new Response(unpacked).json();
    return rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]])));
  };

  const csv = (records) => {
    const columns = Object.keys(records[0]).filter((column) => column !== "params");
    const names = [...new Set(records.flatMap(({ params }) => Object.keys(params)))];
    const lines = records.map((trial) => [
      ...columns.map((column) => trial[column]),
      ...names.map((name) => (Object.hasOwn(trial.params, name) ? trial.params[name] : null)),
    ]);
    return page.csv([[...columns, ...names.map((name) => `params.${name}`)], ...lines]);
  };

  const formats = {
    csv: { type: "text/csv", written: csv },
    json: { type: "application/json", written: (records) => `${JSON.stringify(records, null, 1)}\n` },
  };
  const name = actions.dataset.name.replace(/[^A-Za-z0-9._-]+/g, "-");
  for (const button of actions.querySelectorAll("button[data-raw]")) {
    const ending = button.dataset.raw;
    const { type, written } = formats[ending];
    button.addEventListener("click", async () => {
      page.save(`${name}-trials.${ending}`, written(await trials()), type);
    });
  }
  actions.hidden = false;
})();
