// The charts. Plotly reads some HTML in its texts, so that what comes from names is escaped for it.
"use strict";

const escaped = (x) => String(x).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const config = { responsive: true, displaylogo: false };
const unresolved = (row) => row.status === "unresolved";
const settingsOf = (row) => data.varying.map((name) => `${name.replace("_", " ")} ${plain(row[name])}`).join(", ");

function layout(more = {}) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true };
  return {
    paper_bgcolor: colour("back"), plot_bgcolor: colour("back"), font: { color: colour("text"), size: 12 },
    margin: { l: 50, r: 15, t: 30, b: 40 }, hoverlabel: { bgcolor: colour("raised"), font: { color: colour("text") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, hovermode: "closest", ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

function draw(id, traces, shape, choose) {
  const place = byId(id);
  Plotly.react(place, traces, shape, config);
  if (choose && !place.dataset.listens) {
    place.dataset.listens = "yes";
    place.on("plotly_click", (event) => {
      const index = event.points[0].customdata;
      if (index != null) choose(index);
    });
  }
}

function drawRatios(shown, choose) {
  const all = [...shown].reverse(); // the first row is on top
  const labels = all.map((row) => escaped(`${row.variant} | ${row.against} ${settingsOf(row)}`));
  const told = all.map((row, at) => ({ row, at })).filter(({ row }) => row.ratio != null);
  const mute = all.map((row, at) => ({ row, at })).filter(({ row }) => row.ratio == null);
  const floors = told.map(({ row }) => row.noise_floor ?? 0);
  const noise = { type: "bar", orientation: "h", name: "noise", hoverinfo: "none", width: 0.9, opacity: 0.8,
    marker: { color: colour("line") }, y: told.map(({ at }) => at), base: floors.map((f) => 1 / (1 + f)),
    x: floors.map((f) => 1 + f - 1 / (1 + f)), customdata: told.map(({ row }) => row.index) };
  const bars = { type: "bar", orientation: "h", name: "ratio", width: 0.55, base: 1,
    y: told.map(({ at }) => at), x: told.map(({ row }) => row.ratio - 1), customdata: told.map(({ row }) => row.index),
    marker: { color: told.map(({ row }) => colour(row.verdict)),
      pattern: { shape: told.map(({ row }) => (unresolved(row) ? "/" : "")) } },
    error_x: { type: "data", symmetric: false, color: colour("text"), thickness: 1.2,
      array: told.map(({ row }) => (row.ratio_high ? row.ratio_high - row.ratio : 0)),
      arrayminus: told.map(({ row }) => (row.ratio_low ? row.ratio - row.ratio_low : 0)) },
    hovertext: told.map(({ row, at }) => `${labels[at]}<br>${interval(row)}, ${escaped(row.verdict)}`), hoverinfo: "text" };
  const without = { type: "scatter", mode: "text", name: "no figures", y: mute.map(({ at }) => at), x: mute.map(() => 1),
    text: mute.map(({ row }) => escaped(row.status)), textposition: "middle right", hoverinfo: "text",
    hovertext: mute.map(({ row }) => escaped(row.why || row.status)), customdata: mute.map(({ row }) => row.index),
    textfont: { color: colour("slower") } };
  const wide = !matchMedia("(max-width: 45rem)").matches;
  const short = all.map((row) => escaped(row.variant.length > 16 ? `${row.variant.slice(0, 15)}…` : row.variant));
  draw("ratios", [noise, bars, without], layout({ barmode: "overlay", showlegend: false,
    height: 90 + 22 * Math.max(1, all.length),
    xaxis: { title: { text: "speed of ours / theirs" } },
    yaxis: { tickvals: all.map((_, at) => at), ticktext: wide ? labels : short, range: [-0.7, all.length - 0.3] },
    shapes: [{ type: "line", x0: 1, x1: 1, y0: 0, y1: 1, yref: "paper", line: { color: colour("text"), width: 1 } }],
  }), choose);
}

// The points that no other beats in both: smaller or as small, and faster.
function front(points) {
  const ordered = [...points].sort((a, b) => a.x - b.x || b.y - a.y);
  let best = -Infinity;
  return ordered.filter((point) => point.y > best && ((best = point.y), true));
}

function drawScatter(id, title, of, shown, choose) {
  const sides = [
    { name: "ours", symbol: "circle", end: "", label: (row) => row.variant },
    { name: "theirs", symbol: "diamond", end: "_theirs", label: (row) => row.against },
  ];
  const points = sides.map((side) => shown
    .map((row) => ({ row, side, x: row[id + side.end] && row[id + side.end] / of, y: row[`images_per_second${side.end}`] }))
    .filter(({ x, y }) => x != null && y != null));
  const traces = points.map((found, at) => ({ type: "scatter", mode: "markers", name: sides[at].name,
    x: found.map(({ x }) => x), y: found.map(({ y }) => y), customdata: found.map(({ row }) => row.index),
    marker: { size: 10, color: colour(sides[at].name),
      symbol: found.map(({ row, side }) => side.symbol + (unresolved(row) ? "-open" : "")) },
    hoverinfo: "text",
    hovertext: found.map(({ row, side, x, y }) =>
      `${escaped(side.label(row))}<br>${x.toPrecision(4)} ${escaped(title)}<br>${y.toPrecision(4)} images/s`) }));
  const best = front(points.flat());
  traces.push({ type: "scatter", mode: "lines+markers", name: "Pareto front", hoverinfo: "skip", x: best.map(({ x }) => x),
    y: best.map(({ y }) => y), line: { color: colour("faint"), dash: "dot", shape: "hv" },
    marker: { size: 17, symbol: "circle-open", color: colour("faint"), line: { width: 1.5 } } });
  draw(id, traces, layout({ xaxis: { title: { text: title }, rangemode: "tozero" },
    yaxis: { title: { text: "images/s" }, rangemode: "tozero" } }), choose);
}

function drawSamples(row) {
  const times = (pairs, places) => ({
    x: pairs.flatMap((_, number) => places.map(() => number + 1)),
    y: pairs.flatMap((pair) => places.map((place) => pair[place] && 1e3 * pair[place])),
  });
  const trace = (name, pairs, places, marker, more = {}) => ({ type: "scatter", mode: "markers", name,
    ...times(pairs, places), marker: { size: 6, ...marker },
    hovertemplate: `${name}, pair %{x}: %{y:.4g} ms<extra></extra>`, ...more });
  const { pairs, noise } = row.samples;
  const hidden = { visible: "legendonly" };
  const traces = [
    trace("ours", pairs, [0, 3], { color: colour("ours") }),
    trace("theirs", pairs, [1, 2], { color: colour("theirs"), symbol: "diamond" }),
    trace("noise: ours and a twin", noise, [0, 1, 2, 3], { color: colour("faint"), symbol: "square" }, hidden),
    trace("thrown away", row.discarded, [0, 1, 2, 3], { color: colour("slower"), symbol: "x" }, hidden),
  ].filter(({ x }) => x.length);
  draw("samples", traces, layout({ height: 320, xaxis: { title: { text: "pair" } },
    yaxis: { title: { text: "ms a batch" } }, showlegend: true }));
}
