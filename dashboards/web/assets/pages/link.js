// A link: whether the other end answers, its round trip and loss of the last hour, and all that was measured.
import '../lib/devices.js';
import '../lib/links.js';
import { html, useMemo } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute, hrefWith } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { now } from '../lib/live.js';
import { percent } from '../lib/format.js';
import { PageHead, Panel, Loaded, Segments } from '../parts/ui.js';
import { Chart } from '../parts/chart.js';
import { Crumbs } from '../parts/sitechoice.js';
import { Facts, Presence, Values } from './device.js';
import { milliseconds, whyNot } from './links.js';

const TABS = ['quality', 'values', 'facts'];
const HOUR_S = 3600;
const STEP_S = 60;

const resultOf = (/** @type {any} */ data) => (data && data.data && data.data.result) || [];

/** Series of a query over the last hour as lines of a chart, each named by its label `line`. */
function useLines(query, texts) {
  const end = useMemo(() => Math.floor(now() / 60000) * 60, [query]);
  const { data } = useResource(url('/query_range', { query, start: end - HOUR_S, end, step: STEP_S }), 60000);
  const drawn = useMemo(() => {
    const at = Array.from({ length: HOUR_S / STEP_S + 1 }, (_, place) => end - HOUR_S + place * STEP_S);
    const places = new Map(at.map((time, place) => [time, place]));
    const lines = resultOf(data).map(({ metric, values }) => {
      const filled = new Array(at.length).fill(null);
      for (const [time, value] of values) {
        const place = places.get(Number(time));
        if (place !== undefined) filled[place] = Number(value);
      }
      return { name: t(`${texts}.${metric.line}`), values: filled };
    });
    return { times: at, lines };
  }, [data]);
  return { ...drawn, from: (end - HOUR_S) * 1000, to: end * 1000 };
}

const line = (name, text) => `label_replace(${text},"line","${name}","","")`;

function Quality({ link }) {
  const of = `device_id="${link.id}"`;
  const window = `${Math.max(180, link.every_s * 3)}s`;
  const trip = (name) => line(name, `stamp_rtt_${name}_seconds{${of}}`);
  const trips = useLines([trip('median'), trip('p95')].join(' or '), 'links.chart.rtt');
  const lost = (way) => line(way, `increase(stamp_lost_by_direction_total{${of},direction="${way}"}[${window}]) / ignoring (direction) (increase(stamp_sent_total{${of}}[${window}]) > 0)`);
  const losses = useLines(['forward', 'backward', 'unknown'].map(lost).join(' or '), 'links.chart.lost');
  return html`<${Panel}><${Chart} title=${t('links.chart.rtt')} times=${trips.times} lines=${trips.lines} format=${milliseconds} least=${0.001} from=${trips.from} to=${trips.to} /></${Panel}>
    <${Panel}><${Chart} title=${t('links.chart.lost')} times=${losses.times} lines=${losses.lines} format=${(part) => (part === null ? '–' : percent(part * 100, 2))} least=${0.01} from=${losses.from} to=${losses.to} /></${Panel}>`;
}

export default function Link({ id }) {
  const { query } = useRoute();
  const resource = useResource(url(`/devices/${id}`), 15000);
  const tab = TABS.find((one) => one === query.get('tab')) || 'quality';
  const texts = { quality: 'links.quality', values: 'device.tab.values', facts: 'device.tab.facts' };
  return html`<${Loaded} resource=${resource} rows=${10}>${({ device, path, about }) => html`
    <${PageHead} title=${html`<span translate=${false}>${device.name}</span>`} crumbs=${html`<${Crumbs} path=${path} />`}>${about.facts && about.facts.note ? html`<span class="muted" translate=${false}>${about.facts.note}</span>` : null}</${PageHead}>
    <${Presence} device=${device} why=${whyNot(device)} />
    <div class="tabs"><${Segments} label=${t('device.tabs')} current=${tab} items=${TABS.map((one) => ({ value: one, text: t(texts[one]), href: hrefWith({ tab: one === 'quality' ? '' : one }) }))} /></div>
    ${tab === 'values' ? html`<${Values} device=${device} about=${about} />` : tab === 'facts' ? html`<${Facts} device=${device} about=${about} />` : html`<${Quality} link=${device} />`}`}</${Loaded}>`;
}
