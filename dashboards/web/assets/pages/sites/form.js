// The form of one site: what it is called, what it is, and below which it stands.
import { html, useState, useEffect, useRef } from '../../lib/html.js';
import { t, known, word } from '../../lib/i18n.js';
import { send } from '../../lib/api.js';
import { Confirm } from '../../parts/ui.js';
import { Icon } from '../../parts/icons.js';
import { SiteChoice } from '../../parts/sitechoice.js';
import '../../lib/tree.js';

const TIERS = ['high_court', 'intermediate_court', 'basic_court', 'tribunal', 'other'];

/** The tier that a site below one of this tier has as a rule. */
const below = (tier) => TIERS[Math.min(TIERS.indexOf(tier) + 1, 3)];

/** What went wrong, in words that fit a site. */
export function saying(error) {
  const problem = error.problem || {};
  const key = `tree.problem.${problem.code}`;
  const said = known(key) ? t(key, { s: (/\d+/.exec(problem.detail || '') || ['?'])[0] }) : error.message;
  const reasons = fieldsOf(error).filter((one) => one.field === 'undo').map((one) => (known(`tree.undo.${one.word}`) ? t(`tree.undo.${one.word}`, { s: one.message }) : one.message));
  return reasons.length ? `${said} ${reasons.join(t('list.separator'))}` : said;
}

const fieldsOf = (error) => (error && error.problem && error.problem.fields) || [];

/** What stands in the way of retiring, or what the controller says of a field. */
function Told({ error }) {
  const fields = fieldsOf(error);
  if (error.problem && error.problem.code === 'still_used' && fields.length) {
    const what = fields.map((one) => (known(`tree.use.${one.field}`) ? t(`tree.use.${one.field}`, { n: one.message }) : one.message));
    return t('tree.still', { what: what.join(t('list.separator')) });
  }
  return saying(error);
}

const Wrong = ({ wrong }) => (wrong ? html`<p class="field-error" id=${`wrong-${wrong.field}`}>${known(`cell.${wrong.word}`) ? t(`cell.${wrong.word}`) : wrong.message}</p>` : null);

function Field({ name, label, wrong, hint, children }) {
  return html`<div class="field"><label><span>${label}</span>${children({ name, 'aria-invalid': wrong ? 'true' : null, 'aria-describedby': wrong ? `wrong-${wrong.field}` : null })}</label>
    ${hint ? html`<p class="muted">${hint}</p>` : null}<${Wrong} wrong=${wrong} /></div>`;
}

/** @param {{site?: any, parent?: {id: number, name: string, tier: string}|null, onSaved: (site: any) => void, onCancel: () => void, onStale?: () => void}} props */
export function SiteForm({ site, parent, onSaved, onCancel, onStale }) {
  const [values, setValues] = useState(() => (site ? { key: site.key, name: site.name, tier: site.tier, code: site.code } : { key: '', name: '', tier: parent ? below(parent.tier) : 'high_court', code: '' }));
  const [above, setAbove] = useState(parent || null);
  const [state, setState] = useState({ busy: false, error: null });
  const [asking, ask] = useState(false);
  const box = useRef(null);
  useEffect(() => { box.current.querySelector(`[name=${site ? 'name' : 'key'}]`).focus(); }, []);
  const body = (retired) => ({ name: values.name.trim(), tier: values.tier, parent: above ? above.id : null, code: values.code.trim(), retired, version: site.version });
  const change = (retired) => send('PUT', `/sites/${site.id}`, body(retired));
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    try {
      onSaved(site ? await change(Boolean(site.retired_ms)) : await send('POST', '/sites', { key: values.key.trim(), name: values.name.trim(), tier: values.tier, parent: above ? above.id : null, code: values.code.trim() }));
    } catch (error) { setState({ busy: false, error }); }
  };
  const turn = async (retired) => {
    try { onSaved(await change(retired)); } catch (error) { setState({ busy: false, error }); }
    ask(false);
  };
  const { busy, error } = state;
  const wrong = new Map(fieldsOf(error).map((one) => [one.field, one]));
  const set = (field) => (event) => setValues({ ...values, [field]: event.currentTarget.value });
  const choose = (next) => { setAbove(next); if (!site && next) setValues({ ...values, tier: below(next.tier) }); };
  const stale = error && error.problem && error.problem.code === 'changed';
  return html`<form class="item-form site-form" onSubmit=${submit} ref=${box}>
    <${Field} name="key" label=${html`${t('tree.id')}${site ? null : html` <em>${t('tree.required')}</em>`}`} wrong=${wrong.get('id')} hint=${t('tree.id.hint')}>${(common) => html`<input ...${common} value=${values.key} disabled=${Boolean(site)} required maxlength="64" onInput=${set('key')} autocomplete="off" spellcheck=${false} />`}</${Field}>
    <${Field} name="name" label=${html`${t('tree.name')} <em>${t('tree.required')}</em>`} wrong=${wrong.get('name')}>${(common) => html`<input ...${common} value=${values.name} required maxlength="120" onInput=${set('name')} autocomplete="off" />`}</${Field}>
    <div><${SiteChoice} label=${t('tree.parent')} name="parent" chosen=${above} none=${t('tree.parent.none')} but=${site && site.id} onChoose=${choose} /><${Wrong} wrong=${wrong.get('parent_id')} />${site ? html`<p class="muted">${t('tree.move.hint')}</p>` : null}</div>
    <${Field} name="tier" label=${t('tree.tier')} wrong=${wrong.get('tier')}>${(common) => html`<select class="select" ...${common} value=${values.tier} onChange=${set('tier')}>${TIERS.map((tier) => html`<option key=${tier} value=${tier}>${word('tier', tier)}</option>`)}</select>`}</${Field}>
    <${Field} name="code" label=${t('tree.code')} wrong=${wrong.get('court_code')}>${(common) => html`<input ...${common} value=${values.code} maxlength="40" onInput=${set('code')} autocomplete="off" />`}</${Field}>
    ${error ? html`<p class="field-error form-note form-acts" role="alert"><${Icon} name="warning" size="14" /><${Told} error=${error} />
      ${stale && onStale ? html` <button type="button" class="button button-small" onClick=${onStale}>${t('tree.reload')}</button>` : null}</p>` : null}
    <div class="form-acts"><button class="button button-primary" disabled=${busy}>${t('tree.save')}</button><button type="button" class="button" onClick=${onCancel}>${t('tree.cancel')}</button>
      ${site ? html`<button type="button" class="button form-far" onClick=${() => (site.retired_ms ? turn(false) : ask(true))}>${t(site.retired_ms ? 'tree.restore' : 'tree.retire')}</button>` : null}</div>
    ${asking ? html`<${Confirm} danger text=${t('tree.retire.ask', { name: site.name })} onCancel=${() => ask(false)} onDo=${() => turn(true)} />` : null}</form>`;
}
