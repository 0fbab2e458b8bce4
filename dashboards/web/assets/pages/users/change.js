// The dialogue that changes one account, alone or by asking for a second person.
import { html, useState, useRef, useEffect } from '../../lib/html.js';
import { t } from '../../lib/i18n.js';
import { send } from '../../lib/api.js';
import { roleText } from '../../parts/roles.js';
import { Handed } from '../users.js';
import { useMay } from '../../lib/who.js';
import { PlaceChoice, RoleChoice, ALONE, SECURITY, TOGETHER } from './choice.js';

const PROVINCE_ONLY = ['province_admin', 'audit_admin'];

/** What may be begun: who looks after security only asks for a role for an account that has none of that duty. */
function kindsOf(user, secures) {
  if (secures && !user.roles.some((one) => SECURITY.includes(one.role))) return ['grant'];
  return ['grant', user.roles.length ? 'withdraw' : null, 'reset_password', user.second_factor ? 'reset_second_factor' : null, user.disabled_ms ? 'enable' : 'disable', user.disabled_ms ? null : 'end_sessions'].filter(Boolean);
}

function Fields({ kind, user, province, secures }) {
  const roles = secures ? SECURITY : [...ALONE, 'audit_admin'];
  const [role, setRole] = useState(roles[0]);
  if (kind === 'withdraw') {
    return html`<label class="field"><span>${t('users.role')}</span><select class="select" name="held">${user.roles.map((one, at) => html`<option key=${at} value=${at}>${roleText(one)}</option>`)}</select></label>`;
  }
  if (kind !== 'grant') return null;
  return html`<${RoleChoice} roles=${roles} value=${role} onChange=${(event) => setRole(event.currentTarget.value)} />
    ${TOGETHER.includes(role) ? html`<p class="muted">${t('users.void')}</p>` : null}
    ${PROVINCE_ONLY.includes(role) ? null : html`<${PlaceChoice} name="site" label=${t('users.where')} province=${province && role !== 'court_admin'} />`}`;
}

/** The role that the form names, if its kind of change has one. */
function roleOf(form, kind, user) {
  if (kind === 'grant') return { role: form.get('role'), site: form.get('site') ? Number(form.get('site')) : null };
  if (kind !== 'withdraw') return undefined;
  const { role, site } = user.roles[Number(form.get('held'))];
  return { role, site: site ? site.id : null };
}

export function Change({ user, province, onClose }) {
  const secures = useMay()('grant_security');
  const [kind, setKind] = useState('grant');
  const [state, setState] = useState({ busy: false, error: null, outcome: null });
  const box = useRef(null);
  useEffect(() => {
    const before = /** @type {HTMLElement|null} */ (document.activeElement);
    box.current.querySelector('select').focus();
    return () => { if (before && before.focus) before.focus(); };
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setState({ busy: true, error: null, outcome: null });
    try {
      const outcome = kind === 'end_sessions' ? { outcome: await send('POST', `/users/${user.id}/end-sessions`, {}) && 'done' }
        : await send('POST', `/users/${user.id}/changes`, { change: kind, role: roleOf(form, kind, user), reason: String(form.get('reason')).trim() });
      setState({ busy: false, error: null, outcome });
    } catch (error) { setState({ busy: false, error, outcome: null }); }
  };
  const { busy, error, outcome } = state;
  const key = (event) => { if (event.key === 'Escape') onClose(); };
  return html`<div class="veil" onKeyDown=${key}><div class="dialog" role="dialog" aria-modal="true" aria-labelledby="change-title" ref=${box}>
    <h2 id="change-title">${t('users.change.of', { name: user.name })}</h2>
    ${outcome && outcome.password ? html`<${Handed} name=${user.name} password=${outcome.password} onClose=${onClose} />`
    : outcome ? html`<p role="status">${t(outcome.outcome === 'asked' ? 'users.asked' : 'users.done')}</p><div class="dialog-actions"><button class="button button-primary" onClick=${onClose}>${t('users.close')}</button></div>`
      : html`<form class="form-column" onSubmit=${submit}>
      <label class="field"><span>${t('users.change')}</span><select class="select" value=${kind} onChange=${(event) => setKind(event.currentTarget.value)}>
        ${kindsOf(user, secures).map((one) => html`<option key=${one} value=${one}>${t(`change.${one}`)}</option>`)}</select></label>
      <${Fields} kind=${kind} user=${user} province=${province} secures=${secures} />
      <label class="field"><span>${t('users.reason')}</span><input name="reason" maxlength="400" /></label><p class="muted">${t('users.reason.why')}</p>
      ${error ? html`<p class="field-error" role="alert">${error.message}</p>` : null}
      <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${t('confirm.cancel')}</button><button class="button button-primary" disabled=${busy}>${t('users.do')}</button></div></form>`}
  </div></div>`;
}
