// The text around the charts: answers, tables, controls.

// Beyond this many letters a cell is folded.
const LONG = 60;

function folded(text) {
  const [whole, start, rest] = ["details", "summary", "p"].map((tag) => document.createElement(tag));
  start.textContent = text.slice(0, LONG) + "…";
  rest.textContent = text;
  whole.append(start, rest);
  return whole;
}

function cells(tag, values, numbers = []) {
  const line = document.createElement("tr");
  values.forEach((value, k) => {
    const one = document.createElement(tag);
    const text = String(value ?? "–");
    if (tag === "td" && text.length > LONG) one.append(folded(text));
    else one.textContent = text;
    if (tag === "th") one.scope = "col";
    if (numbers[k]) one.className = "number";
    line.append(one);
  });
  return line;
}

const TABLE = [["stack", "stack"], ["interface", "interface"], ["load_title", "load"], ["label", "figure"], ["asked", "asked"], ["amount", "how much"], ["second", "second"], ["value", "value"], ["low", "low"], ["high", "high"], ["blocks", "blocks"], ["degraded", "of them DEGRADED"], ["reason", "reason"], ["run_id", "run"], ["trials", "trials"]];

function kept(rows) {
  return TABLE.filter(([name]) => rows.some((one) => one[name] !== null && one[name] !== undefined));
}

function fillTable(figure, rows) {
  const table = figure.querySelector("details table");
  const names = kept(rows);
  const numbers = names.map(([name]) => ["asked", "amount", "second", "value", "low", "high", "blocks", "degraded"].includes(name));
  const format = (one, name) => (["value", "low", "high"].includes(name) ? shown(one[name], one.figure) : one[name]);
  table.replaceChildren(cells("th", names.map((one) => one[1]), numbers), ...rows.slice(0, 1000).map((one) => cells("td", names.map(([name]) => format(one, name)), numbers)));
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
  table.replaceChildren(cells("th", names.map((one) => one[1]), numbers), ...found.slice(0, most).map((i) => cells("td", names.map(([name]) => value(i, name)), numbers)));
  document.getElementById("trials-count").textContent = `${whole.format(Math.min(most, found.length))} of ${whole.format(found.length)} trials`;
  document.getElementById("trials-more").hidden = found.length <= most;
}

function showControls() {
  for (const filter of page.filters) {
    const control = document.getElementById(`filter-${filter.name}`);
    if (control) control.value = state[filter.name];
  }
}
