// 审计: who did what, and whether anybody has tampered with the list.
import { html, useEffect, useState } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { ACTIONS } from '../lib/actions.js';
import { useRoute, setQuery, hrefWith } from '../lib/router.js';
import { get, url, useResource } from '../lib/api.js';
import { dateTime, number } from '../lib/format.js';
import { reasonText } from '../lib/reasons.js';
import { PageHead, Panel, Loaded, Empty, CopyButton, Problem, SearchField } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { Icon } from '../parts/icons.js';
import { Exports } from '../parts/exports.js';
import { TimeSpan } from '../parts/span.js';
import { Details, actorName, subjectName, actorSpoken, actorWritten, subjectSpoken, subjectWritten } from '../parts/audited.js';

function Chain({ chain }) {
  if (chain.state === 'broken') return html`<div class="verdict verdict-down" role="alert"><${Icon} name="down" /><div><b>${t('audit.broken', { n: number(chain.position), why: reasonText(chain.reason) })}</b></div></div>`;
  return html`<div class="verdict verdict-up"><${Icon} name="up" /><div><b>${t('audit.intact', { n: number(chain.position) })}</b>
    <p class="muted">${t('audit.head')} <code class="digest" translate=${false}>${chain.hash}</code> <${CopyButton} text=${`${chain.position} ${chain.hash}`} /></p><p class="muted">${t('audit.head.text')}</p></div></div>`;
}

const columns = () => [
  { title: '#', end: true, cell: (row) => html`<span class="muted">${row.position}</span>` },
  { title: t('audit.time'), cell: (row) => html`<span class="nowrap">${dateTime(row.time_ms)}</span>` },
  { title: t('audit.action'), lead: true, cell: (row) => html`<span class="nowrap">${word('action', row.action)}</span>` },
  { title: t('audit.actor'), cell: (row) => html`<a class="quiet nowrap" href=${hrefWith({ actor: row.actor })}>${actorName(row.actor)}</a>` },
  { title: t('audit.subject'), cell: (row) => (row.subject ? html`<a class="quiet" href=${hrefWith({ subject: row.subject, item: row.detail.item })}>${subjectName(row.subject, row.action)}</a>` : subjectName('', row.action)) },
  { title: t('audit.detail'), wide: true, cell: (row) => html`<${Details} detail=${row.detail} />` },
  { title: t('audit.hash'), cell: (row) => html`<code class="muted" translate=${false} title=${row.hash}>${row.hash.slice(0, 10)}</code>` },
];

function List({ first, filters }) {
  const [more, setMore] = useState([]);
  const [next, setNext] = useState(first.next);
  const [error, setError] = useState(null);
  useEffect(() => { setMore([]); setNext(first.next); }, [first]);
  const rows = [...first.items, ...more];
  const load = async () => {
    try {
      const page = await get('/audit', { ...filters, limit: 100, cursor: next });
      setMore([...more, ...page.items]);
      setNext(page.next);
      setError(null);
    } catch (cause) { setError(cause); }
  };
  if (!rows.length) return html`<${Empty} icon="audit">${t(Object.values(filters).some(Boolean) ? 'audit.find.none' : 'audit.none')}</${Empty}>`;
  return html`<${Table} label=${t('audit.title')} columns=${columns()} rows=${rows} keyOf=${(row) => row.position} />
    ${error ? html`<${Problem} error=${error} />` : null}
    ${next ? html`<p class="pages"><button class="button" onClick=${load}>${t('page.more')}</button></p>` : null}`;
}

const NAMES = ['actor', 'action', 'subject', 'item', 'from', 'to'];

/** What one account did, and what was done to it, are two questions: each leads to the other. */
function OtherWay({ actor, subject }) {
  const of = (text) => (text && text.startsWith('user:') ? text : null);
  if (of(actor) && !subject) return html`<a href=${hrefWith({ actor: null, subject: actor })}>${t('audit.done_to')}</a>`;
  if (of(subject) && !actor) return html`<a href=${hrefWith({ actor: subject, subject: null })}>${t('audit.did')}</a>`;
  return null;
}

function Filters({ filters }) {
  const { actor, action, subject, item, from, to } = filters;
  const none = Object.fromEntries(NAMES.map((name) => [name, null]));
  return html`<div class="filters"><${SearchField} value=${actorSpoken(actor)} label=${t('audit.find.actor')} onSearch=${(text) => setQuery({ actor: actorWritten(text) })} />
    <select class="select" aria-label=${t('audit.find.action')} value=${action || ''} onChange=${(event) => setQuery({ action: event.currentTarget.value })}><option value="">${t('audit.find.all')}</option>
      ${Object.keys(ACTIONS).map((key) => key.slice('action.'.length)).map((one) => html`<option key=${one} value=${one}>${word('action', one)}</option>`)}</select>
    <${SearchField} value=${subjectSpoken(subject)} label=${t('audit.find.subject')} onSearch=${(text) => setQuery({ subject: subjectWritten(text), item: null })} />
    <${TimeSpan} from=${from} to=${to} />
    ${item ? html`<span class="tag">${t('audit.find.item', { n: item })}</span>` : null}<${OtherWay} actor=${actor} subject=${subject} />
    ${Object.values(filters).some(Boolean) ? html`<a class="clear" href=${hrefWith(none)}>${t('fleet.clear')}</a>` : null}</div>`;
}

export default function Audit() {
  const { query } = useRoute();
  const filters = Object.fromEntries(NAMES.map((name) => [name, query.get(name)]));
  const address = url('/audit', { ...filters, limit: 100 });
  const resource = useResource(address);
  const chain = useResource(url('/audit/chain'));
  return html`<${PageHead} title=${t('audit.title')}><span class="page-tools"><${Exports} path="/audit/sheet" params=${filters} name="audit" whole=${{ path: '/audit/export', file: 'audit.jsonl', label: t('audit.export') }} /></span></${PageHead}>
    <${Loaded} resource=${chain} rows=${1}>${(data) => html`<${Chain} chain=${data} />`}</${Loaded}>
    <${Panel} flush><${Filters} filters=${filters} /><${Loaded} resource=${resource} rows=${10}>${(data) => html`<${List} first=${data} filters=${filters} />`}</${Loaded}></${Panel}>`;
}
