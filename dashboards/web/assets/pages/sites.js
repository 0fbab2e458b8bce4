// 组织: the tree of courts with what is below each, worst first to see, never hidden by a good parent.
import { html } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { useRoute, hrefWith, setQuery } from '../lib/router.js';
import { url, useResource } from '../lib/api.js';
import { number } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, SearchField } from '../parts/ui.js';
import { Icon } from '../parts/icons.js';
import { Status, Counts, worstOf, totalOf } from '../parts/status.js';

function Row({ site, depth, open, leaf }) {
  const { query } = useRoute();
  const opened = query.getAll('open');
  const id = String(site.id);
  const next = open ? opened.filter((one) => one !== id) : [...opened, id];
  return html`<tr class=${`tree-row depth-${Math.min(depth, 4)}`}>
    <td class="lead"><span class="tree-name">${leaf ? html`<span class="tree-space"></span>` : html`<a class=${`tree-turn${open ? ' tree-open' : ''}`} role="button" href=${hrefWith({ open: next })} aria-expanded=${open ? 'true' : 'false'}
      aria-label=${t(open ? 'sites.collapse' : 'sites.expand', { name: site.name })}><${Icon} name="chevron" size="14" /></a>`}
      <a href=${`/sites/${site.id}`}>${site.name}</a></span></td>
    <td data-label=${t('sites.worst')}><${Status} state=${worstOf(site.rollup)} /></td>
    <td data-label=${t('sites.states')}><${Counts} counts=${site.rollup} /></td>
    <td class="end minor" data-label=${t('sites.hosts')}>${number(totalOf(site.rollup))}</td>
    <td class="tree-tier" data-label=${t('sites.tier')}>${word('tier', site.tier)}</td>
    <td class="tree-code" data-label=${t('sites.code')}>${site.code || html`<span class="muted">–</span>`}</td></tr>`;
}

/** The rows in the order of the tree: those whose parents are open, or all matches of a search. */
function rowsOf(sites, opened, search) {
  const ids = new Set(sites.map((site) => site.id));
  const below = new Map();
  for (const site of sites) {
    const parent = ids.has(site.parent) ? site.parent : null;
    if (!below.has(parent)) below.set(parent, []);
    below.get(parent).push(site);
  }
  const rows = [];
  const walk = (parent, depth) => {
    for (const site of below.get(parent) || []) {
      const leaf = !below.has(site.id);
      const open = search !== '' || opened.has(String(site.id)) || (depth === 0 && !opened.has('none'));
      if (!search || site.name.includes(search) || site.code.includes(search)) rows.push({ site, depth: search ? 0 : depth, open, leaf: leaf || search !== '' });
      if (open) walk(site.id, depth + 1);
    }
  };
  walk(null, 0);
  return { rows, parents: sites.filter((site) => below.has(site.id)).map((site) => String(site.id)) };
}

export default function Sites() {
  const { query } = useRoute();
  const resource = useResource(url('/sites'), 15000);
  const search = (query.get('q') || '').trim();
  const opened = new Set(query.getAll('open'));
  return html`<${PageHead} title=${t('sites.title')} />
    <${Panel} flush><${Loaded} resource=${resource} rows=${12}>${(data) => {
    const { rows, parents } = rowsOf(data.items, opened, search);
    return html`<div class="filters"><${SearchField} value=${search} label=${t('sites.search')} onSearch=${(q) => setQuery({ q })} />
        <a class="button button-small" href=${hrefWith({ open: parents })}>${t('sites.expand.all')}</a>
        <a class="button button-small" href=${hrefWith({ open: [] })}>${t('sites.collapse.all')}</a></div>
      ${rows.length ? html`<div class="table-scroll"><table class="table tree"><thead><tr><th scope="col">${t('sites.name')}</th><th scope="col">${t('sites.worst')}</th><th scope="col">${t('sites.states')}</th>
        <th scope="col" class="end">${t('sites.hosts')}</th><th scope="col">${t('sites.tier')}</th><th scope="col">${t('sites.code')}</th></tr></thead>
        <tbody>${rows.map((row) => html`<${Row} key=${row.site.id} ...${row} />`)}</tbody></table></div>`
    : html`<${Empty} icon="sites">${data.items.length ? t('sites.none') : t('wall.empty')}</${Empty}>`}`;
  }}</${Loaded}></${Panel}>`;
}
