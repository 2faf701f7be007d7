"use strict";
// Draws the figures of a page; `page` and `byId` are for the scripts that follow.
const page = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

(() => {
  const narrow = () => window.innerWidth < 600;

  // Figures take the page's colours; they are drawn again when those change.
  function drawFigures() {
    const text = getComputedStyle(document.body).color;
    const back = getComputedStyle(document.documentElement).getPropertyValue("--card");
    for (const [id, figure] of Object.entries(page.figures)) {
      const layout = structuredClone(figure.layout);
      layout.font = { ...layout.font, color: text };
      layout.hoverlabel = { ...layout.hoverlabel, bgcolor: back, font: { color: text } };
      if (narrow()) {
        layout.margin = { ...layout.margin, l: 10, r: 10 };
        layout.font.size = 11;
        layout.title.font = { size: 13 };
      }
      Plotly.react(id, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover" });
    }
  }

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    drawFigures();
  }
  const darkNow = () => {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  byId("theme").addEventListener("click", () => setTheme(darkNow() ? "light" : "dark"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawFigures);

  drawFigures();
})();
