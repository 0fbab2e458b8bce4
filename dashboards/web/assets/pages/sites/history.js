// What became of a site: who renamed, moved or retired it, and where it stood before.
import { html, useState } from '../../lib/html.js';
import { t, known, word } from '../../lib/i18n.js';
import { url, get, useResource } from '../../lib/api.js';
import { dateTime } from '../../lib/format.js';
import { Panel, Loaded, Empty, Problem } from '../../parts/ui.js';
import { Table } from '../../parts/table.js';
import { actorName } from '../../parts/audited.js';
import '../../lib/tree.js';

const NAMES = { id: 'tree.id', name: 'tree.name', tier: 'tree.tier', parent_id: 'tree.parent', court_code: 'tree.code', state: 'tree.state' };

/** A field's name in words; what a later controller has more is shown as it is. */
export const fieldName = (field) => (NAMES[field] ? t(NAMES[field]) : field);

/** What a field holds, in words. */
export function valueText(field, value) {
  if (field === 'tier') return word('tier', value);
  return field === 'state' && known(`tree.state.${value}`) ? t(`tree.state.${value}`) : value;
}

const Side = ({ field, value }) => (value ? html`<span translate=${valueText(field, value) === value ? false : null}>${valueText(field, value)}</span>` : html`<span class="muted">${t('tree.nothing')}</span>`);

const Changes = ({ entry }) => html`<ul class="changes">${entry.changes.filter((one) => entry.action !== 'create' || one.field !== 'state').map((one) => html`<li key=${one.field}><i>${fieldName(one.field)}</i>
  ${entry.action === 'create' ? html`<${Side} field=${one.field} value=${one.after} />` : html`<span class="was"><${Side} field=${one.field} value=${one.before} /></span> → <${Side} field=${one.field} value=${one.after} />`}</li>`)}</ul>`;

function Entries({ id, first }) {
  const [more, setMore] = useState({ items: [], next: first.next, error: null });
  const rows = [...first.items, ...more.items];
  const load = async () => {
    try {
      const page = await get(`/sites/${id}/history`, { before: more.next });
      setMore({ items: [...more.items, ...page.items], next: page.next, error: null });
    } catch (error) { setMore({ ...more, error }); }
  };
  if (!rows.length) return html`<${Empty} icon="audit">${t('tree.history.none')}</${Empty}>`;
  const columns = [
    { title: t('tree.when'), lead: true, cell: (row) => html`<span class="nowrap">${dateTime(row.time_ms)}</span>` },
    { title: t('tree.who'), cell: (row) => html`<span>${actorName(row.actor)}</span>` },
    { title: t('tree.what'), cell: (row) => html`<span class="nowrap">${known(`tree.did.${row.action}`) ? t(`tree.did.${row.action}`) : row.action}</span>${row.import ? html` <span class="muted nowrap">${t('tree.from.import', { n: row.import })}</span>` : null}` },
    { title: t('tree.changes'), wide: true, cell: (row) => html`<${Changes} entry=${row} />` },
  ];
  return html`<${Table} label=${t('tree.history')} columns=${columns} rows=${rows} keyOf=${(row) => row.id} />
    ${more.error ? html`<${Problem} error=${more.error} />` : null}
    ${more.next ? html`<p class="pages"><button class="button" onClick=${load}>${t('page.more')}</button></p>` : null}`;
}

export function SiteHistory({ id, version }) {
  const history = useResource(url(`/sites/${id}/history`));
  return html`<${Panel} id="history" flush title=${t('tree.history')} hint=${t('tree.history.hint')}><${Loaded} resource=${history} rows=${3}>${(data) => html`<${Entries} key=${`${version}.${data.items.length}`} id=${id} first=${data} />`}</${Loaded}></${Panel}>`;
}
