// What waits for a second person, and what became of the last ones.
import { html, useState } from '../../lib/html.js';
import { t } from '../../lib/i18n.js';
import { send } from '../../lib/api.js';
import { dateTime } from '../../lib/format.js';
import { Confirm } from '../../parts/ui.js';
import { Table } from '../../parts/table.js';
import { useMore } from '../../parts/more.js';
import { roleText } from '../../parts/roles.js';
import { Handed } from '../users.js';

const LOOKS = { pending: 'tag-stale', done: 'tag-up', refused: 'tag-down' };
const SHOWN = 8;

const whatOf = (act) => `${t(`change.${act.change}`)}${act.role ? ` ${roleText(act.role)}` : ''}`;

export function Acts({ data, me, onDone }) {
  const { rows, button, opened } = useMore('/acts', data);
  const [asked, ask] = useState(null);
  const [handed, setHanded] = useState(null);
  const [error, setError] = useState(null);
  if (handed) return html`<${Handed} ...${handed} onClose=${() => setHanded(null)} />`;
  const shown = rows.filter((act, at) => opened || act.state === 'pending' || at < SHOWN);
  if (!shown.length) return html`<p class="panel-note">${t('acts.none')}</p>`;
  const end = async (act) => {
    setError(null);
    try { await send('POST', `/acts/${act.id}/end`, {}); } catch (cause) { setError(cause); }
    onDone();
  };
  const consent = async () => {
    const done = await send('POST', `/acts/${asked.id}/consent`, {});
    if (done.password) setHanded({ name: asked.user.name, password: done.password });
    ask(null);
    onDone();
  };
  const own = (act) => me && act.asked_by.id === me.user.id;
  const columns = [
    { title: t('users.name'), lead: true, cell: (row) => html`<b translate=${false}>${row.user.name}</b>` },
    { title: t('acts.what'), wide: true, cell: whatOf },
    { title: t('acts.reason'), wide: true, cell: (row) => html`<span translate=${false}>${row.reason}</span>` },
    { title: t('acts.by'), cell: (row) => html`<span translate=${false}>${row.asked_by.name}</span>` },
    { title: t('acts.until'), minor: true, cell: (row) => html`<span class="nowrap">${dateTime(row.expires_ms)}</span>` },
    { title: t('acts.state'), cell: (row) => html`<span class=${`tag ${LOOKS[row.state] || ''}`}>${t(`acts.state.${row.state}`)}</span>${row.asker_gone ? html` <span class="faint">${t('acts.asker_gone')}</span>` : null}` },
    { title: html`<span class="visually-hidden">${t('users.acts')}</span>`, key: 'acts', end: true, cell: (row) => html`<span class="row-acts">
      ${row.consentable ? html`<button class="button button-small button-primary" onClick=${() => ask(row)}>${t('acts.consent')}</button>` : null}
      ${row.refusable ? html`<button class="button button-small" onClick=${() => end(row)}>${t('acts.refuse')}</button>` : null}
      ${row.state === 'pending' && own(row) ? html`<button class="button button-small" onClick=${() => end(row)}>${t('acts.withdraw')}</button>` : null}</span>` },
  ];
  return html`${error ? html`<p class="field-error panel-note" role="alert">${error.message}</p>` : null}
    <${Table} label=${t('acts.title')} columns=${columns} rows=${shown} keyOf=${(row) => row.id} />${button}
    ${asked ? html`<${Confirm} text=${`${t('acts.ask', { what: whatOf(asked), name: asked.user.name })}${asked.hands_password ? ` ${t(asked.change === 'grant' ? 'acts.ask.void' : 'acts.ask.reset')}` : ''}`} onCancel=${() => ask(null)} onDo=${consent} />` : null}`;
}
