// The bandwidth budget of a court: what each hour of the day allows, and the form that changes it.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { url, send, useResource } from '../lib/api.js';
import { number } from '../lib/format.js';
import { useMay } from '../lib/who.js';
import { Panel, Loaded, Confirm } from './ui.js';

const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const clock = (hour) => `${String(hour).padStart(2, '0')}:00`;

/** Hours in a row with the same limit: `[{ from, to, kbps }]`. */
export function hourRuns(hours) {
  const runs = [];
  hours.forEach((kbps, hour) => {
    const last = runs[runs.length - 1];
    if (last && last.kbps === kbps) last.to = hour + 1;
    else runs.push({ from: hour, to: hour + 1, kbps });
  });
  return runs;
}

const limitOf = (kbps) => (kbps === null ? t('budget.none') : kbps === 0 ? t('budget.live') : `${number(kbps)} kbit/s`);

/** `08:00–18:00 2,000 kbit/s` */
export const limitText = ({ from, to, kbps }) => `${clock(from)}–${clock(to)} ${limitOf(kbps)}`;

/** The day as 24 bars; the list below says the same in words. */
function Day({ hours }) {
  const most = Math.max(1, ...hours.filter((kbps) => kbps !== null));
  const height = (kbps) => (kbps === null ? 100 : kbps === 0 ? 4 : 12 + (70 * kbps) / most);
  return html`<div class="day" aria-hidden="true">${hours.map((kbps, hour) => html`
      <span key=${hour} class=${`hour ${kbps === null ? 'hour-free' : kbps === 0 ? 'hour-live' : ''}`} title=${limitText({ from: hour, to: hour + 1, kbps })}>
        <span class="hour-bar" style=${{ height: `${height(kbps)}%` }}></span>${hour % 6 === 0 ? html`<small>${hour}</small>` : null}</span>`)}</div>
    <ul class="plain budget-runs">${hourRuns(hours).map((run) => html`<li key=${run.from}>${clock(run.from)}–${clock(run.to)} <b>${limitOf(run.kbps)}</b></li>`)}</ul>`;
}

const select = (name, value, from, onChange, label) => html`<select class="select" aria-label=${label} value=${String(value)} onChange=${(event) => onChange(Number(event.currentTarget.value))}>
  ${HOURS.map((hour) => hour + from).map((hour) => html`<option key=${hour} value=${String(hour)}>${clock(hour)}</option>`)}</select>`;

/** One row of the form for each run of hours; the rows are laid over each other from top to bottom. */
function Form({ site, start, most, onDone, onCancel }) {
  const limited = hourRuns(start).filter((run) => run.kbps !== null);
  const [rows, setRows] = useState(limited.length ? limited : [{ from: 8, to: 18, kbps: 2000 }]);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const change = (at, next) => setRows(rows.map((row, index) => (index === at ? { ...row, ...next } : row)));
  const hours = HOURS.map((hour) => rows.reduce((kbps, row) => {
    const inside = row.from < row.to ? row.from <= hour && hour < row.to : hour >= row.from || hour < row.to;
    return inside && Number.isInteger(row.kbps) ? row.kbps : kbps;
  }, null));
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await send('PUT', `/sites/${site}/bandwidth`, { hours });
      onDone();
    } catch (cause) { setError(cause); setBusy(false); }
  };
  return html`<form class="budget-form" onSubmit=${submit}>
    ${rows.map((row, at) => html`<div key=${at} class="budget-row">
      ${select('from', row.from, 0, (from) => change(at, { from }), t('budget.from'))}<span aria-hidden="true">–</span>
      ${select('to', row.to, 1, (to) => change(at, { to }), t('budget.to'))}
      <label class="budget-kbps"><input type="number" required min="0" max=${most} step="1" value=${row.kbps} aria-label=${t('budget.limit')} onInput=${(event) => change(at, { kbps: event.currentTarget.value === '' ? null : Number(event.currentTarget.value) })} /> kbit/s</label>
      <button type="button" class="button button-small" onClick=${() => setRows(rows.filter((_, index) => index !== at))} aria-label=${t('budget.remove.row', { from: clock(row.from), to: clock(row.to) })}>${t('budget.remove')}</button></div>`)}
    <p><button type="button" class="button button-small" onClick=${() => setRows([...rows, { from: 18, to: 22, kbps: 5000 }])}>${t('budget.add')}</button></p>
    <p class="muted">${t('budget.rules')}</p>
    <${Day} hours=${hours} />
    ${error ? html`<p class="field-error" role="alert">${error.message}</p>` : null}
    <div class="dialog-actions"><button type="button" class="button" onClick=${onCancel}>${t('confirm.cancel')}</button>
      <button class="button button-primary" disabled=${busy}>${t('budget.save')}</button></div></form>`;
}

function Shown({ site, data, reload }) {
  const [editing, edit] = useState(false);
  const [asked, ask] = useState(false);
  const manages = useMay()('manage_hosts');
  const hours = data.own || data.inherited;
  const done = () => { edit(false); reload(); };
  if (editing) return html`<${Form} site=${site} start=${hours || HOURS.map(() => null)} most=${data.most_kbps} onDone=${done} onCancel=${() => edit(false)} />`;
  return html`<p>${data.own ? t('budget.own') : data.inherited_from ? html`${t('budget.inherited')} <a translate=${false} href=${`/sites/${data.inherited_from.id}`}>${data.inherited_from.name}</a>` : t('budget.unset')}</p>
    ${hours ? html`<${Day} hours=${hours} />` : null}
    <p class="muted">${t('budget.reach', { n: number(data.hosts), c: number(data.connected) })}${data.exceptions ? ` ${t('budget.exceptions', { n: number(data.exceptions) })}` : ''}</p>
    ${manages ? html`<p class="budget-acts"><button class="button" onClick=${() => edit(true)}>${t(data.own ? 'budget.change' : 'budget.make')}</button>
      ${data.own ? html`<button class="button" onClick=${() => ask(true)}>${t('budget.clear')}</button>` : null}</p>` : null}
    ${asked ? html`<${Confirm} text=${t(data.inherited_from ? 'budget.clear.ask' : 'budget.clear.ask.none')} onCancel=${() => ask(false)}
      onDo=${async () => { await send('DELETE', `/sites/${site}/bandwidth`); ask(false); reload(); }} />` : null}`;
}

/** The panel of a court's page. */
export function Budget({ site }) {
  const resource = useResource(url(`/sites/${site}/bandwidth`));
  return html`<${Panel} id="budget" title=${t('budget.title')} hint=${t('budget.hint')}><${Loaded} resource=${resource} rows=${3}>${(data) => html`
    <${Shown} site=${site} data=${data} reload=${resource.reload} />`}</${Loaded}></${Panel}>`;
}
