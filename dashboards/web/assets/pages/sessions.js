// 我的登录: where one is signed in, and how to end that elsewhere.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { url, send, useResource } from '../lib/api.js';
import { dateTime } from '../lib/format.js';
import { Loaded } from '../parts/ui.js';
import { Table } from '../parts/table.js';

/** Words of a browser's own name, the more special first: most claim to be several others. */
const BROWSERS = [['Edg/', 'Edge'], ['OPR/', 'Opera'], ['Firefox/', 'Firefox'], ['Chrome/', 'Chrome'], ['Safari/', 'Safari']];
const SYSTEMS = [['Windows', 'Windows'], ['Android', 'Android'], ['iPhone', 'iPhone'], ['iPad', 'iPad'], ['Mac OS', 'macOS'], ['Linux', 'Linux']];

const first = (list, text) => (list.find(([word]) => text.includes(word)) || [])[1];

/** A browser as a person knows it; what is not known is shown as it calls itself. */
function browserName(text) {
  if (!text) return html`<span class="muted">${t('sessions.unknown')}</span>`;
  const known = [first(BROWSERS, text), first(SYSTEMS, text)].filter(Boolean).join(' · ');
  return html`<span translate=${false} title=${text}>${known || text}</span>`;
}

export function Sessions() {
  const sessions = useResource(url('/me/sessions'), 60000);
  const [error, setError] = useState(null);
  const act = async (asking) => {
    setError(null);
    try { await asking(); } catch (cause) { setError(cause); }
    sessions.reload();
  };
  const columns = [
    { title: t('sessions.browser'), lead: true, cell: (row) => browserName(row.browser) },
    { title: t('sessions.address'), cell: (row) => (row.address ? html`<span class="mono" translate=${false}>${row.address}</span>` : html`<span class="muted">${t('sessions.unknown')}</span>`) },
    { title: t('sessions.began'), cell: (row) => html`<span class="nowrap">${dateTime(row.began_ms)}</span>` },
    { title: t('sessions.used'), cell: (row) => html`<span class="nowrap">${dateTime(row.last_used_ms)}</span>` },
    { title: html`<span class="visually-hidden">${t('users.acts')}</span>`, key: 'acts', end: true, cell: (row) => (row.current ? html`<span class="tag tag-up">${t('sessions.current')}</span>`
      : html`<button class="button button-small" onClick=${() => act(() => send('DELETE', `/me/sessions/${row.id}`))}>${t('sessions.end')}</button>`) },
  ];
  return html`<${Loaded} resource=${sessions} rows=${2}>${({ items }) => html`
    <${Table} label=${t('sessions.title')} columns=${columns} rows=${items} keyOf=${(row) => row.id} />
    ${error ? html`<p class="field-error panel-note" role="alert">${error.message}</p>` : null}
    <p class="panel-note">${t('sessions.text')} ${items.length > 1 ? html`<button class="button button-small" onClick=${() => act(() => send('POST', '/me/sessions/end-others', {}))}>${t('sessions.end_others')}</button>` : null}</p>`}</${Loaded}>`;
}
