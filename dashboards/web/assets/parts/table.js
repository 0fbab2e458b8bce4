// A table whose columns are data: on a phone each row becomes a small card with the column names
// as labels, without the minor ones. Sorting is a link, because order is part of the address.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { hrefWith, useRoute } from '../lib/router.js';
import { Icon } from './icons.js';

function Head({ column }) {
  const { query } = useRoute();
  const look = column.end ? 'end' : null;
  if (!column.sort) return html`<th scope="col" class=${look}>${column.title}</th>`;
  const on = query.get('sort') === column.sort;
  const descending = on && query.get('order') === 'desc';
  const next = { sort: column.sort, order: on ? (descending ? 'asc' : 'desc') : column.first || 'asc', cursor: null, from: null };
  return html`<th scope="col" class=${look} aria-sort=${on ? (descending ? 'descending' : 'ascending') : 'none'}>
    <a class=${on ? 'sort sort-on' : 'sort'} href=${hrefWith(next)} title=${t('page.sort', { name: column.title })}>${column.title}
      <${Icon} name=${on ? (descending ? 'descending' : 'ascending') : 'sort'} size="12" /></a></th>`;
}

/**
 * @typedef {object} Column
 * @property {any} title
 * @property {string} [key] its name where the title is no text, and then no label on a phone
 * @property {(row: any) => any} cell
 * @property {string} [sort] what the address calls an order by it
 * @property {'asc'|'desc'} [first] which way the first click sorts
 * @property {boolean} [end] at the right, for numbers
 * @property {boolean} [lead] what a phone shows as the heading of the card
 * @property {boolean} [wide]
 * @property {boolean} [pick] what chooses a row
 * @property {boolean} [minor] not on a phone
 */

/** @param {{columns: Column[], rows: any[], keyOf: (row: any) => any, label: string, rowClass?: (row: any) => string}} props */
export const Table = ({ columns, rows, keyOf, label, rowClass }) => html`
  <div class="table-scroll" tabindex="0" role="group" aria-label=${label}>
    <table class="table"><thead><tr>${columns.map((column) => html`<${Head} key=${column.key || column.title} column=${column} />`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${keyOf(row)} class=${rowClass ? rowClass(row) : null}>${columns.map((column) => html`
        <td key=${column.key || column.title} class=${`${column.end ? 'end ' : ''}${column.lead ? 'lead ' : ''}${column.wide ? 'wide ' : ''}${column.pick ? 'pick ' : ''}${column.minor ? 'minor' : ''}`} data-label=${column.key ? '' : column.title}>${column.cell(row)}</td>`)}</tr>`)}</tbody>
    </table></div>`;

/** Names and values side by side. */
export const Pairs = ({ pairs }) => html`
  <dl class="pairs">${pairs.filter(Boolean).map(([name, value, note]) => html`<div key=${name} class="pair"><dt>${name}</dt>
    <dd>${value === '' || value === null || value === undefined ? html`<span class="muted">–</span>` : value}${note ? html`<span class="pair-note">${note}</span>` : null}</dd></div>`)}</dl>`;
