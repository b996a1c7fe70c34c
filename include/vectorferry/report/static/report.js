import { balance, driftKinds, effortCurve, filterParity, latencyBars, loadCurve, recallIntervals, relevance } from "./charts.js";

/* Draws the charts of a report into its figures, from the data that stands in the page. The tables need no script. */

const drawing = { balance, driftKinds, effortCurve, filterParity, latencyBars, loadCurve, recallIntervals, relevance };
const data = JSON.parse(document.getElementById("data").textContent);

for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = drawing[figure.dataset.chart](data[figure.id], { width: Math.min(figure.clientWidth || 860, 960) });
  if (chart) figure.prepend(chart);
  else figure.remove();
}
