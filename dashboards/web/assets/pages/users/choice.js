// Choices that the forms about accounts share.
import { html } from '../../lib/html.js';
import { t } from '../../lib/i18n.js';
import { SiteChoice } from '../../parts/sitechoice.js';

/** Roles that one person may grant alone. */
export const ALONE = ['technician', 'court_admin', 'read_only', 'wall', 'province_admin'];

/** Roles of the security duty, which only who looks after it asks for. */
export const SECURITY = ['security_officer', 'sec_admin'];

/** Roles that take a second person. */
export const TOGETHER = [...SECURITY, 'audit_admin'];

export const PlaceChoice = ({ name, label, province }) => html`<${SiteChoice} name=${name} label=${label} required=${!province} none=${province ? t('role.province') : undefined} />`;

export const RoleChoice = ({ roles, none, ...rest }) => html`<label class="field"><span>${t('users.role')}</span>
  <select class="select" name="role" ...${rest}>${none ? html`<option value="">${none}</option>` : null}
    ${roles.map((role) => html`<option key=${role} value=${role}>${t(`role.${role}`)}</option>`)}</select></label>`;
