// Places charts: draws each again where its data, its width or the theme changed, and leaves the others alone.

import { theme } from "./airflow.js";

/** Draws every chart below `root` that is not as it should be. */
export function drawCharts(root) {
  for (const host of root.querySelectorAll(".chart")) {
    const { draw, data, options } = host.vfChart;
    const width = Math.floor(host.clientWidth);
    if (!width) continue;
    const wanted = `${theme()} ${width} ${draw.name} ${JSON.stringify([data, options])}`;
    if (host.vfDrawn === wanted) continue;
    host.vfDrawn = wanted;
    const made = draw(data, { ...options, width, theme: theme() });
    host.replaceChildren(...(made ? [made] : []));
    host.classList.toggle("void", !made);
  }
}
