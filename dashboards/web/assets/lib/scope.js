// What part of the organisation is looked at: `?site=` in the address, kept from page to page.
import { currentRoute, useRoute } from './router.js';

export const useScope = () => useRoute().query.get('site') || '';

/** An address of this site with the scope that is looked at. @param {string} href */
export function scoped(href) {
  const site = currentRoute().query.get('site');
  if (!site) return href;
  const [path, text] = href.split('?');
  const query = new URLSearchParams(text || '');
  if (!query.has('site')) query.set('site', site);
  return `${path}?${query}`;
}
