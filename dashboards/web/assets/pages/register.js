// 台账: rooms, staff and assets of the courts that the caller sees, as lists.
import { html, useState, useEffect } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute, setQuery, hrefWith, navigate } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { now } from '../lib/live.js';
import { useMay } from '../lib/who.js';
import { scoped } from '../lib/scope.js';
import { number } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Segments, SearchField } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { Views } from '../parts/views.js';
import { Exports } from '../parts/exports.js';
import { Icon } from '../parts/icons.js';
import { KINDS, fieldName, statesOf, valueText, Value, Life, daysUntil } from './register/fields.js';
import { ItemForm } from './register/form.js';

const SIZE = 50;
const COLUMNS = { rooms: ['use', 'floor', 'phone'], staff: ['title', 'room', 'phone'], assets: ['type', 'model', 'room', 'owner', 'warranty'] };
const MINOR = ['floor', 'model', 'title'];

function Cell({ kind, field, value }) {
  if (field === 'warranty' && value && daysUntil(value, now()) < 0) return html`<span class="bad nowrap">${value}</span>`;
  return html`<${Value} kind=${kind} field=${field} value=${value} />`;
}

function columns(kind, chosen, choose) {
  const box = chosen && { title: html`<span class="visually-hidden">${t('register.labels')}</span>`, key: 'choose', pick: true, cell: (row) => html`
    <input type="checkbox" translate=${false} aria-label=${t('register.choose', { name: row.values.code })} checked=${chosen.has(row.id)} onChange=${() => choose(row.id)} />` };
  return [
    box || null,
    { title: fieldName(kind, 'name'), lead: true, cell: (row) => html`<a translate=${false} href=${scoped(`/register/${kind}/${row.id}`)}>${row.values.name}</a>` },
    { title: fieldName(kind, 'code'), cell: (row) => html`<span class="mono" translate=${false}>${row.values.code}</span>` },
    ...COLUMNS[kind].map((field) => ({ title: fieldName(kind, field), minor: MINOR.includes(field), cell: (row) => html`<${Cell} kind=${kind} field=${field} value=${row.values[field]} />` })),
    { title: t('register.site'), cell: (row) => html`<a class="quiet court" href=${`/sites/${row.site.id}`} title=${row.site.name}>${row.site.name}</a>` },
    { title: fieldName(kind, 'state'), cell: (row) => html`<${Life} kind=${kind} state=${row.values.state} />` },
  ].filter(Boolean);
}

const FILTERS = ['q', 'state', 'room', 'owner', 'site'];

function Filters({ kind, wanted }) {
  const reset = { cursor: null };
  const any = ['q', 'state', 'room', 'owner'].some((key) => wanted[key]);
  const parts = KINDS.map((one) => ({ value: one, text: t(`kindof.${one}`), href: scoped(`/register/${one}`) }));
  return html`<div class="filters"><${Segments} label=${t('register.kinds')} items=${parts} current=${kind} />
    <${SearchField} value=${wanted.q} label=${t('register.search')} onSearch=${(q) => setQuery({ q, ...reset })} />
    <select class="select" aria-label=${t('field.state')} value=${wanted.state || ''} onChange=${(event) => setQuery({ state: event.currentTarget.value, ...reset })}>
      <option value="">${t('register.state.all')}</option>${statesOf(kind).map((one) => html`<option key=${one} value=${one}>${valueText(kind, 'state', one)}</option>`)}</select>
    ${['room', 'owner'].filter((key) => wanted[key]).map((key) => html`<span key=${key} class="tag">${fieldName(kind, key)} <span translate=${false}>${wanted[key]}</span></span>`)}
    ${any ? html`<a class="clear" href=${hrefWith({ q: null, state: null, room: null, owner: null, ...reset })}>${t('fleet.clear')}</a>` : null}
    <${Views} /></div>`;
}

function Pages({ data }) {
  const { query } = useRoute();
  return html`<nav class="pages" aria-label=${t('register.title')}><span class="muted">${t('register.shown', { n: number(data.items.length) })}</span>
    ${query.get('cursor') ? html`<a class="button button-small" href=${hrefWith({ cursor: null })}>${t('page.first')}</a><button class="button button-small" onClick=${() => history.back()}>${t('page.previous')}</button>` : null}
    ${data.next ? html`<a class="button button-small" href=${hrefWith({ cursor: data.next })}>${t('page.next')}</a>` : null}</nav>`;
}

function List({ kind, data, wanted, may }) {
  const [chosen, setChosen] = useState(new Set());
  useEffect(() => setChosen(new Set()), [kind]);
  const choose = (id) => setChosen((old) => { const next = new Set(old); if (!next.delete(id)) next.add(id); return next; });
  if (!data.items.length) {
    const filtered = ['q', 'state', 'room', 'owner', 'cursor'].some((key) => wanted[key]);
    return html`<${Empty} icon="register">${t(filtered ? 'register.none' : may ? 'register.empty' : 'register.empty.look')}</${Empty}>`;
  }
  const labels = chosen.size ? url('', { id: [...chosen] }).split('?')[1] : null;
  return html`${kind === 'assets' ? html`<p class="panel-note list-acts"><a class="button button-small" href=${labels ? `/register/labels?${labels}` : `/register/labels?${new URLSearchParams(FILTERS.filter((key) => wanted[key]).map((key) => [key, wanted[key]]))}`}>
      <${Icon} name="label" size="14" />${chosen.size ? t('register.labels.some', { n: chosen.size }) : t('register.labels')}</a></p>` : null}
    <${Table} label=${t(`kindof.${kind}`)} columns=${columns(kind, kind === 'assets' ? chosen : null, choose)} rows=${data.items} keyOf=${(row) => row.id} />
    <${Pages} data=${data} />`;
}

export default function Register({ kind = 'assets' }) {
  const { query } = useRoute();
  const may = useMay()('manage_register');
  const wanted = {};
  for (const key of [...FILTERS, 'cursor']) wanted[key] = query.get(key);
  if (wanted.site) wanted.deep = 'true';
  const resource = useResource(url(`/register/${kind}`, { ...wanted, limit: SIZE }), 30000);
  const adding = may && query.get('new') === '1';
  return html`<${PageHead} title=${t('register.title')}><span class="page-tools">
      ${may ? html`<a class="button button-primary" href=${hrefWith({ new: '1' })}>${t('register.add', { kind: t(`one.${kind}`) })}</a>
        <a class="button" href=${scoped(`/register/imports?kind=${kind}`)}>${t('register.import')}</a>` : null}
      <${Exports} path=${`/register/${kind}/export`} params=${wanted} name=${kind} importable /></span></${PageHead}>
    ${adding ? html`<${Panel} id="new" title=${t('register.add', { kind: t(`one.${kind}`) })}><${ItemForm} key=${kind} kind=${kind} site=${wanted.site}
      onCancel=${() => setQuery({ new: null })} onSaved=${(made) => navigate(scoped(`/register/${kind}/${made.id}`))} /></${Panel}>` : null}
    <${Panel} flush><${Filters} kind=${kind} wanted=${wanted} /><${Loaded} resource=${resource} rows=${10}>${(data) => html`
      <${List} kind=${kind} data=${data} wanted=${wanted} may=${may} />`}</${Loaded}></${Panel}>`;
}
