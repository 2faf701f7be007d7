"use strict";
(() => {
  // Numbers: one prefix that suits the size, four digits.
  const SCALES = {
    ns: [[1e9, "s"], [1e6, "ms"], [1e3, "us"], [1, "ns"]],
    pJ: [[1e12, "J"], [1e9, "mJ"], [1e6, "uJ"], [1e3, "nJ"], [1, "pJ"]],
    B: [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]],
    "B/ns": [[1e3, "TB/s"], [1, "GB/s"], [1e-3, "MB/s"]],
    FLOP: [[1e12, "TFLOP"], [1e9, "GFLOP"], [1e6, "MFLOP"], [1e3, "kFLOP"], [1, "FLOP"]],
  };
  const digits = (value) => String(Number(value.toPrecision(4)));
  function show(value, unit) {
    if (value === null) return "";
    if (typeof value !== "number") return value;
    if (unit === "1") return (100 * value).toFixed(1) + " %";
    const scales = SCALES[unit];
    if (!scales) return String(value);
    if (value === 0) return "0";
    const [size, name] = scales.find(([size]) => Math.abs(value) >= size) || scales[scales.length - 1];
    return digits(value / size) + " " + name;
  }
  const heading = (name) => name.replace(/_bytes_per_ns$/, "").replace(/_(ns|pj)$/, "").replaceAll("_", " ");

  // The table of operators: sorted by a click on a heading, filtered by words.
  const state = { table: "grouped", sort: "time_ns", down: true };
  for (const column of Object.values(page.tables).flat()) {
    column.text = "words" in column; // texts repeat: they come as numbers of words
    if (column.text) column.values = column.values.map((number) => column.words[number]);
  }
  const columns = () => page.tables[state.table];
  const find = (name) => columns().find((column) => column.name === name) || columns()[0];

  function order(rows) {
    const { values, text } = find(state.sort);
    const sign = state.down ? -1 : 1;
    const compare = text
      ? (a, b) => String(values[a]).localeCompare(String(values[b]))
      : (a, b) => (values[a] === null) - (values[b] === null) || values[a] - values[b];
    return rows.sort((a, b) => sign * compare(a, b) || a - b);
  }

  function matches(row, words) {
    const texts = columns().filter((column) => column.text).map((column) => column.values[row]);
    const line = texts.join(" ").toLowerCase();
    return words.every((word) => line.includes(word));
  }

  function drawHead() {
    const head = document.createElement("tr");
    for (const column of columns()) {
      const cell = document.createElement("th");
      const button = document.createElement("button");
      const sorted = column.name === state.sort;
      cell.scope = "col";
      cell.setAttribute("aria-sort", sorted ? (state.down ? "descending" : "ascending") : "none");
      cell.className = column.text ? "" : "number";
      button.type = "button";
      button.title = column.meaning;
      button.dataset.column = column.name;
      button.textContent = heading(column.name) + (sorted ? (state.down ? " ▼" : " ▲") : "");
      button.addEventListener("click", () => sortBy(column));
      cell.append(button);
      head.append(cell);
    }
    byId("operator-table").tHead.replaceChildren(head);
  }

  function sortBy(column) {
    state.down = column.name === state.sort ? !state.down : !column.text;
    state.sort = column.name;
    drawTable();
    byId("operator-table").tHead.querySelector(`[data-column="${CSS.escape(column.name)}"]`).focus();
  }

  function drawTable() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const count = columns()[0].values.length;
    const rows = order([...Array(count).keys()].filter((row) => matches(row, words)));
    drawHead();
    byId("operator-table").tBodies[0].replaceChildren(...rows.map(bodyRow));
    byId("shown").textContent = `${rows.length} of ${count} rows`;
  }

  function bodyRow(row) {
    const line = document.createElement("tr");
    for (const column of columns()) {
      const cell = document.createElement("td");
      cell.textContent = show(column.values[row], column.unit);
      cell.className = column.text ? "" : "number";
      line.append(cell);
    }
    return line;
  }

  byId("filter").addEventListener("input", drawTable);
  byId("rows").addEventListener("change", (event) => {
    state.table = event.target.value;
    drawTable();
  });
  if (!page.tables.every) {
    const option = byId("rows").querySelector("[value=every]");
    option.disabled = true;
    option.textContent = `every operator (${page.operators}: see operators.csv)`;
  }
  drawTable();
})();
