// 组织: the tree of courts with what is below each, opened level by level, worst to see and never hidden
// by a good parent.
import { html, useState } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { useRoute, hrefWith, setQuery, navigate } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { number } from '../lib/format.js';
import { useMay } from '../lib/who.js';
import { PageHead, Panel, Loaded, Empty, SearchField, Problem, Kept } from '../parts/ui.js';
import { Icon } from '../parts/icons.js';
import { Status, Counts, worstOf, totalOf } from '../parts/status.js';
import { Exports } from '../parts/exports.js';
import { SiteForm } from './sites/form.js';
import '../lib/tree.js';

/** Sites that a level shows at one time. */
const PAGE = 100;

const EVERY_MS = 15000;

/** Whether a site is open: the highest are until they are shut, the others once they are opened. */
function isOpen(query, site, depth) {
  const id = String(site.id);
  return depth === 0 ? !query.getAll('shut').includes(id) : query.getAll('open').includes(id);
}

function turned(query, site, depth, open) {
  const name = depth === 0 ? 'shut' : 'open';
  const id = String(site.id);
  const listed = query.getAll(name).filter((one) => one !== id);
  return hrefWith({ [name]: (depth === 0) === open ? [...listed, id] : listed });
}

function Turn({ site, depth, open }) {
  const { query } = useRoute();
  if (!site.children) return html`<span class="tree-space"></span>`;
  return html`<a class=${`tree-turn${open ? ' tree-open' : ''}`} role="button" href=${turned(query, site, depth, open)} aria-expanded=${open ? 'true' : 'false'}
    aria-label=${t(open ? 'sites.collapse' : 'sites.expand', { name: site.name })}><${Icon} name="chevron" size="14" /></a>`;
}

function Row({ site, depth, open, flat, manages }) {
  return html`<tr class=${`tree-row depth-${Math.min(depth, 4)}${site.retired_ms ? ' tree-retired' : ''}`}>
    <td class="lead"><span class="tree-name">${flat ? null : html`<${Turn} site=${site} depth=${depth} open=${open} />`}
      <span><a href=${`/sites/${site.id}`}>${site.name}</a>${site.retired_ms ? html` <span class="tag">${t('tree.retired')}</span>` : null}
        ${flat && site.path.length ? html`<small class="tree-path muted">${site.path.map((one) => one.name).join(' › ')}</small>` : null}</span></span></td>
    <td data-label=${t('sites.worst')}><${Status} state=${worstOf(site.rollup)} /></td>
    <td class=${totalOf(site.rollup) ? '' : 'minor'} data-label=${t('sites.states')}>${totalOf(site.rollup) ? html`<${Counts} counts=${site.rollup} />` : html`<span class="muted">–</span>`}</td>
    <td class="end minor" data-label=${t('sites.hosts')}>${number(totalOf(site.rollup))}</td>
    <td class="end minor" data-label=${t('tree.below')}>${site.below ? number(site.below) : html`<span class="muted">–</span>`}</td>
    <td class="tree-tier" data-label=${t('sites.tier')}>${word('tier', site.tier)}</td>
    <td class="tree-code" data-label=${t('sites.code')}>${site.code || html`<span class="muted">–</span>`}</td>
    ${manages ? html`<td class="end tree-acts"><a class="button button-small" href=${`/sites/${site.id}?edit=1`} aria-label=${t('tree.change.of', { name: site.name })}>${t('tree.change')}</a></td>` : null}</tr>`;
}

const Wide = ({ children, columns }) => html`<tr class="tree-wide"><td colspan=${columns}>${children}</td></tr>`;

/** One page of a level, or of what was found, with what is open below each; the next page when it is asked for. */
function Level({ filter, depth, cursor, flat, manages, columns, onFirst }) {
  const { query } = useRoute();
  const [more, setMore] = useState(false);
  const resource = useResource(url('/sites', { ...filter, cursor, limit: PAGE }), EVERY_MS);
  const { data, error, at, reload } = resource;
  if (!data) return html`<${Wide} columns=${columns}>${error ? html`<${Problem} error=${error} retry=${reload} />` : html`<span class="muted" role="status">${t('state.loading')}</span>`}</${Wide}>`;
  if (onFirst && !data.items.length) return html`<${Wide} columns=${columns}>${onFirst}</${Wide}>`;
  const left = data.total - PAGE;
  return html`${error && depth === 0 && !cursor ? html`<${Wide} columns=${columns}><${Kept} at=${at} /></${Wide}>` : null}${data.items.map((site) => {
    const open = !flat && site.children > 0 && isOpen(query, site, depth);
    return html`<${Row} key=${site.id} site=${site} depth=${depth} open=${open} flat=${flat} manages=${manages} />
      ${open ? html`<${Level} key=${`l${site.id}`} filter=${{ parent: site.id, retired: filter.retired }} depth=${depth + 1} manages=${manages} columns=${columns} />` : null}`;
  })}
  ${data.next ? (more ? html`<${Level} key=${data.next} filter=${filter} depth=${depth} cursor=${data.next} flat=${flat} manages=${manages} columns=${columns} />`
    : html`<${Wide} columns=${columns}><button class="button button-small" onClick=${() => setMore(true)}>${t('tree.more', { n: number(cursor ? PAGE : Math.min(PAGE, left)) })}</button></${Wide}>`) : null}`;
}

function Tree({ search, retired, manages }) {
  const columns = manages ? 8 : 7;
  const filter = search ? { q: search, retired } : { parent: 'none', retired };
  const nothing = html`<${Empty} icon="sites">${t(search ? 'sites.none' : manages ? 'tree.empty' : 'wall.empty')}</${Empty}>`;
  return html`<div class="table-scroll" tabindex="0" role="group" aria-label=${t('sites.title')}><table class="table tree"><thead><tr><th scope="col">${t('sites.name')}</th><th scope="col">${t('sites.worst')}</th><th scope="col">${t('sites.states')}</th>
      <th scope="col" class="end">${t('sites.hosts')}</th><th scope="col" class="end">${t('tree.below')}</th><th scope="col">${t('sites.tier')}</th><th scope="col">${t('sites.code')}</th>
      ${manages ? html`<th scope="col" class="end"><span class="visually-hidden">${t('tree.acts')}</span></th>` : null}</tr></thead>
    <tbody><${Level} key=${`${search}.${retired}`} filter=${filter} depth=${0} flat=${Boolean(search)} manages=${manages} columns=${columns} onFirst=${nothing} /></tbody></table></div>`;
}

/** The form of a new site, below the one that the address names. */
function Add({ above }) {
  const close = () => setQuery({ add: null });
  const parent = useResource(above === 'top' ? null : url(`/sites/${above}`));
  const form = (site) => html`<${SiteForm} parent=${site} onSaved=${(made) => navigate(`/sites/${made.id}`)} onCancel=${close} />`;
  return html`<${Panel} id="add" title=${t('tree.add')}>${above === 'top' ? form(null) : html`<${Loaded} resource=${parent} rows=${3}>${(data) => form(data.site)}</${Loaded}>`}</${Panel}>`;
}

export default function Sites() {
  const { query } = useRoute();
  const manages = useMay()('manage_sites');
  const search = (query.get('q') || '').trim();
  const retired = query.get('retired') === 'true' ? 'true' : '';
  const adding = manages && query.get('add');
  return html`<${PageHead} title=${t('sites.title')}><span class="page-tools">${manages ? html`
      <a class="button" href=${hrefWith({ add: 'top' })}><${Icon} name="sites" size="14" />${t('tree.add')}</a><a class="button" href="/sites/import">${t('tree.import')}</a>` : null}
      <${Exports} path="/sites/export" params=${{ q: search, retired }} name="sites" importable /></span></${PageHead}>
    ${adding ? html`<${Add} key=${adding} above=${adding} />` : null}
    <${Panel} flush><div class="filters"><${SearchField} value=${search} label=${t('sites.search')} onSearch=${(q) => setQuery({ q })} />
      ${search ? null : html`<a class="button button-small" href=${hrefWith({ open: [], shut: [] })}>${t('tree.collapse')}</a>`}
      <label class="check"><input type="checkbox" checked=${Boolean(retired)} onChange=${(event) => setQuery({ retired: event.currentTarget.checked ? 'true' : '' })} />${t('tree.retired.show')}</label></div>
      <${Tree} search=${search} retired=${retired} manages=${manages} /></${Panel}>`;
}
