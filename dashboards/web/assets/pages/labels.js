// Labels for assets, to be printed on A4: each has the asset's name, code and court, and squares
// that lead a phone to its page.
import { html, useEffect, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute } from '../lib/router.js';
import { get } from '../lib/api.js';
import { scoped } from '../lib/scope.js';
import { number } from '../lib/format.js';
import { PageHead, Panel, Empty, Problem, Skeleton } from '../parts/ui.js';
import { Icon } from '../parts/icons.js';
import { QrCode } from '../parts/qr.js';
import '../lib/register.js';

/** Most labels of one print: each is asked for on its own. */
const MOST = 240;
const PER_SHEET = 24;
/** Requests at one time. */
const AT_ONCE = 6;

/** The numbers of the assets: those chosen, or those that the filters find. */
async function wanted(query) {
  const chosen = query.getAll('id');
  if (chosen.length) return { ids: chosen.slice(0, MOST), more: chosen.length > MOST };
  const filters = {};
  for (const key of ['q', 'state', 'room', 'owner', 'site']) filters[key] = query.get(key);
  if (filters.site) filters.deep = 'true';
  const page = await get('/register/assets', { ...filters, limit: MOST });
  return { ids: page.items.map((item) => item.id), more: Boolean(page.next) };
}

async function load(query, tell, current) {
  const { ids, more } = await wanted(query);
  const labels = [];
  for (let at = 0; at < ids.length && current(); at += AT_ONCE) {
    labels.push(...await Promise.all(ids.slice(at, at + AT_ONCE).map((id) => get(`/labels/assets/${id}`))));
    if (current()) tell({ labels: null, done: labels.length, of: ids.length, more, error: null });
  }
  if (current()) tell({ labels, done: labels.length, of: ids.length, more, error: null });
}

const Label = ({ label }) => html`<li class="label"><${QrCode} code=${label.qr} label=${t('labels.code')} />
  <div translate=${false}><b class="label-name">${label.name}</b><span class="label-code">${label.code}</span><span class="label-site">${label.site.name}</span></div></li>`;

export default function Labels() {
  const { query } = useRoute();
  const [state, setState] = useState({ labels: null, done: 0, of: 0, more: false, error: null });
  useEffect(() => {
    let current = true;
    load(query, setState, () => current).catch((error) => { if (current) setState({ labels: null, done: 0, of: 0, more: false, error }); });
    return () => { current = false; };
  }, [query.toString()]);
  const { labels, error } = state;
  return html`<${PageHead} title=${t('labels.title')} crumbs=${html`<a href=${scoped('/register/assets')}>${t('register.title')}</a><${Icon} name="chevron" size="11" /><span>${t('labels.title')}</span>`}>
      ${labels && labels.length ? html`<span class="tag">${t('labels.count', { n: number(labels.length), pages: number(Math.ceil(labels.length / PER_SHEET)) })}</span>
        <span class="page-tools"><button class="button button-primary" onClick=${() => print()}><${Icon} name="print" size="15" />${t('labels.print')}</button></span>` : null}</${PageHead}>
    <${Panel}>${error ? html`<${Problem} error=${error} />` : !labels ? html`<p class="muted">${state.of ? t('labels.loading', { n: state.done, of: state.of }) : null}</p><${Skeleton} rows=${4} />`
    : labels.length ? html`<p class="muted screen-only">${t('labels.hint')}${state.more ? html`<br /><b>${t('labels.most', { n: MOST })}</b>` : null}</p><ul class="labels">${labels.map((label) => html`<${Label} key=${label.id} label=${label} />`)}</ul>`
      : html`<${Empty} icon="label"><p>${t('labels.none')}</p><p><a href=${scoped('/register/assets')}>${t('labels.back')}</a></p></${Empty}>`}</${Panel}>`;
}
