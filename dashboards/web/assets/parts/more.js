// Lists of which the newest page is kept fresh and older pages are added below when somebody asks for them.
import { html, useEffect, useRef, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { request, url } from '../lib/api.js';
import { Problem } from './ui.js';

/**
 * The rows to show, and the button for more of them. Whenever the newest page comes again, so do the older ones
 * that are open: what was decided or withdrawn meanwhile is seen there too.
 * @param {string} path @param {{items: any[], next: any}} first @param {Record<string, any>} [params]
 */
export function useMore(path, first, params = {}) {
  const [more, setMore] = useState({ pages: 0, items: [], next: undefined, error: null });
  const last = useRef(0);
  /** @param {number} pages */
  const load = async (pages) => {
    last.current += 1;
    const mine = last.current;
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
  useEffect(() => { if (more.pages) load(more.pages); }, [first]);
  useEffect(() => () => { last.current += 1; }, []);
  const fresh = new Set(first.items.map((row) => row.id));
  const rows = [...first.items, ...more.items.filter((row) => !fresh.has(row.id))];
  const next = more.pages ? more.next : first.next;
  const button = html`${more.error ? html`<${Problem} error=${more.error} />` : null}
    ${next ? html`<p class="pages"><button class="button" onClick=${() => load(more.pages + 1)}>${t('page.more')}</button></p>` : null}`;
  return { rows, button, opened: more.pages > 0 };
}
