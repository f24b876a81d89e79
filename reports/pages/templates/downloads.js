// A chart as a file: SVG, PNG, or its rows as CSV.

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
