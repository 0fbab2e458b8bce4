// How a number came to be what it is: a line of the last day, and in words what changed since yesterday.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { url, useResource } from '../lib/api.js';
import { now } from '../lib/live.js';
import { number } from '../lib/format.js';

const DAY_S = 86400;
const STEP_S = 1800;
/** The line is asked for anew this often. */
const EVERY_S = 600;
/** Beyond so many hosts the question costs more than its answer is worth. */
const MOST_HOSTS = 2000;
const [WIDTH, HEIGHT] = [96, 20];

/** How many hosts measured themselves, half an hour by half an hour: `[[seconds, hosts]]`, null for not known. */
function useReporting(asked) {
  const end = Math.floor(now() / 1000 / EVERY_S) * EVERY_S;
  const { data } = useResource(asked ? url('/query_range', { query: 'count(node_load1)', start: end - DAY_S, end, step: STEP_S }) : null);
  /** @type {any} what a Prometheus answers is not spelt out in the description of the interface */
  const answer = data && data.data;
  const found = answer && answer.result[0];
  return found ? found.values.map(([at, hosts]) => [at - end + DAY_S, Number(hosts)]) : null;
}

function Line({ points }) {
  const most = Math.max(...points.map(([, hosts]) => hosts));
  const place = ([at, hosts]) => `${((at / DAY_S) * WIDTH).toFixed(1)},${(HEIGHT - 1 - (hosts / most) * (HEIGHT - 2)).toFixed(1)}`;
  return html`<svg class="trend-line" width=${WIDTH} height=${HEIGHT} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true"><polyline points=${points.map(place).join(' ')} /></svg>`;
}

/** The day of the hosts' number; nothing where it is not known or has no past yet. */
export function HostsTrend({ total }) {
  const points = useReporting(total > 0 && total <= MOST_HOSTS);
  if (!points || points.length < 2) return null;
  const numbers = points.map(([, hosts]) => hosts);
  const last = numbers[numbers.length - 1];
  const change = points[0][0] <= STEP_S ? last - numbers[0] : null;
  const told = t('kpi.hosts.trend', { least: number(Math.min(...numbers)), most: number(Math.max(...numbers)), n: number(last) });
  return html`<span class="trend" title=${told}><${Line} points=${points} /><span class="visually-hidden">${told}</span>
    ${change === null ? null : html`<span>${t(change > 0 ? 'kpi.hosts.more' : change < 0 ? 'kpi.hosts.less' : 'kpi.hosts.same', { n: number(Math.abs(change)) })}</span>`}</span>`;
}
