// A page made by WATCH=1 loads itself again when there is a newer one: newest.js, beside it, says when each was made. As a
// script it can be asked for where a page from disk may fetch nothing. The URL keeps the filters; its reader's place and open
// tables are kept here, by what first began in sight: charts above may be new, or not drawn yet.
{
  const made = Number(document.documentElement.dataset.watched);
  const file = decodeURIComponent(location.pathname.split("/").pop()) || "index.html";
  const top = (one) => one.getBoundingClientRect().top;
  const was = history.state;
  if (was) {
    for (const id of was.open) document.querySelector(`#${id} details`)?.setAttribute("open", "");
    const there = document.getElementById(was.id);
    const stay = () => there && scrollTo(0, top(there) + scrollY - was.top);
    // While the charts are drawn, and so get their heights; until the reader moves.
    const grown = new ResizeObserver(stay);
    grown.observe(document.body);
    for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(kind, () => grown.disconnect(), { once: true });
    history.replaceState(null, "");
    history.scrollRestoration = "auto";
  }
  window.newest = (pages) => {
    if (!(pages[file] > made)) return;
    const first = [...document.querySelectorAll("h1, h2[id], figure")].find((one) => top(one) >= 0);
    const open = [...document.querySelectorAll("figure:has(details[open])")].map((one) => one.id);
    history.replaceState({ id: first?.id ?? "", top: first ? top(first) : 0, open }, "");
    history.scrollRestoration = "manual";
    location.reload();
  };
  const asking = setInterval(() => {
    if (document.hidden) return;
    const script = document.createElement("script");
    script.src = `newest.js?${Date.now()}`;
    script.onload = () => script.remove();
    script.onerror = () => clearInterval(asking);
    document.head.append(script);
  }, 2_000);
}
