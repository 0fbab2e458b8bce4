// 登录: account and password, or the one-time code of an address that the terminal printed.
import { html, useEffect, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute, navigate } from '../lib/router.js';
import { send } from '../lib/api.js';
import { Mark } from '../parts/icons.js';
import { LanguageButton, ThemeButton } from '../parts/shell.js';

/** Only a path of this site: an address elsewhere would make the form a lure. */
const safe = (next) => (next && /^\/(?![/\\])/.test(next) ? next : '/');

export default function Login() {
  const { query } = useRoute();
  const code = query.get('code');
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [second, setSecond] = useState(null);
  const [busy, setBusy] = useState(Boolean(code));
  const [error, setError] = useState(null);
  const enter = async (path, body) => {
    setBusy(true);
    setError(null);
    try {
      await send('POST', path, body);
      navigate(safe(query.get('next')), { replace: true });
    } catch (cause) {
      setBusy(false);
      const { code: why } = cause.problem || {};
      if (why === 'code_needed') { setSecond(''); return; }
      setError(cause);
      if (why === 'wrong_second_code') setSecond('');
      else { setPassword(''); setSecond(null); }
    }
  };
  useEffect(() => {
    if (!code) return;
    // The code leaves the address bar and the history before anything else happens.
    history.replaceState(null, '', '/login');
    enter('/login/once', { code });
  }, []);
  const submit = (event) => { event.preventDefault(); enter('/login', { user: name.trim(), password, ...(second === null ? {} : { code: second.trim() }) }); };
  return html`<div class="gate"><div class="gate-tools"><${LanguageButton} /><${ThemeButton} /></div>
    <main class="gate-card"><div class="gate-brand"><${Mark} size="52" /><div><h1>${t('app.name')}</h1><p>${t('app.purpose')}</p></div></div>
      ${query.get('ended') && !error ? html`<p class="gate-told" role="status">${t('login.ended')}</p>` : null}
      <form onSubmit=${submit}>
        <label class="field"><span>${t('login.name')}</span><input name="username" autocomplete="username" required maxlength="64" autofocus value=${name} onInput=${(event) => setName(event.currentTarget.value)} /></label>
        <label class="field"><span>${t('login.password')}</span><input name="password" type="password" autocomplete="current-password" required maxlength="1024" value=${password} onInput=${(event) => setPassword(event.currentTarget.value)} /></label>
        ${second === null ? null : html`<label class="field"><span>${t('login.code')}</span><input name="code" autocomplete="one-time-code" required maxlength="64" autofocus value=${second} onInput=${(event) => setSecond(event.currentTarget.value)} /></label>`}
        ${error ? html`<p class="field-error" role="alert">${error.message}</p>` : null}
        <button class="button button-primary button-wide" disabled=${busy}>${busy ? t(code ? 'login.once' : 'login.busy') : t('login.submit')}</button>
      </form>
      <p class="gate-note">${t('login.note')}</p></main></div>`;
}
