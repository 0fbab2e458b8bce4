// 安全事件: what happened on hosts, searchable, with the holes in the record shown where they are.
import { html, useEffect, useState } from '../lib/html.js';
import { t, word, words } from '../lib/i18n.js';
import { useRoute, setQuery, hrefWith } from '../lib/router.js';
import { get, url, useResource } from '../lib/api.js';
import { dateTime, shortTime, date, number, duration } from '../lib/format.js';
import { eventText, fieldName, fieldValue } from '../lib/eventtext.js';
import { PageHead, Panel, Loaded, Empty, SearchField, Problem } from '../parts/ui.js';
import { SiteChoice } from '../parts/sitechoice.js';
import { Icon } from '../parts/icons.js';
import { TimeSpan } from '../parts/span.js';
import { Views } from '../parts/views.js';
import { Exports } from '../parts/exports.js';
import { Severity, HostLink } from '../parts/status.js';

const LATE_MS = 120000;

const Gap = ({ gap }) => html`<li class="gap-line"><${Icon} name="gap" size="16" /><b>${t('events.gap')}</b>
  <span>${t('events.gap.text', { host: gap.host.hostname, from: dateTime(gap.from_ms), to: dateTime(gap.to_ms), n: number(gap.last - gap.first + 1), why: word('events.gap', gap.reason) })}</span></li>`;

function Event({ event, host }) {
  const [open, setOpen] = useState(false);
  const late = event.received_ms - event.time_ms;
  const fields = Object.entries(event.fields);
  return html`<li class=${`event severity-edge-${event.severity}`}>
    <button class="event-head" aria-expanded=${open ? 'true' : 'false'} onClick=${() => setOpen(!open)}>
      <time dateTime=${new Date(event.time_ms).toISOString()} title=${dateTime(event.time_ms)}>${shortTime(event.time_ms)}</time>
      <${Severity} severity=${event.severity} /><span class="event-kind">${word('kind', event.kind)}</span>
      <span class="event-text" translate=${false} title=${event.message}>${eventText(event)}</span>
      ${late > LATE_MS ? html`<span class="tag" title=${dateTime(event.received_ms)}>${t('events.late', { d: duration(late) })}</span>` : null}
      <span class=${`event-turn${open ? ' tree-open' : ''}`}><${Icon} name="chevron" size="13" /></span></button>
    ${host ? null : html`<span class="event-where"><${HostLink} host=${event.host} /><a class="quiet" href=${`/sites/${event.site.id}`}>${event.site.name}</a></span>`}
    ${open ? html`<dl class="event-fields">${fields.length ? fields.map(([name, value]) => html`<div key=${name}><dt translate=${false}>${fieldName(name)}</dt><dd class="mono" translate=${false}>${fieldValue(name, value)}</dd></div>`) : html`<div><dd class="muted">–</dd></div>`}</dl>` : null}</li>`;
}

/** Events and gaps in one order, newest first, with a heading for each day. */
function lines(events, gaps) {
  const all = [...events.map((event) => ({ at: event.time_ms, event })),
    ...gaps.map((gap) => ({ at: gap.to_ms || gap.from_ms, gap }))];
  all.sort((a, b) => b.at - a.at);
  let day = '';
  return all.map((line) => {
    const own = date(line.at);
    const first = own !== day;
    day = own;
    return { ...line, day: first ? own : null };
  });
}

export function EventList({ filters, host }) {
  const address = url('/events', { ...filters, limit: 100 });
  const resource = useResource(address, 15000);
  const [more, setMore] = useState({ items: [], gaps: [], next: undefined });
  const [error, setError] = useState(null);
  useEffect(() => setMore({ items: [], gaps: [], next: undefined }), [address]);
  return html`<${Loaded} resource=${resource} rows=${10}>${(data) => {
    const seen = new Set(data.items.map((event) => event.id));
    const events = [...data.items, ...more.items.filter((event) => !seen.has(event.id))];
    const next = more.next === undefined ? data.next : more.next;
    const gapKey = (gap) => `${gap.host.id} ${gap.epoch} ${gap.stream} ${gap.first}`;
    const gaps = [...new Map([...data.gaps, ...more.gaps].map((gap) => [gapKey(gap), gap])).values()];
    const load = async () => {
      try {
        const page = await get('/events', { ...filters, limit: 100, cursor: next });
        setMore({ items: [...more.items, ...page.items], gaps: [...more.gaps, ...page.gaps], next: page.next });
        setError(null);
      } catch (cause) { setError(cause); }
    };
    if (!events.length && !gaps.length) return html`<${Empty} icon="events"><p>${t('events.none')}</p><p class="muted">${t('events.none.silent')}</p></${Empty}>`;
    return html`<ol class="events">${lines(events, gaps).map((line) => html`
        ${line.day ? html`<li key=${`d${line.day}`} class="event-day">${line.day}</li>` : null}
        ${line.gap ? html`<${Gap} key=${`g${line.gap.host.id}-${line.gap.epoch}-${line.gap.stream}-${line.gap.first}`} gap=${line.gap} />` : html`<${Event} key=${line.event.id} event=${line.event} host=${host} />`}`)}</ol>
      ${error ? html`<${Problem} error=${error} />` : null}
      <p class="pages"><span class="muted">${t('events.count', { n: number(events.length) })}</span>${next ? html`<button class="button" onClick=${load}>${t('page.more')}</button>` : html`<span class="muted">${t('events.end')}</span>`}</p>`;
  }}</${Loaded}>`;
}

export default function Events() {
  const { query } = useRoute();
  const choose = (name) => (event) => setQuery({ [name]: event.currentTarget.value });
  const filters = {};
  for (const key of ['q', 'site', 'host', 'kind', 'severity', 'from', 'to']) filters[key] = query.get(key);
  const any = Object.values(filters).some(Boolean);
  return html`<${PageHead} title=${t('events.title')}><span class="page-tools"><${Exports} path="/events/export" params=${filters} name="events" /></span></${PageHead}>
    <${Panel} flush><div class="filters"><${SearchField} value=${filters.q} label=${t('events.search')} onSearch=${(q) => setQuery({ q })} />
      <select class="select" aria-label=${t('events.severity')} value=${filters.severity || ''} onChange=${choose('severity')}><option value="">${t('events.severity.all')}</option>
        ${['critical', 'warning', 'notice'].map((one) => html`<option key=${one} value=${one}>${one === 'critical' ? word('severity', one) : t('events.severity.from', { name: word('severity', one) })}</option>`)}</select>
      <select class="select" aria-label=${t('events.kind')} value=${filters.kind || ''} onChange=${choose('kind')}><option value="">${t('events.kind.all')}</option>
        ${words('kind').map((one) => html`<option key=${one} value=${one}>${word('kind', one)}</option>`)}</select>
      <${SiteChoice} bare look="select-wide" label=${t('events.site')} none=${t('events.site.all')} chosen=${filters.site ? { id: Number(filters.site) } : null} onChoose=${(site) => setQuery({ site: site ? String(site.id) : '' })} />
      <${TimeSpan} from=${filters.from} to=${filters.to} />
      ${any ? html`<a class="clear" href=${hrefWith({ q: null, site: null, host: null, kind: null, severity: null, from: null, to: null })}>${t('fleet.clear')}</a>` : null}<${Views} /></div>
      <${EventList} filters=${filters} /></${Panel}>`;
}
