// Lists of which the newest page is kept fresh and older pages are added below when somebody asks for them.
import { html, useEffect, useRef, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { changesMade, request, url } from '../lib/api.js';
import { Problem } from './ui.js';

/** How old the older pages may be, in milliseconds, while the newest one stays as it is. */
const KEPT_MS = 60000;

/**
 * The rows to show, and the button for more of them. The older pages that are open come again when the newest one
 * has changed, when something was changed from here, and once a minute: what was decided or withdrawn meanwhile
 * is seen there too, and a page that is left open does not read all of the list with every look at its beginning.
 * @param {string} path @param {{items: any[], next: any}} first @param {Record<string, any>} [params]
 */
export function useMore(path, first, params = {}) {
  const [more, setMore] = useState({ pages: 0, items: [], next: undefined, error: null });
  const last = useRef(0);
  const seen = useRef({ newest: '', changes: 0, at: 0 });
  /** @param {number} pages */
  const load = async (pages) => {
    last.current += 1;
    const mine = last.current;
    seen.current = { newest: JSON.stringify(first), changes: changesMade(), at: Date.now() };
    const items = [...first.items];
    let { next } = first;
    try {
      for (let page = 0; page < pages && next; page += 1) {
        const part = await request('GET', url(path, { ...params, cursor: next }));
        items.push(...part.items);
        next = part.next;
      }
      if (mine === last.current) setMore({ pages, items, next, error: null });
    } catch (error) { if (mine === last.current) setMore((old) => ({ ...old, error })); }
  };
  useEffect(() => {
    const { newest, changes, at } = seen.current;
    if (!more.pages || (newest === JSON.stringify(first) && changes === changesMade() && Date.now() - at < KEPT_MS)) return;
    load(more.pages);
  }, [first]);
  useEffect(() => () => { last.current += 1; }, []);
  const fresh = new Set(first.items.map((row) => row.id));
  const rows = [...first.items, ...more.items.filter((row) => !fresh.has(row.id))];
  const next = more.pages ? more.next : first.next;
  const button = html`${more.error ? html`<${Problem} error=${more.error} />` : null}
    ${next ? html`<p class="pages"><button class="button" onClick=${() => load(more.pages + 1)}>${t('page.more')}</button></p>` : null}`;
  return { rows, button, opened: more.pages > 0 };
}
