// Picks the rows that the filters leave for a chart. No statistic is computed here: every value and interval comes from SQL.

const short = new Intl.NumberFormat("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const share = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0 });

function shown(value, name) {
  if (value === null || value === undefined) return "–";
  if (page.names[name]?.share) return share.format(value);
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return value.toExponential(2);
  return size >= 100 || Number.isInteger(value) ? whole.format(value) : short.format(value);
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

// Callers that wait, then arrivals, then batches and other payloads; each by how much is asked.
function placeOf(i) {
  const kind = ["users", "constant", "poisson", ""].indexOf(family(i));
  return 1e6 * kind + (points.get("users", i) ?? points.get("rate_per_s", i) ?? 0);
}

const HDR = { p50: 2, p90: 10, p95: 20, p99: 100, p999: 1000 };

function figuresOf(chart) {
  const chosen = `${chart.measure || state.measure}_${state.percentile}_ms`;
  if (chart.figures[0] === "") return [chosen];
  if (chart.figures[0] === "*") return Object.keys(HDR).map((p) => `${state.measure}_${p}_ms`);
  return chart.figures;
}

// Limits are the device's: those of the setup that is chosen.
function limitOf(name) {
  const slo = page.slos[page.setups.findIndex((setup) => SETUP.every((of, k) => setup[k] === state[of]))];
  if (!slo) return null;
  if (name === "goodput") return slo.share;
  const of = ["latency", "ttft", "tpot"].find((kind) => name.startsWith(`${kind}_`));
  return of ? slo[`${of}_ms`] : null;
}

function finish(one) {
  const [low, high] = [one.low ?? null, one.high ?? null];
  const ends = low === null || high === null ? [] : [shown(low, one.figure), shown(high, one.figure)];
  // Blocks that all agree have no interval to show: 0%–0% says nothing.
  const range = ends[0] === ends[1] ? "" : ends.join("–");
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
      const asked = points.get("users", i) ?? points.get("rate_per_s", i);
      const percentile = chart.figures[0] === "*" ? name.match(/_(p\d+)_ms$/)[1] : null;
      rows.push(finish({
        series: interfaces.size > 1 ? `${stack} · ${at}` : stack, stack, interface: at,
        load_title: points.get("load_title", i),
        asked, offered: percentile ? HDR[percentile] : asked,
        figure: name, label: page.names[name]?.label ?? `${page.measures[chart.measure || state.measure]} ${name.match(/p\d+/)[0]}, ms`,
        better: page.names[name]?.better ?? "less", value: figure.value[i], low: figure.low[i], high: figure.high[i],
        place: placeOf(i), limit: limitOf(name), blocks: points.get("blocks", i), degraded: points.get("degraded", i),
        run_id: points.get("run_id", i), trials: points.get("trial_ids", i),
      }));
    }
  }
  const byStack = (a, b) => a.series.localeCompare(b.series);
  // Lines are drawn along their load; where every load has a place of its own, they stand in their order; elsewhere each
  // stack keeps its place, whatever figures it lacks.
  if (chart.family || chart.figures[0] === "*") return rows.sort((a, b) => (a.offered ?? 0) - (b.offered ?? 0));
  return rows.sort(chart.workload ? byStack : (a, b) => a.place - b.place || byStack(a, b));
}

function tableRows(chart) {
  const name = { scatter: "complexity" }[chart.source] ?? chart.source;
  const table = tables[name];
  const valid = state.verdict === "valid";
  const fits = [];
  for (let i = 0; i < (table?.n ?? 0); i++) {
    const one = row(table, i);
    if (!same((part) => one[part])) continue;
    if (one.interface && state.interface !== "all" && one.interface !== state.interface) continue;
    if (chart.figures.length && !chart.figures.includes(one.figure)) continue;
    if (one.verdicts && one.verdicts !== state.verdict) continue;
    if (valid && one.verdict && one.verdict !== "VALID") continue;
    fits.push(one);
  }
  const load = chart.workload ? oneLoad(fits.map((one) => one.load)) : null;
  const found = [];
  for (const one of fits) {
    if (chart.workload && one.load !== load) continue;
    if (chart.source === "scatter" && one.component !== state.component) continue;
    if (["precisions", "verdicts"].includes(chart.source) && state.load !== "all" && one.load !== state.load) continue;
    const value = valueOf(chart.source, one, valid);
    if (value === null) continue;
    const stack = page.titles[one.stack] ?? one.title ?? one.stack;
    const amount = chart.source === "scatter" ? one.value : null;
    const label = chart.source === "verdicts" ? one.verdict : amount !== null ? `${one.unit}/s against ${one.component}` : one.component ?? page.names[one.figure]?.label ?? one.figure ?? one.unit;
    found.push(finish({
      series: one.computed ? `${stack}, ${one.computed} · ${one.interface}, ${one.load_title}` : stack, stack,
      interface: one.interface ?? null, load_title: one.load_title ?? loadTitle(one.load),
      offered: amount ?? one.second ?? null, amount, second: one.second ?? null, figure: one.figure ?? label, label,
      better: "less", value, low: one.low, high: one.high, limit: null, blocks: one.blocks ?? null,
      run_id: one.run_id ?? null, trial_id: one.trial_id ?? null, reason: one.reason ?? null,
    }));
  }
  return found;
}

function valueOf(source, one, valid) {
  if (source === "scatter") return valid ? one.throughput_valid_per_s : one.throughput_per_s;
  if (source === "cost") return valid ? one.usd_per_million_valid : one.usd_per_million;
  return source === "verdicts" ? one.trials : one.value;
}

const loadTitle = (load) => page.filters.find((one) => one.name === "load").options.find((one) => one.value === load)?.title ?? load ?? null;

const rowsOf = (chart) => (chart.source === "points" ? pointRows(chart) : tableRows(chart));
