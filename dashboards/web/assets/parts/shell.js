// The frame around every page: navigation, search, the live badge, language and theme.
import { html, useState, useEffect } from '../lib/html.js';
import { t, known, isEnglish, setLanguage } from '../lib/i18n.js';
import { navigate, hrefWith, useRoute } from '../lib/router.js';
import { remember, useWatched } from '../lib/store.js';
import { overlay } from '../lib/keys.js';
import { useMay, isWall } from '../lib/who.js';
import { scoped, useScope } from '../lib/scope.js';
import { send, url, useResource } from '../lib/api.js';
import { useLiveState, useAilments, stop } from '../lib/live.js';
import { dateTime } from '../lib/format.js';
import { Reason } from '../lib/reasons.js';
import { Icon, Mark } from './icons.js';
import { SearchField, Guarded } from './ui.js';

/** What, where, which permission shows it, its text and a short one for phones. */
const NAVIGATION = [
  ['overview', '/', 'see_overview', 'nav.overview'],
  ['sites', '/sites', 'see_overview', 'nav.sites', 'nav.sites.short'],
  ['fleet', '/fleet', 'see_hosts', 'nav.fleet'],
  ['events', '/events', 'see_security_events', 'nav.events', 'nav.events.short'],
  ['register', '/register', 'see_register', 'nav.register'],
  ['devices', '/devices', 'see_hosts', 'nav.devices'],
  ['links', '/links', 'see_hosts', 'nav.links'],
  ['enrol', '/enrol', 'manage_hosts', 'nav.enrol', 'nav.enrol.short'],
  ['users', '/users', 'see_accounts', 'nav.users'],
  ['audit', '/audit', 'see_audit', 'nav.audit'],
  ['settings', '/settings', 'see_settings', 'nav.settings'],
];

function LiveBadge() {
  const { status, at, seconds } = useLiveState();
  const text = status === 'live' ? t('live.on') : status === 'stale' ? t('live.stale', { n: seconds }) : t('live.connecting');
  return html`<span class=${`live live-${status}`} role="status" title=${at ? t('live.title', { time: dateTime(at) }) : text}>
    ${status === 'live' ? html`<span class="live-dot" aria-hidden="true"></span>` : html`<${Icon} name=${status === 'stale' ? 'warning' : 'refresh'} size="14" />`}
    ${text}</span>`;
}

export const LanguageButton = () => html`<button class="tool" lang=${isEnglish() ? 'zh-CN' : 'en'} aria-label=${t('shell.language.label')} title=${t('shell.language.label')}
  onClick=${() => { navigate(hrefWith({ lang: null }), { replace: true }); setLanguage(!isEnglish()); }}><${Icon} name="language" /><span class="tool-text">${t('shell.language')}</span></button>`;

export function ThemeButton() {
  const [, redraw] = useState(0);
  const turn = () => {
    remember('theme', document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
    window.xiezhiApplyTheme();
    redraw((n) => n + 1);
    dispatchEvent(new Event('xiezhi-theme'));
  };
  return html`<button class="tool" aria-label=${t('shell.theme')} title=${t('shell.theme')} onClick=${turn}><${Icon} name="moon" /></button>`;
}

export const leave = async () => {
  try { await send('POST', '/logout'); } catch (gone) { /* the session has ended either way */ }
  stop();
  navigate('/login');
};

/** Parts without which reports are not taken. */
const STOPS = ['samples', 'events', 'database'];

/** The first of these texts that there is. @param {...string} keys */
const firstOf = (...keys) => t(keys.find(known) || keys[0]);
/** What an ailment means and what to do: in words of its own, or in those of its part or code. @param {string} part @param {string} code */
const advice = (part, code) => {
  const own = `ailment.${part}.${code}`;
  return `${firstOf(`${own}.means`, `ailment.${part}.means`)} ${firstOf(`${own}.do`, `ailment.${code.startsWith('certificate_') ? part : code}.do`)}`;
};

/** What is wrong with the controller itself, what that means and what to do, on every page. */
export function Ailments() {
  const ailments = useAilments();
  return html`<div class="ailments" role="alert">${ailments.map(({ part, code, since_ms: since, days_left: days, reason }) => html`
    <section key=${part} class=${`ailment ailment-${STOPS.includes(part) ? 'down' : 'stale'}`}><${Icon} name="warning" />
      <div><h2>${t(`ailment.${part}.${code}`, { days })}</h2><p>${advice(part, code)}</p>
        <p class="ailment-since">${t('ailment.since', { time: dateTime(since) })}</p>
        ${reason ? html`<details><summary>${t('ailment.reason')}</summary><code><${Reason} text=${reason} /></code></details>` : null}</div></section>`)}</div>`;
}

/** Entries that fit into the bar of a phone, beside the one that shows the rest. */
const ON_PHONE = 4;

function Navigation({ current, pages }) {
  const few = pages.length <= ON_PHONE + 1;
  return html`<nav class="nav" aria-label=${t('nav.label')}><ul>${pages.map(({ name, href, text, short }, at) => html`
    <li key=${name} class=${few || at < ON_PHONE ? '' : 'nav-rest'}><a href=${scoped(href)} class=${name === current ? 'nav-on' : ''} aria-current=${name === current ? 'page' : null}>
      <${Icon} name=${name} size="20" /><span class=${short ? 'nav-long' : ''}>${text}</span>${short ? html`<span class="nav-short">${short}</span>` : null}</a></li>`)}
    ${few ? null : html`<li class="nav-more"><button onClick=${() => overlay.set('menu')} class=${pages.slice(ON_PHONE).some(({ name }) => name === current) ? 'nav-on' : ''}><${Icon} name="more" size="20" /><span>${t('nav.more')}</span></button></li>`}</ul></nav>`;
}

/** What part of the organisation is looked at, where a page can look at a part. */
function ScopeButton() {
  const site = useScope();
  const { data } = useResource(site ? url(`/sites/${site}`) : null);
  const name = !site ? t('scope.all') : data && String(data.site.id) === site ? data.site.name : `#${site}`;
  return html`<button class=${site ? 'tool scope scope-on' : 'tool scope'} aria-label=${`${t('scope.label')}${t('list.colon')}${name}`} title=${t('scope.choose')} onClick=${() => overlay.set('scope')}><${Icon} name="sites" size="16" /><span class="scope-name">${name}</span></button>`;
}

/** The part that lies over the page is fetched when it is first asked for. */
function Overlaid({ pages }) {
  const what = useWatched(overlay);
  const may = useMay();
  const [view, setView] = useState(null);
  useEffect(() => {
    if (what && !view) import('./palette.js').then((module) => setView(() => module.default), () => overlay.set(''));
  }, [what]);
  return what && view ? html`<${view} key=${what} what=${what} pages=${pages} may=${may} />` : null;
}

export function Shell({ me, current, scope, children }) {
  const { path, query } = useRoute();
  const wall = isWall(me);
  const pages = wall ? [{ name: 'overview', icon: 'screen', href: '/?wall=1', text: t('screen.open') }] : NAVIGATION.filter(([,, may]) => me.permissions.includes(may))
    .map(([name, href,, text, short]) => ({ name, icon: name, href, text: t(text), short: short && t(short) }));
  const hosts = me.permissions.includes('see_hosts');
  const own = { name: 'me', icon: 'person', href: '/me', text: t('shell.me') };
  useEffect(() => overlay.set(''), [path]);
  return html`<div class="shell">
    <a class="skip" href="#main">${t('app.skip')}</a>
    <aside class="rail"><a class="brand" href=${scoped('/')}><${Mark} /><span><b>${t('app.name')}</b><small>${t('app.purpose')}</small></span></a>
      <${Navigation} current=${current} pages=${pages} />
      <p class="rail-foot">${t('shell.time')}<br />v${me.version}</p></aside>
    <header class="bar"><a class="brand brand-small" href=${scoped('/')} aria-label=${t('app.name')}><${Mark} size="26" /></a>
      ${scope ? html`<${ScopeButton} />` : null}
      <div class="bar-search">${hosts ? html`<${SearchField} global value=${path === '/fleet' ? query.get('q') : ''} label=${t('shell.search')}
        onSearch=${(q) => navigate(path === '/fleet' ? hrefWith({ q, cursor: null, from: null }) : scoped(`/fleet?q=${encodeURIComponent(q)}`))} />` : null}</div>
      <div class="bar-tools"><${LiveBadge} />
        ${wall ? null : html`<button class="tool desk-only" aria-label=${t('palette.open')} title=${t('palette.open')} onClick=${() => overlay.set('palette')}><${Icon} name="search" /></button>
        <button class="tool desk-only" aria-label=${t('keys.open')} title=${t('keys.open')} onClick=${() => overlay.set('keys')}><${Icon} name="keyboard" /></button>`}
        <span class="desk-only tool-group"><${LanguageButton} /><${ThemeButton} /></span>
        <a class="who desk-only" href="/me" translate=${false} title=${t('shell.user', { name: me.user.name })}>${me.user.display_name || me.user.name}</a>
        <a class="tool phone-only" href="/me" aria-label=${t('shell.me')} title=${t('shell.me')}><${Icon} name="person" size="20" /></a>
        <button class="tool desk-only" aria-label=${t('shell.logout')} title=${t('shell.logout')} onClick=${leave}><${Icon} name="logout" /></button></div></header>
    <main id="main" tabindex="-1"><${Ailments} /><${Guarded} key=${path}>${children}</${Guarded}></main>
    ${wall ? null : html`<${Overlaid} pages=${[...pages, own]} />`}
  </div>`;
}
