// Hands rows to Vega, for the charts in sight.

const drawn = new Map();

function theme() {
  const css = getComputedStyle(document.documentElement);
  const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => css.getPropertyValue(name).trim());
  const font = "system-ui, 'DejaVu Sans', sans-serif";
  return {
    axis: { labelColor: ink, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelFont: font, titleFont: font, titleFontWeight: "normal", labelFontSize: 12, titleFontSize: 12, labelSeparation: 6 },
    legend: { labelColor: ink, titleColor: soft, labelFont: font, titleFont: font, orient: "top", layout: { top: { direction: innerWidth < 560 ? "vertical" : "horizontal", anchor: "start" } }, labelFontSize: 12, labelLimit: 260, columns: innerWidth < 560 ? 1 : 2, symbolStrokeWidth: 2 },
    title: { color: soft, font, fontSize: 11, fontWeight: "normal" },
    text: { fill: ink, font }, view: { stroke: null },
    style: { "guide-label": { fill: ink, font }, "guide-title": { fill: soft, font } },
  };
}

const note = () => (state.weights === "random" ? "random weights: real cost, meaningless answers" : "");

// What of the filters' choice a chart shows, where its title leaves it open.
function chosen(chart, rows) {
  const words = [];
  if (chart.source === "scatter") words.push(`Component: ${state.component}.`);
  if (chart.figures[0] === "") words.push(`${rows[0].label.replace(/, ms$/, "")}.`);
  if (chart.figures[0] === "*") words.push(`${page.measures[state.measure]}.`);
  if (chart.workload) words.push(`Load: ${rows[0].load_title}.`);
  return words.map((one) => one[0].toUpperCase() + one.slice(1) + " ").join("");
}

function say(figure, chart, rows) {
  figure.querySelector(".load").textContent = rows.length ? chosen(chart, rows) : "";
  figure.querySelector(".random").hidden = state.weights !== "random";
  figure.querySelector(".draw").classList.add("done");
  figure.querySelector(".empty").hidden = rows.length > 0;
  figure.querySelector(".draw").hidden = rows.length === 0;
  if (figure.querySelector("details").open) fillTable(figure, rows);
}

async function draw(chart) {
  const figure = document.getElementById(`figure-${chart.id}`);
  const rows = rowsOf(chart);
  say(figure, chart, rows);
  const before = drawn.get(chart.id);
  if (!rows.length && !before) return;
  const place = figure.querySelector(".draw > div");
  if (chart.wide) place.style.minWidth = `${200 + 125 * new Set(rows.map((one) => one.series)).size}px`;
  if (before) {
    before.signal("note", note()).data("rows", rows);
    if (chart.source === "scatter") before.signal("component", state.component);
    await before.resize().runAsync();
    return;
  }
  const spec = structuredClone(chart.spec);
  spec.data.find((one) => one.name === "rows").values = rows;
  const signal = (name) => spec.signals.find((one) => one.name === name);
  signal("note").value = note();
  signal("ink").value = theme().text.fill;
  if (chart.source === "scatter") signal("component").value = state.component;
  spec.description = `${chart.title}. ${chart.caption}`;
  const result = await vegaEmbed(place, spec, { mode: "vega", ast: true, actions: false, renderer: "svg", logLevel: 1, defaultStyle: false, tooltip: { theme: "custom" }, config: theme() });
  drawn.set(chart.id, result.view);
  if (drawn.size === 1) performance.mark("first chart");
  document.documentElement.dataset.drawn = drawn.size;
}

const stale = new Set(page.charts.map((chart) => chart.id));
const seen = new Set();
const byId = new Map(page.charts.map((chart) => [chart.id, chart]));

let working = Promise.resolve();
function refresh() {
  working = working.then(async () => {
    for (const id of [...stale]) {
      if (!seen.has(id)) continue;
      stale.delete(id);
      await draw(byId.get(id));
    }
  }).catch((error) => console.error(error));
  return working;
}
