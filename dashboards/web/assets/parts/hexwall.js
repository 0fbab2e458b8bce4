// The organisation as a wall of hexagons, a cluster for each intermediate court. Every cell shows
// its court's worst state by colour and sign and carries its name; there is no map behind it.
import { html } from '../lib/html.js';
import { t, word } from '../lib/i18n.js';
import { shortCourt } from '../lib/format.js';
import { iconPath } from './icons.js';
import { worstOf, totalOf } from './status.js';

const RADIUS = 30;
const WIDTH = Math.sqrt(3) * RADIUS;
const STEP = 1.5 * RADIUS;
const GAP = 3;

const corners = Array.from({ length: 6 }, (_, corner) => {
  const angle = (Math.PI / 180) * (60 * corner - 30);
  const r = RADIUS - GAP / 2;
  return `${(r * Math.cos(angle)).toFixed(2)},${(r * Math.sin(angle)).toFixed(2)}`;
}).join(' ');

/** How wide a row is: clusters stay squarer than a line, so that cities are told apart. */
const columnsFor = (count) => (count <= 3 ? count : count <= 8 ? Math.ceil(count / 2) : Math.ceil(count / 3));

function placed(sites) {
  const columns = columnsFor(sites.length);
  return sites.map((site, index) => {
    const row = Math.floor(index / columns);
    const column = index % columns;
    return { site, x: WIDTH / 2 + column * WIDTH + (row % 2 ? WIDTH / 2 : 0), y: RADIUS + row * STEP };
  });
}

function nameLines(name) {
  const short = shortCourt(name);
  if (short.length <= 4) return [short];
  return short.length <= 8 ? [short.slice(0, Math.ceil(short.length / 2)), short.slice(Math.ceil(short.length / 2))] : [short.slice(0, 4), `${short.slice(4, 7)}…`];
}

function Cell({ site, x, y, dim, still }) {
  const state = worstOf(site.hosts);
  const lines = nameLines(site.name);
  const told = t('wall.cell', { name: site.name, state: word('presence', state), ...site.hosts });
  const tag = still ? 'g' : 'a';
  return html`<${tag} href=${still ? null : `/sites/${site.id}`} class=${`hex hex-${state}${dim ? ' hex-dim' : ''}`}
    transform=${`translate(${x.toFixed(1)} ${y.toFixed(1)})`}>
    <title>${told}</title>
    <polygon points=${corners} />
    <path class="hex-icon" d=${iconPath(state)} transform="translate(-6.5 -23) scale(0.650)" />
    ${lines.map((line, index) => html`<text key=${index} aria-hidden="true" y=${lines.length === 1 ? 6 : -2 + index * 12}>${line}</text>`)}
    <text class="hex-count" aria-hidden="true" y=${lines.length === 1 ? 19 : 21}>${totalOf(site.hosts) || ''}</text>
  <//>`;
}

/** Cells of a cluster and how large it is, in units of the drawing. */
export function laidOut(sites) {
  const cells = placed(sites);
  return { cells, width: Math.max(...cells.map((cell) => cell.x)) + WIDTH / 2, height: Math.max(...cells.map((cell) => cell.y)) + RADIUS };
}

function Cluster({ group, highlight, scale, still }) {
  const { cells, width, height } = laidOut(group.sites);
  const state = worstOf(group.counts);
  return html`<li class="cluster"><h3>${still ? shortCourt(group.name) : html`<a href=${`/sites/${group.id}`}>${shortCourt(group.name)}</a>`}
      <span class=${`dot fill-${state}`} aria-hidden="true"></span></h3>
    <svg width=${(width * scale).toFixed(0)} height=${(height * scale).toFixed(0)} viewBox=${`0 0 ${width.toFixed(1)} ${height.toFixed(1)}`} role="group" aria-label=${group.name}>
      ${cells.map(({ site, x, y }) => html`<${Cell} key=${site.id} site=${site} x=${x} y=${y} still=${still}
        dim=${highlight && worstOf(site.hosts) !== highlight} />`)}
    </svg></li>`;
}

/** @param groups `[{id, name, counts, sites: [{id, name, hosts}]}]`; `still`: it leads nowhere */
export const HexWall = ({ groups, highlight, scale = 1, still }) => html`
  <ul class="wall">${groups.map((group) => html`<${Cluster} key=${group.id} group=${group} highlight=${highlight} scale=${scale} still=${still} />`)}</ul>`;
