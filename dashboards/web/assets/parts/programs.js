// What lists of programs' tokens have in common: the state, when and from where one was used, what is shown once.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { dateTime } from '../lib/format.js';
import { CopyButton } from './ui.js';
import '../lib/owntokens.js';
import '../lib/programs.js';

export const TokenState = ({ state }) => html`<span class=${`tag ${state === 'valid' ? 'tag-up' : state === 'void' ? 'tag-stale' : ''}`}>${t(`own.state.${state}`)}</span>`;

/** @param {{row: {last_used_ms?: number|null, last_used_from: string}}} props */
export const LastUse = ({ row }) => (row.last_used_ms ? html`<span><span class="nowrap">${dateTime(row.last_used_ms)}</span>${row.last_used_from ? html` <span class="muted" translate=${false}>${row.last_used_from}</span>` : null}</span>`
  : html`<span class="muted">${t('programs.used.never')}</span>`);

export const Issued = ({ token, onClose }) => html`<div class="issued" role="status"><h3>${t('own.once')}</h3><p>${t('own.once.text')}</p>
  <div class="command"><pre tabindex="0" class="token" translate=${false}>${token}</pre><${CopyButton} text=${token} /></div>
  <div class="command"><pre tabindex="0" translate=${false}>Authorization: Bearer ${token}</pre><${CopyButton} text=${`Authorization: Bearer ${token}`} /></div>
  <button class="button button-primary" onClick=${onClose}>${t('own.kept')}</button></div>`;
