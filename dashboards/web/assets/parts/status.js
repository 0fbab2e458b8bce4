// State is always told three times: icon, word and colour.
import { html } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { number } from '../lib/format.js';
import { Icon } from './icons.js';

export const STATES = ['up', 'stale', 'down', 'unknown'];
/** Worst first: what a court shows is the first of these that any of its hosts is in. */
export const WORST = ['down', 'unknown', 'stale', 'up'];

export const worstOf = (counts) => WORST.find((state) => counts && counts[state] > 0) || 'none';
export const totalOf = (counts) => STATES.reduce((sum, state) => sum + ((counts && counts[state]) || 0), 0);

export const Status = ({ state, large, text }) => html`
  <span class=${`status status-${state}${large ? ' status-large' : ''}`}>
    <${Icon} name=${state} size=${large ? 16 : 13} />${text || word('presence', state)}</span>`;

export const Severity = ({ severity }) => html`
  <span class=${`severity severity-${severity}`}>
    ${severity === 'critical' || severity === 'warning' ? html`<${Icon} name="warning" size="13" />` : null}
    ${word('severity', severity)}</span>`;

export const Simulated = () => html`<span class="tag tag-simulated" title=${t('simulated.title')}>${t('simulated.tag')}</span>`;

/** A host's name as a link, with the mark that tells a simulated one. */
export const HostLink = ({ host }) => html`
  <span class="host-link"><a translate=${false} href=${`/hosts/${host.id}`}>${host.hostname || `#${host.id}`}</a>
  ${host.simulated ? html`<${Simulated} />` : null}</span>`;

/** How many hosts are in each state: only what is not zero, so that a problem stands out. */
export function Counts({ counts, href }) {
  const shown = STATES.filter((state) => counts && counts[state] > 0);
  if (!shown.length) return html`<span class="muted">${t('presence.none')}</span>`;
  return html`<span class="counts">${shown.map((state) => {
    const content = html`<${Icon} name=${state} size="12" />${number(counts[state])}<span class="visually-hidden"> ${word('presence', state)}</span>`;
    const look = `count status-${state}`;
    return href
      ? html`<a key=${state} class=${look} href=${href(state)} title=${word('presence', state)}>${content}</a>`
      : html`<span key=${state} class=${look} title=${word('presence', state)}>${content}</span>`;
  })}</span>`;
}

/** The same as one bar of shares. */
export function ShareBar({ counts }) {
  const total = totalOf(counts);
  if (!total) return html`<span class="share-bar share-none"></span>`;
  return html`<span class="share-bar" aria-hidden="true">${STATES.map((state) => (counts[state]
    ? html`<span key=${state} class=${`share fill-${state}`} style=${{ flexGrow: String(counts[state]) }}></span>` : null))}</span>`;
}
