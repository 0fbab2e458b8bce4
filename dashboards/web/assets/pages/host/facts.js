// What a host is made of, as its agent read it; what could not be read is said, never guessed.
import { html } from '../../lib/html.js';
import { t, word } from '../../lib/i18n.js';
import { url, useResource } from '../../lib/api.js';
import { bytes, number, dateTime } from '../../lib/format.js';
import { useMay } from '../../lib/who.js';
import { Reason } from '../../lib/reasons.js';
import { Panel, Loaded, Empty } from '../../parts/ui.js';
import { Pairs, Table } from '../../parts/table.js';

const mono = (value) => (value ? html`<span class="mono" translate=${false}>${value}</span>` : html`<span class="muted">–</span>`);
/** What the machine says of itself: the same in every language. */
const raw = (value) => (value ? html`<span translate=${false}>${value}</span>` : '–');

const systemPairs = (facts) => [
  [t('facts.os'), raw(facts.os.name || [facts.os.id, facts.os.version].filter(Boolean).join(' '))],
  [t('facts.kernel'), mono(facts.kernel)],
  [t('facts.architecture'), raw(facts.architecture)],
  [t('facts.virtualisation'), facts.virtualisation === 'none' ? t('facts.physical') : raw(facts.virtualisation)],
  [t('facts.boot'), dateTime(facts.boot_time_s * 1000)],
  [t('facts.timezone'), raw(facts.timezone)],
  [t('facts.packages'), facts.packages.manager ? raw(t('facts.packages.value', { n: number(facts.packages.count), manager: facts.packages.manager })) : ''],
];

const hardwarePairs = (facts) => [
  [t('facts.cpu'), facts.cpu_model || facts.cpu_count ? raw(t('facts.cpu.value', { model: facts.cpu_model || '–', n: facts.cpu_count })) : ''],
  [t('facts.memory'), facts.memory_bytes ? bytes(facts.memory_bytes) : ''],
  [t('facts.machine'), raw([facts.machine.vendor, facts.machine.model].filter(Boolean).join(' '))],
  [t('facts.serial'), mono(facts.machine.serial)],
];

const diskColumns = () => [
  { title: t('facts.name'), lead: true, cell: (disk) => mono(disk.name) },
  { title: t('facts.model'), cell: (disk) => raw(disk.model) },
  { title: t('fs.type'), cell: (disk) => t(disk.removable ? 'facts.disk.removable' : disk.rotational ? 'facts.disk.hdd' : 'facts.disk.ssd') },
  { title: t('facts.serial'), cell: (disk) => mono(disk.serial) },
  { title: t('fs.size'), end: true, cell: (disk) => bytes(disk.size_bytes) },
];

const interfaceColumns = () => [
  { title: t('facts.name'), lead: true, cell: (card) => mono(card.name) },
  { title: t('facts.state'), cell: (card) => (card.state ? word('facts.link', card.state) : '–') },
  { title: t('facts.addresses'), cell: (card) => (card.addresses.length ? html`<span class="lines">${card.addresses.map((address) => html`<span key=${address} class="mono line" translate=${false}>${address}</span>`)}</span>` : '–') },
  { title: t('facts.mac'), cell: (card) => mono(card.mac) },
  { title: t('facts.speed'), end: true, cell: (card) => (card.speed_mbit ? `${number(card.speed_mbit)} Mbit/s` : '–') },
  { title: t('facts.driver'), cell: (card) => raw(card.driver) },
];

const portColumns = () => [
  { title: t('facts.port'), lead: true, cell: (row) => html`<b>${row.port}</b>` },
  { title: t('facts.protocol'), cell: (row) => raw(row.protocol) },
  { title: t('facts.addresses'), cell: (row) => mono(row.address) },
  { title: t('facts.uid'), end: true, cell: (row) => row.uid },
];

const List = ({ id, title, columns, rows, keyOf }) => html`<${Panel} id=${id} flush title=${title} hint=${number(rows.length)}>${rows.length
  ? html`<${Table} label=${title} columns=${columns} rows=${rows} keyOf=${keyOf} />` : html`<${Empty}>–</${Empty}>`}</${Panel}>`;

const Known = ({ facts, received }) => html`<div class="halves">
    <${Panel} id="system" title=${t('facts.system')} hint=${t('facts.updated', { time: dateTime(received) })}><${Pairs} pairs=${systemPairs(facts)} /></${Panel}>
    <${Panel} id="hardware" title=${t('facts.hardware')}><${Pairs} pairs=${hardwarePairs(facts)} /></${Panel}></div>
  <${List} id="interfaces" title=${t('facts.interfaces')} columns=${interfaceColumns()} rows=${facts.interfaces} keyOf=${(card) => card.name} />
  <${List} id="disks" title=${t('facts.disks')} columns=${diskColumns()} rows=${facts.disks} keyOf=${(disk) => disk.name} />
  <${List} id="ports" title=${t('facts.listening')} columns=${portColumns()} rows=${facts.listening} keyOf=${(row) => `${row.protocol} ${row.address} ${row.port}`} />
  ${facts.unreadable.length ? html`<${Panel} id="unreadable" title=${t('facts.unreadable')}><ul class="plain">${facts.unreadable.map((line) => html`<li key=${line} ><${Reason} text=${line} /></li>`)}</ul></${Panel}>` : null}`;

export function Facts({ id, revoked }) {
  const asks = useMay()('manage_hosts') && !revoked;
  const resource = useResource(url(`/hosts/${id}/facts`), 60000);
  return html`<${Loaded} resource=${resource} rows=${8}>${(data) => (data.facts ? html`<${Known} facts=${data.facts} received=${data.received_ms} />`
    : html`<${Panel}><${Empty} icon="fleet">${t(asks ? 'facts.none' : 'facts.none.wait')}</${Empty}></${Panel}>`)}</${Loaded}>`;
}
