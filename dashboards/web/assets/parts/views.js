// Saved views: the filters of a page under a name, to come back to. They are kept in this browser;
// an address says the same and can be sent to others.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute } from '../lib/router.js';
import { remember } from '../lib/store.js';
import { useWho } from '../lib/who.js';
import { Icon } from './icons.js';

/** Most views of a page: more are not found again. */
const MOST = 20;
/** Where somebody happens to be in a list is no view of it. */
const PASSING = ['cursor', 'from', 'new', 'edit'];

function stored(key) {
  try {
    const found = JSON.parse(localStorage.getItem(`xiezhi.${key}`) || '[]');
    return Array.isArray(found) ? found.filter((one) => one && typeof one.name === 'string' && typeof one.search === 'string') : [];
  } catch (unreadable) { return []; }
}

export function Views() {
  const { path, query } = useRoute();
  const who = useWho();
  const key = `views.${who ? who.user.name : ''}.${path}`;
  const [, redraw] = useState(0);
  const [open, turn] = useState(false);
  const views = stored(key);
  const keep = (next) => { remember(key, next.length ? JSON.stringify(next) : null); redraw((n) => n + 1); };
  const lasting = new URLSearchParams(query);
  for (const passing of PASSING) lasting.delete(passing);
  const search = lasting.toString();
  const save = (event) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get('name')).trim();
    event.currentTarget.reset();
    if (name) keep([{ name, search }, ...views.filter((one) => one.name !== name)].slice(0, MOST));
  };
  return html`<details class="views" onToggle=${(event) => turn(event.currentTarget.open)}><summary class="button button-small"><${Icon} name="bookmark" size="14" />${t('views.title')}${views.length ? html` <span class="segment-count">${views.length}</span>` : null}</summary>
    ${open ? html`<div class="views-box">${views.length ? html`<ul>${views.map((view) => html`<li key=${view.name}><a translate=${false} class=${view.search === search ? 'view-on' : ''} href=${view.search ? `${path}?${view.search}` : path}>${view.name}</a>
      <button class="tool" translate=${false} aria-label=${t('views.remove', { name: view.name })} onClick=${() => keep(views.filter((one) => one !== view))}><${Icon} name="down" size="13" /></button></li>`)}</ul>` : html`<p class="muted">${t('views.none')}</p>`}
      <form onSubmit=${save}><input name="name" required maxlength="40" aria-label=${t('views.name')} placeholder=${t('views.name')} autocomplete="off" /><button class="button button-small">${t('views.save')}</button></form>
      <p class="muted">${t('views.where')}</p></div>` : null}</details>`;
}
