// Picks the rows that the filters leave and hands them to the charts. It computes no statistic: every value and
// interval comes from SQL.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const state = {};
const drawn = new Map();

// ---- tables: columns as pages/encode.py writes them

function reader(table) {
  const of = {};
  for (const [name, column] of Object.entries(table.of)) {
    of[name] = Array.isArray(column) ? (i) => column[i] : (i) => (column.at[i] === null ? null : column.texts[column.at[i]]);
  }
  return { n: table.n, of, get: (name, i) => (of[name] ? of[name](i) : null) };
}

const points = reader(page.points);
const tables = Object.fromEntries(Object.entries(page.tables).map(([name, table]) => [name, reader(table)]));
const row = (table, i) => Object.fromEntries(Object.keys(table.of).map((name) => [name, table.get(name, i)]));

// ---- filters and the URL

const SETUP = page.setup;

function chooseSetup(changed) {
  // Of the setups that were measured, the one with the value just chosen that is nearest to the rest of the choice.
  const near = (setup) => SETUP.reduce((n, name, k) => n + (setup[k] === state[name] ? (name === changed ? 100 : 1) : 0), 0);
  const best = page.setups.reduce((a, b) => (near(b) > near(a) ? b : a), page.setups[0]);
  SETUP.forEach((name, k) => (state[name] = best ? best[k] : null));
}

function readUrl() {
  const given = new URLSearchParams(location.search);
  for (const filter of page.filters) {
    const value = given.get(filter.name);
    state[filter.name] = filter.options.some((o) => o.value === value) ? value : filter.options[0]?.value ?? null;
  }
  chooseSetup(null);
}

function writeUrl() {
  const given = new URLSearchParams();
  for (const filter of page.filters) {
    if (filter.options.length && state[filter.name] !== filter.options[0].value) given.set(filter.name, state[filter.name]);
  }
  const query = given.toString();
  history.replaceState(null, "", location.pathname + (query ? "?" + query : "") + location.hash);
}

const same = (get) => SETUP.every((name) => get(name) === null || get(name) === undefined || get(name) === state[name]);

// ---- rows

const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const share = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0 });

function shown(value, name) {
  if (value === null || value === undefined) return "–";
  if (page.names[name]?.share) return share.format(value);
  return Math.abs(value) >= 100 ? whole.format(value) : short.format(value);
}

function matching(loadMatters) {
  const found = [];
  for (let i = 0; i < points.n; i++) {
    if (points.get("verdicts", i) !== state.verdict) continue;
    if (!same((name) => points.get(name, i))) continue;
    if (state.interface !== "all" && points.get("interface", i) !== state.interface) continue;
    if (loadMatters && state.load !== "all" && points.get("load", i) !== state.load) continue;
    found.push(i);
  }
  return found;
}

// The load of charts that show only one: the one chosen, or the first of those that they have rows of.
function oneLoad(rows) {
  if (state.load !== "all") return state.load;
  const measured = new Set(rows);
  return page.loads.find((load) => measured.has(load)) ?? null;
}

function family(i) {
  if (points.get("client_batch", i) > 1 || points.get("payloads", i)) return "";
  return points.get("load_kind", i) === "closed" ? "users" : points.get("arrivals", i);
}

const HDR = { p50: 2, p90: 10, p95: 20, p99: 100, p999: 1000 };

function figuresOf(chart) {
  const chosen = `${chart.measure || state.measure}_${state.percentile}_ms`;
  if (chart.figures[0] === "") return [chosen];
  if (chart.figures[0] === "*") return Object.keys(HDR).map((p) => `${state.measure}_${p}_ms`);
  return chart.figures;
}

function limitOf(name) {
  if (name === "goodput") return page.slo.share;
  if (name.startsWith("latency_")) return page.slo.latency;
  if (name.startsWith("ttft_")) return page.slo.ttft;
  return name.startsWith("tpot_") ? page.slo.tpot : null;
}

function finish(one) {
  const [low, high] = [one.low ?? null, one.high ?? null];
  const range = low === null || high === null ? "" : `${shown(low, one.figure)}–${shown(high, one.figure)}`;
  const edge = high ?? one.value;
  return { ...one, low, high, range, text: shown(one.value, one.figure), edge, room: edge * 1.25 };
}

function pointRows(chart) {
  // A curve over loads shows all of them.
  let found = matching(!chart.family);
  if (chart.workload) {
    const load = oneLoad(found.map((i) => points.get("load", i)));
    found = found.filter((i) => points.get("load", i) === load);
  }
  if (chart.family) found = found.filter((i) => family(i) === chart.family);
  const interfaces = new Set(found.map((i) => points.get("interface", i)));
  const rows = [];
  for (const name of figuresOf(chart)) {
    const figure = page.figures[name];
    if (!figure) continue;
    for (const i of found) {
      // In a comparison a figure that is missing leaves a dash, elsewhere nothing.
      if (figure.value[i] === null && !chart.wide) continue;
      const stack = page.titles[points.get("stack", i)] ?? points.get("stack", i);
      const at = points.get("interface", i);
      const percentile = chart.figures[0] === "*" ? name.match(/_(p\d+)_ms$/)[1] : null;
      rows.push(finish({
        series: interfaces.size > 1 ? `${stack} · ${at}` : stack, stack, interface: at,
        load_title: points.get("load_title", i),
        offered: percentile ? HDR[percentile] : points.get("users", i) ?? points.get("rate_per_s", i),
        figure: name, label: page.names[name]?.label ?? `${page.measures[chart.measure || state.measure]} ${name.match(/p\d+/)[0]}, ms`,
        better: page.names[name]?.better ?? "less", value: figure.value[i], low: figure.low[i], high: figure.high[i],
        limit: limitOf(name), blocks: points.get("blocks", i), degraded: points.get("degraded", i),
        run_id: points.get("run_id", i), trials: points.get("trial_ids", i),
      }));
    }
  }
  const order = (one) => one.offered ?? 0;
  // Lines are drawn along their load; elsewhere each stack keeps its place, whatever figures it lacks.
  const along = chart.family || chart.figures[0] === "*";
  return rows.sort((a, b) => (along ? order(a) - order(b) : a.series.localeCompare(b.series)));
}

function tableRows(chart) {
  const name = { scatter: "complexity" }[chart.source] ?? chart.source;
  const table = tables[name];
  const fits = [];
  for (let i = 0; i < (table?.n ?? 0); i++) {
    const one = row(table, i);
    if (!same((part) => one[part])) continue;
    if (one.interface && state.interface !== "all" && one.interface !== state.interface) continue;
    if (chart.figures.length && !chart.figures.includes(one.figure)) continue;
    fits.push(one);
  }
  const load = chart.workload ? oneLoad(fits.map((one) => one.load)) : null;
  const found = [];
  for (const one of fits) {
    if (chart.workload && one.load !== load) continue;
    if (chart.source === "scatter" && one.component !== state.component) continue;
    if (chart.source === "precisions" && state.load !== "all" && one.load !== state.load) continue;
    const stack = one.title ?? page.titles[one.stack] ?? one.stack;
    const label = one.component ?? one.verdict ?? page.names[one.figure]?.label ?? one.figure ?? one.unit;
    const value = { complexity: one.value, scatter: one.throughput_per_s, cost: one.usd_per_million, verdicts: one.trials }[chart.source];
    found.push(finish({
      series: one.computed ? `${stack}, ${one.computed} · ${one.interface}, ${one.load_title}` : stack, stack,
      interface: one.interface ?? null, load_title: one.load_title ?? loadTitle(one.load),
      offered: chart.source === "scatter" ? one.value : one.second ?? null, figure: one.figure ?? label, label,
      better: "less", value: value ?? one.value, low: one.low, high: one.high, limit: null, blocks: one.blocks ?? null,
      run_id: one.run_id ?? null, trial_id: one.trial_id ?? null, reason: one.reason ?? null,
    }));
  }
  return found;
}

const loadTitle = (load) => page.filters.find((one) => one.name === "load").options.find((one) => one.value === load)?.title ?? load ?? null;

const rowsOf = (chart) => (chart.source === "points" ? pointRows(chart) : tableRows(chart));

// ---- drawing

function theme() {
  const css = getComputedStyle(document.documentElement);
  const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => css.getPropertyValue(name).trim());
  const font = "system-ui, 'DejaVu Sans', sans-serif";
  return {
    axis: { labelColor: ink, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelFont: font, titleFont: font, titleFontWeight: "normal", labelFontSize: 12, titleFontSize: 12 },
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
  if (before) {
    before.signal("note", note()).data("rows", rows);
    await before.resize().runAsync();
    return;
  }
  const place = figure.querySelector(".draw > div");
  if (chart.wide) place.style.minWidth = `${200 + 125 * new Set(rows.map((one) => one.series)).size}px`;
  const spec = structuredClone(chart.spec);
  spec.data.find((one) => one.name === "rows").values = rows;
  const signal = (name) => spec.signals.find((one) => one.name === name);
  signal("note").value = note();
  signal("ink").value = theme().text.fill;
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

function changed() {
  for (const id of byId.keys()) stale.add(id);
  showControls();
  showAnswers();
  showTrials();
  writeUrl();
  return refresh();
}

// ---- text around the charts

function cells(tag, values, numbers = []) {
  const line = document.createElement("tr");
  values.forEach((value, k) => {
    const one = document.createElement(tag);
    one.textContent = value ?? "–";
    if (tag === "th") one.scope = "col";
    if (numbers[k]) one.className = "number";
    else if (String(value).length > 60) one.className = "long";
    line.append(one);
  });
  return line;
}

const TABLE = [["stack", "stack"], ["interface", "interface"], ["load_title", "load"], ["label", "figure"], ["offered", "offered"], ["value", "value"], ["low", "low"], ["high", "high"], ["blocks", "blocks"], ["reason", "reason"], ["run_id", "run"], ["trials", "trials"]];

function kept(rows) {
  return TABLE.filter(([name]) => rows.some((one) => one[name] !== null && one[name] !== undefined));
}

function fillTable(figure, rows) {
  const table = figure.querySelector("details table");
  const names = kept(rows);
  const numbers = names.map(([name]) => ["offered", "value", "low", "high", "blocks"].includes(name));
  const format = (one, name) => (["value", "low", "high"].includes(name) ? shown(one[name], one.figure) : one[name]);
  table.replaceChildren(cells("th", names.map((one) => one[1])), ...rows.slice(0, 1000).map((one) => cells("td", names.map(([name]) => format(one, name)), numbers)));
}

function showAnswers() {
  const random = document.getElementById("random");
  if (random) random.hidden = state.weights !== "random";
  for (const one of document.querySelectorAll("[data-setup]")) {
    const setup = JSON.parse(one.dataset.setup);
    const fits = (name, value) => value === undefined || state[name] === undefined || state[name] === "all" || state[name] === value;
    one.hidden = !(SETUP.every((name, k) => state[name] === null || setup[k] === null || setup[k] === state[name]) && fits("interface", one.dataset.interface) && fits("load", one.dataset.load));
  }
  for (const list of document.querySelectorAll(".answers")) {
    const none = list.parentElement.querySelector(".none");
    if (none) none.hidden = [...list.children].some((one) => !one.hidden);
  }
}

let most = 100;
function showTrials() {
  const table = document.getElementById("trials");
  if (!table) return;
  const names = page.trialColumns;
  const found = [];
  for (let i = 0; i < tables.trials.n; i++) {
    const get = (name) => tables.trials.get(name, i);
    if (!same(get) || (state.interface !== "all" && get("interface") !== state.interface) || (state.load !== "all" && get("load") !== state.load)) continue;
    if (state.verdict === "valid" && get("verdict") !== "VALID") continue;
    found.push(i);
  }
  const value = (i, name) => {
    const one = tables.trials.get(name, i);
    return typeof one === "number" && name !== "block" ? shown(one, name) : one;
  };
  const numbers = names.map(([name]) => found.some((i) => typeof tables.trials.get(name, i) === "number"));
  table.replaceChildren(cells("th", names.map((one) => one[1])), ...found.slice(0, most).map((i) => cells("td", names.map(([name]) => value(i, name)), numbers)));
  document.getElementById("trials-count").textContent = `${whole.format(Math.min(most, found.length))} of ${whole.format(found.length)} trials`;
  document.getElementById("trials-more").hidden = found.length <= most;
}

function showControls() {
  for (const filter of page.filters) {
    const control = document.getElementById(`filter-${filter.name}`);
    if (control) control.value = state[filter.name];
  }
}

// ---- downloads

function save(name, type, content) {
  const link = document.createElement("a");
  link.href = typeof content === "string" && content.startsWith("data:") ? content : URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
}

function csv(rows) {
  const names = kept(rows).map((one) => one[0]).concat("weights");
  const quote = (value) => (value === null || value === undefined ? "" : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return [names.join(","), ...rows.map((one) => names.map((name) => quote(name === "weights" ? state.weights : one[name])).join(","))].join("\n") + "\n";
}

async function download(chart, kind) {
  const name = `${page.group}-${chart.id}.${kind}`;
  if (kind === "csv") return save(name, "text/csv", csv(rowsOf(chart)));
  const view = drawn.get(chart.id);
  if (!view) return;
  view.background(getComputedStyle(document.documentElement).getPropertyValue("--ground").trim());
  if (kind === "svg") save(name, "image/svg+xml", await view.toSVG());
  else save(name, "image/png", (await view.toCanvas(2)).toDataURL("image/png"));
}

// ---- start

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  document.getElementById("theme").setAttribute("aria-pressed", String(name === "dark"));
  for (const view of drawn.values()) view.finalize();
  drawn.clear();
  for (const id of byId.keys()) stale.add(id);
  refresh();
}

readUrl();
for (const filter of page.filters) {
  const control = document.getElementById(`filter-${filter.name}`);
  control?.addEventListener("change", () => {
    state[filter.name] = control.value;
    if (SETUP.includes(filter.name)) chooseSetup(filter.name);
    performance.mark("filter");
    changed().then(() => performance.measure("filtered", "filter"));
  });
}
for (const chart of page.charts) {
  const figure = document.getElementById(`figure-${chart.id}`);
  figure.querySelector("details").addEventListener("toggle", () => fillTable(figure, rowsOf(chart)));
  for (const button of figure.querySelectorAll("[data-save]")) button.addEventListener("click", () => download(chart, button.dataset.save));
}
document.getElementById("trials-more")?.addEventListener("click", () => { most *= 10; showTrials(); });
document.getElementById("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const id = entry.target.id.replace("figure-", "");
    if (entry.isIntersecting) seen.add(id);
    else seen.delete(id);
  }
  refresh();
}, { rootMargin: "300px" });

const dark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
showControls();
showAnswers();
// The first chart is drawn at once, the others as they come into sight.
if (page.charts.length) seen.add(page.charts[0].id);
refresh();
working.then(showTrials);
for (const chart of page.charts) watch.observe(document.getElementById(`figure-${chart.id}`));
// For print, where everything is seen at once, and for whoever waits for a drawing to be done.
window.settled = () => refresh();
window.drawAll = () => { for (const id of byId.keys()) seen.add(id); return refresh(); };
window.addEventListener("beforeprint", window.drawAll);
