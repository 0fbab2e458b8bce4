// Keys that work on every page: `/` search, `j` and `k` through a list, Ctrl-K to go anywhere, `?`
// for the list of keys. Nothing happens while somebody types.
import { watched } from './store.js';

/** What lies over the page: '', 'palette', 'scope', 'menu' or 'keys'. */
export const overlay = watched('');

const ROWS = 'main .table tbody tr, main .event, main .approvals li, main .attention li';

/** The row after or before the one that has the focus gets it. @param {1|-1} by */
function step(by) {
  const rows = [...document.querySelectorAll(ROWS)].filter((row) => row.querySelector('a[href], button'));
  if (!rows.length) return false;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
  /** @type {HTMLElement|null} */
  const target = next.querySelector('.lead a[href]') || next.querySelector('a[href], button');
  if (target) target.focus();
  next.scrollIntoView({ block: 'nearest' });
  return true;
}

function search() {
  /** @type {HTMLInputElement|null} */
  const field = document.querySelector('[data-search="page"]') || document.querySelector('[data-search="global"]');
  if (!field) return false;
  field.focus();
  field.select();
  return true;
}

/** @type {Record<string, () => boolean>} */
const ACTS = {
  '/': search,
  j: () => step(1),
  k: () => step(-1),
  '?': () => { overlay.set('keys'); return true; },
};

export function watchKeys() {
  document.addEventListener('keydown', (event) => {
    // Where the frame is not, nothing could show what these keys open.
    if (!document.querySelector('.shell') || event.altKey) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      overlay.set(overlay.get() ? '' : 'palette');
      return;
    }
    // What lies over the page may not have the focus yet, or have lost it.
    if (event.key === 'Escape' && overlay.get()) { overlay.set(''); return; }
    if (event.ctrlKey || event.metaKey || overlay.get() || document.querySelector('.veil')) return;
    if (event.target instanceof Element && event.target.closest('input, textarea, select')) return;
    const act = ACTS[event.key];
    if (act && act()) event.preventDefault();
  });
}
