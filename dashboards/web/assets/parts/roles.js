// Roles and where they hold, as tags.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';

export const roleText = ({ role, site }) => `${t(`role.${role}`)} · ${site ? site.name : t('role.province')}`;

export const Roles = ({ roles }) => (roles.length
  ? html`<span class="tags">${roles.map((one) => html`<span key=${`${one.role}${one.site ? one.site.id : ''}`} class="tag">${roleText(one)}</span>`)}</span>`
  : html`<span class="muted">${t('users.norole')}</span>`);
