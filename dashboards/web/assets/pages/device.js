// A device: whether it answers, its ports, what it measures, what it is, what happened to it.
import '../lib/devices.js';
import { html, useMemo } from '../lib/html.js';
import { isEnglish, t, word, words } from '../lib/i18n.js';
import { useRoute, hrefWith, setQuery } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { now } from '../lib/live.js';
import { ago, bitsPerSecond, bytes, dateTime, duration, number } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Segments } from '../parts/ui.js';
import { Icon } from '../parts/icons.js';
import { Chart } from '../parts/chart.js';
import { Table, Pairs } from '../parts/table.js';
import { HostLink, Status } from '../parts/status.js';
import { Crumbs } from '../parts/sitechoice.js';
import { EventList } from './events.js';
import { DeviceState, LOOKS as EDGES, kindName } from './devices.js';

const TABS = ['ports', 'values', 'facts', 'events'];
const HOUR_S = 3600;
/** Busiest ports that are drawn. */
const DRAWN = 4;

/** A window in which there are three polls at least. */
const windowS = (device) => Math.max(300, device.every_s * 4);

/** What a Prometheus answers is not spelt out in the description of the interface. @returns {any[]} */
const resultOf = (/** @type {any} */ data) => (data && data.data && data.data.result) || [];

const Fact = ({ name, children }) => html`<div class="strip-item"><dt>${name}</dt><dd>${children}</dd></div>`;

export function Presence({ device, why }) {
  return html`<section class=${`presence edge-${EDGES[device.state]}`} aria-label=${t('presence.label')}>
    <div class="presence-state"><${DeviceState} state=${device.state} large /><p>
      ${why !== undefined ? why : device.state === 'unknown' ? t('devices.unknown.text') : device.problem ? word('device.problem', device.problem) : null}
      ${device.state === 'unknown' ? null : html`<span class="muted"> ${t('devices.since', { d: duration(now() - device.since_ms) })}</span>`}</p></div>
    <dl class=${device.state === 'answered' ? 'strip' : 'strip strip-old'}>
      <${Fact} name=${t('devices.answer')}><span title=${dateTime(device.last_answer_ms)}>${ago(device.last_answer_ms, now())}</span></${Fact}>
      <${Fact} name=${t('devices.poll')}><span title=${dateTime(device.last_poll_ms)}>${ago(device.last_poll_ms, now())}</span></${Fact}>
      <${Fact} name=${t('devices.every')}>${duration(device.every_s * 1000)}</${Fact}>
      <${Fact} name=${t('devices.kind')}>${kindName(device.kind)}</${Fact}>
      <${Fact} name=${t('devices.host')}><${HostLink} host=${device.host} /></${Fact}>
    </dl></section>`;
}

/** What each port carries: `{ifName: {in, out, errors}}`, bytes a second and errors of the window. */
function useTraffic(device) {
  const of = `{device_id="${device.id}"}[${windowS(device)}s]`;
  const named = (direction, text) => `label_replace(${text},"direction","${direction}","","")`;
  const either = (high, low, make) => `(${make(high)} or ${make(low)})`;
  const rate = (metric) => `sum by (ifName) (rate(${metric}${of}))`;
  const errors = ['ifInErrors', 'ifOutErrors'].map((metric) => `sum by (ifName) (increase(${metric}${of}))`).join(' + ');
  const query = [named('in', either('ifHCInOctets', 'ifInOctets', rate)), named('out', either('ifHCOutOctets', 'ifOutOctets', rate)), named('errors', errors)].join(' or ');
  const { data } = useResource(url('/query', { query, time: Math.floor(now() / 15000) * 15 }), 30000);
  return useMemo(() => {
    const ports = new Map();
    for (const { metric, value } of resultOf(data)) {
      ports.set(metric.ifName, { ...ports.get(metric.ifName), [metric.direction]: Number(value[1]) });
    }
    return ports;
  }, [data]);
}

function PortState({ port }) {
  if (!port.enabled) return html`<span class="muted">${t('port.disabled')}</span>`;
  const state = port.state === 'up' ? 'up' : port.state === 'down' || port.state === 'lower_layer_down' ? 'down' : '';
  return state ? html`<span class=${`status status-${state === 'up' ? 'up' : 'unknown'}`}><${Icon} name=${state} size="13" />${t(`port.${state}`)}</span>`
    : html`<span class="muted" translate=${false}>${port.state || '–'}</span>`;
}

const portColumns = (traffic, device) => {
  const of = (port) => traffic.get(port.name) || {};
  return [
    { title: t('port.name'), lead: true, cell: (port) => html`<span class="mono" translate=${false} title=${port.descr}>${port.name}</span>` },
    { title: t('port.alias'), cell: (port) => html`<span translate=${false}>${port.alias || '–'}</span>` },
    { title: t('port.state'), cell: (port) => html`<${PortState} port=${port} />` },
    { title: t('port.speed'), end: true, cell: (port) => html`<span class="nowrap">${port.speed ? bitsPerSecond(port.speed / 8) : '–'}</span>` },
    { title: t('port.in'), end: true, cell: (port) => html`<span class="nowrap">${bitsPerSecond(of(port).in)}</span>` },
    { title: t('port.out'), end: true, cell: (port) => html`<span class="nowrap">${bitsPerSecond(of(port).out)}</span>` },
    { title: t('port.errors'), end: true, cell: (port) => html`<span class=${of(port).errors > 0.5 ? 'bad' : 'muted'} title=${t('port.errors.title', { d: duration(windowS(device) * 1000) })}>${number(of(port).errors)}</span>` },
  ];
};

function Traffic({ device, traffic }) {
  const end = useMemo(() => Math.floor(now() / 60000) * 60, [traffic]);
  const busiest = [...traffic].filter(([, port]) => port.in || port.out).sort((a, b) => (b[1].in || 0) + (b[1].out || 0) - (a[1].in || 0) - (a[1].out || 0)).slice(0, DRAWN).map(([name]) => name);
  const pattern = JSON.stringify(busiest.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|'));
  const line = (metric, direction) => `label_replace(sum by (ifName) (rate(${metric}{device_id="${device.id}",ifName=~${pattern}}[${windowS(device)}s])),"direction","${direction}","","")`;
  const query = `(${line('ifHCInOctets', 'in')} or ${line('ifInOctets', 'in')}) or (${line('ifHCOutOctets', 'out')} or ${line('ifOutOctets', 'out')})`;
  const { data } = useResource(busiest.length ? url('/query_range', { query, start: end - HOUR_S, end, step: 60 }) : null);
  const { times, lines } = useMemo(() => {
    const at = Array.from({ length: HOUR_S / 60 + 1 }, (_, place) => end - HOUR_S + place * 60);
    const places = new Map(at.map((time, place) => [time, place]));
    const drawn = resultOf(data).map(({ metric, values }) => {
      const filled = new Array(at.length).fill(null);
      for (const [time, value] of values) {
        const place = places.get(Number(time));
        if (place !== undefined) filled[place] = Number(value);
      }
      return { name: t(`port.chart.${metric.direction}`, { name: metric.ifName }), device: true, values: filled };
    });
    return { times: at, lines: drawn };
  }, [data]);
  if (!busiest.length) return null;
  return html`<${Panel}><${Chart} title=${t('port.chart')} times=${times} lines=${lines} format=${bitsPerSecond} least=${125} from=${(end - HOUR_S) * 1000} to=${end * 1000} /></${Panel}>`;
}

function Ports({ device, about }) {
  const traffic = useTraffic(device);
  const ports = about.ports || [];
  if (!ports.length) return html`<${Panel}><${Empty}>${t('device.ports.none')}</${Empty}></${Panel}>`;
  return html`<${Traffic} device=${device} traffic=${traffic} />
    <${Panel} flush><${Table} label=${t('device.tab.ports')} columns=${portColumns(traffic, device)} rows=${ports} keyOf=${(port) => port.name} /></${Panel}>`;
}

const OURS = ['__name__', 'device_id', 'instance', 'job', 'measure', 'site', 'site_id'];
/** What stands behind a number. */
const SIGNS = { percent: '%', celsius: '°C', volts: 'V', amperes: 'A', watts: 'W', volt_amperes: 'VA', kilowatt_hours: 'kWh', hertz: 'Hz', rpm: 'rpm', dbm: 'dBm' };
/** Which of the four looks each level of a state has. */
const LOOKS = { ok: 'up', unknown: 'unknown', warning: 'stale', critical: 'down' };

const said = (/** @type {any} */ text) => (isEnglish() ? text.en || text.zh : text.zh || text.en) || '';

/** A number in its unit, or what it means. */
function Measured({ value, measure }) {
  const amount = Number(value);
  const state = measure && (measure.states || []).find((/** @type {any} */ one) => one.value === amount);
  if (state) return html`<${Status} state=${LOOKS[state.level] || 'unknown'} text=${said(state)} />`;
  const unit = measure ? measure.unit : '';
  if (unit === 'bytes') return bytes(amount);
  if (unit === 'bits_per_second') return bitsPerSecond(amount / 8);
  if (unit === 'seconds') return amount < 1 ? html`<span class="nowrap">${number(amount * 1000, 2)} ms</span>` : duration(amount * 1000);
  const text = number(amount, Number.isInteger(amount) ? 0 : 2);
  return html`<span class="nowrap">${text}${SIGNS[unit] ? ` ${SIGNS[unit]}` : ''}</span>`;
}

const order = (/** @type {any} */ row) => `${row.measure ? said(row.measure) : `~${row.name}`} ${row.of}`;

/** What it measures beside its ports, by what its profile calls it. */
export function Values({ device, about }) {
  const known = useMemo(() => new Map((about.measures || []).map((/** @type {any} */ one) => [`${one.name} ${one.measure || ''}`, one])), [about]);
  const query = `last_over_time({device_id="${device.id}",__name__!~"if[A-Z].*|snmp_.*|up|xiezhi_.*"}[${windowS(device)}s])`;
  const resource = useResource(url('/query', { query }), 30000);
  const columns = [
    { title: t('value.metric'), lead: true, cell: (row) => (row.measure ? html`<span title=${row.name}>${said(row.measure)}</span>` : html`<span class="mono" translate=${false}>${row.name}</span>`) },
    { title: t('value.of'), cell: (row) => (row.of ? html`<span translate=${false}>${row.of}</span>` : html`<span class="muted">–</span>`) },
    { title: t('value.value'), end: true, cell: (row) => html`<${Measured} value=${row.value} measure=${row.measure} />` },
  ];
  return html`<${Panel} flush><${Loaded} resource=${resource} rows=${8}>${(data) => {
    const rows = resultOf(data).map(({ metric, value }) => ({
      name: metric.__name__ || '', value: value[1],
      measure: known.get(`${metric.__name__} ${metric.measure || ''}`),
      of: Object.entries(metric).filter(([name]) => !OURS.includes(name)).map(([, text]) => text).join(' · '),
      key: JSON.stringify(metric),
    })).sort((a, b) => order(a).localeCompare(order(b), 'zh'));
    return rows.length ? html`<${Table} label=${t('device.tab.values')} columns=${columns} rows=${rows} keyOf=${(row) => row.key} />` : html`<${Empty}>${t('device.values.none')}</${Empty}>`;
  }}</${Loaded}></${Panel}>`;
}

const mono = (text) => text && html`<span class="mono" translate=${false}>${text}</span>`;
const plain = (text) => text && html`<span translate=${false}>${text}</span>`;

/** What the register says of it. */
const asset = (/** @type {any} */ item) => item && html`<a translate=${false} href=${`/register/assets/${item.id}`}>${item.name}</a> <span class="mono muted" translate=${false}>${item.code}</span>${item.room ? html` · ${t('device.room')} <a translate=${false} href=${`/register/rooms?site=${item.site.id}&q=${encodeURIComponent(item.room)}`}>${item.room}</a>` : null}`;

export function Facts({ device, about, item }) {
  const left = Object.entries(about.left_out || {});
  return html`<${Panel} id="device-facts" title=${t('device.said')}><${Pairs} pairs=${[
    [t('devices.model'), plain(device.model)], [t('device.serial'), mono(device.serial)],
    [t('device.sysname'), plain(about.name)], [t('device.description'), plain(about.description)],
    [t('device.asset'), asset(item) || html`<span class="muted">${t('device.asset.none')}</span>`],
    [t('device.address'), mono(about.address)], [t('device.object'), mono(about.object_id)],
    [t('device.profile'), plain(device.profile)],
    ...Object.entries(about.facts || {}).filter(([name]) => name !== 'model' && name !== 'serial').map(([name, text]) => [plain(name), plain(text)]),
    left.length ? [t('device.left_out'), plain(left.map(([reason, count]) => `${reason}: ${count}`).join(', '))] : null,
  ]} /></${Panel}>`;
}

/** What happened to it, and what it told by itself. */
function Events({ device }) {
  const { query } = useRoute();
  const filters = { stream: 'events', device: device.name, host: device.host.id, kind: query.get('kind'), severity: query.get('severity') };
  const choose = (/** @type {string} */ name) => (/** @type {any} */ event) => setQuery({ [name]: event.currentTarget.value });
  return html`<${Panel} flush><div class="filters">
    <select class="select" aria-label=${t('events.severity')} value=${filters.severity || ''} onChange=${choose('severity')}><option value="">${t('events.severity.all')}</option>
      ${['critical', 'warning', 'notice'].map((one) => html`<option key=${one} value=${one}>${one === 'critical' ? word('severity', one) : t('events.severity.from', { name: word('severity', one) })}</option>`)}</select>
    <select class="select" aria-label=${t('events.kind')} value=${filters.kind || ''} onChange=${choose('kind')}><option value="">${t('events.kind.all')}</option>
      ${words('kind').filter((one) => one.startsWith('device_')).map((one) => html`<option key=${one} value=${one}>${word('kind', one)}</option>`)}</select></div>
    <${EventList} filters=${filters} host /></${Panel}>`;
}

function Tab({ tab, device, about, item }) {
  if (tab === 'values') return html`<${Values} device=${device} about=${about} />`;
  if (tab === 'facts') return html`<${Facts} device=${device} about=${about} item=${item} />`;
  if (tab === 'events') return html`<${Events} device=${device} />`;
  return html`<${Ports} device=${device} about=${about} />`;
}

export default function Device({ id }) {
  const { query } = useRoute();
  const resource = useResource(url(`/devices/${id}`), 15000);
  return html`<${Loaded} resource=${resource} rows=${10}>${({ device, path, about, asset: item }) => {
    const first = (about.ports || []).length ? 'ports' : 'values';
    const tab = TABS.find((one) => one === query.get('tab')) || first;
    return html`<${PageHead} title=${html`<span translate=${false}>${device.name}</span>`} crumbs=${html`<${Crumbs} path=${path} />`}>${device.model ? html`<span class="muted" translate=${false}>${device.model}</span>` : null}</${PageHead}>
      ${device.needs_profile ? html`<p class="notice notice-stale"><${Icon} name="warning" size="15" />${t('devices.needs_profile.text')}</p>` : null}
      <${Presence} device=${device} />
      <div class="tabs"><${Segments} label=${t('device.tabs')} current=${tab} items=${TABS.map((one) => ({ value: one, text: t(`device.tab.${one}`), href: hrefWith({ tab: one === first ? '' : one }) }))} /></div>
      <${Tab} tab=${tab} device=${device} about=${about} item=${item} />`;
  }}</${Loaded}>`;
}
