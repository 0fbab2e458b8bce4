// 账号与角色: who may do what where, and what waits for a second person.
import { html, useEffect, useRef, useState } from '../lib/html.js';
import { t, known } from '../lib/i18n.js';
import { useRoute, hrefWith, navigate } from '../lib/router.js';
import { url, send, useResource } from '../lib/api.js';
import { dateTime, number } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, CopyButton, SearchField } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { Icon } from '../parts/icons.js';
import { AuditLink } from '../parts/auditlink.js';
import { Roles } from '../parts/roles.js';
import { Exports } from '../parts/exports.js';
import { Acts } from './users/acts.js';
import { Change } from './users/change.js';
import { PlaceChoice, RoleChoice, ALONE } from './users/choice.js';

/** The one time that a one-time password is seen. */
export const Handed = ({ name, password, onClose }) => html`<div class="issued" role="status"><h3>${t('users.handed', { name })}</h3><p>${t('users.handed.text')}</p>
  <div class="command"><pre tabindex="0" translate=${false}>${password}</pre><${CopyButton} text=${password} /></div>
  <button class="button" onClick=${onClose}>${t('users.close')}</button></div>`;

/** What is wrong with which field, in words. */
function wrongFields(error) {
  const { code, fields = [] } = (error && error.problem) || {};
  if (code === 'exists') return new Map([['name', t('users.wrong.taken')]]);
  return new Map(fields.map((one) => [one.field, known(`users.wrong.${one.word}`) ? t(`users.wrong.${one.word}`) : one.message]));
}

function Create({ province, onDone }) {
  const [handed, setHanded] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const home = form.get('home') ? Number(form.get('home')) : null;
    const role = String(form.get('role') || '');
    const at = role === 'province_admin' || role === 'audit_admin' ? null : home;
    setBusy(true);
    setError(null);
    try {
      const made = await send('POST', '/users', {
        name: String(form.get('name')).trim(), display_name: String(form.get('display')).trim(), home, roles: role ? [{ role, site: at }] : [],
      });
      setHanded({ name: made.account.name, password: made.password });
      onDone();
    } catch (cause) { setError(cause); }
    setBusy(false);
  };
  const box = useRef(null);
  const wrong = wrongFields(error);
  useEffect(() => { const field = wrong.size && box.current && box.current.querySelector('[aria-invalid=true]'); if (field) field.focus(); }, [error]);
  if (handed) return html`<${Handed} ...${handed} onClose=${() => setHanded(null)} />`;
  const marked = (field) => (wrong.has(field) ? { 'aria-invalid': 'true', 'aria-describedby': 'create-wrong' } : {});
  return html`<form class="form-row" onSubmit=${submit} ref=${box}>
    <label class="field"><span>${t('users.name')}</span><input name="name" required maxlength="64" autocomplete="off" spellcheck=${false} ...${marked('name')} /></label>
    <label class="field"><span>${t('users.display')}</span><input name="display" maxlength="64" autocomplete="off" ...${marked('display_name')} /></label>
    <${PlaceChoice} name="home" label=${t('users.home')} province=${province} />
    <${RoleChoice} roles=${ALONE} none=${t('users.later')} />
    <button class="button button-primary" disabled=${busy}>${t('users.submit')}</button>
    ${error ? html`<p class="field-error form-note" role="alert" id="create-wrong"><${Icon} name="warning" size="14" />${wrong.size ? [...wrong.values()].join(' ') : error.message}</p>` : null}
    <p class="muted form-note">${t('users.name.rule')} ${t('users.twice')}</p></form>`;
}

const stateOf = (user) => (user.disabled_ms ? ['users.disabled', 'tag-down'] : user.password_once ? ['users.once', 'tag-stale'] : ['users.active', 'tag-up']);

function List({ data, onChange }) {
  const { query } = useRoute();
  if (!data.items.length) return html`<${Empty} icon="users">${t('users.none')}</${Empty}>`;
  const columns = [
    { title: t('users.name'), lead: true, cell: (row) => html`<b translate=${false}>${row.name}</b>${row.display_name ? html` <span class="muted">${row.display_name}</span>` : null}` },
    { title: t('users.home'), cell: (row) => (row.home ? html`<a class="quiet" href=${`/sites/${row.home.id}`}>${row.home.name}</a>` : t('role.province')) },
    { title: t('users.roles'), wide: true, cell: (row) => html`<${Roles} roles=${row.roles} />` },
    { title: t('users.state'), cell: (row) => { const [text, look] = stateOf(row); return html`<span class=${`tag ${look}`}>${t(text)}</span>`; } },
    { title: t('users.factor'), cell: (row) => html`<span class=${row.second_factor ? '' : 'muted'}>${t(row.second_factor ? 'users.factor.on' : 'users.factor.off')}</span>` },
    { title: t('users.tokens'), cell: (row) => (row.tokens ? html`<a href=${hrefWith({ user: row.id, q: null, cursor: null }, '/users/tokens')}>${t('users.tokens.n', { n: number(row.tokens) })}</a>` : html`<span class="muted">${t('users.tokens.none')}</span>`) },
    { title: t('users.created'), minor: true, cell: (row) => html`<span class="nowrap">${dateTime(row.created_ms)}</span>` },
    { title: html`<span class="visually-hidden">${t('users.acts')}</span>`, key: 'acts', end: true, cell: (row) => html`<span class="row-acts"><${AuditLink} filter=${{ actor: `user:${row.name}` }} />${row.manageable ? html`<button class="button button-small" onClick=${() => onChange(row)}>${t('users.change')}</button>` : null}</span>` },
  ];
  return html`<${Table} label=${t('users.title')} columns=${columns} rows=${data.items} keyOf=${(row) => row.id} />
    <p class="panel-note">${t('users.total', { n: number(data.total) })}
      ${query.get('cursor') ? html` · <a href=${hrefWith({ cursor: null })}>${t('users.first')}</a>` : null}
      ${data.next ? html` · <a href=${hrefWith({ cursor: data.next })}>${t('users.more')}</a>` : null}</p>`;
}

export default function Users() {
  const { query } = useRoute();
  const q = query.get('q') || '';
  const me = useResource(url('/me'));
  const users = useResource(url('/users', { q, cursor: query.get('cursor') }), 30000);
  const acts = useResource(url('/acts'), 10000);
  const [changing, change] = useState(null);
  const may = (permission) => me.data && me.data.permissions.includes(permission);
  const province = me.data && me.data.user.roles.some((one) => !one.site);
  const again = () => { users.reload(); acts.reload(); };
  return html`<${PageHead} title=${t('users.title')}><span class="page-tools"><a class="button" href="/users/tokens"><${Icon} name="enrol" size="14" />${t('users.tokens')}</a><${Exports} path="/users/export" params=${{ q }} name="users" /></span></${PageHead}>
    ${may('manage_accounts') ? html`<${Panel} id="create" title=${t('users.create')}><${Create} province=${province} onDone=${again} /></${Panel}>` : null}
    <${Panel} id="acts" flush title=${t('acts.title')} hint=${t('acts.hint')}><${Loaded} resource=${acts} rows=${2}>${(data) => html`<${Acts} data=${data} me=${me.data} onDone=${again} />`}</${Loaded}></${Panel}>
    <${Panel} id="users" flush title=${t('nav.users')} action=${html`<${SearchField} value=${q} label=${t('users.search')} onSearch=${(next) => navigate(hrefWith({ q: next, cursor: null }), { replace: true })} />`}>
      <${Loaded} resource=${users} rows=${6}>${(data) => html`<${List} data=${data} onChange=${change} />`}</${Loaded}></${Panel}>
    ${changing ? html`<${Change} user=${changing} province=${province} onClose=${() => { change(null); again(); }} />` : null}`;
}
