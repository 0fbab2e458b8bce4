// 我的令牌: tokens of programs that act for this account under one of its roles; shown once, withdrawn here.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { url, send, useResource } from '../lib/api.js';
import { dateTime } from '../lib/format.js';
import { Loaded, Confirm } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { useMore } from '../parts/more.js';
import { SiteChoice } from '../parts/sitechoice.js';
import { roleText } from '../parts/roles.js';
import { TokenState, LastUse, Issued } from '../parts/programs.js';

const DAYS = [7, 30, 90, 180, 365];

function Create({ roles, factor, onDone }) {
  const [issued, setIssued] = useState(null);
  const [at, setAt] = useState(0);
  const [state, setState] = useState({ busy: false, error: null });
  const held = roles[at];
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setState({ busy: true, error: null });
    try {
      const narrowed = form.get('site') ? Number(form.get('site')) : held.site && held.site.id;
      const asked = { name: String(form.get('name') || '').trim(), role: held.role, site: narrowed, expires_in_days: Number(form.get('days')), password: String(form.get('password') || ''), code: factor ? String(form.get('code') || '').trim() : null };
      setIssued((await send('POST', '/me/api-tokens', asked)).token);
      setState({ busy: false, error: null });
      onDone();
    } catch (error) { setState({ busy: false, error }); }
  };
  if (issued) return html`<${Issued} token=${issued} onClose=${() => setIssued(null)} />`;
  return html`<form class="form-row" onSubmit=${submit}>
    <label class="field"><span>${t('own.name')}</span><input name="name" required maxlength="100" autocomplete="off" placeholder=${t('own.name.like')} /></label>
    <label class="field"><span>${t('users.role')}</span><select class="select" value=${String(at)} onChange=${(event) => setAt(Number(event.currentTarget.value))}>
      ${roles.map((role, index) => html`<option key=${index} value=${String(index)}>${roleText(role)}</option>`)}</select></label>
    <${SiteChoice} key=${at} name="site" label=${t('own.site')} none=${t('own.site.all')} />
    <label class="field"><span>${t('own.days')}</span><select class="select" name="days">${DAYS.map((n) => html`<option key=${n} value=${n} selected=${n === 90}>${t('own.days.n', { n })}</option>`)}</select></label>
    <label class="field"><span>${t('own.password')}</span><input type="password" name="password" required maxlength="1024" autocomplete="current-password" /></label>
    ${factor ? html`<label class="field"><span>${t('login.code')}</span><input name="code" autocomplete="one-time-code" required maxlength="64" /></label>` : null}
    <button class="button button-primary" disabled=${state.busy}>${t('own.submit')}</button>
    ${state.error ? html`<p class="field-error" role="alert">${state.error.message}</p>` : null}</form>`;
}

function List({ data, reload }) {
  const { rows, button } = useMore('/me/api-tokens', data);
  const [asked, ask] = useState(null);
  const columns = [
    { title: t('own.name'), lead: true, cell: (row) => html`<b translate=${false}>${row.name}</b>` },
    { title: t('users.role'), cell: (row) => roleText(row.role) },
    { title: t('programs.made'), minor: true, cell: (row) => html`<span class="nowrap">${dateTime(row.created_ms)}</span>` },
    { title: t('programs.used'), cell: (row) => html`<${LastUse} row=${row} />` },
    { title: t('own.until'), cell: (row) => html`<span class="nowrap">${dateTime(row.expires_ms)}</span>` },
    { title: t('users.state'), cell: (row) => html`<${TokenState} state=${row.state} />` },
    { title: html`<span class="visually-hidden">${t('users.acts')}</span>`, key: 'acts', end: true, cell: (row) => (row.state === 'valid' || row.state === 'void'
      ? html`<button class="button button-small" onClick=${() => ask(row)}>${t('own.revoke')}</button>` : null) },
  ];
  return html`${rows.length ? html`<${Table} label=${t('own.title')} columns=${columns} rows=${rows} keyOf=${(row) => row.id} />${button}` : null}
    ${asked ? html`<${Confirm} danger text=${t('programs.revoke.ask', { name: asked.name })} onCancel=${() => ask(null)}
      onDo=${async () => { await send('DELETE', `/me/api-tokens/${asked.id}`); ask(null); reload(); }} />` : null}`;
}

/** @param {{roles: {role: string, site: any}[], factor: boolean}} props The roles of the account, and whether it has a second factor. */
export function OwnTokens({ roles, factor }) {
  const tokens = useResource(url('/me/api-tokens'));
  return html`<${Loaded} resource=${tokens} rows=${2}>${(data) => html`<${List} data=${data} reload=${tokens.reload} />
    <p class="panel-note">${t('own.text')}</p><div class="panel-note"><${Create} roles=${roles} factor=${factor} onDone=${tokens.reload} /></div>`}</${Loaded}>`;
}
