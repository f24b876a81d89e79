// A page made by WATCH=1 loads itself again when there is a newer one: newest.js, beside it, says when each was made. As a
// script it can be asked for where a page from disk may fetch nothing. The URL keeps the filters.
{
  const made = Number(document.documentElement.dataset.watched);
  const file = decodeURIComponent(location.pathname.split("/").pop()) || "index.html";
  window.newest = (pages) => { if (pages[file] > made) location.reload(); };
  const asking = setInterval(() => {
    if (document.hidden) return;
    const script = document.createElement("script");
    script.src = `newest.js?${Date.now()}`;
    script.onload = () => script.remove();
    script.onerror = () => clearInterval(asking);
    document.head.append(script);
  }, 2_000);
}
