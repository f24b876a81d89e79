// What happens at the start, and when something is chosen.

function changed() {
  for (const id of byId.keys()) stale.add(id);
  showControls();
  showAnswers();
  showTrials();
  writeUrl();
  return refresh();
}

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
