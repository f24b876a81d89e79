// A page made by WATCH=1 loads itself again, as long as new ones come: the URL keeps the filters, the browser the place.
"use strict";
const made = Number(document.documentElement.dataset.watched ?? 0);
const again = setInterval(() => {
  if (Date.now() - made > 600_000) clearInterval(again);
  else if (!document.hidden) location.reload();
}, 5_000);
