// 总览: how the province is, in one look.
import { html, useMemo, useState } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { useRoute, hrefWith } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { useMay, useWho } from '../lib/who.js';
import { scoped, useScope } from '../lib/scope.js';
import { now, useSiteChanges, useSoon } from '../lib/live.js';
import { number, percent, ago, duration } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Segments } from '../parts/ui.js';
import { Icon } from '../parts/icons.js';
import { STATES, ShareBar, Status, HostLink, totalOf, worstOf } from '../parts/status.js';
import { HexWall } from '../parts/hexwall.js';
import { HostsTrend } from '../parts/trend.js';
import { EventLine } from '../parts/eventline.js';

/** The order of a site's counts in live messages. */
const ORDER = ['up', 'stale', 'down', 'unknown'];

/** A number; it leads somewhere if the account may go there. */
export function Tile({ href, icon, look, label, figure, sub, children }) {
  const content = html`<span class="tile-label">${icon ? html`<${Icon} name=${icon} size="14" />` : null}${label}</span>
    <span class="tile-figure">${figure}</span><span class="tile-sub">${sub}</span>${children}`;
  const looks = `tile ${look || ''}`;
  return href ? html`<a class=${looks} href=${scoped(href)}>${content}</a>` : html`<div class=${looks}>${content}</div>`;
}

export function Tiles({ data, events: seesEvents, hosts: seesHosts, still, whole }) {
  const { counts, events_24h: events } = data;
  const total = totalOf(counts);
  return html`<div class="tiles">
    <${Tile} href=${seesHosts && !still ? '/fleet' : null} label=${t('kpi.hosts')} figure=${number(total)} sub=${html`<${ShareBar} counts=${counts} />`} look="tile-lead">
      ${seesHosts && !still && whole ? html`<${HostsTrend} total=${total} />` : null}</${Tile}>
    ${STATES.map((state) => html`<${Tile} key=${state} href=${seesHosts && !still ? `/fleet?presence=${state}` : null} icon=${state} label=${word('presence', state)}
      look=${`tile-${state}${counts[state] ? '' : ' tile-zero'}`} figure=${number(counts[state])}
      sub=${total ? t('kpi.share', { p: percent((100 * counts[state]) / total, counts[state] && counts[state] < total ? 1 : 0) }) : '–'} />`)}
    <${Tile} href=${still ? null : '/sites'} label=${t('kpi.sites')} figure=${number(data.sites.total)} sub=${t('kpi.sites.sub', { n: number(data.sites.with_hosts) })} />
    ${seesEvents ? html`<${Tile} href=${still ? null : '/events'} label=${t('kpi.events')} figure=${number(events.total)} look=${events.critical ? 'tile-down' : ''}
      sub=${t('kpi.events.sub', { c: number(events.critical), w: number(events.warning) })} />` : null}
    <${Tile} href=${seesHosts && !still ? '/fleet?sort=dropped&order=desc' : null} label=${t('kpi.drops')} figure=${number(data.gaps_24h.gaps)} look=${data.gaps_24h.batches ? 'tile-stale' : ''}
      sub=${t('kpi.drops.sub', { n: number(data.gaps_24h.batches) })} />
  </div>`;
}

const Notices = ({ data }) => html`<div class="notices">
  ${data.conflicts ? html`<a class="notice notice-down" href=${scoped('/fleet?conflict=true')}><${Icon} name="warning" size="15" />${t('kpi.conflicts', { n: number(data.conflicts) })}</a>` : null}
  ${data.pending_approvals ? html`<a class="notice notice-stale" href=${scoped('/enrol')}><${Icon} name="enrol" size="15" />${t('kpi.approvals', { n: number(data.pending_approvals) })}</a>` : null}
  ${data.simulated ? html`<p class="notice"><${Icon} name="overview" size="15" />${t('simulated.banner', { n: number(data.simulated) })}</p>` : null}
</div>`;

/** Clusters for the wall: a high court alone, then each intermediate court with its courts. */
export function groupsOf(sites) {
  const groups = new Map();
  const ids = new Set(sites.map((site) => site.id));
  const top = new Map(sites.map((site) => [site.id, site]));
  const headOf = (site) => {
    let head = site;
    while (head.tier !== 'high_court' && head.tier !== 'intermediate_court' && ids.has(head.parent)) head = top.get(head.parent);
    return head;
  };
  for (const site of sites) {
    const head = headOf(site);
    if (!groups.has(head.id)) groups.set(head.id, { id: head.id, name: head.name, tier: head.tier, counts: { up: 0, stale: 0, down: 0, unknown: 0 }, sites: [] });
    const group = groups.get(head.id);
    group.sites.push(site);
    for (const state of STATES) group.counts[state] += site.hosts[state];
  }
  return [...groups.values()].sort((a, b) => Number(b.tier === 'high_court') - Number(a.tier === 'high_court'));
}

function Wall({ sites }) {
  const { query } = useRoute();
  const highlight = query.get('state') || '';
  const keeps = useMay()('manage_sites');
  if (!sites.length) return html`<${Empty} icon="sites"><p>${t('wall.empty')}</p>${keeps ? html`<p><a class="button button-primary" href="/sites/import">${t('wall.empty.import')}</a></p>` : null}</${Empty}>`;
  const courts = { up: 0, stale: 0, down: 0, unknown: 0, none: 0 };
  for (const site of sites) courts[worstOf(site.hosts)] += 1;
  const legend = [...STATES, 'none'].map((state) => ({
    value: state, icon: state, text: word('presence', state), count: courts[state], href: hrefWith({ state: highlight === state ? '' : state }),
  }));
  return html`<div class="wall-legend"><${Segments} label=${t('wall.legend')} items=${legend} current=${highlight} /></div>
    <${HexWall} groups=${groupsOf(sites)} highlight=${highlight} />`;
}

const Attention = ({ data, enrols }) => {
  if (!totalOf(data.counts)) return html`<${Empty} icon="enrol"><p>${t(enrols ? 'overview.attention.nohosts' : 'fleet.empty.ask')}</p>${enrols ? html`<p><a href=${scoped('/enrol')}>${t('nav.enrol')}</a></p>` : null}</${Empty}>`;
  if (!data.attention.length) return html`<${Empty} icon="up">${t('overview.attention.none')}</${Empty}>`;
  return html`<ul class="attention">${data.attention.map((host) => html`<li key=${host.id}>
    <${Status} state=${host.presence} /><div class="attention-what"><${HostLink} host=${host} /><span class="muted">${host.site.name}</span></div>
    <span class="attention-since muted" title=${t('host.last')}>${host.last_report_ms ? ago(host.last_report_ms, now()) : duration(now() - host.since_ms)}</span>
    <span class="attention-why">${word('reason', host.reason)}</span></li>`)}</ul>`;
};

/** What was loaded, with the counts that came since. */
function patched(data, sites) {
  if (!sites.size) return data;
  const counts = { ...data.counts };
  const organisation = data.organisation.map((site) => {
    const newer = sites.get(site.id);
    // A cell that speaks for others too is asked for again a little later.
    if (!newer || site.rolled) return site;
    const hosts = {};
    STATES.forEach((state) => { hosts[state] = newer[ORDER.indexOf(state)]; counts[state] += hosts[state] - site.hosts[state]; });
    return { ...site, hosts };
  });
  return { ...data, counts, organisation };
}

/** The overview of what is looked at, kept up to date by live messages. */
export function useOverview() {
  const resource = useResource(url('/overview', { site: useScope() }), 15000);
  const [newer, setNewer] = useState({ of: null, sites: new Map() });
  const soon = useSoon(resource.reload, 5000);
  const at = useSoon(resource.reload, 200);
  useSiteChanges((sites, whole) => {
    if (whole) { at(); return; }
    if (!sites.length) return;
    // The wall and the numbers show it at once; the lists beside them are asked for again a little later.
    setNewer((old) => ({ ...old, sites: new Map([...old.sites, ...sites.map(([id, ...counts]) => /** @type {[number, number[]]} */ ([id, counts]))]) }));
    soon();
  }, []);
  const { data: loaded } = resource;
  const shown = useMemo(() => (loaded ? { ...resource, data: patched(loaded, newer.of === loaded ? newer.sites : new Map()) } : resource), [resource, newer]);
  if (loaded && newer.of !== loaded) setNewer({ of: loaded, sites: new Map() });
  return shown;
}

export default function Overview() {
  const shown = useOverview();
  const who = useWho();
  const scope = useScope();
  const whole = !scope && Boolean(who && who.user.roles.some((one) => !one.site));
  const may = useMay();
  // Who may not see security events is shown no number of them: a nought would be untrue.
  const seesEvents = may('see_security_events');
  const seesHosts = may('see_hosts');
  return html`<${PageHead} title=${t('nav.overview')}><span class="page-tools desk-only"><a class="button button-small" href=${hrefWith({ wall: '1', state: null })}><${Icon} name="screen" size="14" />${t('screen.open')}</a></span></${PageHead}>
    <${Loaded} resource=${shown} rows=${10}>${(data) => html`
      <${Notices} data=${data} /><${Tiles} data=${data} events=${seesEvents} hosts=${seesHosts} whole=${!scope} />
      <div class=${seesHosts ? 'overview-grid' : ''}>
        <${Panel} id="wall" title=${t(whole ? 'wall.title' : 'screen.courts')} hint=${t('wall.hint')}><${Wall} sites=${data.organisation} /></${Panel}>
        ${seesHosts ? html`<div class="overview-side">
          <${Panel} id="attention" flush title=${t('overview.attention')} action=${html`<a href=${scoped('/fleet?sort=presence')}>${t('overview.all')}</a>`}><${Attention} data=${data} enrols=${may('manage_hosts')} /></${Panel}>
          ${seesEvents ? html`<${Panel} id="recent" flush title=${t('overview.recent')} action=${html`<a href=${scoped('/events')}>${t('overview.all')}</a>`}>
            ${data.recent_events.length ? html`<ul class="recent">${data.recent_events.map((event) => html`<${EventLine} key=${event.id} event=${event} />`)}</ul>`
    : html`<${Empty} icon="events">${t('events.none')}</${Empty}>`}</${Panel}>` : null}
        </div>` : null}</div>`}</${Loaded}>`;
}
