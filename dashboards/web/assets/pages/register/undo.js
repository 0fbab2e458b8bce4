// Taking an import back: what would become of each row, field by field, and which later change is in the way.
// It is all of it or nothing, so what is in the way comes first, with what to do about it.
import { html, useState } from '../../lib/html.js';
import { t, known } from '../../lib/i18n.js';
import { url, send, useResource } from '../../lib/api.js';
import { scoped } from '../../lib/scope.js';
import { dateTime, number } from '../../lib/format.js';
import { Loaded, Panel } from '../../parts/ui.js';
import { Table } from '../../parts/table.js';
import { Icon } from '../../parts/icons.js';
import { actorName } from '../../parts/audited.js';
import { fieldName, valueText } from './fields.js';

/** Rows that are added to the page at one time. */
const PORTION = 100;

const shown = (kind, field, value) => (value ? html`<span translate=${valueText(kind, field, value) === value ? false : null}>${valueText(kind, field, value)}</span>` : html`<span class="muted">${t('register.nothing')}</span>`);

/** What a row's fields are now and what they would be again; of one that goes, only what it is. */
const Back = ({ kind, row }) => html`<ul class="changes">${row.fields.filter((one) => !row.is_new || one.now).map((one) => html`<li key=${one.field}><i>${fieldName(kind, one.field)}</i>
  ${row.is_new ? shown(kind, one.field, one.now) : html`<span class="was">${shown(kind, one.field, one.now)}</span> <span aria-hidden="true">→</span><span class="visually-hidden"> ${t('preview.to')} </span> ${shown(kind, one.field, one.back)}`}</li>`)}</ul>`;

const Later = ({ kind, change }) => html`<li><span class="nowrap">${dateTime(change.time_ms)}</span> ${actorName(change.actor)} ${known(`did.${change.action}`) ? t(`did.${change.action}`) : change.action}
  ${change.import ? html` <span class="muted nowrap">${t('register.from.import', { n: change.import })}</span>` : null}
  <ul class="changes">${change.changes.map((one) => html`<li key=${one.field}><i>${fieldName(kind, one.field)}</i> <span class="was">${shown(kind, one.field, one.before)}</span> → ${shown(kind, one.field, one.after)}</li>`)}</ul></li>`;

function Obstacle({ kind, row }) {
  const { word, later, namers, count, fields, message } = row.obstacle;
  const left = count - later.length - namers.length;
  const about = fields.map((field) => fieldName(kind, field)).join(t('list.comma'));
  return html`<p>${known(`undo.why.${word}`) ? t(`undo.why.${word}`, { n: number(count), fields: about }) : message}</p>
    ${later.length || namers.length ? html`<ul class="undo-why">${later.map((change) => html`<${Later} key=${change.id} kind=${kind} change=${change} />`)}
      ${namers.map((one) => html`<li key=${one.id}><a href=${scoped(`/register/${one.kind}/${one.id}`)} translate=${false}>${one.name} <span class="mono muted">${one.code}</span></a></li>`)}
      ${left > 0 ? html`<li class="muted">${t('undo.more', { n: number(left) })}</li>` : null}</ul>` : null}`;
}

function Rows({ preview }) {
  const [most, show] = useState(PORTION);
  const { kind } = preview.import;
  const stopped = preview.obstacle_count > 0;
  const columns = [
    { title: t('preview.row'), end: true, cell: (row) => html`<span class="muted">${row.line}</span>` },
    { title: t('preview.name'), lead: true, cell: (row) => html`${row.site ? html`<a href=${scoped(`/register/${kind}/${row.item}`)} translate=${false}>${row.name}</a>` : html`<b translate=${false}>${row.name}</b>`} <span class="mono muted" translate=${false}>${row.code}</span>` },
    { title: t('undo.what'), cell: (row) => html`<span class="tag">${t(row.is_new ? 'undo.deletes' : 'undo.restores')}</span>` },
    { title: t('undo.fields'), wide: true, cell: (row) => html`<${Back} kind=${kind} row=${row} />` },
    stopped ? { title: t('undo.obstacle'), wide: true, cell: (row) => (row.obstacle ? html`<${Obstacle} kind=${kind} row=${row} />` : html`<span class="muted">–</span>`) } : null,
  ].filter(Boolean);
  const all = preview.deleted + preview.changed_back;
  const left = preview.rows.length - most;
  return html`<${Table} label=${t('undo.rows')} columns=${columns} rows=${preview.rows.slice(0, most)} keyOf=${(row) => `${row.line}.${row.item}`} />
    ${left > 0 ? html`<p class="pages"><button type="button" class="button" onClick=${() => show(most + PORTION)}>${t('preview.more', { n: number(Math.min(PORTION, left)) })}</button></p>` : null}
    ${preview.rows.length < all ? html`<p class="panel-note">${t('undo.some', { n: number(preview.rows.length) })}</p>` : null}`;
}

function Decide({ preview, reload, onDone, onCancel }) {
  const [state, setState] = useState({ busy: false, error: null });
  const { deleted, changed_back: changed, obstacle_count: stopped } = preview;
  const undo = async () => {
    setState({ busy: true, error: null });
    try { await send('POST', `/imports/${preview.import.id}/undo`, {}); } catch (error) {
      setState({ busy: false, error });
      // Somebody was faster: what is in the way now is shown.
      if (error.problem && error.problem.code === 'not_undone') reload();
      return;
    }
    onDone();
  };
  return html`${preview.possible ? html`<p class="panel-note">${t('undo.possible', { a: number(deleted), c: number(changed) })}</p>`
    : html`<div class="verdict verdict-down" role="alert"><${Icon} name="down" /><div><b>${t('undo.stopped', { n: number(stopped) })}</b><p>${t('undo.stopped.how')}</p></div></div>`}
    <${Rows} preview=${preview} />
    ${state.error ? html`<p class="field-error panel-note" role="alert">${state.error.message}</p>` : null}
    <p class="import-acts">${preview.possible ? html`<button type="button" class="button button-danger" disabled=${state.busy} onClick=${undo}>${t('undo.do', { n: number(deleted + changed) })}</button>` : html`<button type="button" class="button" onClick=${reload}>${t('undo.again')}</button>`}
      <button type="button" class="button" disabled=${state.busy} onClick=${onCancel}>${t('undo.cancel')}</button>${preview.possible ? html`<span class="muted">${t('import.safe')}</span>` : null}</p>`;
}

/** @param {{file: {id: number, file: string}, onDone: () => void, onCancel: () => void}} props */
export function Undo({ file, onDone, onCancel }) {
  const resource = useResource(url(`/imports/${file.id}/undo`));
  return html`<${Panel} id="undo" flush title=${t('undo.title')} hint=${file.file ? html`<span translate=${false}>${file.file}</span>` : t('import.unnamed')}><${Loaded} resource=${resource} rows=${4}>${(preview) => html`<${Decide} preview=${preview} reload=${resource.reload} onDone=${onDone} onCancel=${onCancel} />`}</${Loaded}></${Panel}>`;
}
