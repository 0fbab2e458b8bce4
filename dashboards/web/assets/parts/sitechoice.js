// The choice of one site of thousands: a list while they are few, found by name when they are many.
import { html, useState, useEffect, useRef } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { url, useResource } from '../lib/api.js';
import { number } from '../lib/format.js';
import { Icon } from './icons.js';
import '../lib/tree.js';

/** Sites that a list offers at one time. */
const OFFERED = 200;
const PAUSE_MS = 250;

/** What was typed, once typing pauses. */
function usePaused(text) {
  const [paused, set] = useState(text);
  const timer = useRef(0);
  useEffect(() => {
    timer.current = setTimeout(() => set(text), PAUSE_MS);
    return () => clearTimeout(timer.current);
  }, [text]);
  return paused.trim();
}

/**
 * @param {{label: any, name?: string, chosen?: {id: number, name?: string}|null, onChoose?: (site: any) => void, none?: string,
 *   required?: boolean, but?: number, bare?: boolean, look?: string}} props
 *   A site that is chosen from the start may be known by its number alone. `none` names the empty choice; `but`
 *   is a site that is not offered; `bare` shows no label but has it.
 */
export function SiteChoice({ label, name, chosen = null, onChoose = () => {}, none, required, but, bare, look = '' }) {
  const [text, setText] = useState('');
  const [own, setOwn] = useState(chosen);
  useEffect(() => setOwn(chosen), [chosen && chosen.id]);
  const q = usePaused(text);
  const first = useResource(url('/sites', { limit: OFFERED }));
  const many = Boolean(first.data && first.data.next);
  const found = useResource(many && q ? url('/sites', { q, limit: OFFERED }) : null);
  const data = many && q && found.data ? found.data : first.data;
  const items = ((data && data.items) || []).filter((site) => site.id !== but);
  const listed = own && items.some((site) => site.id === own.id);
  const named = useResource(own && !own.name && first.data && !listed ? url(`/sites/${own.id}`) : null);
  const offered = !own || listed ? items : [{ ...own, name: own.name || (named.data && named.data.site.name) || '…' }, ...items];
  const take = (site) => { setOwn(site); onChoose(site); };
  const alone = required && !own && first.data && first.data.items.length === 1 ? first.data.items[0] : null;
  useEffect(() => { if (alone) take(alone); }, [alone]);
  const choose = (event) => take(offered.find((one) => String(one.id) === event.currentTarget.value) || null);
  const search = many ? html`<input type="search" class="site-find" value=${text} aria-label=${t('tree.choose.search')} placeholder=${t('tree.choose.search')} onInput=${(event) => setText(event.currentTarget.value)} autocomplete="off" spellcheck=${false} />` : null;
  const select = html`<select class=${`select ${look}`} name=${first.data ? name : null} disabled=${!first.data} required=${required} aria-label=${bare ? label : null} value=${own ? String(own.id) : ''} onChange=${choose}>
    ${none !== undefined ? html`<option value="">${none}</option>` : own ? null : html`<option value=""></option>`}
    ${offered.map((site) => html`<option key=${site.id} value=${String(site.id)}>${site.name}</option>`)}</select>`;
  const hint = first.data && !first.data.items.length ? t('tree.choose.empty') : many && q && found.fresh && found.data && !found.data.items.length ? t('tree.choose.none') : first.data && many && !q && !own ? t('tree.choose.many', { n: number(first.data.total) }) : null;
  if (bare) return html`<span class="site-choice">${search}${select}</span>`;
  return html`<div class="field field-grow site-choice"><label><span>${label}${required ? html` <em>${t('tree.required')}</em>` : null}</span>${select}</label>${search}
    ${hint ? html`<p class="muted" role="status">${hint}</p>` : null}</div>`;
}

/**
 * The way down to a site. Sites above what one may see have no name here, and no page to lead to.
 * @param {{ path: Api.Shape<'SiteName'>[] }} props
 */
export const Crumbs = ({ path }) => html`<a href="/sites">${t('sites.title')}</a>${path.filter((site) => site.name).map((site) => html`<${Icon} key=${`i${site.id}`} name="chevron" size="11" /><a key=${site.id} href=${`/sites/${site.id}`}>${site.name}</a>`)}`;

/** The name of a site of which only the number is known. */
export function SiteNamed({ id }) {
  const { data } = useResource(url(`/sites/${id}`));
  return html`<a translate=${false} href=${`/sites/${id}`}>${data ? data.site.name : `#${id}`}</a>`;
}
