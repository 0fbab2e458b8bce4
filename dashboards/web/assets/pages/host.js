// A host: whether it is up and why that is thought, its charts, what it is made of, what happened
// on it, and whether it is who it says.
import { html, useState } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { useRoute, hrefWith } from '../lib/router.js';
import { url, send, useResource } from '../lib/api.js';
import { now, useChanges, useWatchHost } from '../lib/live.js';
import { dateTime, duration, ago, percent, number, skew, bytes } from '../lib/format.js';
import { Reason, reasonText } from '../lib/reasons.js';
import { useMay } from '../lib/who.js';
import { PageHead, Panel, Loaded, Confirm, Segments } from '../parts/ui.js';
import { Icon } from '../parts/icons.js';
import { Status, Simulated } from '../parts/status.js';
import { AuditLink } from '../parts/auditlink.js';
import { Charts } from './host/charts.js';
import { Facts } from './host/facts.js';
import { Identity } from './host/identity.js';
import { Crumbs } from '../parts/sitechoice.js';
import { EventList } from './events.js';

/** Its name, and the permission that shows it. */
const TABS = [['charts', 'see_hosts'], ['facts', 'see_hosts'], ['events', 'see_security_events'], ['identity', 'see_hosts']];

const Fact = ({ name, value, look }) => html`<div class="strip-item"><dt>${name}</dt><dd class=${look || ''}>${value}</dd></div>`;

function Presence({ host }) {
  return html`<section class=${`presence edge-${host.presence}`} aria-label=${t('presence.label')}>
    <div class="presence-state"><${Status} state=${host.presence} large /><p>${word('reason', host.reason)}
      ${host.since_ms ? html`<span class="muted"> ${t('host.since', { d: duration(now() - host.since_ms) })}</span>` : null}</p></div>
    <dl class=${host.presence === 'up' ? 'strip' : 'strip strip-old'}>
      <${Fact} name=${t('host.last')} value=${html`<span title=${dateTime(host.last_report_ms)}>${ago(host.last_report_ms, now())}</span>`} />
      <${Fact} name=${t('host.cpu')} value=${percent(host.cpu_percent)} /><${Fact} name=${t('host.memory')} value=${percent(host.memory_percent)} />
      <${Fact} name=${t('host.disk')} value=${percent(host.disk_percent)} /><${Fact} name=${t('chart.load')} value=${number(host.load1, 2)} />
      <${Fact} name=${t('host.skew')} value=${skew(host.skew_ms)} look=${Math.abs(host.skew_ms || 0) > 5000 ? 'bad' : ''} />
      <${Fact} name=${t('host.footprint')} value=${`${host.agent_memory_bytes ? bytes(host.agent_memory_bytes) : '–'}${host.agent_cpu_s_per_h === null ? '' : ` · ${t('host.footprint.cpu.hour', { n: number(host.agent_cpu_s_per_h, 2) })}`}`} />
    </dl></section>`;
}

const Warnings = ({ host }) => html`
  ${host.revoked_ms ? html`<p class="notice notice-down"><${Icon} name="warning" size="15" />${t('host.revoked', { time: dateTime(host.revoked_ms) })}</p>` : null}
  ${host.identity_conflict_ms ? html`<p class="notice notice-down"><${Icon} name="warning" size="15" /><span><b>${t('host.conflict')}</b> ${t('host.conflict.text', { time: dateTime(host.identity_conflict_ms) })}</span></p>` : null}
  ${host.trouble ? html`<p class="notice notice-stale"><${Icon} name="warning" size="15" />${t('identity.trouble')}${t('list.colon')}<${Reason} text=${host.trouble} /></p>` : null}`;

function Acts({ host, reload }) {
  const [asked, ask] = useState(false);
  const [busy, setBusy] = useState(false);
  const [told, tell] = useState(null);
  const manages = useMay()('manage_hosts');
  const collect = async () => {
    setBusy(true);
    try {
      const { outcome, detail } = await send('POST', `/hosts/${host.id}/directives`, { kind: 'collect_now' });
      tell({ good: outcome === 'done', text: outcome === 'done' ? t('host.collect.done') : t('host.collect.failed', { why: detail ? reasonText(detail) : word('outcome', outcome) }) });
      reload();
    } catch (cause) { tell({ good: false, text: t('host.collect.failed', { why: cause.message }) }); }
    setBusy(false);
  };
  const log = html`<${AuditLink} filter=${{ subject: `host:${host.id}` }} />`;
  if (host.revoked_ms || !manages) return html`<span class="page-tools">${log}</span>`;
  return html`<span class="page-tools">${told ? html`<span class=${told.good ? 'good' : 'bad'} role="status">${told.text}</span>` : null}
    <button class="button button-small" disabled=${busy} onClick=${collect}><${Icon} name="refresh" size="14" />${t('host.collect')}</button>
    <button class="button button-small" onClick=${() => ask(true)}>${t('host.revoke')}</button>
    ${log}${asked ? html`<${Confirm} danger text=${t('host.revoke.ask', { name: host.hostname })} reasonLabel=${t('host.revoke.reason')} onCancel=${() => ask(false)}
      onDo=${async (reason) => { await send('POST', `/hosts/${host.id}/revoke`, { reason }); ask(false); reload(); }} />` : null}</span>`;
}

function Tab({ tab, data, id, reload }) {
  if (tab === 'facts') return html`<${Facts} id=${id} revoked=${Boolean(data.host.revoked_ms)} />`;
  if (tab === 'events') return html`<${Panel} flush><${EventList} filters=${{ host: id }} host /></${Panel}>`;
  if (tab === 'identity') return html`<${Identity} host=${data.host} record=${data.record} reload=${reload} />`;
  return html`<${Charts} id=${id} lastReport=${data.host.last_report_ms} />`;
}

export default function Host({ id }) {
  const { query } = useRoute();
  const resource = useResource(url(`/hosts/${id}`), 15000);
  const may = useMay();
  const tabs = TABS.filter(([, permission]) => may(permission)).map(([name]) => name);
  const tab = tabs.find((one) => one === query.get('tab')) || 'charts';
  useWatchHost(id);
  useChanges((rows, whole) => {
    if (whole || rows.some((row) => String(row.id) === id)) resource.reload();
  }, [id]);
  return html`<${Loaded} resource=${resource} rows=${10}>${(data) => html`
    <${PageHead} title=${html`<span translate=${false}>${data.host.hostname || `#${id}`}</span>`} crumbs=${html`<${Crumbs} path=${data.path} />`}>
      ${data.host.simulated ? html`<${Simulated} />` : null}<${Acts} host=${data.host} reload=${resource.reload} /></${PageHead}>
    <${Warnings} host=${data.host} /><${Presence} host=${data.host} />
    <div class="tabs"><${Segments} label=${t('host.tabs')} current=${tab} items=${tabs.map((one) => ({ value: one, text: t(`host.tab.${one}`), href: hrefWith({ tab: one === 'charts' ? '' : one }) }))} /></div>
    <${Tab} tab=${tab} data=${data} id=${id} reload=${resource.reload} />`}</${Loaded}>`;
}
