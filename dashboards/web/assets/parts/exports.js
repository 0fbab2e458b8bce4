// The list that is on the page as a file: all of what its filters find, not only the shown part.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { url } from '../lib/api.js';

const FORMATS = ['xlsx', 'csv'];

/** @param {{path: string, params?: Record<string, any>, name: string}} props */
export const Exports = ({ path, params = {}, name }) => FORMATS.map((format) => html`
  <a key=${format} class="button button-small" href=${url(path, { ...params, cursor: null, limit: null, format })} download=${`${name}.${format}`}>${t(`export.${format}`)}</a>`);
