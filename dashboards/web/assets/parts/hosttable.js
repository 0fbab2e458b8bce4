// The list of hosts, as the fleet page and the court page show it: filters, order and page are in
// the address and are worked out by the controller, so that 20,000 hosts cost one page of rows.
import { html } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { useRoute, hrefWith, setQuery } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { now, useChanges, useCounts, useSoon } from '../lib/live.js';
import { number, percent, bytes, ago, skew, dateTime } from '../lib/format.js';
import { reasonText } from '../lib/reasons.js';
import { Loaded, Empty, Segments, SearchField } from './ui.js';
import { Table } from './table.js';
import { Views } from './views.js';
import { STATES, Status, HostLink } from './status.js';

// More rows cost the browser more than they tell: fifty are two screens.
const SIZE = 50;
const FILTERS = ['q', 'presence', 'version', 'real', 'conflict', 'sort', 'order', 'cursor', 'from', 'site'];

const Meter = ({ value }) => (value === null || value === undefined ? html`<span class="muted">–</span>` : html`
  <span class=${`meter ${value >= 90 ? 'meter-high' : value >= 75 ? 'meter-warm' : ''}`}><span class="meter-bar" aria-hidden="true"><span style=${{ width: `${Math.min(100, value)}%` }}></span></span>${percent(value, 0)}</span>`);

const SKEW_LIMIT_MS = 5000;

function columns(withSite) {
  return [
    { title: t('host.name'), sort: 'hostname', lead: true, cell: (host) => html`<${HostLink} host=${host} />
      ${host.identity_conflict_ms ? html`<span class="tag tag-down" title=${t('host.conflict.text', { time: dateTime(host.identity_conflict_ms) })}>${t('host.conflict')}</span>` : null}` },
    { title: t('presence.label'), sort: 'presence', cell: (host) => html`<span title=${word('reason', host.reason)}><${Status} state=${host.presence} /></span>` },
    withSite ? { title: t('host.site'), sort: 'site', cell: (host) => html`<a class="quiet court" href=${`/sites/${host.site.id}`} title=${host.site.name}>${host.site.name}</a>` } : null,
    { title: t('host.last'), sort: 'last_report', first: 'desc', cell: (host) => html`<span class="nowrap" title=${dateTime(host.last_report_ms)}>${ago(host.last_report_ms, now())}</span>` },
    { title: t('host.cpu'), sort: 'cpu', first: 'desc', cell: (host) => html`<${Meter} value=${host.cpu_percent} />` },
    { title: t('host.memory'), sort: 'memory', first: 'desc', cell: (host) => html`<${Meter} value=${host.memory_percent} />` },
    { title: t('host.disk'), sort: 'disk', first: 'desc', cell: (host) => html`<${Meter} value=${host.disk_percent} />` },
    { minor: true, title: t('host.version'), sort: 'version', cell: (host) => html`<span class="mono" translate=${false}>${host.version || '–'}</span>` },
    { minor: true, title: t('host.footprint.memory'), sort: 'agent_memory', first: 'desc', end: true, cell: (host) => html`<span class="nowrap">${host.agent_memory_bytes ? bytes(host.agent_memory_bytes) : '–'}</span>` },
    { minor: true, title: t('host.footprint.cpu.column'), sort: 'agent_cpu', first: 'desc', end: true, cell: (host) => number(host.agent_cpu_s_per_h, 2) },
    { minor: true, title: t('host.skew'), sort: 'skew', first: 'desc', end: true, cell: (host) => html`<span class=${Math.abs(host.skew_ms || 0) > SKEW_LIMIT_MS ? 'bad nowrap' : 'nowrap'}>${skew(host.skew_ms)}</span>` },
    { title: t('host.drops'), sort: 'dropped', first: 'desc', end: true, cell: (host) => html`<span class=${host.dropped ? 'bad' : 'muted'}>${number(host.dropped)}</span>` },
    { minor: true, title: t('host.pending'), sort: 'pending', first: 'desc', end: true, cell: (host) => html`<span class=${host.trouble ? 'bad' : ''} title=${host.trouble && reasonText(host.trouble)}>${number(host.pending)}</span>` },
  ].filter(Boolean);
}

function Filters({ data, compact }) {
  const { query } = useRoute();
  const live = useCounts();
  const counts = compact ? data && data.counts : (query.get('q') || query.get('site') || query.get('version') || query.get('real') ? data && data.counts : live || (data && data.counts));
  const presence = query.get('presence') || '';
  const reset = { cursor: null, from: null };
  const states = [{ value: '', text: t('fleet.all'), href: hrefWith({ presence: null, ...reset }) },
    ...STATES.map((state) => ({ value: state, icon: state, text: word('presence', state), count: counts ? number(counts[state]) : null, href: hrefWith({ presence: state, ...reset }) }))];
  const versions = (data && data.versions) || [];
  const any = ['q', 'presence', 'version', 'real', 'conflict'].some((key) => query.get(key));
  return html`<div class="filters">
    ${compact ? null : html`<${SearchField} value=${query.get('q')} label=${t('fleet.search.label')} placeholder=${t('fleet.search')} onSearch=${(q) => setQuery({ q, ...reset })} />`}
    <${Segments} label=${t('presence.label')} items=${states} current=${presence} />
    ${versions.length > 1 && !compact ? html`<select class="select" aria-label=${t('host.version')} value=${query.get('version') || ''} onChange=${(event) => setQuery({ version: event.currentTarget.value, ...reset })}>
      <option value="">${t('fleet.version.all')}</option>${versions.map((one) => html`<option key=${one.version} value=${one.version}>${one.version || '–'} (${number(one.hosts)})</option>`)}</select>` : null}
    ${data && data.simulated ? html`<label class="check"><input type="checkbox" checked=${query.get('real') === 'true'} onChange=${(event) => setQuery({ real: event.currentTarget.checked ? 'true' : '', ...reset })} />${t('fleet.real')}</label>` : null}
    ${any && !compact ? html`<a class="clear" href=${hrefWith({ q: null, presence: null, version: null, real: null, conflict: null, ...reset })}>${t('fleet.clear')}</a>` : null}
    ${compact ? null : html`<${Views} />`}
  </div>`;
}

function Pages({ data }) {
  const { query } = useRoute();
  const from = Number(query.get('from')) || 0;
  if (!data.next && !from) return html`<p class="pages"><span class="muted">${t('fleet.total', { n: number(data.total) })}</span></p>`;
  return html`<nav class="pages"><span class="muted">${t('page.range', { from: number(from + 1), to: number(from + data.items.length), n: number(data.total) })}</span>
    ${from ? html`<a class="button button-small" href=${hrefWith({ cursor: null, from: null })}>${t('page.first')}</a>
      <button class="button button-small" onClick=${() => history.back()}>${t('page.previous')}</button>` : null}
    ${data.next ? html`<a class="button button-small" href=${hrefWith({ cursor: data.next, from: from + data.items.length })}>${t('page.next')}</a>` : null}</nav>`;
}

/** What the address asks for. */
export function wantedHosts(query) {
  const wanted = {};
  for (const key of FILTERS) if (key !== 'from') wanted[key] = query.get(key);
  if (wanted.site) wanted.deep = 'true';
  return wanted;
}

/** @param {{site?: string, deep?: boolean, empty?: any}} props `site`: only hosts of this court */
export function HostTable({ site, deep, empty }) {
  const { query } = useRoute();
  const wanted = { limit: SIZE, ...wantedHosts(query) };
  if (site) Object.assign(wanted, { site, deep: deep ? 'true' : null });
  const resource = useResource(url('/hosts', wanted), 15000);
  const soon = useSoon(resource.reload, 1500);
  useChanges((rows, whole) => {
    if (!whole && !rows.length) return;
    soon();
  }, []);
  const filtered = ['q', 'presence', 'version', 'real', 'conflict'].some((key) => query.get(key));
  return html`<${Filters} data=${resource.data} compact=${Boolean(site)} />
    <${Loaded} resource=${resource} rows=${12}>${(data) => (data.items.length
    ? html`<${Table} label=${t('fleet.title')} columns=${columns(!site || deep)} rows=${data.items} keyOf=${(host) => host.id} rowClass=${(host) => (host.presence === 'up' ? '' : `row-${host.presence}`)} /><${Pages} data=${data} />`
    : html`<${Empty} icon="fleet">${filtered ? t('fleet.none') : empty || t('fleet.empty')}</${Empty}>`)}</${Loaded}>`;
}
