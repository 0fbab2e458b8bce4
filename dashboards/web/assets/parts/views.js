// Saved views: the filters of a page under a name, to come back to. They are kept with the account; an
// address says the same and can be sent to others.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute } from '../lib/router.js';
import { send, url, useResource } from '../lib/api.js';
import { Icon } from './icons.js';

/** Where somebody happens to be in a list is no view of it. */
const PASSING = ['cursor', 'from', 'new', 'edit'];

export function Views() {
  const { path, query } = useRoute();
  const kept = useResource(url('/me/views'));
  const [open, turn] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const views = kept.data ? kept.data.items.filter((one) => one.page === path) : [];
  /** @param {Promise<any>} done */
  const change = async (done) => {
    setError(null);
    try { await done; } catch (cause) { setError(cause); }
    kept.reload();
  };
  const lasting = new URLSearchParams(query);
  for (const passing of PASSING) lasting.delete(passing);
  const search = lasting.toString();
  const save = (event) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get('name')).trim();
    event.currentTarget.reset();
    if (name) change(send('POST', '/me/views', { page: path, name, query: search }));
  };
  return html`<details class="views" onToggle=${(event) => turn(event.currentTarget.open)}><summary class="button button-small"><${Icon} name="bookmark" size="14" />${t('views.title')}${views.length ? html` <span class="segment-count">${views.length}</span>` : null}</summary>
    ${open ? html`<div class="views-box">${views.length ? html`<ul>${views.map((view) => html`<li key=${view.id}><a translate=${false} class=${view.query === search ? 'view-on' : ''} href=${view.query ? `${path}?${view.query}` : path}>${view.name}</a>
      <button class="tool" translate=${false} aria-label=${t('views.remove', { name: view.name })} onClick=${() => change(send('DELETE', `/me/views/${view.id}`))}><${Icon} name="down" size="13" /></button></li>`)}</ul>` : html`<p class="muted">${t('views.none')}</p>`}
      <form onSubmit=${save}><input name="name" required maxlength="40" aria-label=${t('views.name')} placeholder=${t('views.name')} autocomplete="off" /><button class="button button-small">${t('views.save')}</button></form>
      ${error || kept.error ? html`<p class="field-error" role="alert">${(error || kept.error).message}</p>` : null}<p class="muted">${t('views.where')}</p></div>` : null}</details>`;
}
