// What the register holds: the fields of each kind, how they are shown and how they are typed in.
// The controller has the same list and checks what it gets; this one is for people.
import { html } from '../../lib/html.js';
import { t, known, words } from '../../lib/i18n.js';
import '../../lib/register.js';
import '../../lib/importpreview.js';

export const KINDS = ['rooms', 'staff', 'assets'];

const FIELDS = {
  rooms: ['code', 'name', 'use', 'floor', 'phone', 'state', 'note'],
  staff: ['code', 'name', 'room', 'title', 'phone', 'email', 'state', 'note'],
  assets: ['code', 'name', 'type', 'model', 'serial', 'room', 'owner', 'bought', 'warranty', 'state', 'note'],
};

const LONGEST = { code: 64, room: 64, owner: 64, note: 500, name: 128, model: 128, serial: 128 };

export const REQUIRED = ['code', 'name'];
export const fieldsOf = (kind) => FIELDS[kind];
export const statesOf = (kind) => words(`life.${kind}`);

/** The name of a field, as this kind calls it. */
export const fieldName = (kind, field) => t(known(`field.${field}.${kind}`) ? `field.${field}.${kind}` : `field.${field}`);

/** How a field is typed in: a choice among words, a date, the code of something, or text. */
export function shapeOf(kind, field) {
  if (field === 'use' || field === 'type') return { choices: words(field).map((one) => [one, t(`${field}.${one}`)]) };
  if (field === 'state') return { choices: statesOf(kind).map((one) => [one, t(`life.${kind}.${one}`)]) };
  if (field === 'bought' || field === 'warranty') return { date: true };
  if (field === 'room') return { of: 'rooms' };
  if (field === 'owner') return { of: 'staff' };
  return { longest: LONGEST[field] || 64 };
}

/** A value in words; data stays as it was written. */
export function valueText(kind, field, value) {
  const key = field === 'state' ? `life.${kind}.${value}` : `${field}.${value}`;
  if ((field === 'state' || field === 'use' || field === 'type') && known(key)) return t(key);
  return value;
}

export const Value = ({ kind, field, value }) => (value
  ? html`<span translate=${['state', 'use', 'type'].includes(field) ? null : false}>${valueText(kind, field, value)}</span>`
  : html`<span class="muted">–</span>`);

const LOOKS = { in_use: 'tag-up', retired: '', repair: 'tag-stale' };
export const Life = ({ kind, state }) => html`<span class=${`tag ${LOOKS[state] || ''}`}>${valueText(kind, 'state', state)}</span>`;

const DAY_MS = 86400000;

/** Days from today, in Beijing, to a day; negative if it is over. */
export function daysUntil(day, nowMs) {
  const today = Math.floor((nowMs + 8 * 3600000) / DAY_MS);
  return Math.round(Date.parse(`${day}T00:00:00Z`) / DAY_MS) - today;
}
