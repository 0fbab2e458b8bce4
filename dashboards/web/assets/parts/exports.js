// The list that is on the page as a file: all of what its filters find, not only the shown part. A file that
// is refused, or does not come whole, is said where its button is.
import { html, useState } from '../lib/html.js';
import { t, isEnglish } from '../lib/i18n.js';
import { ApiError, ask, url } from '../lib/api.js';
import { number } from '../lib/format.js';
import { Icon } from './icons.js';
import '../lib/files.js';

const FORMATS = ['xlsx', 'csv'];

/** What an import takes at one time. */
const MOST_IMPORTED = 20000;

/** How long the browser has to begin to save a file. */
const KEPT_MS = 60000;

/** The whole file and its number of rows, if the controller said that. */
async function fetched(address) {
  const response = await ask('GET', address);
  try {
    return { file: await response.blob(), rows: Number(response.headers.get('xiezhi-rows') || NaN) };
  } catch (cut) { throw new ApiError(0, { title: t('export.cut') }); }
}

/** Hands a file to whoever looks at the page. */
function handOut(file, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.hidden = true;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

function told({ error, rows, importable }) {
  if (error) return html`<p class="export-told problem-text" role="alert"><${Icon} name="warning" size="14" />${error.message}</p>`;
  const part = importable && rows > MOST_IMPORTED ? t('export.parts', { n: number(MOST_IMPORTED) }) : '';
  const text = Number.isFinite(rows) ? t('export.done', { n: number(rows) }) + part : '';
  return html`<p class=${text ? 'export-told' : 'visually-hidden'} role="status">${text}</p>`;
}

/**
 * @param {{path: string, params?: Record<string, any>, name: string, importable?: boolean,
 *   whole?: {path: string, file: string, label: string}}} props `importable`: an import takes the file back;
 *   `whole`: one more file, first
 */
export function Exports({ path, params = {}, name, importable, whole }) {
  const [state, setState] = useState({ busy: null, error: null, rows: null });
  const save = async (address, file) => {
    if (state.busy) return;
    setState({ busy: file, error: null, rows: null });
    try {
      const got = await fetched(address);
      handOut(got.file, file);
      setState({ busy: null, error: null, rows: got.rows });
    } catch (error) { setState({ busy: null, error, rows: null }); }
  };
  const one = (address, file, label) => html`<button key=${file} type="button" class="button" aria-busy=${state.busy === file ? 'true' : null}
    aria-disabled=${state.busy ? 'true' : null} onClick=${() => save(address, file)}>${state.busy === file ? t('export.busy') : label}</button>`;
  return html`${whole ? one(url(whole.path), whole.file, whole.label) : null}
    ${FORMATS.map((format) => one(url(path, { ...params, cursor: null, limit: null, format, lang: isEnglish() ? 'en' : null }), `${name}.${format}`, t(`export.${format}`)))}
    ${told({ ...state, importable })}`;
}
