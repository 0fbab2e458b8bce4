// Who did what to what, in words: the audit's own terms are for programs and stay the same for ever.
import { html } from '../lib/html.js';
import { t, word, known } from '../lib/i18n.js';
import { dateTime } from '../lib/format.js';
import { hourRuns, limitText } from './budget.js';
import '../lib/audited.js';
import '../lib/problems.js';
import '../lib/register.js';

/** The name that the command gives to the list that is built in. */
const DEMO = 'the demonstration\'s courts';

const WHO = { user: 'actor.user', host: 'actor.host', address: 'actor.address' };
const WHAT = { host: 'subject.host', site: 'subject.site', token: 'subject.token', 'api-token': 'subject.api_token', api_token: 'subject.api_token', user: 'actor.user', approval: 'subject.approval', chain: 'subject.chain', setting: 'subject.setting', import: 'subject.import', 'site-import': 'subject.import' };

/** `kind:name` in words; what this build does not know is shown as it is. */
function named(text, kinds) {
  const [, kind, name] = /^([a-z_-]+):([^]*)$/.exec(text) || [];
  return kinds[kind] ? html`${t(kinds[kind])} <span translate=${false}>${name}</span>` : html`<span translate=${false}>${text}</span>`;
}

/** Who acted: `console`, `system`, `user:admin`, `host:12`, `address:10.0.0.1`. */
export const actorName = (text) => (known(`actor.${text}`) ? t(`actor.${text}`) : named(text, WHO));

/** Subjects that are no names. */
const WHOLE = { '(several)': 'subject.several', '(connection)': 'subject.connection', '(one-time code)': 'subject.one_time_code', audit: 'subject.audit' };

/** On what they acted. */
export function subjectName(text, action) {
  if (!text) return html`<span class="muted">–</span>`;
  // Earlier releases wrote a revocation on the console without the kind.
  if (action === 'host.revoke' && /^\d+$/.test(text)) return named(`host:${text}`, WHAT);
  // An account may be called so: what was signed in to, or failed to be, is a name.
  if (WHOLE[text] && (text !== 'audit' || action === 'audit.export')) return t(WHOLE[text]);
  if (known(`kindof.${text}`)) return t(`kindof.${text}`);
  return text === DEMO && action === 'sites.import' ? t('subject.demo') : named(text, WHAT);
}

/** A name as a person writes it, `主机 12`, as the log has it, `host:12`. A bare one is of `bare`'s kind. */
function written(text, kinds, bare) {
  const typed = text.trim();
  for (const [kind, key] of Object.entries(kinds)) {
    const rest = typed.toLowerCase().startsWith(t(key).toLowerCase()) ? typed.slice(t(key).length) : '';
    if (/^[\s:：]/.test(rest) || /^\d+$/.test(rest)) return `${kind}:${rest.replace(/^[\s:：]+/, '')}`;
  }
  return !typed || typed.includes(':') || !bare ? typed : `${bare}:${typed}`;
}

/** What is shown of `kind:name` in a field where it can be written: see `written`. */
function spoken(text, kinds) {
  const [, kind, name] = /^([a-z_-]+):([^]*)$/.exec(text || '') || [];
  return kinds[kind] ? `${t(kinds[kind])} ${name}` : text || '';
}

const ALONE = ['console', 'system'];

/** Who is looked for. @param {string} text */
export const actorWritten = (text) => ALONE.find((one) => [one, t(`actor.${one}`).toLowerCase()].includes(text.trim().toLowerCase())) || written(text, WHO, 'user');
/** @param {string|null} actor */
export const actorSpoken = (actor) => (actor && ALONE.includes(actor) ? t(`actor.${actor}`) : spoken(actor, WHO));

const PARTS = ['rooms', 'staff', 'assets'];

/** On what it was done. @param {string} text */
export const subjectWritten = (text) => PARTS.find((part) => [part, t(`kindof.${part}`).toLowerCase()].includes(text.trim().toLowerCase())) || written(text, WHAT, '');
/** @param {string|null} subject */
export const subjectSpoken = (subject) => (subject && PARTS.includes(subject) ? t(`kindof.${subject}`) : spoken(subject, WHAT));

/** A budget as it is written down, in hours and kbit/s; null if the text is none. */
function budgetOf(text) {
  try {
    const { bytes_per_second: base, windows } = JSON.parse(text);
    const at = (minute) => windows.find(({ from_minute: from, to_minute: to }) => (from < to ? from <= minute && minute < to : minute >= from || minute < to));
    return Array.from({ length: 24 }, (_, hour) => {
      const window = at(hour * 60);
      return window ? Math.floor(window.bytes_per_second / 125) : base ? Math.floor(base / 125) : null;
    });
  } catch (other) { return null; }
}

/** `technician@3`: a role, and the site that it reaches from. */
function roleText(text) {
  const [role, site] = text.split('@');
  return site ? t('detailed.at', { role: word('role', role), site }) : word('role', role);
}

/** A list of words; as it is written if one of them is of a newer controller. */
function inWords(text, group) {
  const keys = text.split(',').map((one) => `${group}.${one.trim()}`);
  return keys.every(known) ? keys.map((key) => t(key)).join(t('list.comma')) : html`<span translate=${false}>${text}</span>`;
}

/** What is a list of the program's own words, or a time, in the reader's. */
const READ = {
  role: roleText,
  roles: (text) => text.split(',').map((one) => roleText(one.trim())).join(t('list.comma')),
  fields: (text) => inWords(text, 'field'),
  change: (text) => inWords(text, 'change'),
  // Why a request was refused, as its sender was told; of an asset it is its own code.
  code: (text) => { const key = ['detailed', 'problem'].map((group) => `${group}.${text}`).find(known); return key ? t(key, { s: '' }) : html`<span translate=${false}>${text}</span>`; },
  since_ms: (text) => dateTime(Number(text)),
};

function value(name, text) {
  if (READ[name]) return READ[name](text);
  if (name === 'file' && text === DEMO) return t('subject.demo');
  const budget = name === 'value' && budgetOf(text);
  if (budget) return hourRuns(budget).map((run) => limitText(run)).join(t('list.separator'));
  if (known(`detailed.${text}`)) return t(`detailed.${text}`);
  return html`<span translate=${false}>${text}</span>`;
}

/** Particulars by name. */
export const Details = ({ detail }) => html`<span class="details">${Object.entries(detail).filter(([, text]) => text !== '').map(([name, text]) => html`
  <span key=${name} class="detail"><i>${known(`detail.${name}`) ? word('detail', name) : html`<span translate=${false}>${name}</span>`}</i> ${value(name, text)}</span>`)}</span>`;
