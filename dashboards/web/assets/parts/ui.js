// Small parts that every page uses.
import { html, useState, useRef, useEffect, useErrorBoundary } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { duration } from '../lib/format.js';
import { Icon } from './icons.js';

export const Panel = ({ title, hint, action, children, flush, id }) => html`
  <section class=${`panel${flush ? ' panel-flush' : ''}`} aria-labelledby=${id}>
    ${title ? html`<header class="panel-head"><h2 id=${id}>${title}</h2>
      ${hint ? html`<span class="panel-hint">${hint}</span>` : null}
      ${action ? html`<span class="panel-action">${action}</span>` : null}</header>` : null}
    <div class="panel-body">${children}</div>
  </section>`;

export const PageHead = ({ title, children, crumbs }) => html`
  <header class="page-head">
    ${crumbs ? html`<nav class="crumbs" aria-label=${t('sites.name')}>${crumbs}</nav>` : null}
    <div class="page-title"><h1>${title}</h1>${children}</div>
  </header>`;

export const Empty = ({ children, icon = 'none' }) => html`
  <div class="empty"><span class="empty-icon"><${Icon} name=${icon} size="22" /></span><div>${children}</div></div>`;

export const Skeleton = ({ rows = 4 }) => html`
  <div class="skeleton" role="status"><span class="visually-hidden">${t('state.loading')}</span>
    ${Array.from({ length: rows }, (_, row) => html`<span key=${row} class="skeleton-row"></span>`)}</div>`;

/** What could not be shown, why, and what to do: to try again where that may help, else to go where all is. */
export function Problem({ error, retry }) {
  const closed = error.status === 403 || error.status === 404;
  return html`<div class="problem" role="alert"><${Icon} name="warning" /><div><strong>${t(error.status === 403 ? 'state.closed' : error.status === 404 ? 'state.gone' : 'state.failed')}</strong><p>${error.message}</p></div>
    ${closed ? html`<a class="button" href="/">${t('state.home')}</a>` : retry ? html`<button class="button" onClick=${retry}>${t('state.retry')}</button>` : null}</div>`;
}

/** Says that what is shown is old, and how old. */
export const Kept = ({ at }) => html`<p class="kept" role="status"><${Icon} name="warning" size="14" />${t('state.kept', { d: duration(Date.now() - at) })}</p>`;

/** What a resource looks like while it loads, when it failed, and when only an update failed. */
export function Loaded({ resource, rows, children }) {
  const { data, error, at, reload, fresh } = resource;
  if (!data) {
    return error ? html`<${Problem} error=${error} retry=${reload} />` : html`<${Skeleton} rows=${rows} />`;
  }
  return html`${error ? html`<${Kept} at=${at} />` : null}
    <div class=${fresh ? 'loaded' : 'loaded loaded-old'}>${children(data)}</div>`;
}

/** One broken part does not take the page with it. */
export function Guarded({ children }) {
  const [error, reset] = useErrorBoundary((cause) => console.error(cause));
  if (!error) return children;
  return html`<div class="problem" role="alert"><${Icon} name="warning" /><div><strong>${t('shell.crashed')}</strong></div>
    <button class="button" onClick=${reset}>${t('state.retry')}</button></div>`;
}

/** A choice of a few, as links: the address holds which. */
export const Segments = ({ label, items, current }) => html`
  <div class="segments" role="group" aria-label=${label}>${items.map((item) => html`
    <a key=${item.value} href=${item.href} class=${item.value === current ? 'segment segment-on' : 'segment'}
      aria-current=${item.value === current ? 'true' : null}>${item.icon ? html`<${Icon} name=${item.icon} size="13" />` : null}${item.text}
      ${item.count !== undefined && item.count !== null ? html`<span class="segment-count">${item.count}</span>` : null}</a>`)}</div>`;

/** A text field that reports what was typed once typing pauses. */
export function SearchField({ value, label, placeholder, onSearch, global }) {
  const [text, setText] = useState(value || '');
  const timer = useRef(0);
  const typed = useRef(false);
  useEffect(() => { if (!typed.current) setText(value || ''); typed.current = false; }, [value]);
  const tell = (next) => { typed.current = true; onSearch(next.trim()); };
  const input = (event) => {
    const next = event.currentTarget.value;
    setText(next);
    clearTimeout(timer.current);
    if (!global) timer.current = setTimeout(() => tell(next), 250);
  };
  const submit = (event) => { event.preventDefault(); clearTimeout(timer.current); tell(text); };
  return html`<form class="search" role="search" aria-label=${label} onSubmit=${submit}>
    <${Icon} name="search" size="16" />
    <input type="search" value=${text} aria-label=${label} placeholder=${placeholder || label} onInput=${input}
      data-search=${global ? 'global' : 'page'} autocomplete="off" spellcheck=${false} />
    ${global ? html`<kbd aria-hidden="true" title=${t('shell.search.hint')}>/</kbd>` : null}
  </form>`;
}

export function CopyButton({ text }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try { await navigator.clipboard.writeText(text); } catch (insecure) {
      // Plain HTTP has no clipboard interface; the old way still works there.
      const field = document.createElement('textarea');
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand('copy');
      field.remove();
    }
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  };
  return html`<button class="button button-small" onClick=${copy}><${Icon} name=${done ? 'up' : 'copy'} size="14" />${t(done ? 'enrol.copied' : 'enrol.copy')}</button>`;
}

/** Asks before a deed that cannot be undone; optionally for a reason. */
export function Confirm({ text, reasonLabel, danger, onDo, onCancel }) {
  const [reason, setReason] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const box = useRef(null);
  useEffect(() => {
    const before = /** @type {HTMLElement|null} */ (document.activeElement);
    const first = box.current && box.current.querySelector('input, button');
    if (first) first.focus();
    return () => { if (before && before.focus) before.focus(); };
  }, []);
  const act = async (event) => {
    event.preventDefault();
    setBusy(true);
    try { await onDo(reason.trim()); } catch (cause) { setError(cause); setBusy(false); }
  };
  const key = (event) => {
    if (event.key === 'Escape') onCancel();
    if (event.key !== 'Tab') return;
    const all = [...box.current.querySelectorAll('input, button')];
    const last = all[all.length - 1];
    if (event.shiftKey && document.activeElement === all[0]) { event.preventDefault(); last.focus(); }
    else if (!event.shiftKey && document.activeElement === last) { event.preventDefault(); all[0].focus(); }
  };
  return html`<div class="veil" onKeyDown=${key}><div class="dialog" role="alertdialog" aria-modal="true" aria-label=${t('confirm.title')} aria-describedby="confirm-text" ref=${box}><form class="dialog-form" onSubmit=${act}>
    <p id="confirm-text">${text}</p>
    ${reasonLabel ? html`<label class="field"><span>${reasonLabel}</span><input value=${reason} required maxlength="200" onInput=${(event) => setReason(event.currentTarget.value)} /></label>` : null}
    ${error ? html`<p class="field-error" role="alert">${error.message}</p>` : null}
    <div class="dialog-actions"><button type="button" class="button" onClick=${onCancel}>${t('confirm.cancel')}</button>
      <button class=${danger ? 'button button-danger' : 'button button-primary'} disabled=${busy}>${t('confirm.do')}</button></div>
  </form></div></div>`;
}
