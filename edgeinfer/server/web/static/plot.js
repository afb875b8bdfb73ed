// A small plot of the last minutes.

import { html, useEffect, useRef, useState } from "./html.js";
import uPlot from "./vendor/uplot.js";

document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: "assets/vendor/uplot.css" }));

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** Whether the theme is dark; a change draws the plots again, in other colours. */
function useDark() {
  const [dark, setDark] = useState(DARK.matches);
  useEffect(() => {
    const changed = () => setDark(DARK.matches);
    DARK.addEventListener("change", changed);
    return () => DARK.removeEventListener("change", changed);
  }, []);
  return dark;
}

const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString();

const COLOURS = ["--plot-1", "--plot-2", "--plot-3"];

/** @param data [times, values, …]; @param labels one for each list of values */
export function Plot({ title, unit, data, labels }) {
  const element = useRef(null);
  const plot = useRef(null);
  const dark = useDark();

  useEffect(() => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
    const options = {
      width: element.current.clientWidth,
      height: 140,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.1] } },
      axes: [{ ...axis, size: 30, space: 90, values: (_, times) => times.map(clock) }, { ...axis, size: 44 }],
      series: [{}, ...labels.map((label, index) => ({ label, stroke: colour(COLOURS[index]), width: 2 }))],
    };
    plot.current = new uPlot(options, data, element.current);
    const resize = new ResizeObserver(() => plot.current.setSize({ width: element.current.clientWidth, height: 140 }));
    resize.observe(element.current);
    return () => (resize.disconnect(), plot.current.destroy());
  }, [dark]);
  useEffect(() => plot.current?.setData(data));

  const last = data.slice(1).map((values) => values.at(-1) ?? 0);
  const figure = (index) => (Number.isInteger(last[index]) ? String(last[index]) : last[index].toFixed(1));
  const words = labels.map((label, index) => `${label} ${figure(index)}`).join(", ");
  return html`
    <figure class="plot">
      <figcaption>${title}
        ${labels.map((label, index) => html`<span key=${label} class=${`series series-${index + 1}`}>${label} <b>${figure(index)}</b></span>`)} ${unit}
      </figcaption>
      <div ref=${element} role="img" aria-label=${`${title}: ${words} ${unit}`}></div>
    </figure>
  `;
}
