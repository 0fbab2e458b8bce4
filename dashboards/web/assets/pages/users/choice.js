// Choices that the forms about accounts share.
import { html } from '../../lib/html.js';
import { t } from '../../lib/i18n.js';

/** Roles that one person may grant alone. */
export const ALONE = ['technician', 'court_admin', 'read_only', 'wall', 'province_admin'];

/** Roles that take a second person. */
export const TOGETHER = ['security_officer', 'sec_admin', 'audit_admin'];

export const SiteChoice = ({ name, label, sites, province, ...rest }) => html`<label class="field field-grow"><span>${label}</span>
  <select class="select" name=${name} required=${!province} ...${rest}>${province ? html`<option value="">${t('role.province')}</option>` : null}
    ${sites.map((site) => html`<option key=${site.id} value=${site.id}>${site.name}</option>`)}</select></label>`;

export const RoleChoice = ({ roles, none, ...rest }) => html`<label class="field"><span>${t('users.role')}</span>
  <select class="select" name="role" ...${rest}>${none ? html`<option value="">${none}</option>` : null}
    ${roles.map((role) => html`<option key=${role} value=${role}>${t(`role.${role}`)}</option>`)}</select></label>`;
