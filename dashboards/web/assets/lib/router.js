// The address is the only place where page state lives: path for the page, query for time,
// filters and order. Reload, bookmark and the back button therefore always work.
import { watched, useWatched } from './store.js';

const read = () => ({ path: location.pathname, query: new URLSearchParams(location.search) });
const place = watched(read());
const sync = () => place.set(read());

export const useRoute = () => useWatched(place);
export const currentRoute = () => place.get();

/** Goes to another address of this site. @param {string} href */
export function navigate(href, { replace = false } = {}) {
  const before = location.pathname;
  history[replace ? 'replaceState' : 'pushState'](null, '', href);
  sync();
  if (location.pathname !== before) {
    scrollTo(0, 0);
    const main = document.getElementById('main');
    if (main) main.focus({ preventScroll: true });
  }
}

/** The current address with some parameters changed; empty or null removes one. @param {Api.Query} changes */
export function hrefWith(changes, path = location.pathname) {
  const query = path === location.pathname ? new URLSearchParams(location.search) : new URLSearchParams();
  for (const [key, value] of Object.entries(changes)) {
    query.delete(key);
    if (Array.isArray(value)) value.forEach((one) => query.append(key, String(one)));
    else if (value !== null && value !== undefined && value !== '') query.set(key, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** @param {Api.Query} changes */
export const setQuery = (changes, replace = true) => navigate(hrefWith(changes), { replace });

addEventListener('popstate', sync);

// Every plain left click on a link within this site stays in this page.
document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest('a[href]') : null;
  if (!link || link.getAttribute('target') || link.hasAttribute('download')) return;
  const url = new URL(link.getAttribute('href') || '', location.href);
  if (url.origin !== location.origin || url.pathname.startsWith('/api/')) return;
  if (url.hash && url.pathname === location.pathname) return;
  event.preventDefault();
  navigate(url.pathname + url.search);
});
