// The way from a thing to what the audit log has about it, for who may see that.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { hrefWith } from '../lib/router.js';
import { useMay } from '../lib/who.js';
import { Icon } from './icons.js';

/** @param {{filter: Record<string, any>}} props what the audit page is asked for: `{subject: 'host:12'}` */
export function AuditLink({ filter }) {
  const may = useMay();
  return may('see_audit') ? html`<a class="button button-small" href=${hrefWith(filter, '/audit')}><${Icon} name="audit" size="14" />${t('audit.of')}</a>` : null;
}
