// From when to when a list is asked for: the address holds both, as Unix milliseconds.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { setQuery } from '../lib/router.js';
import { dateTime } from '../lib/format.js';

/** Text of a local input, in Asia/Shanghai, as Unix milliseconds; the zone has no daylight saving. */
const fromInput = (text) => (text ? Date.parse(`${text}:00+08:00`) : '');
const toInput = (ms) => (ms ? dateTime(Number(ms)).slice(0, 16).replace(' ', 'T') : '');

const Moment = ({ name, value }) => html`<label class="inline-field"><span>${t(`events.${name}`)}</span><input type="datetime-local" class=${value ? null : 'moment-none'} data-none=${t('span.none')} value=${toInput(value)} onChange=${(event) => setQuery({ [name]: fromInput(event.currentTarget.value) })} /></label>`;

/** @param {{from: string|null, to: string|null}} props */
export const TimeSpan = ({ from, to }) => html`<span class="inline-fields"><${Moment} name=${'from'} value=${from} /><${Moment} name=${'to'} value=${to} /></span>`;
