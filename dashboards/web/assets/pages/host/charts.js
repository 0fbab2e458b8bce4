// The live charts of a host. One request brings all series of the page; counters arrive as rates.
import { html, useEffect, useMemo, useState } from '../../lib/html.js';
import { t } from '../../lib/i18n.js';
import { useRoute, hrefWith } from '../../lib/router.js';
import { url, useResource } from '../../lib/api.js';
import { now } from '../../lib/live.js';
import { bytes, dateTime, bytesPerSecond, bitsPerSecond, percent, number } from '../../lib/format.js';
import { Icon } from '../../parts/icons.js';
import { Panel, Loaded, Segments, Empty } from '../../parts/ui.js';
import { Chart } from '../../parts/chart.js';
import { Table } from '../../parts/table.js';

const RANGES = { '15m': 900000, '1h': 3600000, '6h': 21600000, '24h': 86400000, '7d': 604800000 };
/** What is shown unless the address says: the last hour, or the least span that the last report is in. */
const USUAL = ['1h', '6h', '24h', '7d'];
const METRICS = [
  'node_cpu_seconds_total',
  'node_memory_MemTotal_bytes', 'node_memory_MemFree_bytes', 'node_memory_MemAvailable_bytes', 'node_memory_Buffers_bytes',
  'node_memory_Cached_bytes', 'node_memory_SReclaimable_bytes', 'node_memory_SwapTotal_bytes', 'node_memory_SwapFree_bytes',
  'node_disk_read_bytes_total', 'node_disk_written_bytes_total',
  'node_network_receive_bytes_total', 'node_network_transmit_bytes_total',
  'node_load1', 'node_load5', 'node_load15',
  'node_filesystem_size_bytes', 'node_filesystem_avail_bytes',
];
/** Lines in one chart at most; the busiest are kept and the chart says how many there are. */
const MOST = 4;
/** Bytes a second: the axis of a network that carries nothing reaches 1 kbit/s. */
const IDLE = 125;
const MODES = ['user', 'system', 'iowait', 'irq', 'nice', 'steal'];

const sum = (values) => values.reduce((total, value) => total + (value || 0), 0);
const named = (data, name) => data.series.filter((series) => series.name === name);
const one = (data, name) => (named(data, name)[0] || {}).values;
const combine = (length, lists, make) => Array.from({ length }, (_, at) => {
  const values = lists.map((list) => (list ? list[at] : null));
  return values.some((value) => value === null || value === undefined) ? null : make(...values);
});

/** Share of the time of all CPUs by mode; what adds up to all of it is the busy share and idle. */
function cpuLines(data) {
  const modes = new Map(named(data, 'node_cpu_seconds_total').map((series) => [series.labels.mode, series.values]));
  if (!modes.size) return [];
  const length = data.times.length;
  const all = Array.from({ length }, (_, at) => {
    const values = [...modes.values()].map((list) => list[at]);
    return values.some((value) => value === null) ? null : sum(values);
  });
  const share = (names) => combine(length, [all, ...names.map((name) => modes.get(name)).filter(Boolean)], (total, ...parts) => (total ? (100 * sum(parts)) / total : null));
  const lines = MODES.filter((mode) => modes.has(mode)).map((mode) => ({
    mode, name: t(`mode.${mode}`), values: mode === 'irq' ? share(['irq', 'softirq']) : share([mode]),
  }));
  return lines.filter(({ mode, values }) => mode === 'user' || mode === 'system' || values.some((value) => value > 0.05));
}

function memoryLines(data) {
  const length = data.times.length;
  const total = one(data, 'node_memory_MemTotal_bytes');
  if (!total) return { lines: [], max: 0 };
  const available = one(data, 'node_memory_MemAvailable_bytes');
  const free = one(data, 'node_memory_MemFree_bytes');
  const swap = combine(length, [one(data, 'node_memory_SwapTotal_bytes'), one(data, 'node_memory_SwapFree_bytes')], (all, rest) => all - rest);
  const lines = [
    { name: t('chart.used'), colour: 0, values: combine(length, [total, available], (all, rest) => all - rest) },
    { name: t('chart.cache'), colour: 5, values: combine(length, [available, free], (rest, unused) => Math.max(0, rest - unused)) },
  ];
  if (swap.some((value) => value > 0)) lines.push({ name: t('chart.swap'), colour: 4, values: swap });
  return { lines, max: Math.max(...total.filter((value) => value !== null), 0) };
}

const UNINTERESTING = /^(lo|veth.*|docker.*|br-.*|virbr.*|cni.*|flannel.*|cali.*|loop\d+|z?ram\d+|ifb\d+|dummy\d+|sit\d+|tunl\d+|sr\d+|fd\d+|dm-\d+)$/;

/** Two lines a device, the busiest devices first; loopback and containers only if nothing else is there. */
function deviceLines(data, inward, outward, inText, outText) {
  const devices = new Map();
  for (const [metric, direction] of [[inward, 'in'], [outward, 'out']]) {
    for (const series of named(data, metric)) {
      const found = devices.get(series.labels.device) || { device: series.labels.device, total: 0 };
      found[direction] = series.values;
      found.total += sum(series.values);
      devices.set(series.labels.device, found);
    }
  }
  const all = [...devices.values()].sort((a, b) => b.total - a.total);
  const real = all.filter(({ device }) => !UNINTERESTING.test(device));
  const busy = real.filter(({ total }) => total > 0);
  const shown = (busy.length ? busy : real.length ? real : all).slice(0, MOST);
  const nothing = new Array(data.times.length).fill(null);
  return {
    note: busy.length > shown.length ? t('chart.more', { n: shown.length, total: busy.length }) : '',
    lines: shown.reduce((lines, found, index) => lines.concat([
      { device: true, name: t(inText, { name: found.device }), values: found.in || nothing, colour: index * 2, fill: index === 0 },
      { device: true, name: t(outText, { name: found.device }), values: found.out || nothing, colour: index * 2 + 1 },
    ]), []),
  };
}

const last = (values) => { for (let at = values.length - 1; at >= 0; at -= 1) if (values[at] !== null) return values[at]; return null; };

function filesystems(data) {
  const sizes = new Map(named(data, 'node_filesystem_size_bytes').map((series) => [series.labels.mountpoint, series]));
  return named(data, 'node_filesystem_avail_bytes').map((series) => {
    const size = sizes.get(series.labels.mountpoint);
    const free = last(series.values);
    const all = size ? last(size.values) : null;
    return { ...series.labels, free, size: all, used: all ? (100 * (all - free)) / all : null };
  }).filter((row) => row.size > 0).sort((a, b) => b.used - a.used);
}

const filesystemColumns = () => [
  { title: t('fs.mount'), lead: true, cell: (row) => html`<span class="mono" translate=${false}>${row.mountpoint}</span>` },
  { title: t('fs.device'), cell: (row) => html`<span class="mono muted" translate=${false}>${row.device}</span>` },
  { title: t('fs.type'), cell: (row) => html`<span translate=${false}>${row.fstype}</span>` },
  { title: t('fs.size'), end: true, cell: (row) => bytes(row.size) },
  { title: t('fs.free'), end: true, cell: (row) => bytes(row.free) },
  { title: t('fs.used'), cell: (row) => html`<span class=${`meter meter-wide ${row.used >= 90 ? 'meter-high' : row.used >= 80 ? 'meter-warm' : ''}`}><span class="meter-bar" aria-hidden="true"><span style=${{ width: `${row.used}%` }}></span></span>${percent(row.used)}</span>` },
];

function Drawn({ data }) {
  const parts = useMemo(() => ({
    cpu: cpuLines(data),
    memory: memoryLines(data),
    disk: deviceLines(data, 'node_disk_read_bytes_total', 'node_disk_written_bytes_total', 'chart.read', 'chart.write'),
    network: deviceLines(data, 'node_network_receive_bytes_total', 'node_network_transmit_bytes_total', 'chart.receive', 'chart.transmit'),
    load: ['load1', 'load5', 'load15'].map((name) => ({ name: t(`chart.${name}`), values: one(data, `node_${name}`) || [] })).filter((line) => line.values.length),
    filesystems: filesystems(data),
  }), [data]);
  const shared = { times: data.times, from: data.from_ms, to: data.to_ms };
  return html`${data.warnings.length ? html`<p class="notice notice-stale" title=${data.warnings.join('\n')}><${Icon} name="warning" size="15" />${t('chart.lacking')}</p>` : null}<div class="charts">
    <${Panel}><${Chart} ...${shared} title=${t('chart.cpu')} lines=${parts.cpu} stacked max=${100} format=${(value) => percent(value, value !== null && value > 0 && value < 10 ? 1 : 0)} /></${Panel}>
    <${Panel}><${Chart} ...${shared} title=${t('chart.memory')} lines=${parts.memory.lines} max=${parts.memory.max || undefined} stacked binary format=${bytes} /></${Panel}>
    <${Panel}><${Chart} ...${shared} title=${t('chart.network')} lines=${parts.network.lines} note=${parts.network.note} least=${IDLE} format=${bitsPerSecond} /></${Panel}>
    <${Panel}><${Chart} ...${shared} title=${t('chart.disk')} lines=${parts.disk.lines} note=${parts.disk.note} binary format=${bytesPerSecond} /></${Panel}>
    <${Panel}><${Chart} ...${shared} title=${t('chart.load')} lines=${parts.load} format=${(value) => number(value, 2)} /></${Panel}>
    <${Panel} id="filesystems" flush title=${t('chart.filesystems')}>${parts.filesystems.length
    ? html`<${Table} label=${t('chart.filesystems')} columns=${filesystemColumns()} rows=${parts.filesystems} keyOf=${(row) => row.mountpoint} />`
    : html`<${Empty}>${t('fs.none')}</${Empty}>`}</${Panel}></div>`;
}

/** @param {number|null} lastReport */
function usual(lastReport) {
  const age = lastReport ? now() - lastReport : 0;
  return USUAL.find((name) => age < RANGES[name]) || '7d';
}

export function Charts({ id, lastReport }) {
  const { query } = useRoute();
  const asked = RANGES[query.get('range')] ? query.get('range') : null;
  const range = asked || usual(lastReport);
  const [, redraw] = useState(0);
  // A new report moves the window; without one the address stays the same and nothing is asked.
  const to = useMemo(() => Math.ceil(now() / 5000) * 5000, [lastReport, range]);
  const from = to - RANGES[range];
  const address = url(`/hosts/${id}/series`, { match: METRICS, rate: 'true', without: 'cpu', from, to });
  const resource = useResource(address);
  useEffect(() => {
    const turned = () => redraw((n) => n + 1);
    addEventListener('xiezhi-theme', turned);
    return () => removeEventListener('xiezhi-theme', turned);
  }, []);
  const items = Object.keys(RANGES).map((name) => ({ value: name, text: t(`range.${name}`), href: hrefWith({ range: name }) }));
  return html`<div class="range"><${Segments} label=${t('range.label')} items=${items} current=${range} />
      <p class="range-told"><span class="nowrap">${t('range.shown', { from: dateTime(from).slice(5, 16), to: dateTime(to).slice(5, 16) })}</span>${asked || range === '1h' ? null : html` <span>${t('range.older', { name: t(`range.${range}`) })}</span>`}</p></div>
    <${Loaded} resource=${{ ...resource, fresh: true }} rows=${12}>${(data) => html`<${Drawn} data=${data} />`}</${Loaded}>`;
}
