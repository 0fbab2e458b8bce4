// 设备: what hosts poll over the network, filtered and paged by the controller.
import '../lib/devices.js';
import { html } from '../lib/html.js';
import { t, known, word } from '../lib/i18n.js';
import { useRoute, hrefWith, setQuery } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { now } from '../lib/live.js';
import { ago, dateTime, number } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Segments, SearchField } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { Exports } from '../parts/exports.js';
import { HostLink, Status } from '../parts/status.js';

const SIZE = 50;
const FILTERS = ['q', 'state', 'kind', 'needs_profile', 'host', 'site', 'cursor'];
const STATES = ['answered', 'partial', 'silent', 'refused', 'unreachable', 'unknown'];
/** Which of the four looks of a state each has. Silence is not down: nobody knows whether it is the device or the way to it. */
export const LOOKS = { answered: 'up', partial: 'stale', silent: 'stale', refused: 'down', unreachable: 'stale', unknown: 'unknown' };

export const DeviceState = ({ state, large }) => html`<${Status} state=${LOOKS[state]} large=${large} text=${t(`device.state.${state}`)} />`;

export const kindName = (kind) => (known(`device.kind.${kind}`) ? t(`device.kind.${kind}`) : kind || '–');

const columns = () => [
  { title: t('devices.name'), lead: true, cell: (device) => html`<a translate=${false} href=${`/devices/${device.id}`}>${device.name}</a>${' '}
    ${device.needs_profile ? html`<span class="tag" title=${t('devices.needs_profile.text')}>${t('devices.needs_profile')}</span>` : null}` },
  { title: t('port.state'), cell: (device) => html`<span title=${device.state === 'unknown' ? t('devices.unknown.text') : device.problem && word('device.problem', device.problem)}><${DeviceState} state=${device.state} /></span>` },
  { title: t('devices.kind'), cell: (device) => kindName(device.kind) },
  { title: t('devices.model'), cell: (device) => (device.model ? html`<span translate=${false}>${device.model}</span>` : html`<span class="muted">–</span>`) },
  { title: t('host.site'), cell: (device) => html`<a class="quiet court" href=${`/sites/${device.site.id}`} title=${device.site.name}>${device.site.name}</a>` },
  { minor: true, title: t('devices.host'), cell: (device) => html`<${HostLink} host=${device.host} />` },
  { title: t('devices.answer'), cell: (device) => html`<span class="nowrap" title=${dateTime(device.last_answer_ms)}>${ago(device.last_answer_ms, now())}</span>` },
];

function Filters({ data }) {
  const { query } = useRoute();
  const reset = { cursor: null };
  const states = (data && data.states) || {};
  const items = [{ value: '', text: t('fleet.all'), href: hrefWith({ state: null, ...reset }) },
    ...STATES.filter((state) => states[state] || query.get('state') === state).map((state) => ({
      value: state, icon: LOOKS[state], text: t(`device.state.${state}`), count: number(states[state] || 0), href: hrefWith({ state, ...reset }),
    }))];
  const kinds = (data && data.kinds) || [];
  const any = ['q', 'state', 'kind', 'needs_profile'].some((key) => query.get(key));
  return html`<div class="filters">
    <${SearchField} value=${query.get('q')} label=${t('devices.search.label')} placeholder=${t('devices.search')} onSearch=${(q) => setQuery({ q, ...reset })} />
    <${Segments} label=${t('presence.label')} items=${items} current=${query.get('state') || ''} />
    ${kinds.length > 1 ? html`<select class="select" aria-label=${t('devices.kind')} value=${query.get('kind') || ''} onChange=${(event) => setQuery({ kind: event.currentTarget.value, ...reset })}>
      <option value="">${t('devices.kind.all')}</option>${kinds.map((kind) => html`<option key=${kind} value=${kind}>${kindName(kind)}</option>`)}</select>` : null}
    <label class="check"><input type="checkbox" checked=${query.get('needs_profile') === 'true'} onChange=${(event) => setQuery({ needs_profile: event.currentTarget.checked ? 'true' : '', ...reset })} />${t('devices.needs_profile')}</label>
    ${any ? html`<a class="clear" href=${hrefWith({ q: null, state: null, kind: null, needs_profile: null, ...reset })}>${t('fleet.clear')}</a>` : null}</div>`;
}

function Pages({ data }) {
  const { query } = useRoute();
  return html`<nav class="pages"><span class="muted">${t('devices.total', { n: number(data.total) })}</span>
    ${query.get('cursor') ? html`<a class="button button-small" href=${hrefWith({ cursor: null })}>${t('page.first')}</a>` : null}
    ${data.next ? html`<a class="button button-small" href=${hrefWith({ cursor: data.next })}>${t('page.next')}</a>` : null}</nav>`;
}

export default function Devices() {
  const { query } = useRoute();
  const wanted = { limit: SIZE };
  for (const key of FILTERS) wanted[key] = query.get(key);
  const resource = useResource(url('/devices', wanted), 15000);
  const filtered = FILTERS.some((key) => key !== 'cursor' && query.get(key));
  return html`<${PageHead} title=${t('nav.devices')}><span class="page-tools"><${Exports} path="/devices/export" params=${wanted} name="devices" /></span></${PageHead}><${Panel} flush><${Filters} data=${resource.data} />
    <${Loaded} resource=${resource} rows=${10}>${(data) => (data.items.length
    ? html`<${Table} label=${t('nav.devices')} columns=${columns()} rows=${data.items} keyOf=${(device) => device.id} rowClass=${(device) => (device.state === 'answered' ? '' : `row-${LOOKS[device.state]}`)} /><${Pages} data=${data} />`
    : html`<${Empty} icon="devices">${t(filtered ? 'devices.none' : 'devices.empty')}${filtered ? null : html` <code translate=${false}>xiezhi-agent device add</code>`}</${Empty}>`)}</${Loaded}></${Panel}>`;
}
