// A field for one spreadsheet, in the page's own language: the browser's own says “Choose File” in the browser's.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { Icon } from './icons.js';
import '../lib/files.js';

/** @param {{label: string, field: {current: any}}} props `field` holds the input, and so the file */
export function FileField({ label, field }) {
  const [name, setName] = useState('');
  const choose = (event) => { const [file] = event.currentTarget.files; setName(file ? file.name : ''); };
  return html`<div class="field field-grow"><span>${label}</span><div class="file">
    <input type="file" name="file" ref=${field} aria-label=${label} accept=".xlsx,.csv,.txt,.xls" onChange=${choose} />
    <span class="file-button" aria-hidden="true"><${Icon} name="register" size="14" />${t('file.choose')}</span>
    <span class=${name ? 'file-name' : 'file-name muted'} translate=${name ? false : null}>${name || t('file.none')}</span></div></div>`;
}
