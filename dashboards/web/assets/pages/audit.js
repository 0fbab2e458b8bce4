// 审计: who did what, and whether anybody has tampered with the list.
import { html, useEffect, useState } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { get, url, useResource } from '../lib/api.js';
import { dateTime, number } from '../lib/format.js';
import { reasonText } from '../lib/reasons.js';
import { PageHead, Panel, Loaded, Empty, CopyButton, Problem } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { Icon } from '../parts/icons.js';
import { Exports } from '../parts/exports.js';
import { Details, actorName, subjectName } from '../parts/audited.js';

function Chain({ chain }) {
  if (chain.state === 'broken') return html`<div class="verdict verdict-down" role="alert"><${Icon} name="down" /><div><b>${t('audit.broken', { n: number(chain.position), why: reasonText(chain.reason) })}</b></div></div>`;
  return html`<div class="verdict verdict-up"><${Icon} name="up" /><div><b>${t('audit.intact', { n: number(chain.position) })}</b>
    <p class="muted">${t('audit.head')} <code class="digest" translate=${false}>${chain.hash}</code> <${CopyButton} text=${`${chain.position} ${chain.hash}`} /></p><p class="muted">${t('audit.head.text')}</p></div></div>`;
}

const columns = () => [
  { title: '#', end: true, cell: (row) => html`<span class="muted">${row.position}</span>` },
  { title: t('audit.time'), cell: (row) => html`<span class="nowrap">${dateTime(row.time_ms)}</span>` },
  { title: t('audit.action'), lead: true, cell: (row) => html`<span class="nowrap">${word('action', row.action)}</span>` },
  { title: t('audit.actor'), cell: (row) => html`<span class="nowrap">${actorName(row.actor)}</span>` },
  { title: t('audit.subject'), cell: (row) => html`<span>${subjectName(row.subject, row.action)}</span>` },
  { title: t('audit.detail'), wide: true, cell: (row) => html`<${Details} detail=${row.detail} />` },
  { title: t('audit.hash'), cell: (row) => html`<code class="muted" translate=${false} title=${row.hash}>${row.hash.slice(0, 10)}</code>` },
];

function List({ first }) {
  const [more, setMore] = useState([]);
  const [next, setNext] = useState(first.next);
  const [error, setError] = useState(null);
  useEffect(() => { setMore([]); setNext(first.next); }, [first]);
  const rows = [...first.items, ...more];
  const load = async () => {
    try {
      const page = await get('/audit', { limit: 100, cursor: next });
      setMore([...more, ...page.items]);
      setNext(page.next);
      setError(null);
    } catch (cause) { setError(cause); }
  };
  if (!rows.length) return html`<${Empty} icon="audit">${t('audit.none')}</${Empty}>`;
  return html`<${Table} label=${t('audit.title')} columns=${columns()} rows=${rows} keyOf=${(row) => row.position} />
    ${error ? html`<${Problem} error=${error} />` : null}
    ${next ? html`<p class="pages"><button class="button" onClick=${load}>${t('page.more')}</button></p>` : null}`;
}

export default function Audit() {
  const resource = useResource(url('/audit', { limit: 100 }));
  const chain = useResource(url('/audit/chain'));
  return html`<${PageHead} title=${t('audit.title')}><span class="page-tools"><${Exports} path="/audit/sheet" name="audit" whole=${{ path: '/audit/export', file: 'audit.jsonl', label: t('audit.export') }} /></span></${PageHead}>
    <${Loaded} resource=${chain} rows=${1}>${(data) => html`<${Chain} chain=${data} />`}</${Loaded}>
    <${Panel} flush><${Loaded} resource=${resource} rows=${10}>${(data) => html`<${List} first=${data} />`}</${Loaded}></${Panel}>`;
}
