// One room, member of staff or asset: what it is, where, whose, and what became of it. An asset's
// label leads here, so it is made for a phone first.
import { html, useState } from '../lib/html.js';
import { t, known } from '../lib/i18n.js';
import { useRoute, setQuery, hrefWith } from '../lib/router.js';
import { url, get, useResource } from '../lib/api.js';
import { now } from '../lib/live.js';
import { useMay } from '../lib/who.js';
import { dateTime } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Problem } from '../parts/ui.js';
import { Table, Pairs } from '../parts/table.js';
import { Icon } from '../parts/icons.js';
import { Status, HostLink } from '../parts/status.js';
import { AuditLink } from '../parts/auditlink.js';
import { actorName } from '../parts/audited.js';
import { fieldsOf, fieldName, Value, Life, daysUntil } from './register/fields.js';
import { ItemForm } from './register/form.js';

/** What a code of the same court stands for. */
function useNamed(kind, site, code) {
  const found = useResource(code ? url(`/register/${kind}`, { site, q: code, limit: 500 }) : null);
  return { loading: Boolean(code) && !found.data, item: found.data && found.data.items.find((one) => one.values.code === code) };
}

const Card = ({ icon, title, children }) => html`<section class="item-card"><h2><${Icon} name=${icon} size="16" />${title}</h2>${children}</section>`;

const Telephone = ({ number }) => (number ? html`<a class="item-phone" href=${`tel:${number.replace(/[^\d+]/g, '')}`} translate=${false}>${number}</a>` : null);

function Where({ kind, item }) {
  const { site, values } = item;
  const { item: room, loading } = useNamed('rooms', site.id, values.room);
  return html`<${Card} icon="sites" title=${t('item.where')}><p><a href=${`/sites/${site.id}`}>${site.name}</a></p>
    ${kind === 'rooms' ? null : values.room ? html`<p class="item-main">${room ? html`<a translate=${false} href=${`/register/rooms/${room.id}`}>${room.values.name}</a>` : null} <span class="mono muted" translate=${false}>${values.room}</span></p>
      ${room ? html`<p class="muted">${room.values.floor ? html`${t('field.floor')} <span translate=${false}>${room.values.floor}</span> ` : null}<${Telephone} number=${room.values.phone} /></p>` : loading ? null : html`<p class="muted">${t('item.unknown')}</p>`}`
    : html`<p class="muted">${t('item.nowhere')}</p>`}</${Card}>`;
}

function Whose({ item }) {
  const { site, values } = item;
  const { item: owner, loading } = useNamed('staff', site.id, values.owner);
  return html`<${Card} icon="users" title=${t('item.whose')}>${values.owner ? html`<p class="item-main">${owner ? html`<a translate=${false} href=${`/register/staff/${owner.id}`}>${owner.values.name}</a>` : null} <span class="mono muted" translate=${false}>${values.owner}</span></p>
      ${owner ? html`<p class="muted">${owner.values.title ? html`<span translate=${false}>${owner.values.title}</span> ` : null}<${Telephone} number=${owner.values.phone} /></p>` : loading ? null : html`<p class="muted">${t('item.unknown')}</p>`}`
    : html`<p class="muted">${t('item.nobody')}</p>`}</${Card}>`;
}

function Warranty({ day }) {
  const days = day ? daysUntil(day, now()) : 0;
  const text = !day ? t('item.warranty.none') : days === 0 ? t('item.warranty.today', { day }) : t(days > 0 ? 'item.warranty.left' : 'item.warranty.over', { day, n: Math.abs(days) });
  return html`<${Card} icon="stale" title=${t('item.warranty')}><p class=${day ? `item-main ${days < 0 ? 'bad' : ''}` : 'muted'}>${text}</p></${Card}>`;
}

function HostOf({ item }) {
  const names = [item.values.code, item.values.name].map((name) => (name || '').toLowerCase());
  const found = useResource(url('/hosts', { site: item.site.id, q: item.values.code, limit: 20 }), 30000);
  const other = useResource(url('/hosts', { site: item.site.id, q: item.values.name, limit: 20 }), 30000);
  const all = [...((found.data && found.data.items) || []), ...((other.data && other.data.items) || [])];
  const host = all.find((one) => names.includes(one.hostname.toLowerCase()));
  return html`<${Card} icon="fleet" title=${t('item.host')}>${host ? html`<p class="item-main"><${HostLink} host=${host} /> <${Status} state=${host.presence} /></p>` : html`<p class="muted">${t('item.host.none')}</p>`}
    <p class="muted item-small">${t('item.host.how')}</p></${Card}>`;
}

const side = (kind, field, text) => (text ? html`<span translate=${field === 'site' ? null : false}>${field === 'site' ? text : html`<${Value} kind=${kind} field=${field} value=${text} />`}</span>` : html`<span class="muted">${t('register.nothing')}</span>`);

const Changes = ({ kind, entry }) => html`<ul class="changes">${entry.changes.map((one) => html`<li key=${one.field}><i>${fieldName(kind, one.field)}</i>
  ${entry.action === 'create' ? side(kind, one.field, one.after) : html`<span class="was">${side(kind, one.field, one.before)}</span> → ${side(kind, one.field, one.after)}`}</li>`)}</ul>`;

function History({ kind, id, first }) {
  const [more, setMore] = useState({ items: [], next: first.next, error: null });
  const rows = [...first.items, ...more.items];
  const load = async () => {
    try {
      const page = await get(`/register/${kind}/${id}/history`, { before: more.next });
      setMore({ items: [...more.items, ...page.items], next: page.next, error: null });
    } catch (error) { setMore({ ...more, error }); }
  };
  if (!rows.length) return html`<${Empty} icon="audit">${t('register.history.none')}</${Empty}>`;
  const columns = [
    { title: t('register.when'), lead: true, cell: (row) => html`<span class="nowrap">${dateTime(row.time_ms)}</span>` },
    { title: t('register.who'), cell: (row) => html`<span>${actorName(row.actor)}</span>` },
    { title: t('register.what'), cell: (row) => html`<span>${known(`did.${row.action}`) ? t(`did.${row.action}`) : row.action}${row.import ? html` <span class="muted nowrap">${t('register.from.import', { n: row.import })}</span>` : null}</span>` },
    { title: t('register.changes'), wide: true, cell: (row) => html`<${Changes} kind=${kind} entry=${row} />` },
  ];
  return html`<${Table} label=${t('register.history')} columns=${columns} rows=${rows} keyOf=${(row) => row.id} />
    ${more.error ? html`<${Problem} error=${more.error} />` : null}
    ${more.next ? html`<p class="pages"><button class="button" onClick=${load}>${t('page.more')}</button></p>` : null}`;
}

const CARDS = { rooms: [], staff: ['room'], assets: ['room', 'owner', 'warranty'] };

function Facts({ kind, item }) {
  const shown = fieldsOf(kind).filter((field) => !['code', 'name', 'state', ...CARDS[kind]].includes(field));
  return html`<${Panel} id="facts" title=${t('item.what')}><${Pairs} pairs=${shown.map((field) => [fieldName(kind, field), item.values[field] ? html`<${Value} kind=${kind} field=${field} value=${item.values[field]} />` : ''])} /></${Panel}>`;
}

function Shown({ kind, item, reload }) {
  const { query } = useRoute();
  const may = useMay();
  const editing = may('manage_register') && query.get('edit') === '1';
  const history = useResource(url(`/register/${kind}/${item.id}/history`, { version: null }));
  const done = () => { reload(); history.reload(); setQuery({ edit: null }); };
  const { values } = item;
  const assets = `/register/assets?site=${item.site.id}&${kind === 'rooms' ? 'room' : 'owner'}=${encodeURIComponent(values.code)}`;
  return html`<${PageHead} title=${html`<span translate=${false}>${values.name}</span>`} crumbs=${html`<a href="/register">${t('register.title')}</a><${Icon} name="chevron" size="11" /><a href=${`/register/${kind}?site=${item.site.id}`}>${item.site.name} · ${t(`kindof.${kind}`)}</a>`}>
      <span class="tag mono" translate=${false}>${values.code}</span><${Life} kind=${kind} state=${values.state} />
      <span class="page-tools">${kind === 'assets' ? html`<a class="button button-small" href=${`/register/labels?id=${item.id}`}><${Icon} name="label" size="14" />${t('item.label')}</a>`
    : html`<a class="button button-small" href=${assets}>${t(kind === 'rooms' ? 'item.assets' : 'item.owned')}</a>`}
        <${AuditLink} filter=${{ subject: kind, item: item.id }} />
        ${may('manage_register') && !editing ? html`<a class="button button-small" href=${hrefWith({ edit: '1' })}>${t('register.edit')}</a>` : null}</span></${PageHead}>
    ${editing ? html`<${Panel} id="edit" title=${t('register.edit')}><${ItemForm} key=${item.version} kind=${kind} item=${item} onSaved=${done} onCancel=${() => setQuery({ edit: null })} onStale=${reload} /></${Panel}>`
    : html`<div class="item-cards"><${Where} kind=${kind} item=${item} />${kind === 'assets' ? html`<${Whose} item=${item} /><${Warranty} day=${values.warranty} />${may('see_hosts') ? html`<${HostOf} item=${item} />` : null}` : null}</div>
      <${Facts} kind=${kind} item=${item} />`}
    <${Panel} id="history" flush title=${t('register.history')}><${Loaded} resource=${history} rows=${3}>${(data) => html`<${History} key=${`${item.version}`} kind=${kind} id=${item.id} first=${data} />`}</${Loaded}></${Panel}>`;
}

export default function Item({ kind = 'assets', id }) {
  const resource = useResource(url(`/register/${kind}/${id}`));
  return html`<${Loaded} resource=${resource} rows=${6}>${(item) => html`<${Shown} kind=${kind} item=${item} reload=${resource.reload} />`}</${Loaded}>`;
}
