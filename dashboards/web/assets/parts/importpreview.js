// What an import would do, before it is done: how many rows are new or change, each of them with
// what it changes from what to what, and every problem with its cell. Whoever imports something
// shows its preview by this part; 20,000 rows are shown in portions, so that the page stays quick.
import { html, useState } from '../lib/html.js';
import { t, known } from '../lib/i18n.js';
import { number } from '../lib/format.js';
import { Empty } from './ui.js';
import { Table } from './table.js';
import { Icon } from './icons.js';
import '../lib/importpreview.js';

/** Rows that are added to the page at one time. */
const PORTION = 100;

/** What is wrong, in the reader's language; what the controller says if the word is not known. */
function problemText({ word, found, message }) {
  return known(`cell.${word}`) ? t(`cell.${word}`, { found: found || '' }) : message;
}

/** What some problems are about although no field is named. */
const ABOUT = { no_site: 'site', unknown_site: 'site', several_sites: 'site', retired_site: 'site', duplicate: 'code' };
const fieldOf = ({ field, word }) => field || ABOUT[word];

function cellText({ line, column }) {
  if (column) return t('preview.cell.at', { column, line });
  return line ? t('preview.cell.row', { line }) : t('preview.cell.file');
}

/** A list that grows by portions. */
function Portions({ rows, children }) {
  const [shown, show] = useState(PORTION);
  const left = rows.length - shown;
  return html`${children(rows.slice(0, shown))}
    ${left > 0 ? html`<p class="pages"><button class="button" onClick=${() => show(shown + PORTION)}>${t('preview.more', { n: number(Math.min(PORTION, left)) })}</button></p>` : null}`;
}

const Side = ({ one, valueOf }) => (one ? valueOf(one) : html`<span class="muted">–</span>`);

const Changes = ({ row, fieldName, valueText }) => html`<ul class="changes">${row.changes.filter((one) => !row.is_new || one.after).map((one) => html`<li key=${one.field}><i>${fieldName(one.field)}</i>
  ${row.is_new ? null : html`<span class="was"><${Side} one=${one.before} valueOf=${(value) => valueText(one.field, value)} /></span> <span aria-hidden="true">→</span><span class="visually-hidden"> ${t('preview.to')} </span> `}<${Side} one=${one.after} valueOf=${(value) => valueText(one.field, value)} /></li>`)}</ul>`;

/** What may be written where a choice was missed. */
const choicesText = (row, choicesOf) => { const all = row.word === 'no_choice' && row.field && choicesOf ? choicesOf(row.field) : []; return all.length ? t('preview.choices', { list: all.join(t('list.comma')) }) : ''; };

const Problems = ({ preview, fieldName, choicesOf }) => html`<div class="verdict verdict-down" role="alert"><${Icon} name="down" /><div><b>${t('preview.problem.head', { n: number(preview.problem_count) })}</b></div></div>
  <${Portions} rows=${preview.problems}>${(rows) => html`<${Table} label=${t('preview.problems')} rows=${rows} keyOf=${(row) => `${row.line}.${row.column}.${row.word}`} columns=${[
    { title: t('preview.cell'), lead: true, cell: (row) => html`<b class="nowrap">${cellText(row)}</b>` },
    { title: t('preview.field'), cell: (row) => (fieldOf(row) ? fieldName(fieldOf(row)) : html`<span class="muted">–</span>`) },
    { title: t('preview.what'), wide: true, cell: (row) => html`<span>${row.found && !t(`cell.${row.word}`, { found: '\u0000' }).includes('\u0000') ? html`<q class="found" translate=${false}>${row.found}</q> ` : null}${problemText(row)} ${choicesText(row, choicesOf)}</span>` },
  ]} />`}</${Portions}>
  ${preview.problem_count > preview.problems.length ? html`<p class="panel-note">${t('preview.problem.some', { n: number(preview.problem_count), shown: number(preview.problems.length) })}</p>` : null}`;

function Choice({ kind, current, count, onChoose }) {
  return html`<button type="button" class=${current === kind ? 'segment segment-on' : 'segment'} aria-pressed=${current === kind ? 'true' : 'false'} onClick=${() => onChoose(kind)}>${t(`preview.${kind}`)} <span class="segment-count">${number(count)}</span></button>`;
}

/**
 * @param {{preview: {added: number, changed: number, unchanged: number, rows: any[], ignored?: string[], left_sheets?: string[], problems: any[], problem_count: number},
 *   fieldName: (field: string) => any, valueText?: (field: string, value: string) => any, choicesOf?: (field: string) => string[]}} props
 *   rows: `{line, is_new, code, name, site?: {id, name}, changes: [{field, before, after}]}`;
 *   problems: `{line, column?, word, field?, found?, message}`
 */
export function ImportPreview({ preview, fieldName, valueText = (field, value) => value, choicesOf }) {
  const [kind, choose] = useState('all');
  const ignored = (preview.ignored || []).filter(Boolean);
  const told = (key, names) => (names.length ? html`<p class="panel-note">${t(key)} <span translate=${false}>${names.join(t('list.comma'))}</span></p>` : null);
  const left = html`${told('preview.ignored', ignored)}${told('preview.sheets', preview.left_sheets || [])}`;
  if (preview.problem_count) return html`<${Problems} preview=${preview} fieldName=${fieldName} choicesOf=${choicesOf} />${left}`;
  const changes = preview.added + preview.changed;
  const rows = preview.rows.filter((row) => kind === 'all' || row.is_new === (kind === 'new'));
  const withSite = preview.rows.some((row) => row.site);
  const shown = (field, value) => html`<span translate=${valueText(field, value) === value ? false : null}>${valueText(field, value)}</span>`;
  const columns = [
    { title: t('preview.row'), end: true, cell: (row) => html`<span class="muted">${row.line}</span>` },
    { title: t('preview.kind'), cell: (row) => html`<span class=${`tag ${row.is_new ? 'tag-up' : 'tag-changed'}`}>${t(row.is_new ? 'preview.new' : 'preview.changed')}</span>` },
    { title: t('preview.name'), lead: true, cell: (row) => html`<b translate=${false}>${row.name}</b> <span class="mono muted" translate=${false}>${row.code}</span>` },
    withSite ? { title: t('preview.site'), cell: (row) => row.site && row.site.name } : null,
    { title: t('preview.changes'), wide: true, cell: (row) => html`<${Changes} row=${row} fieldName=${fieldName} valueText=${shown} />` },
  ].filter(Boolean);
  return html`<div class="filters"><div class="segments" role="group" aria-label=${t('preview.filter')}>
      <${Choice} kind="all" current=${kind} count=${changes} onChoose=${choose} /><${Choice} kind="new" current=${kind} count=${preview.added} onChoose=${choose} /><${Choice} kind="changed" current=${kind} count=${preview.changed} onChoose=${choose} /></div>
      ${preview.unchanged ? html`<span class="muted">${t('preview.unchanged', { n: number(preview.unchanged) })}</span>` : null}</div>
    ${left}
    ${rows.length ? html`<${Portions} key=${kind} rows=${rows}>${(some) => html`<${Table} label=${t('preview.all')} columns=${columns} rows=${some} keyOf=${(row) => row.line} />`}</${Portions}>` : html`<${Empty}>${t('preview.empty')}</${Empty}>`}
    ${preview.rows.length < changes ? html`<p class="panel-note">${t('preview.some', { n: number(preview.rows.length) })}</p>` : null}`;
}
