// Lists of which the newest page is kept fresh and older pages are added below when somebody asks for them.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { request, url } from '../lib/api.js';
import { Problem } from './ui.js';

/**
 * The rows to show, and the button for more of them. What moves off the newest page while older ones are open
 * stays where it was.
 * @param {string} path @param {{items: any[], next: any}} first @param {Record<string, any>} [params]
 */
export function useMore(path, first, params = {}) {
  const [more, setMore] = useState({ items: [], next: undefined, error: null });
  const fresh = new Set(first.items.map((row) => row.id));
  const rows = [...first.items, ...more.items.filter((row) => !fresh.has(row.id))];
  const next = more.next === undefined ? first.next : more.next;
  const load = async () => {
    try {
      const page = await request('GET', url(path, { ...params, cursor: next }));
      setMore({ items: [...rows, ...page.items], next: page.next, error: null });
    } catch (error) { setMore({ ...more, error }); }
  };
  const button = html`${more.error ? html`<${Problem} error=${more.error} />` : null}
    ${next ? html`<p class="pages"><button class="button" onClick=${load}>${t('page.more')}</button></p>` : null}`;
  return { rows, button, opened: more.items.length > 0 };
}
