// 设置: how the controller itself is, and the dated values that it goes by, each with its source.
import { html } from '../lib/html.js';
import { t, word, known } from '../lib/i18n.js';
import { url, useResource } from '../lib/api.js';
import { date, dateTime } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty } from '../parts/ui.js';
import { Table, Pairs } from '../parts/table.js';
import { SiteNamed } from '../parts/sitechoice.js';
import { Status } from '../parts/status.js';

const SITE = 'bandwidth.site.';
const HOST = 'bandwidth.host.';

function Parts({ data }) {
  const ailing = new Map(data.ailments.map((ailment) => [ailment.part, ailment]));
  const told = (part) => {
    const ailment = ailing.get(part);
    return ailment ? [t(`part.${part}`), html`<span class="bad">${t(`ailment.${part}.${ailment.code}`, { days: ailment.days_left })}</span>`, t('ailment.since', { time: dateTime(ailment.since_ms) })]
      : [t(`part.${part}`), html`<span class="good">${t('part.ok')}</span>`];
  };
  return html`<${Pairs} pairs=${[...data.parts.map(told), [t('settings.version'), html`<span class="mono" translate=${false}>${data.version}</span>`]]} />`;
}

const Values = ({ items }) => html`<${Table} label=${t('settings.values')} rows=${items} keyOf=${(row) => row.key} columns=${[
  { title: t('settings.key'), lead: true, cell: (row) => (known(`setting.${row.key}`) ? word('setting', row.key) : html`<code translate=${false}>${row.key}</code>`) },
  { title: t('settings.value'), end: true, cell: (row) => (/_days$/.test(row.key) ? t('time.day', { n: row.value }) : html`<span translate=${false}>${row.value}</span>`) },
  { title: t('settings.since'), cell: (row) => html`<span class="nowrap">${date(row.valid_from_ms)}</span>` },
  { title: t('settings.source'), wide: true, cell: (row) => (known(`source.${row.key}.${row.valid_from_ms}`) ? t(`source.${row.key}.${row.valid_from_ms}`) : html`<span translate=${false}>${row.source}</span>`) },
]} />`;

function Budgets({ items }) {
  const own = items.filter((row) => row.key.startsWith(SITE) && row.value);
  const hosts = items.filter((row) => row.key.startsWith(HOST) && row.value);
  if (!own.length && !hosts.length) return html`<${Empty} icon="settings">${t('settings.budgets.none')}</${Empty}>`;
  return html`<ul class="plain">${own.map((row) => { const id = Number(row.key.slice(SITE.length)); return html`
      <li key=${row.key}><${SiteNamed} id=${id} /> <span class="muted">${t('settings.since')} ${dateTime(row.valid_from_ms)}</span></li>`; })}
    ${hosts.length ? html`<li class="muted">${t('budget.exceptions', { n: hosts.length })}</li>` : null}</ul>`;
}

export default function Settings() {
  const health = useResource(url('/health'), 5000);
  const settings = useResource(url('/settings'));
  return html`<${PageHead} title=${t('nav.settings')} />
    <div class="halves"><${Panel} id="controller" title=${t('settings.controller')}><${Loaded} resource=${health} rows=${5}>${(data) => html`
        <p class="settings-state"><${Status} state=${data.ailments.length ? (data.accepting ? 'stale' : 'down') : 'up'} large text=${t(data.ailments.length ? (data.accepting ? 'settings.degraded' : 'settings.unwell') : 'settings.well')} /></p><${Parts} data=${data} />`}</${Loaded}></${Panel}>
      <${Panel} id="budgets" title=${t('settings.budgets')} hint=${t('settings.budgets.hint')}><${Loaded} resource=${settings} rows=${3}>${(data) => html`<${Budgets} items=${data.items} />`}</${Loaded}></${Panel}></div>
    <${Panel} id="values" flush title=${t('settings.values')} hint=${t('settings.values.hint')}><${Loaded} resource=${settings} rows=${3}>${(data) => html`
      <${Values} items=${data.items.filter((row) => !row.key.startsWith('bandwidth.'))} />`}</${Loaded}></${Panel}>`;
}
