// What the page was given, and what its reader has chosen: the filters, which live in the URL.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const state = {};

// Tables, as columns, the way pages/encode.py writes them.
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
