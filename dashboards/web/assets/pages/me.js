// 我的账号: an own password, the second factor, and how the screens look here.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { url, send, useResource } from '../lib/api.js';
import { navigate } from '../lib/router.js';
import { stop } from '../lib/live.js';
import { PageHead, Panel, Loaded, CopyButton } from '../parts/ui.js';
import { Roles } from '../parts/roles.js';
import { QrCode } from '../parts/qr.js';
import { Icon } from '../parts/icons.js';
import { Display } from '../parts/display.js';
import { LanguageButton, ThemeButton, leave } from '../parts/shell.js';
import { Sessions } from './sessions.js';
import { OwnTokens } from './owntokens.js';
import '../lib/owntokens.js';

/** A wall has no programs. */
const forPrograms = (roles) => roles.filter((one) => one.role !== 'wall');

/** A form that sends something and says what went wrong. */
function useSending(act) {
  const [state, setState] = useState({ busy: false, error: null });
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    setState({ busy: true, error: null });
    try { await act(new FormData(form)); setState({ busy: false, error: null }); } catch (error) { setState({ busy: false, error }); }
  };
  return { ...state, submit };
}

const Failed = ({ error }) => (error ? html`<p class="field-error" role="alert">${error.message}</p>` : null);

const PasswordField = ({ name, label, fresh, focus }) => html`<label class="field"><span>${label}</span>
  <input type="password" name=${name} required maxlength="1024" autofocus=${focus} autocomplete=${fresh ? 'new-password' : 'current-password'} /></label>`;

function NewPassword({ first }) {
  const { busy, error, submit } = useSending(async (form) => {
    if (form.get('new') !== form.get('again')) throw new Error(t('me.differ'));
    await send('POST', '/me/password', { old: form.get('old'), new: form.get('new') });
    stop();
    navigate('/login', { replace: true });
  });
  return html`<form class="form-column" onSubmit=${submit}>${first ? html`<p>${t('me.password.first.text')}</p>` : null}
    <${PasswordField} name="old" label=${t('me.old')} focus=${first} /><${PasswordField} name="new" label=${t('me.new')} fresh />
    <p class="muted">${t('me.rule')}</p><${PasswordField} name="again" label=${t('me.again')} fresh />
    <${Failed} error=${error} /><button class="button button-primary" disabled=${busy}>${t('me.save')}</button></form>`;
}

const Recovery = ({ codes, onKept }) => html`<div class="issued" role="status"><h3>${t('me.recovery')}</h3><p>${t('me.recovery.text')}</p>
  <div class="command"><pre tabindex="0" translate=${false}>${codes.join('\n')}</pre><${CopyButton} text=${codes.join('\n')} /></div>
  <button class="button button-primary" onClick=${onKept}>${t('me.recovery.kept')}</button></div>`;

function Factor({ on, changed }) {
  const [offer, setOffer] = useState(null);
  const [codes, setCodes] = useState(null);
  const begin = useSending(async (form) => {
    const body = { password: form.get('password') };
    if (on) { await send('POST', '/me/second-factor/remove', { ...body, code: form.get('code') }); changed(); } else setOffer(await send('POST', '/me/second-factor', body));
  });
  const confirm = useSending(async (form) => {
    setCodes((await send('POST', '/me/second-factor/confirm', { code: form.get('code') })).recovery_codes);
    setOffer(null);
  });
  if (codes) return html`<${Recovery} codes=${codes} onKept=${() => { setCodes(null); changed(); }} />`;
  if (offer) {
    return html`<form class="form-column" onSubmit=${confirm.submit}><p>${t('me.factor.scan')}</p><${QrCode} code=${offer.qr} label=${t('me.factor.qr')} />
      <div class="command"><pre tabindex="0" translate=${false}>${offer.secret}</pre><${CopyButton} text=${offer.secret} /></div>
      <label class="field"><span>${t('me.factor.code')}</span><input name="code" inputmode="numeric" autocomplete="one-time-code" required maxlength="10" autofocus /></label>
      <${Failed} error=${confirm.error} /><button class="button button-primary" disabled=${confirm.busy}>${t('me.factor.confirm')}</button></form>`;
  }
  return html`<form class="form-column" onSubmit=${begin.submit}><p>${t('me.factor.why')}</p>${on ? html`<p><span class="tag tag-up">${t('me.factor.is_on')}</span></p>` : null}
    <${PasswordField} name="password" label=${t('me.old')} />
    ${on ? html`<label class="field"><span>${t('login.code')}</span><input name="code" autocomplete="one-time-code" required maxlength="64" /></label><p class="muted">${t('me.factor.stop.text')}</p>` : null}<${Failed} error=${begin.error} />
    <button class=${on ? 'button button-danger' : 'button button-primary'} disabled=${begin.busy}>${t(on ? 'me.factor.stop' : 'me.factor.start')}</button></form>`;
}

export default function Me() {
  const me = useResource(url('/me'));
  return html`<${PageHead} title=${t('me.title')}><span class="page-tools phone-only"><${LanguageButton} /><${ThemeButton} />
      <button class="button button-small" onClick=${leave}><${Icon} name="logout" size="14" />${t('shell.logout')}</button></span></${PageHead}><${Loaded} resource=${me} rows=${6}>${({ user }) => html`
    ${user.password_once ? null : html`<${Panel} id="roles" title=${t('me.roles')}><${Roles} roles=${user.roles} /></${Panel}>`}
    <div class="halves"><${Panel} id="password" title=${t(user.password_once ? 'me.password.first' : 'me.password')}><${NewPassword} first=${user.password_once} /></${Panel}>
      ${user.password_once ? null : html`<${Panel} id="factor" title=${t('me.factor')}><${Factor} on=${user.second_factor} changed=${me.reload} /></${Panel}>`}</div>
    ${user.password_once ? null : html`<${Panel} id="sessions" flush title=${t('sessions.title')}><${Sessions} /></${Panel}>`}
    ${user.password_once || !forPrograms(user.roles).length ? null : html`<${Panel} id="tokens" flush title=${t('own.title')}><${OwnTokens} roles=${forPrograms(user.roles)} factor=${user.second_factor} /></${Panel}>`}
    <${Display} />`}</${Loaded}>`;
}
