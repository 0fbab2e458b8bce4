// A list of courts into the organisation: choose a file, see what it would add, change and move, then do
// it, and take it back if it was the wrong one.
import { html, useState, useRef, useEffect } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute, setQuery, hrefWith } from '../lib/router.js';
import { url, send, upload, get, useResource } from '../lib/api.js';
import { dateTime, number } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Confirm, Problem, Skeleton } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { useMore } from '../parts/more.js';
import { FileField } from '../parts/filefield.js';
import { Icon } from '../parts/icons.js';
import { actorName } from '../parts/audited.js';
import { ImportPreview } from '../parts/importpreview.js';
import { fieldName, valueText } from './sites/history.js';
import { saying } from './sites/form.js';
import '../lib/tree.js';

/** The name that the command gives to the list that is built in. */
const DEMO = 'the demonstration\'s courts';
const fileName = (row) => (row.file === DEMO ? t('subject.demo') : row.file || t('tree.import.unnamed'));

const HEADER = '编号,名称,层级,上级,法院代字';

function template() {
  const file = new Blob([`\ufeff${HEADER}\r\n`], { type: 'text/csv' });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = t('tree.import.template.name');
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function Choose({ onPreview }) {
  const [state, setState] = useState({ busy: false, error: null });
  const field = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    const [file] = field.current.files;
    if (!file) { setState({ busy: false, error: new Error(t('tree.import.nofile')) }); return; }
    setState({ busy: true, error: null });
    try {
      onPreview(await upload('/site-imports', { name: file.name }, file));
    } catch (error) { setState({ busy: false, error }); }
  };
  const { busy, error } = state;
  return html`<form class="import-form" onSubmit=${submit}>
    <p class="muted">${t('tree.import.safe.first')}</p>
    <div class="form-row"><${FileField} label=${t('tree.import.file')} field=${field} />
      <button class="button button-primary" disabled=${busy}>${t(busy ? 'tree.import.looking' : 'tree.import.look')}</button>
      <button type="button" class="button" onClick=${template}>${t('tree.import.template')}</button></div>
    <p class="muted">${t('tree.import.hint')}</p>
    ${error ? html`<p class="field-error" role="alert">${saying(error)}</p>` : null}</form>`;
}

/** A row without what the columns beside its changes say anyway. */
const SAID = ['id', 'name', 'state'];
const shortened = ({ site, ...row }) => ({ ...row, changes: row.changes.filter((one) => !row.is_new || !SAID.includes(one.field)) });

/** The preview with what can be done about it. */
function Decide({ preview, onDone, onDrop, onMoved }) {
  const [state, setState] = useState({ busy: false, error: null });
  const changes = preview.added + preview.changed;
  const apply = async () => {
    setState({ busy: true, error: null });
    try { onDone(await send('POST', `/site-imports/${preview.id}/apply`, { digest: preview.digest })); } catch (error) {
      setState({ busy: false, error });
      if (error.problem && error.problem.code === 'moved') onMoved();
    }
  };
  // Nobody else could decide on it; one that is gone already needs nothing more.
  const giveUp = async () => {
    if (preview.id === null) return onDrop();
    setState({ busy: true, error: null });
    try { await send('DELETE', `/site-imports/${preview.id}`); } catch (error) {
      if (error.status !== 404 && error.status !== 409) return setState({ busy: false, error });
    }
    return onDrop();
  };
  const { busy, error } = state;
  return html`${preview.moved ? html`<p class="panel-note">${t('tree.import.moves', { n: number(preview.moved) })}</p>` : null}
    <${ImportPreview} preview=${{ ...preview, rows: preview.rows.map(shortened) }} fieldName=${fieldName} valueText=${valueText} />
    ${error ? html`<p class="field-error panel-note" role="alert">${saying(error)}</p>` : null}
    <p class="import-acts">${preview.problem_count ? html`<button class="button" disabled=${busy} onClick=${giveUp}>${t('tree.import.again')}</button>`
    : changes ? html`<button class="button button-primary" disabled=${busy} onClick=${apply}>${t('tree.import.apply', { n: number(changes) })}</button><button class="button" disabled=${busy} onClick=${giveUp}>${t('tree.import.drop')}</button><span class="muted">${t('tree.import.safe')}</span>`
      : html`<span>${t('tree.import.nothing')}</span><button class="button" disabled=${busy} onClick=${giveUp}>${t('tree.import.again')}</button>`}</p>`;
}

const Done = ({ done, onAgain }) => html`<div class="verdict verdict-up" role="status"><${Icon} name="up" /><div><b>${t('tree.import.done', { a: number(done.added), c: number(done.changed), u: number(done.unchanged) })}</b>
  <p class="import-acts"><a class="button button-primary" href="/sites">${t('tree.import.see')}</a><button class="button" onClick=${onAgain}>${t('tree.import.again')}</button></p></div></div>`;

/** A preview that was left: the address names it. */
function Waiting({ id, children }) {
  const [state, setState] = useState({ preview: null, error: null });
  const load = async () => {
    try { setState({ preview: await get(`/site-imports/${id}`), error: null }); } catch (error) { setState({ preview: null, error }); }
  };
  useEffect(() => { load(); }, [id]);
  if (state.error) return html`<${Problem} error=${new Error(saying(state.error))} />`;
  return state.preview ? children(state.preview, load) : html`<${Skeleton} rows=${6} />`;
}

const LOOKS = { waiting: 'tag-stale', applied: 'tag-up' };

function Earlier({ data, onUndo }) {
  const { rows, button } = useMore('/site-imports', data);
  if (!rows.length) return html`<${Empty} icon="sites">${t('tree.import.earlier.none')}</${Empty}>`;
  const columns = [
    { title: t('tree.when'), cell: (row) => html`<span class="nowrap">${dateTime(row.decided_ms || row.asked_ms)}</span>` },
    { title: t('tree.import.file'), lead: true, cell: (row) => html`<b translate=${fileName(row) === row.file ? false : null}>${fileName(row)}</b>` },
    { title: t('tree.who'), cell: (row) => html`<span>${actorName(row.decided_by || row.asked_by)}</span>` },
    { title: t('tree.import.numbers'), end: true, cell: (row) => html`<span class="nowrap">${row.state === 'waiting' || row.state === 'expired' ? '–' : `${number(row.added)} / ${number(row.changed)} / ${number(row.unchanged)}`}</span>` },
    { title: t('tree.state'), cell: (row) => html`<span class=${`tag ${LOOKS[row.state] || ''}`}>${t(`tree.import.${row.state}`)}</span>` },
    { title: html`<span class="visually-hidden">${t('tree.acts')}</span>`, key: 'acts', end: true, cell: (row) => (row.state === 'applied' ? html`<button class="button button-small" onClick=${() => onUndo(row)}>${t('tree.import.undo')}</button>`
      : row.state === 'waiting' ? html`<a class="button button-small" href=${hrefWith({ import: row.id })}>${t('tree.import.resume')}</a>` : null) },
  ];
  return html`<${Table} label=${t('tree.import.earlier')} columns=${columns} rows=${rows} keyOf=${(row) => row.id} />${button}`;
}

/** Takes an import back, or says why not. */
function Undo({ file, onDone, onCancel }) {
  const undo = async () => {
    try { await send('POST', `/site-imports/${file.id}/undo`, {}); } catch (error) { throw new Error(saying(error)); }
    onDone();
  };
  const text = t('tree.import.undo.ask', { file: fileName(file), a: number(file.added), c: number(file.changed) });
  return html`<${Confirm} danger text=${text} onCancel=${onCancel} onDo=${undo} />`;
}

export default function SiteImport() {
  const { query } = useRoute();
  const waiting = query.get('import');
  const [fresh, setFresh] = useState(null);
  const [done, setDone] = useState(null);
  const [undoing, ask] = useState(null);
  const earlier = useResource(url('/site-imports'));
  const drop = () => { setFresh(null); setDone(null); setQuery({ import: null }); };
  const dropped = () => { drop(); earlier.reload(); };
  const end = (result) => { drop(); setDone(result); earlier.reload(); };
  const previewed = (preview) => { setDone(null); setFresh(preview); setQuery({ import: preview.id }); earlier.reload(); };
  const decide = (preview, again) => html`<${Decide} preview=${preview} onDone=${end} onDrop=${dropped} onMoved=${again} />`;
  const own = fresh && (fresh.id === null || String(fresh.id) === waiting);
  return html`<${PageHead} title=${t('tree.import.title')} crumbs=${html`<a href="/sites">${t('sites.title')}</a>`} />
    ${done ? html`<${Done} done=${done} onAgain=${drop} />` : null}
    ${own || waiting ? html`<${Panel} id="preview" flush title=${t('tree.import.preview')}>${own ? decide(fresh, async () => setFresh(await get(`/site-imports/${fresh.id}`)))
    : html`<${Waiting} id=${waiting}>${decide}</${Waiting}>`}</${Panel}>` : done ? null : html`<${Panel} id="choose" title=${t('tree.import.choose')}><${Choose} onPreview=${previewed} /></${Panel}>`}
    <${Panel} id="earlier" flush title=${t('tree.import.earlier')}><${Loaded} resource=${earlier} rows=${3}>${(data) => html`<${Earlier} data=${data} onUndo=${ask} />`}</${Loaded}></${Panel}>
    ${undoing ? html`<${Undo} file=${undoing} onCancel=${() => ask(null)} onDone=${() => { ask(null); setDone(null); earlier.reload(); }} />` : null}`;
}
