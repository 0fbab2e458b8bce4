// The form of one item: every field by its shape, what is wrong beside the field that it is about.
import { html, useState, useEffect, useRef } from '../../lib/html.js';
import { t, known } from '../../lib/i18n.js';
import { send, url, useResource } from '../../lib/api.js';
import { SiteChoice } from '../../parts/sitechoice.js';
import { Icon } from '../../parts/icons.js';
import { fieldsOf, fieldName, shapeOf, REQUIRED } from './fields.js';

// A court has some hundred rooms and staff; what is further down can still be typed.
const OFFERED = 500;

/** The codes that this court has, with names beside them. */
function Offers({ id, kind, site }) {
  const found = useResource(site ? url(`/register/${kind}`, { site, limit: OFFERED }) : null);
  const items = (found.data && found.data.items) || [];
  return html`<datalist id=${id}>${items.filter((item) => item.values.state === 'in_use').map((item) => html`
    <option key=${item.id} value=${item.values.code}>${item.values.name}</option>`)}</datalist>`;
}

const wrongText = ({ word, message }) => (known(`cell.${word}`) ? t(`cell.${word}`) : message);

function Field({ kind, field, value, site, wrong, fixed, onInput }) {
  const shape = shapeOf(kind, field);
  const error = wrong ? `wrong-${field}` : null;
  const common = { name: field, value, disabled: fixed, required: REQUIRED.includes(field), 'aria-invalid': wrong ? 'true' : null, 'aria-describedby': error };
  const input = shape.choices ? html`<select class="select" ...${common} onChange=${onInput}>${field === 'state' ? null : html`<option value="">–</option>`}
      ${shape.choices.map(([word, text]) => html`<option key=${word} value=${word}>${text}</option>`)}</select>`
    : shape.date ? html`<input type="date" min="1900-01-01" max="2200-12-31" class=${common.value ? null : 'moment-none'} data-none=${t('register.date.none')} ...${common} onInput=${onInput} />`
      : html`<input ...${common} maxlength=${shape.longest || 64} list=${shape.of ? `offers-${field}` : null} autocomplete="off" spellcheck=${false} onInput=${onInput} />`;
  return html`<div class=${`field${field === 'note' ? ' field-whole' : ''}`}><label><span>${fieldName(kind, field)}${REQUIRED.includes(field) ? html` <em>${t('register.required')}</em>` : null}</span>${input}</label>
    ${shape.of ? html`<${Offers} id=${`offers-${field}`} kind=${shape.of} site=${site} />` : null}
    ${fixed ? html`<p class="muted">${t('register.code.stays')}</p>` : null}
    ${wrong ? html`<p class="field-error" id=${error}>${wrongText(wrong)}</p>` : null}</div>`;
}

/** @param {{kind: string, item?: Api.Shape<'Item'>, site?: string, onSaved: (item: Api.Shape<'Item'>) => void, onCancel: () => void, onStale?: () => void}} props */
export function ItemForm({ kind, item, site, onSaved, onCancel, onStale }) {
  const [values, setValues] = useState(() => (item ? { ...item.values } : { state: 'in_use' }));
  const [at, setAt] = useState(item ? item.site : site ? { id: Number(site) } : null);
  const [state, setState] = useState({ busy: false, error: null });
  const box = useRef(null);
  const first = item ? 'name' : 'code';
  useEffect(() => { const field = box.current.querySelector(`[name=${first}]`); if (field) field.focus(); }, []);
  const wrong = new Map(((state.error && state.error.problem && state.error.problem.fields) || []).map((one) => [one.field, one]));
  useEffect(() => { const field = wrong.size && box.current.querySelector('[aria-invalid=true]'); if (field) field.focus(); }, [state.error]);
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    const body = { site: Number(at && at.id), values };
    try {
      onSaved(item ? await send('PUT', `/register/${kind}/${item.id}`, { ...body, version: item.version }) : await send('POST', `/register/${kind}`, { ...body, version: null }));
    } catch (error) { setState({ busy: false, error }); }
  };
  const { busy, error } = state;
  const stale = error && error.problem && error.problem.code === 'changed';
  const set = (field) => (event) => setValues({ ...values, [field]: event.currentTarget.value });
  return html`<form class="item-form" onSubmit=${submit} ref=${box}>
    <${SiteChoice} name="site" label=${t('register.site')} required chosen=${at} onChoose=${setAt} />
    ${fieldsOf(kind).map((field) => html`<${Field} key=${field} kind=${kind} field=${field} value=${values[field] || ''} site=${at ? String(at.id) : ''} wrong=${wrong.get(field)} fixed=${Boolean(item) && field === 'code'} onInput=${set(field)} />`)}
    ${error ? html`<p class="field-error form-note form-acts" role="alert"><${Icon} name="warning" size="14" />${wrong.size ? t('problem.bad_fields') : error.message}
      ${stale && onStale ? html` <button type="button" class="button button-small" onClick=${onStale}>${t('register.reload')}</button>` : null}</p>` : null}
    <div class="form-acts"><button class="button button-primary" disabled=${busy}>${t('register.save')}</button><button type="button" class="button" onClick=${onCancel}>${t('register.cancel')}</button></div></form>`;
}
