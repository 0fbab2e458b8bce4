// A court: where it stands, the courts below it and its hosts.
import { html } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { useRoute, setQuery, hrefWith } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { dateTime, number, shortCourt } from '../lib/format.js';
import { useMay } from '../lib/who.js';
import { PageHead, Panel, Loaded } from '../parts/ui.js';
import { Icon } from '../parts/icons.js';
import { Status, Counts, worstOf, totalOf } from '../parts/status.js';
import { HostTable } from '../parts/hosttable.js';
import { AuditLink } from '../parts/auditlink.js';
import { Budget } from '../parts/budget.js';
import { Crumbs } from '../parts/sitechoice.js';
import { SiteForm } from './sites/form.js';
import { SiteHistory } from './sites/history.js';
import '../lib/tree.js';

/** What who keeps the organisation does with a site; the address says that it is being changed. */
function Keep({ site, path, reload }) {
  const { query } = useRoute();
  const close = () => setQuery({ edit: null });
  const saved = () => { reload(); close(); };
  if (query.get('edit') !== '1') return null;
  return html`<${Panel} id="edit" title=${t('tree.change')}><${SiteForm} key=${site.version} site=${site} parent=${path.length ? path[path.length - 1] : null} onSaved=${saved} onCancel=${close} onStale=${reload} /></${Panel}>`;
}

const Tools = ({ site }) => html`<a class="button button-small" href=${hrefWith({ edit: '1' })}>${t('tree.change')}</a>
  ${site.retired_ms ? null : html`<a class="button button-small" href=${`/sites?add=${site.id}`}>${t('tree.add.below')}</a>`}`;

function Court({ data, reload }) {
  const { query } = useRoute();
  const deep = query.get('deep') === 'true';
  const may = useMay();
  const { site, path, children } = data;
  const none = html`<p>${t('sites.nohosts')}</p>${may('manage_hosts') ? html`<p><a href=${`/enrol?site=${site.id}`}>${t('sites.enrol')}</a></p>` : null}`;
  return html`<${PageHead} title=${site.name} crumbs=${html`<${Crumbs} path=${path} />`}>
      <${Status} state=${worstOf(site.rollup)} large /><span class="tag">${word('tier', site.tier)}</span>${site.code ? html`<span class="tag">${site.code}</span>` : null}
      <span class="page-tools">${may('see_security_events') ? html`<a class="button button-small" href=${`/events?site=${site.id}`}><${Icon} name="events" size="14" />${t('sites.events')}</a>` : null}
        ${may('see_register') ? html`<a class="button button-small" href=${`/register/assets?site=${site.id}`}><${Icon} name="register" size="14" />${t('nav.register')}</a>` : null}
        <${AuditLink} filter=${{ subject: `site:${site.id}` }} />${may('manage_sites') ? html`<${Tools} site=${site} />` : null}</span></${PageHead}>
    ${site.retired_ms ? html`<p class="notice">${t('tree.retired.since', { time: dateTime(site.retired_ms) })}</p>` : null}
    ${may('manage_sites') ? html`<${Keep} site=${site} path=${path} reload=${reload} />` : null}
    ${children.length ? html`<${Panel} id="below" title=${t('sites.below')}><ul class="court-cards">${children.map((child) => html`
      <li key=${child.id}><a class=${`court-card edge-${worstOf(child.rollup)}`} href=${`/sites/${child.id}`}><span class="court-name">${shortCourt(child.name)}</span><${Status} state=${worstOf(child.rollup)} />${totalOf(child.rollup) ? html`<${Counts} counts=${child.rollup} />` : null}</a></li>`)}</ul>
      ${data.children_next ? html`<p class="muted">${t('tree.below.some', { n: number(children.length), all: number(site.children) })} <a href=${`/sites?open=${[...path, site].map((one) => one.id).join('&open=')}`}>${t('tree.below.all')}</a></p>` : null}</${Panel}>` : null}
    ${may('see_hosts') ? html`<${Panel} id="hosts" flush title=${t('sites.hosts.of')} action=${children.length ? html`<label class="check"><input type="checkbox" checked=${deep} onChange=${(event) => setQuery({ deep: event.currentTarget.checked ? 'true' : '', cursor: null, from: null })} />${t('sites.deep')}</label>` : null}>
      <${HostTable} site=${String(site.id)} deep=${deep} empty=${none} /></${Panel}>
    <${Budget} key=${site.id} site=${site.id} />` : null}
    <${SiteHistory} key=${`h${site.id}`} id=${site.id} version=${site.version} />`;
}

export default function Site({ id }) {
  const resource = useResource(url(`/sites/${id}`), 15000);
  return html`<${Loaded} resource=${resource} rows=${10}>${(data) => html`<${Court} data=${data} reload=${resource.reload} />`}</${Loaded}>`;
}
