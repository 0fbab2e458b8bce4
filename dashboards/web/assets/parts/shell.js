// The frame around every page: navigation, search, the live badge, language and theme.
import { html, useState } from '../lib/html.js';
import { t, isEnglish, setLanguage } from '../lib/i18n.js';
import { navigate, hrefWith, useRoute } from '../lib/router.js';
import { remember } from '../lib/store.js';
import { send } from '../lib/api.js';
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

const leave = async () => {
  try { await send('POST', '/logout'); } catch (gone) { /* the session has ended either way */ }
  stop();
  navigate('/login');
};

/** Parts without which reports are not taken. */
const STOPS = ['samples', 'events', 'database'];

/** What is wrong with the controller itself, what that means and what to do, on every page. */
function Ailments() {
  const ailments = useAilments();
  return html`<div class="ailments" role="alert">${ailments.map(({ part, code, since_ms: since, days_left: days, reason }) => html`
    <section key=${part} class=${`ailment ailment-${STOPS.includes(part) ? 'down' : 'stale'}`}><${Icon} name="warning" />
      <div><h2>${t(`ailment.${part}.${code}`, { days })}</h2><p>${t(`ailment.${part}.means`)} ${t(`ailment.${code.startsWith('certificate_') ? part : code}.do`)}</p>
        <p class="ailment-since">${t('ailment.since', { time: dateTime(since) })}</p>
        ${reason ? html`<details><summary>${t('ailment.reason')}</summary><code><${Reason} text=${reason} /></code></details>` : null}</div></section>`)}</div>`;
}

const Navigation = ({ current, me }) => html`<nav class="nav" aria-label=${t('nav.label')}><ul>${NAVIGATION.filter(([,, may]) => me.permissions.includes(may)).map(([name, href, , text, short]) => html`
  <li key=${name}><a href=${href} class=${name === current ? 'nav-on' : ''} aria-current=${name === current ? 'page' : null}>
    <${Icon} name=${name} size="20" /><span class=${short ? 'nav-long' : ''}>${t(text)}</span>${short ? html`<span class="nav-short">${t(short)}</span>` : null}</a></li>`)}</ul></nav>`;

export function Shell({ me, current, children }) {
  const { path, query } = useRoute();
  return html`<div class="shell">
    <a class="skip" href="#main">${t('app.skip')}</a>
    <aside class="rail"><a class="brand" href="/"><${Mark} /><span><b>${t('app.name')}</b><small>${t('app.purpose')}</small></span></a>
      <${Navigation} current=${current} me=${me} />
      <p class="rail-foot">${t('shell.time')}<br />v${me.version}</p></aside>
    <header class="bar"><a class="brand brand-small" href="/" aria-label=${t('app.name')}><${Mark} size="26" /></a>
      <div class="bar-search"><${SearchField} global value=${path === '/fleet' ? query.get('q') : ''} label=${t('shell.search')}
        onSearch=${(q) => navigate(hrefWith({ q }, path === '/fleet' ? undefined : '/fleet'))} /></div>
      <div class="bar-tools"><${LiveBadge} /><${LanguageButton} /><${ThemeButton} />
        <a class="who" href="/me" translate=${false} title=${t('shell.user', { name: me.user.name })}>${me.user.display_name || me.user.name}</a>
        <button class="tool" aria-label=${t('shell.logout')} title=${t('shell.logout')} onClick=${leave}><${Icon} name="logout" /></button></div></header>
    <main id="main" tabindex="-1"><${Ailments} /><${Guarded} key=${path}>${children}</${Guarded}></main>
  </div>`;
}
