// Spreadsheets into the register: choose a file, see what it would change, then do it, and take it
// back if it was the wrong one.
import { html, useState, useRef, useEffect } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute, setQuery, hrefWith } from '../lib/router.js';
import { url, send, upload, get, useResource } from '../lib/api.js';
import { scoped } from '../lib/scope.js';
import { dateTime, number } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Segments, Problem, Skeleton } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { useMore } from '../parts/more.js';
import { FileField } from '../parts/filefield.js';
import { SiteChoice } from '../parts/sitechoice.js';
import { Icon } from '../parts/icons.js';
import { actorName } from '../parts/audited.js';
import { ImportPreview } from '../parts/importpreview.js';
import { KINDS, fieldName, shapeOf, valueText } from './register/fields.js';
import { Undo } from './register/undo.js';

/** The names of columns that an empty sheet has; those of an export. */
const HEADERS = {
  rooms: '单位,房间编号,房间名称,用途,楼层,电话,状态,备注',
  staff: '单位,工号,姓名,所在庭室,职务,电话,邮箱,状态,备注',
  assets: '单位,资产编号,资产名称,类型,型号,序列号,存放房间,责任人工号,购置日期,保修到期,状态,备注',
};

function template(kind) {
  const file = new Blob([`\ufeff${HEADERS[kind]}\r\n`], { type: 'text/csv' });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = t('import.template.name', { kind: t(`kindof.${kind}`) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** What a problem of this page says: "over" means another thing for acts of two people. */
const saying = (error) => (error.problem && error.problem.code === 'over' ? t('import.over') : error.message);

function Choose({ kind, onPreview }) {
  const { query } = useRoute();
  const [site, setSite] = useState(query.get('site') || '');
  const [state, setState] = useState({ busy: false, error: null });
  const field = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    const [file] = field.current.files;
    if (!file) { setState({ busy: false, error: new Error(t('import.nofile')) }); return; }
    setState({ busy: true, error: null });
    try {
      onPreview(await upload('/imports', { kind, name: file.name, site }, file), file.name);
      setState({ busy: false, error: null });
    } catch (error) { setState({ busy: false, error }); }
  };
  const kinds = KINDS.map((one) => ({ value: one, text: t(`kindof.${one}`), href: hrefWith({ kind: one, import: null }) }));
  const { busy, error } = state;
  return html`<form class="import-form" onSubmit=${submit}><div class="import-kind"><span class="muted">${t('import.kind')}</span><${Segments} label=${t('import.kind')} items=${kinds} current=${kind} />
      <button type="button" class="button button-small" onClick=${() => template(kind)}><${Icon} name="copy" size="14" />${t('import.template')}</button></div>
    <p class="muted">${t('import.order')}</p>
    <div class="form-row"><${FileField} label=${t('import.file')} field=${field} />
      <${SiteChoice} name="site" label=${t('import.site')} none=${t('import.site.none')} chosen=${site ? { id: Number(site) } : null} onChoose=${(one) => setSite(one ? String(one.id) : '')} />
      <button class="button button-primary" disabled=${busy}>${t(busy ? 'import.looking' : 'import.look')}</button></div>
    <p class="muted">${t('import.file.hint')}</p>
    ${error ? html`<p class="field-error" role="alert">${saying(error)}</p>` : null}</form>`;
}

/** The preview with what can be done about it. */
function Decide({ kind, preview, onDone, onDrop, onMoved }) {
  const [state, setState] = useState({ busy: false, error: null });
  const changes = preview.added + preview.changed;
  const apply = async () => {
    setState({ busy: true, error: null });
    try { onDone(await send('POST', `/imports/${preview.id}/apply`, { digest: preview.digest })); } catch (error) {
      setState({ busy: false, error });
      if (error.problem && error.problem.code === 'moved') onMoved();
    }
  };
  // Nobody else could decide on it; one that is gone already needs nothing more.
  const giveUp = async () => {
    if (preview.id === null) return onDrop();
    setState({ busy: true, error: null });
    try { await send('DELETE', `/imports/${preview.id}`); } catch (error) {
      if (error.status !== 404 && error.status !== 409) return setState({ busy: false, error });
    }
    return onDrop();
  };
  const { busy, error } = state;
  const wrong = preview.problem_count > 0;
  return html`<${ImportPreview} preview=${preview} fieldName=${(field) => fieldName(kind, field)} valueText=${(field, value) => valueText(kind, field, value)}
    choicesOf=${(field) => (shapeOf(kind, field).choices || []).map(([, text]) => text)} />
    ${error ? html`<p class="field-error panel-note" role="alert">${saying(error)}</p>` : null}
    <p class="import-acts">${wrong ? html`<button class="button" disabled=${busy} onClick=${giveUp}>${t('import.again')}</button>`
    : changes ? html`<button class="button button-primary" disabled=${busy} onClick=${apply}>${t('import.apply', { n: number(changes) })}</button><button class="button" disabled=${busy} onClick=${giveUp}>${t('import.drop')}</button><span class="muted">${t('import.safe')}</span>`
      : html`<span>${t('import.nothing')}</span><button class="button" disabled=${busy} onClick=${giveUp}>${t('import.again')}</button>`}</p>`;
}

const Done = ({ done, onAgain }) => html`<div class="verdict verdict-up" role="status"><${Icon} name="up" /><div><b>${t('import.done', { a: number(done.added), c: number(done.changed), u: number(done.unchanged) })}</b>
  <p class="import-acts"><a class="button button-primary" href=${scoped(`/register/${done.kind}`)}>${t('import.see', { kind: t(`kindof.${done.kind}`) })}</a><button class="button" onClick=${onAgain}>${t('import.again')}</button></p></div></div>`;

/** A preview that was left: the address names it. */
function Waiting({ id, children }) {
  const [state, setState] = useState({ preview: null, error: null });
  const load = async () => {
    try { setState({ preview: await get(`/imports/${id}`), error: null }); } catch (error) { setState({ preview: null, error }); }
  };
  useEffect(() => { load(); }, [id]);
  if (state.error) return html`<${Problem} error=${new Error(saying(state.error))} />`;
  return state.preview ? children(state.preview, load) : html`<${Skeleton} rows=${6} />`;
}

const LOOKS = { waiting: 'tag-stale', applied: 'tag-up' };

function Earlier({ data, onUndo }) {
  const { rows, button } = useMore('/imports', data);
  if (!rows.length) return html`<${Empty} icon="register">${t('import.earlier.none')}</${Empty}>`;
  const columns = [
    { title: t('import.when'), cell: (row) => html`<span class="nowrap">${dateTime(row.decided_ms || row.asked_ms)}</span>` },
    { title: t('import.file'), lead: true, cell: (row) => html`<b translate=${row.file ? false : null}>${row.file || t('import.unnamed')}</b> <span class="muted">${t(`kindof.${row.kind}`)}</span>` },
    { title: t('import.by'), cell: (row) => html`<span>${actorName(row.decided_by || row.asked_by)}</span>` },
    { title: t('import.numbers'), end: true, cell: (row) => html`<span class="nowrap">${row.state === 'waiting' || row.state === 'expired' ? '–' : `${number(row.added)} / ${number(row.changed)} / ${number(row.unchanged)}`}</span>` },
    { title: t('import.state'), cell: (row) => html`<span class=${`tag ${LOOKS[row.state] || ''}`}>${t(`import.state.${row.state}`)}</span>` },
    { title: html`<span class="visually-hidden">${t('import.acts')}</span>`, key: 'acts', end: true, cell: (row) => (row.state === 'applied' ? html`<button class="button button-small" onClick=${() => onUndo(row)}>${t('import.undo')}</button>`
      : row.state === 'waiting' ? html`<a class="button button-small" href=${hrefWith({ kind: row.kind, import: row.id })}>${t('import.resume')}</a>` : null) },
  ];
  return html`<${Table} label=${t('import.earlier')} columns=${columns} rows=${rows} keyOf=${(row) => row.id} />${button}`;
}

export default function Imports() {
  const { query } = useRoute();
  const kind = KINDS.find((one) => one === query.get('kind')) || 'rooms';
  const waiting = query.get('import');
  const [fresh, setFresh] = useState(null);
  const [done, setDone] = useState(null);
  const [undoing, ask] = useState(null);
  const earlier = useResource(url('/imports'));
  const drop = () => { setFresh(null); setDone(null); setQuery({ import: null }); };
  const dropped = () => { drop(); earlier.reload(); };
  const end = (result) => { drop(); setDone(result); earlier.reload(); };
  const previewed = (preview) => { setDone(null); setFresh(preview); setQuery({ import: preview.id }); earlier.reload(); };
  const decide = (preview, again) => html`<${Decide} kind=${preview.kind} preview=${preview} onDone=${end} onDrop=${dropped} onMoved=${again} />`;
  const own = fresh && fresh.kind === kind && (fresh.id === null || String(fresh.id) === waiting);
  return html`<${PageHead} title=${t('register.import.title')} crumbs=${html`<a href=${scoped(`/register/${kind}`)}>${t('register.title')}</a><${Icon} name="chevron" size="11" /><span>${t('register.import')}</span>`} />
    ${done ? html`<${Done} done=${done} onAgain=${drop} />` : null}
    ${own || waiting ? html`<${Panel} id="preview" flush title=${t('import.second')} hint=${t(`kindof.${own ? fresh.kind : kind}`)}>${own ? decide(fresh, async () => setFresh(await get(`/imports/${fresh.id}`)))
    : html`<${Waiting} id=${waiting}>${decide}</${Waiting}>`}</${Panel}>` : done ? null : html`<${Panel} id="choose" title=${t('import.choose')}><${Choose} kind=${kind} onPreview=${previewed} /></${Panel}>`}
    ${undoing ? html`<${Undo} key=${undoing.id} file=${undoing} onCancel=${() => ask(null)} onDone=${() => { ask(null); setDone(null); earlier.reload(); }} />` : null}
    <${Panel} id="earlier" flush title=${t('import.earlier')} hint=${t('import.earlier.hint')}><${Loaded} resource=${earlier} rows=${3}>${(data) => html`<${Earlier} data=${data} onUndo=${ask} />`}</${Loaded}></${Panel}>`;
}
