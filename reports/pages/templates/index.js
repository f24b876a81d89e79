"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
const show = (name) => {
  document.documentElement.dataset.theme = name;
  document.getElementById("theme").setAttribute("aria-pressed", String(name === "dark"));
};
show(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => show(dark.matches ? "dark" : "light"));
document.getElementById("theme").addEventListener("click", () => show(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
