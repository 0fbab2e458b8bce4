// 大屏: the overview on a wall, read from some metres away. It turns its pages by itself, needs no
// hand, and says when what it shows is old. It names no person: what an event says is left out,
// only what sort it was and where.
import { html, useEffect, useState } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { useRoute, hrefWith } from '../lib/router.js';
import { now, useLiveState } from '../lib/live.js';
import { useMay, useWho, isWall } from '../lib/who.js';
import { dateTime, shortTime, ago, duration, number, shortCourt } from '../lib/format.js';
import { Loaded, Empty } from '../parts/ui.js';
import { Icon, Mark } from '../parts/icons.js';
import { Status, Severity, ShareBar, Counts, totalOf, worstOf } from '../parts/status.js';
import { HexWall, laidOut } from '../parts/hexwall.js';
import { Ailments } from '../parts/shell.js';
import { Tiles, groupsOf, useOverview } from './overview.js';

/** Everything is laid out for 1920 × 1080 and grows with the screen. */
const WIDTH = 1920;
const HEIGHT = 1080;
/** The smallest text is three quarters of this: 18 px. */
const ROOT_PX = 24;
const MARGIN = 36;
/** What is left for the courts below the head and the numbers. */
const COURTS_HEIGHT = 790;
const HEXAGON = 1.65;
const GAP = 24;
const HEADING = 44;
const ROTATE_S = 20;

/** How much larger than 1080p the screen is. */
function useSize() {
  const measure = () => Math.max(0.4, Math.min(innerWidth / WIDTH, innerHeight / HEIGHT));
  const [size, setSize] = useState(measure());
  useEffect(() => {
    const again = () => setSize(measure());
    addEventListener('resize', again);
    return () => removeEventListener('resize', again);
  }, []);
  useEffect(() => {
    document.documentElement.style.fontSize = `${ROOT_PX * size}px`;
    return () => { document.documentElement.style.fontSize = ''; };
  }, [size]);
  return size;
}

/** Clusters in as many screens as they need, in their order, row by row. */
function screensOf(groups) {
  const screens = [];
  let screen = [];
  let [x, y, row] = [0, 0, 0];
  for (const group of groups) {
    const { width, height } = laidOut(group.sites);
    const [wide, high] = [width * HEXAGON, height * HEXAGON + HEADING];
    if (x && x + wide > WIDTH - 2 * MARGIN) { x = 0; y += row + GAP; row = 0; }
    if (screen.length && y + high > COURTS_HEIGHT) { screens.push(screen); screen = []; x = 0; y = 0; row = 0; }
    screen.push(group);
    x += wide + GAP;
    row = Math.max(row, high);
  }
  if (screen.length) screens.push(screen);
  return screens;
}

const Cities = ({ groups }) => html`<h2>${t('screen.cities')}</h2><ul class="screen-cities">${groups.map((group) => html`<li key=${group.id}><b>${shortCourt(group.name)}</b><${Status} state=${worstOf(group.counts)} /><span class="screen-total">${number(totalOf(group.counts))}</span>
  <${ShareBar} counts=${group.counts} />${totalOf(group.counts) ? html`<${Counts} counts=${group.counts} />` : null}</li>`)}</ul>`;

const Attention = ({ data, events }) => html`<div class=${events ? 'screen-halves' : ''}><section><h2>${t('overview.attention')}</h2>${data.attention.length ? html`<ul class="screen-list">${data.attention.map((host) => html`<li key=${host.id}><${Status} state=${host.presence} />
    <span><b translate=${false}>${host.hostname}</b> ${host.site.name}</span><span class="muted">${host.last_report_ms ? ago(host.last_report_ms, now()) : duration(now() - host.since_ms)}</span></li>`)}</ul>` : html`<${Empty} icon="up">${t('overview.attention.none')}</${Empty}>`}</section>
  ${events ? html`<section><h2>${t('overview.recent')}</h2>${data.recent_events.length ? html`<ul class="screen-list">${data.recent_events.map((event) => html`<li key=${event.id}><${Severity} severity=${event.severity} />
    <span><b>${word('kind', event.kind)}</b> ${event.site.name}</span><time class="muted">${shortTime(event.time_ms)}</time></li>`)}</ul>` : html`<${Empty} icon="events">${t('events.none')}</${Empty}>`}</section>` : null}</div>`;

/** Which screen is shown: it goes round by itself, and by the arrow keys. */
function useTurn(count, seconds) {
  const [at, setAt] = useState(0);
  useEffect(() => {
    const turn = (by) => setAt((old) => (old + by + count) % count);
    const timer = seconds > 0 && count > 1 ? setInterval(() => turn(1), seconds * 1000) : 0;
    const key = (event) => { if (event.key === 'ArrowRight') turn(1); if (event.key === 'ArrowLeft') turn(-1); };
    addEventListener('keydown', key);
    return () => { clearInterval(timer); removeEventListener('keydown', key); };
  }, [count, seconds]);
  return Math.min(at, count - 1);
}

function Clock() {
  const [, tick] = useState(0);
  useEffect(() => { const timer = setInterval(() => tick((n) => n + 1), 1000); return () => clearInterval(timer); }, []);
  return html`<time class="screen-clock" aria-label=${t('screen.now')}>${dateTime(now())}</time>`;
}

/** Whoever looks from afar must see that a picture is old. */
function Stale({ failed }) {
  const { status, seconds } = useLiveState();
  if (status === 'live' && !failed) return null;
  return html`<p class=${`screen-stale${status === 'stale' || failed ? ' screen-old' : ''}`} role="alert"><${Icon} name="warning" size="28" />${status === 'stale' ? t('screen.stale', { n: seconds }) : t('screen.connecting')}</p>`;
}

function Turning({ data, size }) {
  const { query } = useRoute();
  const may = useMay();
  const wall = isWall(useWho());
  const seesEvents = may('see_security_events');
  const groups = groupsOf(data.organisation);
  /** @type {{ key: string, title?: string, view: any }[]} */
  const screens = screensOf(groups).map((some, index) => ({ key: `courts${index}`, title: t('screen.courts'), view: html`<${HexWall} groups=${some} scale=${HEXAGON * size} still />` }));
  if (groups.length > 1) screens.push({ key: 'cities', view: html`<${Cities} groups=${groups} />` });
  if (may('see_hosts')) screens.push({ key: 'attention', view: html`<${Attention} data=${data} events=${seesEvents} />` });
  const asked = query.get('rotate');
  const at = useTurn(Math.max(1, screens.length), asked === null ? ROTATE_S : Number(asked) || 0);
  const screen = screens[at];
  return html`<${Tiles} data=${data} events=${seesEvents} still />
    <section class="screen-page" key=${screen ? screen.key : 'none'}>${screen ? html`${screen.title ? html`<h2 class="visually-hidden">${screen.title}</h2>` : null}${screen.view}` : html`<${Empty} icon="sites">${t('wall.empty')}</${Empty}>`}</section>
    <footer class="screen-foot">${data.simulated ? html`<span>${t('simulated.banner', { n: number(data.simulated) })}</span>` : html`<span></span>`}
      ${screens.length > 1 ? html`<span>${t('screen.page', { n: at + 1, of: screens.length })}</span>` : null}${wall ? html`<a href="/me">${t('shell.me')}</a>` : html`<a href=${hrefWith({ wall: null, rotate: null })}>${t('screen.leave')}</a>`}</footer>`;
}

export default function Screen() {
  const size = useSize();
  const shown = useOverview();
  return html`<main id="main" class="screen" tabindex="-1"><header class="screen-head"><${Mark} size=${Math.round(44 * size)} /><h1>${t('app.name')} ${t('app.purpose')}</h1><${Clock} /></header>
    <${Stale} failed=${Boolean(shown.error && shown.data)} /><${Ailments} />
    <${Loaded} resource=${shown} rows=${10}>${(data) => html`<${Turning} data=${data} size=${size} />`}</${Loaded}></main>`;
}
