// Line charts: uPlot, coloured by the design tokens, with times in Asia/Shanghai. Everything that
// is drawn is also told in text below it, so a chart is never the only way to a value.
import uPlot from '../vendor/uplot.js';
import { html, useEffect, useRef, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { shortTime } from '../lib/format.js';

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (index) => token(`--chart-${(index % 8) + 1}`);
const HEIGHT = 190;

function styleOnce() {
  if (document.querySelector('link[data-chart]')) return;
  const link = document.createElement('link');
  link.rel = 'stylesheet';
  link.href = new URL('../vendor/uplot.css', import.meta.url).href;
  link.dataset.chart = '';
  document.head.prepend(link);
}

function transparent(hex, alpha) {
  const value = parseInt(hex.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

/** Steps between ticks that read well in units of 1,024. */
const BINARY_STEPS = Array.from({ length: 52 }, (_, power) => 2 ** power);

/** Indices of values with nothing on either side. */
const alone = (values) => values.reduce((found, value, at) => {
  const empty = (one) => one === null || one === undefined;
  if (!empty(value) && empty(values[at - 1]) && empty(values[at + 1])) found.push(at);
  return found;
}, []);

/** The time of a tick; where a day begins, which one. @param {string} text `11-21 21:50:03` @param {number} step seconds between ticks */
const tickText = (text, step) => (step >= 86400 || text.slice(6) === '00:00:00' ? text.slice(0, 5) : text.slice(6, step < 60 ? 14 : 11));

function options(width, lines, { format, max, least, stacked, binary, onCursor, from, to }) {
  // A flat line at zero needs some height, or its axis would tell of millionths.
  const floor = least || (binary ? 1024 : 0.1);
  const axis = {
    stroke: token('--ink-3'), font: `11px ${token('--font')}`, size: 26, gap: 4,
    grid: { stroke: token('--line'), width: 1 }, ticks: { show: false },
  };
  return {
    width, height: HEIGHT, legend: { show: false },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Asia/Shanghai'),
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    padding: [8, 20, 0, 0],
    scales: {
      x: { time: true, range: () => [from / 1000, to / 1000] },
      y: { range: (_, low, high) => [Math.min(0, low || 0), max || Math.max(high || 0, floor) * 1.1] },
    },
    axes: [
      { ...axis, space: 70, values: (_, ticks, __, ___, step) => ticks.map((tick) => tickText(shortTime(tick * 1000), step)) },
      { ...axis, size: 66, space: 34, ...(binary ? { incrs: BINARY_STEPS } : {}), values: (_, ticks) => ticks.map((tick) => format(tick)) },
    ],
    series: [{}, ...lines.map((line, index) => ({
      label: line.name, stroke: colour(line.colour === undefined ? index : line.colour), width: 1.6, spanGaps: false,
      dash: line.dash ? [5, 3] : undefined, // A point without neighbours has no line to be part of: a host that has just come shows dots.
      points: { show: true, size: 4, filter: (plot, at) => alone(plot.data[at]) },
      fill: stacked || lines.length === 1 || line.fill ? transparent(colour(line.colour === undefined ? index : line.colour), stacked ? 0.55 : 0.14) : undefined,
    }))],
    bands: stacked ? lines.slice(1).map((_, index) => ({ series: [index + 2, index + 1] })) : undefined,
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx)] },
  };
}

/** Sums from the first line up, so that areas stand on each other. */
function stack(lines, length) {
  const below = new Array(length).fill(0);
  return lines.map((line) => line.values.map((value, index) => {
    if (value === null || value === undefined) return null;
    below[index] += value;
    return below[index];
  }));
}

const lastOf = (values) => { for (let at = values.length - 1; at >= 0; at -= 1) if (values[at] !== null) return values[at]; return null; };

/**
 * @param {{title:string, times:number[], lines:{name:string, values:(number|null)[], colour?:number, dash?:boolean, fill?:boolean, device?:boolean}[],
 *   format:(value:number|null)=>string, max?:number, least?:number, stacked?:boolean, binary?:boolean, from:number, to:number, note?:string}} props
 */
export function Chart({ title, times, lines, format, max, least, stacked, binary, from, to, note }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [at, setAt] = useState(null);
  const [width, setWidth] = useState(0);
  const theme = document.documentElement.dataset.theme;
  const shape = lines.map((line) => line.name).join('\n');
  useEffect(styleOnce, []);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const limits = useRef({ from, to });
  limits.current = { from, to };
  const empty = !times.length || !lines.some((line) => line.values.some((value) => value !== null));
  useEffect(() => {
    if (!width || empty) return undefined;
    const settings = options(width, lines, {
      format, max, least, stacked, binary, onCursor: setAt,
      get from() { return limits.current.from; }, get to() { return limits.current.to; },
    });
    settings.scales.x.range = () => [limits.current.from / 1000, limits.current.to / 1000];
    plot.current = new uPlot(settings, [times, ...(stacked ? stack(lines, times.length) : lines.map((line) => line.values))], box.current);
    return () => { plot.current.destroy(); plot.current = null; };
  }, [width, shape, theme, empty, max, stacked]);
  useEffect(() => {
    if (plot.current && plot.current.series.length === lines.length + 1) {
      plot.current.setData([times, ...(stacked ? stack(lines, times.length) : lines.map((line) => line.values))]);
    }
  }, [times, lines]);
  const told = (line) => format(at === null || at === undefined ? lastOf(line.values) : line.values[at]);
  const when = at === null || at === undefined || !times[at] ? t('chart.latest') : shortTime(times[at] * 1000);
  return html`<figure class="chart">
    <figcaption><h2>${title}</h2><span class="chart-when">${[note, empty ? '' : when].filter(Boolean).join(' · ')}</span></figcaption>
    <div class="chart-box" ref=${box} role="img" aria-label=${t('chart.label', { title, from: shortTime(from), to: shortTime(to) })}>
      ${empty ? html`<p class="chart-none">${t('chart.none')}</p>` : null}</div>
    ${empty ? null : html`<ul class="legend">${lines.map((line, index) => html`<li key=${line.name}>
      <span class=${`swatch swatch-${((line.colour === undefined ? index : line.colour) % 8) + 1}`}></span><span translate=${!line.device}>${line.name}</span><b>${told(line)}</b></li>`)}</ul>`}
  </figure>`;
}
