// What holds the page together: one choice of rows for the table and all charts, and one chosen row.
"use strict";

const groupOf = (row) => data.settings.map((name) => plain(row[name])).join(", ");

function makeGroups() {
  const counts = new Map();
  for (const row of rows) counts.set(groupOf(row), (counts.get(groupOf(row)) ?? 0) + (row.images_per_second != null));
  const ordered = [...counts].sort((a, b) => b[1] - a[1]);
  byId("group").append(...ordered.map(([name, count]) => element("option", `${name} (${count})`, { value: name })));
  byId("group").addEventListener("change", redraw);
}

function redraw() {
  const shown = shownRows();
  drawTable(shown, redraw, choose);
  drawCharts(shown);
}

function drawCharts(shown) {
  const failed = rows.filter((row) => row.ratio == null).length;
  const open = rows.filter(unresolved).length;
  byId("summary").textContent = `${shown.length} of ${rows.length} rows are shown; ${failed} have no figures, `
    + `${open} are not resolved. ${data.fixed ? `All: ${data.fixed}. ` : ""}Made ${data.made}.`;
  drawRatios(shown, choose);
  const group = shown.filter((row) => groupOf(row) === byId("group").value);
  drawScatter("params", "million parameters", 1e6, group, choose);
  drawScatter("macs", "billion MACs", 1e9, group, choose);
  drawScatter("memory", "MB of memory", 1e6, group, choose);
  const missing = group.filter((row) => row.images_per_second == null);
  byId("missing").textContent = missing.length
    ? `Without figures, and not shown: ${missing.map((row) => `${row.variant} (${row.status})`).join(", ")}.` : "";
  if (table.chosen != null) drawSamples(rows[table.chosen]);
}

function choose(index) {
  table.chosen = index;
  const row = rows[index];
  for (const line of byId("rows").tBodies[0].rows) line.classList.toggle("chosen", Number(line.dataset.index) === index);
  const count = row.samples.pairs.length;
  byId("samples-of").textContent = `${row.variant} | ${row.against}, ${groupOf(row)}: ${row.status}`
    + `${row.why ? `: ${row.why}` : ""}. ${count} pairs of times, ${row.discarded_count} thrown away.`;
  drawSamples(row);
  byId("samples").scrollIntoView({ block: "nearest" });
}

function drawStamps() {
  byId("remarks").append(...data.remarks.map((text) => element("li", text)));
  if (!data.remarks.length) byId("remarks").append(element("li", "none"));
  data.stamps.forEach((stamp, at) => {
    const machine = stamp.machine ?? {};
    const of = rows.filter((row) => row.stamp === at).length;
    const details = element("details");
    const title = [machine.gpu, machine.processor, machine.system].filter(Boolean).join(", ") || "unknown machine";
    details.append(element("summary", `${title}: ${of} rows`), element("pre", JSON.stringify(stamp, null, 2)));
    byId("stamps").append(details);
  });
}

makeFilters(redraw);
makeGroups();
drawStamps();
redraw();
for (const query of ["(prefers-color-scheme: dark)", "(max-width: 45rem)"]) {
  matchMedia(query).addEventListener("change", () => drawCharts(shownRows()));
}
document.body.dataset.ready = "yes";
