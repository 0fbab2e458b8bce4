// What lies over the page when it is asked for: going to any page, court, host or asset by a few
// letters, choosing what part of the organisation to look at, and the list of keys.
import { html, useState, useEffect, useRef } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { navigate, hrefWith } from '../lib/router.js';
import { request, url, useResource } from '../lib/api.js';
import { useScope, scoped } from '../lib/scope.js';
import { overlay } from '../lib/keys.js';
import { Icon } from './icons.js';

/** Finds of each sort that are shown. */
const SHOWN = 6;
const PAUSE_MS = 150;
/** Courts that are offered as what to look at. */
const CHOICES = 40;

/** The frame of everything that lies over the page: it holds the focus and gives it back. */
function Over({ label, children, wide }) {
  const box = useRef(null);
  useEffect(() => {
    const before = /** @type {HTMLElement|null} */ (document.activeElement);
    const first = box.current.querySelector('input, a[href], button');
    if (first) first.focus();
    return () => { if (before && before.focus) before.focus(); };
  }, []);
  const key = (event) => {
    if (event.key === 'Escape') { event.preventDefault(); overlay.set(''); }
    if (event.key !== 'Tab') return;
    const all = [...box.current.querySelectorAll('input, a[href], button')].filter((one) => one.tabIndex >= 0);
    const last = all[all.length - 1];
    if (event.shiftKey && document.activeElement === all[0]) { event.preventDefault(); last.focus(); }
    else if (!event.shiftKey && document.activeElement === last) { event.preventDefault(); all[0].focus(); }
  };
  const outside = (event) => { if (event.target === event.currentTarget) overlay.set(''); };
  return html`<div class="veil veil-top" onKeyDown=${key} onClick=${outside}><div class=${`dialog palette${wide ? ' palette-wide' : ''}`} role="dialog" aria-modal="true" aria-label=${label} ref=${box}>${children}</div></div>`;
}

/** A field with finds below it, chosen by arrows and Enter. */
function Finder({ label, placeholder, groups, onType, onChoose, empty }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const all = groups.flatMap((group) => group.items);
  const current = Math.min(at, all.length - 1);
  const type = (event) => { setText(event.currentTarget.value); setAt(0); onType(event.currentTarget.value.trim()); };
  const key = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by && all.length) { event.preventDefault(); setAt((current + by + all.length) % all.length); }
    if (event.key === 'Enter' && all[current]) { event.preventDefault(); onChoose(all[current]); }
  };
  useEffect(() => { const on = document.getElementById(`find-${current}`); if (on) on.scrollIntoView({ block: 'nearest' }); }, [current]);
  let index = -1;
  return html`<div class="finder-field"><${Icon} name="search" size="16" /><input type="text" role="combobox" aria-expanded="true" aria-controls="finds" aria-autocomplete="list" aria-activedescendant=${all.length ? `find-${current}` : null}
      aria-label=${label} placeholder=${placeholder} value=${text} onInput=${type} onKeyDown=${key} autocomplete="off" spellcheck=${false} />
      <button class="tool" aria-label=${t('palette.close')} onClick=${() => overlay.set('')}><${Icon} name="down" size="15" /></button></div>
    <div class="finds" id="finds" role="listbox" aria-label=${label}>${groups.filter((group) => group.items.length).map((group) => html`<div key=${group.name} role="group" aria-label=${group.name}><p class="finds-head" aria-hidden="true">${group.name}</p>
      ${group.items.map((item) => { index += 1; const own = index; return html`<div key=${item.key} id=${`find-${own}`} role="option" aria-selected=${own === current ? 'true' : 'false'} class=${own === current ? 'find find-on' : 'find'} onClick=${() => onChoose(item)}>
        <${Icon} name=${item.icon} size="16" /><span translate=${item.data ? false : null}>${item.text}</span>${item.sub ? html`<small class="muted" translate=${item.data ? false : null}>${item.sub}</small>` : null}</div>`; })}</div>`)}</div>
    ${all.length || !text ? html`<p class="muted finder-hint">${t('palette.hint')}</p>` : html`<p class="muted finder-hint" role="status">${empty(text)}</p>`}`;
}

const matches = (q, ...texts) => { const low = q.toLowerCase(); return texts.some((text) => String(text).toLowerCase().includes(low)); };

const siteItem = (site) => ({ key: `s${site.id}`, icon: 'sites', text: site.name, sub: site.code, data: true, id: site.id, href: `/sites/${site.id}` });

const NOTHING = { q: '', sites: [], hosts: [], assets: [] };

/** Courts, hosts and assets by search, a moment after the typing pauses. */
function useFound(q, may) {
  const [found, setFound] = useState(NOTHING);
  useEffect(() => {
    if (!q) { setFound(NOTHING); return undefined; }
    const controller = new AbortController();
    /** @param {'/sites'|'/hosts'|'/register/assets'} path @returns {Promise<any[]>} */
    const ask = async (path) => { try { return (await request('GET', url(path, { q, limit: SHOWN }), undefined, controller.signal)).items; } catch (failed) { return []; } };
    const timer = setTimeout(async () => {
      const [sites, hosts, assets] = await Promise.all([ask('/sites'), may('see_hosts') ? ask('/hosts') : [], may('see_register') ? ask('/register/assets') : []]);
      if (!controller.signal.aborted) setFound({ q, sites, hosts, assets });
    }, PAUSE_MS);
    return () => { clearTimeout(timer); controller.abort(); };
  }, [q]);
  return found;
}

function Palette({ pages, may }) {
  const [q, setQ] = useState('');
  const { sites, hosts, assets, q: asked } = useFound(q, may);
  // While an answer is awaited, Enter must not open what was found for fewer letters.
  const fits = (item) => asked === q || matches(q, item.text, item.sub);
  const shown = q ? pages.filter((page) => matches(q, page.text)) : pages;
  const groups = [
    { name: t('palette.pages'), items: shown.map((page) => ({ ...page, key: page.href, href: scoped(page.href) })) },
    { name: t('palette.sites'), items: sites.map(siteItem).filter(fits) },
    { name: t('palette.hosts'), items: hosts.map((host) => ({ key: `h${host.id}`, icon: 'fleet', text: host.hostname, sub: host.site.name, data: true, href: `/hosts/${host.id}` })).filter(fits) },
    { name: t('palette.assets'), items: assets.map((asset) => ({ key: `a${asset.id}`, icon: 'label', text: asset.values.name, sub: `${asset.values.code} · ${asset.site.name}`, data: true, href: `/assets/${asset.id}` })).filter(fits) },
  ];
  const go = (item) => { overlay.set(''); navigate(item.href); };
  return html`<${Over} label=${t('palette.title')}><${Finder} label=${t('palette.title')} placeholder=${t('palette.search')} groups=${groups} onType=${setQ} onChoose=${go} empty=${(text) => (asked === q ? t('palette.none', { q: text }) : t('state.loading'))} /></${Over}>`;
}

function Scope() {
  const [q, setQ] = useState('');
  const chosen = useScope();
  const sites = useResource(url('/sites', { q, limit: CHOICES }));
  const found = ((sites.data && sites.data.items) || []).map(siteItem).filter((item) => sites.fresh || matches(q, item.text, item.sub));
  const groups = [{ name: t('scope.choose'), items: [...(chosen ? [{ key: 'all', icon: 'overview', text: t('scope.everything'), id: null }] : []), ...found] }];
  const choose = (item) => { overlay.set(''); navigate(hrefWith({ site: item.id, cursor: null, from: null })); };
  return html`<${Over} label=${t('scope.choose')}><${Finder} label=${t('scope.choose')} placeholder=${t('scope.search')} groups=${groups} onType=${setQ} onChoose=${choose} empty=${(text) => (sites.fresh && !sites.loading ? t('palette.none', { q: text }) : t('state.loading'))} /></${Over}>`;
}

const Menu = ({ pages }) => html`<${Over} label=${t('nav.more')}><ul class="menu">${pages.map((page) => html`<li key=${page.href}><a href=${scoped(page.href)} onClick=${() => overlay.set('')}><${Icon} name=${page.icon} size="18" />${page.text}</a></li>`)}</ul>
  <button class="button" onClick=${() => overlay.set('')}>${t('palette.close')}</button></${Over}>`;

const KEYS = [['Ctrl + K', 'keys.palette'], ['/', 'keys.search'], ['j', 'keys.next'], ['k', 'keys.previous'], ['Enter', 'keys.enter'], ['?', 'keys.help'], ['Esc', 'keys.escape']];

const Keys = () => html`<${Over} label=${t('keys.title')}><h2>${t('keys.title')}</h2><dl class="keys">${KEYS.map(([key, text]) => html`<div key=${key}><dt><kbd translate=${false}>${key}</kbd></dt><dd>${t(text)}</dd></div>`)}</dl>
  <button class="button" onClick=${() => overlay.set('')}>${t('palette.close')}</button></${Over}>`;

export default function Overlay({ what, pages, may }) {
  if (what === 'palette') return html`<${Palette} pages=${pages} may=${may} />`;
  if (what === 'scope') return html`<${Scope} />`;
  if (what === 'menu') return html`<${Menu} pages=${pages} />`;
  return html`<${Keys} />`;
}
