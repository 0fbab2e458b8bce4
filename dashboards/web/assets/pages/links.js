// 链路: the leased lines that hosts measure, with what they measured last.
import '../lib/devices.js';
import '../lib/links.js';
import { html, useMemo } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { useRoute, hrefWith, setQuery } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { now } from '../lib/live.js';
import { ago, dateTime, number, percent } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Segments, SearchField } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { HostLink } from '../parts/status.js';
import { DeviceState } from './devices.js';

const SIZE = 50;
const FILTERS = ['q', 'state', 'host', 'site', 'cursor'];
const STATES = ['answered', 'refused', 'silent', 'unreachable', 'unknown'];
const LOOKS = { answered: 'up', silent: 'down', refused: 'down', unreachable: 'down', unknown: 'unknown' };

/** What a Prometheus answers is not spelt out in the description of the interface. @returns {any[]} */
const resultOf = (/** @type {any} */ data) => (data && data.data && data.data.result) || [];

/** Seconds as milliseconds. */
export const milliseconds = (/** @type {number|null|undefined} */ seconds) => (seconds === null || seconds === undefined ? '–' : t('links.ms', { n: number(seconds * 1000, 2) }));

export const whyNot = (link) => (link.state === 'unknown' ? t('links.unknown.text') : link.problem ? word('link.problem', link.problem) : '');

/** What was measured of the links of a page: `{device_id: {median, p95, jitter, forward, backward}}`. */
function useMeasured(links) {
  const ids = links.map((link) => link.id).join('|');
  const of = `{job="stamp",device_id=~"${ids}"}`;
  const last = (name, metric) => `label_replace(last_over_time(${metric}${of}[11m]),"value","${name}","","")`;
  const lost = (way) => `label_replace(increase(stamp_lost_by_direction_total{job="stamp",direction="${way}",device_id=~"${ids}"}[1h]) / ignoring (direction) (increase(stamp_sent_total${of}[1h]) > 0),"value","${way}","","")`;
  const query = [last('median', 'stamp_rtt_median_seconds'), last('p95', 'stamp_rtt_p95_seconds'), last('jitter', 'stamp_rtt_ipdv_seconds'), lost('forward'), lost('backward')].join(' or ');
  const { data } = useResource(ids ? url('/query', { query, time: Math.floor(now() / 15000) * 15 }) : null, 30000);
  return useMemo(() => {
    const measured = new Map();
    for (const { metric, value } of resultOf(data)) {
      measured.set(metric.device_id, { ...measured.get(metric.device_id), [metric.value]: Number(value[1]) });
    }
    return measured;
  }, [data]);
}

const columns = (measured) => {
  // What was measured before nobody knew says nothing of now.
  const of = (link) => (link.state === 'unknown' ? {} : measured.get(String(link.id)) || {});
  const share = (part) => (part === undefined ? html`<span class="muted">–</span>` : html`<span class=${part > 0.001 ? 'bad nowrap' : 'nowrap'} title=${t('links.lost.title')}>${percent(part * 100, 2)}</span>`);
  return [
    { title: t('links.name'), lead: true, cell: (link) => html`<a translate=${false} href=${`/links/${link.id}`}>${link.name}</a>` },
    { title: t('port.state'), cell: (link) => html`<span title=${whyNot(link)}><${DeviceState} state=${link.state} /></span>` },
    { title: t('links.rtt'), end: true, cell: (link) => html`<span class="nowrap" title=${t('links.rtt.title')}>${milliseconds(of(link).median)} / ${milliseconds(of(link).p95)}</span>` },
    { title: t('links.jitter'), end: true, cell: (link) => html`<span class="nowrap">${milliseconds(of(link).jitter)}</span>` },
    { title: t('links.lost.forward'), end: true, cell: (link) => share(of(link).forward) },
    { title: t('links.lost.backward'), end: true, cell: (link) => share(of(link).backward) },
    { title: t('host.site'), cell: (link) => html`<a class="quiet court" href=${`/sites/${link.site.id}`} title=${link.site.name}>${link.site.name}</a>` },
    { minor: true, title: t('links.host'), cell: (link) => html`<${HostLink} host=${link.host} />` },
    { minor: true, title: t('devices.answer'), cell: (link) => html`<span class="nowrap" title=${dateTime(link.last_answer_ms)}>${ago(link.last_answer_ms, now())}</span>` },
  ];
};

function Filters({ data }) {
  const { query } = useRoute();
  const reset = { cursor: null };
  const states = (data && data.states) || {};
  const items = [{ value: '', text: t('fleet.all'), href: hrefWith({ state: null, ...reset }) },
    ...STATES.filter((state) => states[state] || query.get('state') === state).map((state) => ({
      value: state, icon: LOOKS[state], text: t(`device.state.${state}`), count: number(states[state] || 0), href: hrefWith({ state, ...reset }),
    }))];
  const any = ['q', 'state'].some((key) => query.get(key));
  return html`<div class="filters">
    <${SearchField} value=${query.get('q')} label=${t('devices.search.label')} placeholder=${t('links.name')} onSearch=${(q) => setQuery({ q, ...reset })} />
    <${Segments} label=${t('presence.label')} items=${items} current=${query.get('state') || ''} />
    ${any ? html`<a class="clear" href=${hrefWith({ q: null, state: null, ...reset })}>${t('fleet.clear')}</a>` : null}</div>`;
}

function Rows({ data }) {
  const { query } = useRoute();
  const measured = useMeasured(data.items);
  return html`<${Table} label=${t('nav.links')} columns=${columns(measured)} rows=${data.items} keyOf=${(link) => link.id} rowClass=${(link) => (link.state === 'answered' ? '' : `row-${LOOKS[link.state] || 'unknown'}`)} />
    <nav class="pages"><span class="muted">${t('links.total', { n: number(data.total) })}</span>
    ${query.get('cursor') ? html`<a class="button button-small" href=${hrefWith({ cursor: null })}>${t('page.first')}</a>` : null}
    ${data.next ? html`<a class="button button-small" href=${hrefWith({ cursor: data.next })}>${t('page.next')}</a>` : null}</nav>`;
}

export default function Links() {
  const { query } = useRoute();
  const wanted = { links: true, limit: SIZE };
  for (const key of FILTERS) wanted[key] = query.get(key);
  const resource = useResource(url('/devices', wanted), 15000);
  const filtered = FILTERS.some((key) => key !== 'cursor' && query.get(key));
  return html`<${PageHead} title=${t('nav.links')} /><${Panel} flush><${Filters} data=${resource.data} />
    <${Loaded} resource=${resource} rows=${10}>${(data) => (data.items.length
    ? html`<${Rows} data=${data} />`
    : html`<${Empty} icon="links">${t(filtered ? 'links.none' : 'links.empty')}${filtered ? null : html` <code translate=${false}>xiezhi-agent link add</code>`}</${Empty}>`)}</${Loaded}></${Panel}>`;
}
