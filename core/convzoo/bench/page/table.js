// The table: its columns, its filters, and the order of its rows. It writes text only, never HTML.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows.map((row, index) => ({ ...row, index }));
const byId = (id) => document.getElementById(id);

function element(tag, text, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  return made;
}

const seconds = (x) => (x == null ? "-" : x < 1 ? `${(x * 1e3).toPrecision(3)} ms` : `${x.toPrecision(3)} s`);
const scaled = (by, unit) => (x) => (x == null ? "-" : `${(x / by).toPrecision(4)} ${unit}`);
const interval = (row) =>
  row.ratio == null ? "-" : row.ratio_low && row.ratio_high
    ? `${row.ratio.toFixed(3)} [${row.ratio_low.toFixed(3)}, ${row.ratio_high.toFixed(3)}]` : row.ratio.toFixed(3);
const plain = (x) => (x == null ? "-" : String(x));
const yes = (x) => ({ true: "yes", false: "no" }[x] ?? "-");

// Each column: what it is called, what it is sorted by, and how that is shown.
const columns = [
  ["variant", "variant", plain], ["against", "against", plain],
  ...data.varying.map((name) => [name.replace("_", " "), name, plain]),
  ["verdict", "verdict", plain], ["ours / theirs", "ratio", (x, row) => interval(row)],
  ["noise", "noise_floor", (x) => (x == null ? "-" : `${(100 * x).toFixed(1)} %`)],
  ["images/s", "images_per_second", (x) => (x == null ? "-" : x.toPrecision(4))],
  ["ours", "median_s", seconds], ["theirs", "median_s_theirs", seconds],
  ["parameters", "params", scaled(1e6, "M")], ["MACs", "macs", scaled(1e9, "G")],
  ["memory", "memory", scaled(1e6, "MB")], ["of theirs", "memory_theirs", scaled(1e6, "MB")],
  ["same work", "same_work", yes], ["pairs", "pairs", plain], ["thrown away", "discarded_count", plain],
  ["status", "status", plain], ["why", "why", plain],
];
const classes = { faster: "faster", slower: "slower", unresolved: "unresolved", refused: "refused",
  failed: "failed", interrupted: "failed", "out of memory": "failed" };

const table = { key: null, down: false, filters: {}, text: "", chosen: null };

function makeFilters(changed) {
  const text = element("input", undefined, { type: "search", id: "filter-text", placeholder: "resnet50 timm" });
  text.addEventListener("input", () => { table.text = text.value; changed(); });
  const form = byId("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(labelled("has all of these words", text));
  for (const key of ["verdict", "status", ...data.varying]) {
    const values = [...new Set(rows.map((row) => plain(row[key])))].sort();
    if (values.length < 2) continue;
    const select = element("select", undefined, { id: `filter-${key}` });
    select.append(element("option", "all", { value: "" }), ...values.map((v) => element("option", v, { value: `=${v}` })));
    select.addEventListener("change", () => { table.filters[key] = select.value; changed(); });
    form.append(labelled(key.replace("_", " "), select));
  }
}

function labelled(text, control) {
  const label = element("label", text);
  label.append(control);
  return label;
}

function shownRows() {
  const words = table.text.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = rows.filter((row) => {
    const all = columns.map(([, key]) => plain(row[key])).join(" ").toLowerCase();
    return words.every((word) => all.includes(word))
      && Object.entries(table.filters).every(([key, wanted]) => !wanted || `=${plain(row[key])}` === wanted);
  });
  if (table.key == null) return kept;
  const sign = table.down ? -1 : 1;
  return kept.sort((a, b) => {
    const [x, y] = [a[table.key], b[table.key]];
    if (x == null || y == null) return (x == null) - (y == null); // what has no figure is last in either order
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
  });
}

function drawTable(shown, changed, choose) {
  const heads = element("tr");
  for (const [title, key] of columns) {
    const head = element("th", undefined, { scope: "col" });
    const button = element("button", title, { type: "button" });
    if (table.key === key) head.setAttribute("aria-sort", table.down ? "descending" : "ascending");
    button.dataset.key = key;
    button.addEventListener("click", () => {
      table.down = table.key === key && !table.down;
      table.key = key;
      changed();
      document.querySelector(`th button[data-key="${key}"]`).focus();
    });
    head.append(button);
    heads.append(head);
  }
  byId("rows").tHead.replaceChildren(heads);
  byId("rows").tBodies[0].replaceChildren(...shown.map((row) => drawRow(row, choose)));
}

function drawRow(row, choose) {
  const line = element("tr", undefined, { tabIndex: 0, className: row.index === table.chosen ? "chosen" : "" });
  line.dataset.index = row.index;
  for (const [, key, show] of columns) {
    const cell = element("td", show(row[key], row));
    if (typeof row[key] === "number") cell.classList.add("number");
    if (key === "verdict" && classes[row.verdict]) cell.classList.add(classes[row.verdict]);
    line.append(cell);
  }
  line.addEventListener("click", () => choose(row.index));
  line.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(row.index); }
  });
  return line;
}
